"""Manual pages of the three programs, made from what their commands say of themselves.

`python -m devtools.manpages FOLDER` writes `chamberlain.1`, `chamberlain-endpoint.1` and
`chamberlain-hub.1`. Nothing is written by hand, so a page cannot differ from `--help`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

import click

from chamberlain.cli import main as caller_cli
from chamberlain_endpoint.cli.group import cli as endpoint_cli
from chamberlain_hub.main import cli as hub_cli

PROGRAMS: Final[dict[str, click.Group]] = {
    "chamberlain": caller_cli,
    "chamberlain-endpoint": endpoint_cli,
    "chamberlain-hub": hub_cli,
}


def page(name: str) -> str:
    """Return the manual page of the program `name`, in the language of man(7)."""
    group = PROGRAMS[name]
    context = _context(group, name, None)
    summary = _first_sentence(group)
    parts = [
        f'.TH {_upper(name)} 1 "" "chamberlain {version("chamberlain")}" "Chamberlain"',
        ".SH NAME",
        f"{_text(name)} \\- {_text(summary)}",
        ".SH SYNOPSIS",
        f".B {_text(name)}",
        _text(" ".join(group.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        *_paragraphs(group),
        ".SH OPTIONS",
        *_options(group, context),
        ".SH COMMANDS",
    ]
    for path, command, inner in commands(group, context):
        usage = " ".join([name, *path, *command.collect_usage_pieces(inner)])
        parts += [f".SS {_text(' '.join(path))}", f".B {_text(usage)}", ".PP"]
        parts += [*_paragraphs(command), *_options(command, inner)]
    parts += [
        ".SH EXIT STATUS",
        "0: done, and nothing was found. 1: it could not be done, or something was found; the",
        "sentence says what. 2: the command makes no sense.",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def commands(
    group: click.Group, context: click.Context, above: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command, click.Context]]:
    """Yield each command that is shown, by its words, with a context to ask it for its help."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if command is None or command.hidden:
            continue
        inner = _context(command, name, context)
        if isinstance(command, click.Group):
            yield from commands(command, inner, (*above, name))
        else:
            yield (*above, name), command, inner


def main(folder: Path) -> None:
    """Write all pages into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in PROGRAMS:
        (folder / f"{name}.1").write_text(page(name))


def _context(command: click.Command, name: str, above: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=above, max_content_width=100)


def _first_sentence(command: click.Command) -> str:
    return (command.help or "").strip().split("\n\n")[0].replace("\n", " ").rstrip(".")


def _paragraphs(command: click.Command) -> Iterator[str]:
    for paragraph in (command.help or "").strip().split("\n\n"):
        lines = paragraph.strip().split("\n")
        if lines[0].strip() == "\b":
            yield ".nf"
            yield from (_text(line.rstrip()) for line in lines[1:])
            yield ".fi"
        else:
            yield _text(" ".join(line.strip() for line in lines))
        yield ".PP"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield from (".TP", f".B {_text(record[0])}", _text(" ".join(record[1].split())))


def _upper(name: str) -> str:
    return _text(name.upper())


def _text(text: str) -> str:
    """Return `text` so that troff writes it as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    main(Path(sys.argv[1]))
