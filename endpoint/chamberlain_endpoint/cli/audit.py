"""`chamberlain-endpoint audit`: is the log whole, who did what, and the log for other programs.

Reads the files themselves, so it works while the endpoint is stopped, and on a copy.
"""

from __future__ import annotations

import heapq
import json
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import click

from chamberlain_endpoint.cli import daemons
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli
from chamberlain_endpoint.launcher import audit_chain
from chamberlain_wire.errors import ChamberlainError

F = TypeVar("F", bound=Callable[..., Any])
Document = dict[str, Any]

_AGO: Final = re.compile(r"(\d{1,6})([smhd])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

_LOG_AUDIT: Final = 13 * 8
_WARNING: Final = 4
_INFORMATIONAL: Final = 6
_SD_ID: Final = "chamberlain@32473"
"""32473 is the number that RFC 5612 sets aside for whoever has none of his own."""


def _common(command: F) -> F:
    command = click.argument("name")(command)
    return click.option(
        "-c",
        "--config-dir",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="CHAMBERLAIN_ENDPOINT_CONFIG_DIR",
        help="Folder that holds the endpoints' folders.",
    )(command)


def _filters(command: F) -> F:
    for option in (
        click.option(
            "--since", help="From a time on (2026-11-22T08:00, UTC), or 30m, 12h, 7d ago."
        ),
        click.option("--account", help="Only lines of this local account."),
        click.option("--task", type=click.UUID, help="Only lines of this task."),
        click.option("--user", help="Only lines of this identity: its username or id."),
    ):
        command = option(command)
    return command


@cli.group("audit")
def audit() -> None:
    """Check, read and export the audit log of an endpoint.

    The launcher writes a line before each decision takes effect: who asked, from where, as
    which account, and how it ended. Each line carries the hash of the line before it. A
    second log of the same form, tasks.log, has what user endpoints claim of their tasks.
    """


@audit.command("verify")
@_common
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify_command(name: str, config_dir: Path | None, as_json: bool) -> None:
    """Check that no line was changed, removed, added or cut off. Exit code 1: one was.

    All files that are kept are read. Whoever is root can write the whole log anew: export
    the lines to another host if that matters.
    """
    path, *more = _logs_of(name, config_dir)
    found = _verified(path)
    others = {log: _verified(log) for log in more}
    if as_json:
        document = {"whole": True, "path": str(path), **asdict(found)}
        document |= {log.stem: {"path": str(log), **asdict(one)} for log, one in others.items()}
        click.echo(json.dumps(document, indent=2))
        return
    for log, one in {path: found, **others}.items():
        older = f"; {one.dropped} older lines are not kept any more" if one.dropped else ""
        click.echo(f"{log}: whole, {one.lines} lines in {one.files} file(s){older}")


@audit.command("show")
@_common
@_filters
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with all lines.")
def show_command(name: str, config_dir: Path | None, as_json: bool, **wanted: Any) -> None:
    """Print who did what, oldest first.

    Lines of tasks say "says user endpoint": the account's own process told them, and the
    launcher saw nothing of it.
    """
    found = _chosen(name, config_dir, **wanted)
    if as_json:
        click.echo(json.dumps({"lines": list(found)}, indent=2))
        return
    for document in found:
        click.echo(_sentence(document))


@audit.command("export")
@_common
@_filters
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "syslog"]),
    default="jsonl",
    show_default=True,
    help="jsonl: the lines as they are. syslog: RFC 5424, one message a line.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format jsonl.")
def export_command(
    name: str, config_dir: Path | None, form: str, as_json: bool, **wanted: Any
) -> None:
    """Write the lines to standard output for another program, oldest first."""
    if as_json and form == "syslog":
        raise click.UsageError("--json and --format syslog are two forms; choose one")
    host = socket.gethostname()
    for document in _chosen(name, config_dir, **wanted):
        if form == "syslog":
            click.echo(syslog_line(document, host))
        else:
            click.echo(json.dumps(document, separators=(",", ":")))


