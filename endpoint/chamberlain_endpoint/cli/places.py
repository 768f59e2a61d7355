"""Finds the folder that an administrator means, and reads what he gives on standard input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from chamberlain_endpoint.cli import layout
from chamberlain_endpoint.cli.errors import CommandFailedError


def folder(name: str, config_dir: Path | None) -> Path:
    """Return the folder of the endpoint `name`; a text with a slash (or `.`) is the folder itself.

    Raises:
        CommandFailedError: it is not there.
    """
    is_path = "/" in name or name in (".", "..")
    found = Path(name).absolute() if is_path else layout.plan(name, config_dir).config
    if not found.is_dir():
        hint = "" if is_path else f" Make it with: chamberlain-endpoint configure {name}"
        raise CommandFailedError(f"There is no folder {found}.{hint}")
    return found


def only_one_stdin(**given: str | None) -> None:
    """Refuse more than one `-` among options.

    Raises:
        click.UsageError: standard input can be read once only.
    """
    names = [f"--{name.replace('_', '-')}" for name, value in given.items() if value == "-"]
    if len(names) > 1:
        raise click.UsageError(f"only one of {', '.join(names)} can be - (standard input)")


def text_of(source: str, what: str) -> str:
    """Return the content of the file `source`; `-` is standard input.

    Raises:
        click.UsageError: it cannot be read.
    """
    try:
        return sys.stdin.read() if source == "-" else Path(source).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{what}: {source} cannot be read: {error}") from None


def document_of(source: str | None, what: str) -> Any:
    """Return the JSON (or YAML) document in the file `source`; None without one.

    Raises:
        click.UsageError: it cannot be read, or is neither.
    """
    if source is None:
        return None
    text = text_of(source, what)
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        said = " ".join(str(error).split())
        raise click.UsageError(f"{what}: {source} is neither JSON nor YAML: {said}") from None


def mapping_of(source: str | None, what: str) -> dict[str, Any] | None:
    """Return the mapping in the file `source`; None without one.

    Raises:
        click.UsageError: it is none.
    """
    document = document_of(source, what)
    if document is None:
        return None if source is None else {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise click.UsageError(f"{what}: {source} is no mapping of names to values")
    return document
