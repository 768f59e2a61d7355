"""What all commands of `chamberlain-hub` share: errors, output, settings and the store."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from chamberlain_wire.errors import ChamberlainError, ErrorCode

if TYPE_CHECKING:
    from chamberlain_hub.config import HubSettings
    from chamberlain_hub.store.store import Store

F = TypeVar("F", bound=Callable[..., Any])

_JSON: Final = "chamberlain_hub.json"
_UNITS_S: Final = {"m": 60, "h": 3600, "d": 86400}
_LONGEST_S: Final = 3660 * 86400


class RefusedError(click.ClickException):
    """Shows one of our own errors, in the form that the command was asked for."""

    def __init__(self, error: ChamberlainError, *, as_json: bool) -> None:
        # Who runs this command is the administrator, who may see the detail too.
        detail = str(error)
        super().__init__(error.public if detail in error.public else f"{error.public} ({detail})")
        self._code = error.code
        self._as_json = as_json

    def show(self, file: Any = None) -> None:
        """Write the error to standard error."""
        if self._as_json:
            error = {"code": self._code.value, "message": self.message}
            click.echo(json.dumps({"error": error}), err=True)
        else:
            click.echo(f"chamberlain-hub: {self.message}", err=True)


class SettingsRefusedError(RefusedError):
    """The settings or the host are not as they must be; nothing was tried."""

    exit_code = 2


class HubGroup(click.Group):
    """A group whose commands may raise our own errors."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; turn our errors into an exit code and a sentence."""
        try:
            return super().invoke(ctx)
        except ChamberlainError as error:
            wrong_settings = error.code is ErrorCode.CONFIG_INVALID
            kind = SettingsRefusedError if wrong_settings else RefusedError
            raise kind(error, as_json=bool(ctx.meta.get(_JSON))) from error


def duration(_ctx: click.Context, _param: click.Parameter, value: str) -> float | None:
    """Return `30d`, `12h` or `45m` in seconds, and None for `never`."""
    if value == "never":
        return None
    match = re.fullmatch(r"([1-9][0-9]{0,6})([mhd])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a duration: write 30d, 12h, 45m or never")
    seconds = float(int(match[1]) * _UNITS_S[match[2]])
    if seconds > _LONGEST_S:
        raise click.BadParameter(f"{value!r} is more than ten years: write never")
    return seconds


def _note_json(ctx: click.Context, _param: click.Parameter, value: bool) -> bool:
    ctx.meta[_JSON] = value
    return value


def json_option(command: F) -> F:
    """Give a command `--json`, for its output and for its errors."""
    return click.option(
        "--json", "as_json", is_flag=True, callback=_note_json, help="Write JSON, for programs."
    )(command)


def settings_of(config: Path | None) -> HubSettings:
    """Return the settings that `--config` and the environment give."""
    from chamberlain_hub.config import HubSettings

    return HubSettings.load(config)


@contextlib.contextmanager
def open_database(settings: HubSettings) -> Iterator[Store]:
    """Give the store as it is, migrated or not."""
    from chamberlain_hub.store.data_dir import prepare_data_dir
    from chamberlain_hub.store.store import Store

    prepare_data_dir(settings.data_dir)
    store = Store.open(settings.database_url.reveal())
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def open_store(config: Path | None) -> Iterator[Store]:
    """Give the store, made if this is the first command on this host."""
    with open_store_of(settings_of(config)) as store:
        yield store


@contextlib.contextmanager
def open_store_of(settings: HubSettings) -> Iterator[Store]:
    """Give the store that `settings` name, made if this is the first command on this host."""
    with open_database(settings) as store:
        if store.is_sqlite and store.is_new():
            store.migrate()
        store.check_migrated()
        yield store


def say(document: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Write to standard output: `document` for programs, `text` for people."""
    click.echo(json.dumps(document) if as_json else text)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as text with aligned columns."""
    every = [head, *rows]
    widths = [max(len(row[place]) for row in every) for place in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in every
    )


def iso(at: float | None) -> str | None:
    """Return a time (UTC seconds) as people and programs read it; None stays None."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