def syslog_line(document: Document, host: str) -> str:
    """Return one audit line as an RFC 5424 message of the facility `log audit`."""
    severity = _WARNING if document.get("decision") == "refused" else _INFORMATIONAL
    fields = "".join(
        f' {name}="{_escaped(value)}"' for name, value in document.items() if name != "at"
    )
    action = str(document.get("action", "-"))[:32]
    at = document.get("at", "-")
    return f"<{_LOG_AUDIT + severity}>1 {at} {host} chamberlain - {action} [{_SD_ID}{fields}]"


def parse_since(text: str, now: datetime) -> datetime:
    """Return the moment that `text` names: a UTC time, or so long before `now`.

    Raises:
        click.BadParameter: it is neither.
    """
    ago = _AGO.fullmatch(text)
    if ago:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is neither a time such as 2026-11-22T08:00 nor one such as 12h",
            param_hint="--since",
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _escaped(value: object) -> str:
    # JSON's escapes keep a hostile name on one line, and are right for RFC 5424 but for "]".
    return json.dumps(str(value), ensure_ascii=False)[1:-1].replace("]", "\\]")


def _chosen(
    name: str,
    config_dir: Path | None,
    *,
    user: str | None,
    account: str | None,
    task: UUID | None,
    since: str | None,
) -> Iterator[Document]:
    after = parse_since(since, datetime.now(UTC)) if since else None
    logs = [audit_chain.entries(log) for log in _logs_of(name, config_dir)]
    try:
        for document in heapq.merge(*logs, key=lambda document: str(document.get("at", ""))):
            if user and user not in (document.get("username"), document.get("identity")):
                continue
            if account and document.get("account") != account:
                continue
            if task and document.get("task") != str(task):
                continue
            if after and _is_before(document, after):
                continue
            yield document
    except OSError as error:
        raise _unreadable(error) from None


def _verified(log: Path) -> audit_chain.Verified:
    try:
        return audit_chain.verify(log)
    except ChamberlainError as error:
        raise CommandFailedError(f"The audit log is broken: {error}") from None
    except OSError as error:
        raise _unreadable(error) from None


def _is_before(document: Document, moment: datetime) -> bool:
    try:
        return datetime.fromisoformat(document["at"]) < moment
    except (KeyError, TypeError, ValueError):
        return False  # not of the launcher's making: `verify` names it, nothing hides it


def _sentence(document: Document) -> str:
    who = (
        json.dumps(document.get("username", ""), ensure_ascii=False)
        if "username" in document
        else "-"
    )
    parts = [
        document.get("at", "-"),
        f"{document.get('action', '-'):<7}",
        f"{document.get('outcome') or document.get('decision', '-'):<9}",
        who,
        f"from {document['source']}" if "source" in document else "",
        f"as {document['account']}" if "account" in document else "",
        f"({document['user_endpoint']})" if "user_endpoint" in document else "",
        f"task {document['task']}" if "task" in document else "",
        f"function {document['function']}" if "function" in document else "",
        f"code {document['code_sha256'][:12]}" if "code_sha256" in document else "",
        f"job {document['job']}" if "job" in document else "",
        f"says {document['by']}" if "by" in document else "",
        document.get("code", ""),
        json.dumps(document.get("reason", ""), ensure_ascii=False)[1:-1],
    ]
    return " ".join(part for part in parts if part)


def _logs_of(name: str, config_dir: Path | None) -> list[Path]:
    """Return the launcher's own log, and that of tasks when there is one."""
    folder = daemons.known(name, config_dir).settings.state_dir
    tasks = folder / "tasks.log"
    return [
        folder / "audit.log",
        *([tasks] if tasks.exists() or audit_chain.head_path(tasks).exists() else []),
    ]


def _unreadable(error: OSError) -> CommandFailedError:
    return CommandFailedError(
        f"{error.filename or 'The audit log'} cannot be read: {error.strerror or error}. It is "
        "the launcher's own: run this as the account that runs the launcher (root), and start "
        "the endpoint once so that there is a log."
    )
