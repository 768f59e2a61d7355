"""`chamberlain-hub audit`: is the log whole, who did what, and the log for other programs.

Reads the files themselves, so it works while the hub is stopped, and on a copy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from chamberlain_hub.cli.frame import json_option, say, settings_of
from chamberlain_wire import audit_chain

F = TypeVar("F", bound=Callable[..., Any])
Document = dict[str, Any]

_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Filters:
    """Which lines are wanted; empty: all. `user` is a username or an identity's id."""

    task: str = ""
    user: str = ""
    endpoint: str = ""
    since: datetime | None = None

    def let_through(self, document: Document) -> bool:
        """Tell whether `document` is wanted."""
        return (
            (not self.task or self.task in _tasks(document))
            and (not self.user or self.user in (document.get("username"), document.get("identity")))
            and (
                not self.endpoint
                or self.endpoint in (document.get("endpoint"), document.get("user_endpoint"))
            )
            and (self.since is None or not _is_before(document, self.since))
        )


def _since(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago:
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a time such as 2026-11-22T08:00 nor one such as 12h"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _filters(command: F) -> F:
    for option in (
        click.option(
            "--since",
            callback=_since,
            help="From a time on (2026-11-22T08:00, UTC), or 30m, 12h, 7d ago.",
        ),
        click.option("--endpoint", default="", help="Only of this endpoint or user endpoint."),
        click.option("--user", default="", help="Only of this identity: its username or id."),
        click.option("--task", default="", help="Only lines that name this task."),
    ):
        command = option(command)
    return command


@click.group()
def audit() -> None:
    """Check, read and export the audit log of this hub.

    A line is on the disk before what it tells of is done: who asked, from where, with which
    token, for which functions and tasks, and how it ended. Each line carries the hash of the
    line before it.
    """


@audit.command("verify")
@json_option
@click.pass_obj
def audit_verify(config: Path | None, as_json: bool) -> None:
    """Check that no line was changed, removed, added or cut off. Exit code 1: one was.

    All files that are kept are read. Whoever owns the files can write the whole log anew:
    export the lines to another host if that matters.
    """
    path = _path(config)
    try:
        found = audit_chain.verify(path)
    except audit_chain.BrokenChainError as error:
        raise click.ClickException(f"The audit log is broken: {error}") from None
    except OSError as error:
        raise _unreadable(error) from None
    older = f"; {found.dropped} older lines are not kept any more" if found.dropped else ""
    say(
        {"whole": True, "path": str(path), **asdict(found)},
        f"{path}: whole, {found.lines} lines in {found.files} file(s){older}",
        as_json=as_json,
    )


@audit.command("show")
@_filters
@json_option
@click.pass_obj
def audit_show(config: Path | None, /, as_json: bool, **filters: Any) -> None:
    """Print who did what, oldest first."""
    found = _chosen(config, Filters(**filters))
    if as_json:
        click.echo(json.dumps({"lines": list(found)}, indent=2))
        return
    for document in found:
        click.echo(_sentence(document))


@audit.command("export")
@_filters
@json_option
@click.pass_obj
def audit_export(config: Path | None, /, as_json: bool, **filters: Any) -> None:
    """Write the lines, as JSON, to standard output for another program; oldest first."""
    del as_json  # there is no other form
    for document in _chosen(config, Filters(**filters)):
        click.echo(json.dumps(document, separators=(",", ":")))


def _chosen(config: Path | None, filters: Filters) -> Iterator[Document]:
    try:
        yield from filter(filters.let_through, audit_chain.entries(_path(config)))
    except OSError as error:
        raise _unreadable(error) from None


def _tasks(document: Document) -> list[Any]:
    functions = document.get("functions") or []
    return [
        *(document.get("tasks") or []),
        *(task for function in functions for task in function.get("tasks", [])),
    ]


def _is_before(document: Document, moment: datetime) -> bool:
    try:
        return datetime.fromisoformat(document["at"]) < moment
    except (KeyError, TypeError, ValueError):
        return False  # not of the hub's making: `verify` names it, nothing hides it


def _sentence(document: Document) -> str:
    functions = document.get("functions") or []
    named = ", ".join(
        f"{one.get('id')} (sha256 {str(one.get('sha256'))[:12]})" for one in functions
    )
    count = len(_tasks(document))
    parts = [
        document.get("at", "-"),
        f"{document.get('action', '-'):<19}",
        f"{document.get('outcome') or document.get('decision', '-'):<9}",
        document.get("username") or document.get("identity") or document.get("operator") or "-",
        f"from {document['source']}" if "source" in document else "",
        f"as {document['account']}" if "account" in document else "",
        f"at {document['endpoint']}" if "endpoint" in document else "",
        f"{count} task(s)" if count else "",
        f"of {named}" if named else "",
        f"about {document['about']}" if "about" in document else "",
        document.get("route", ""),
        document.get("code", ""),
        document.get("reason", ""),
    ]
    # JSON's escapes keep a hostile text on its line.
    return json.dumps(" ".join(str(part) for part in parts if part), ensure_ascii=False)[1:-1]


def _path(config: Path | None) -> Path:
    from chamberlain_hub.audit.log import audit_path

    return audit_path(settings_of(config))


def _unreadable(error: OSError) -> click.ClickException:
    return click.ClickException(
        f"{error.filename or 'The audit log'} cannot be read: {error.strerror or error}. It is "
        "the hub's own: run this as the account that runs the hub, and start the hub once so "
        "that there is a log."
    )
