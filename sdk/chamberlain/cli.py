"""The `chamberlain` command. Exit codes: 0 done, 1 it failed, 2 the command line is wrong."""

from __future__ import annotations

import concurrent.futures
import functools
import importlib.util
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from chamberlain.errors import ChamberlainError, TaskExecutionFailed

_STATE_COLOURS: Final = {"success": "green", "failed": "red", "cancelled": "yellow"}

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def _main_group() -> type[click.Group]:
    class Group(click.Group):
        """Turns errors that tell their own story into one line and exit code 1."""

        def invoke(self, context: click.Context) -> Any:
            try:
                return super().invoke(context)
            except ChamberlainError as error:
                click.echo(f"chamberlain: {error.public}", err=True)
                context.exit(1)

    return Group


@click.group(
    cls=_main_group(),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Address and token of your hub:
  export CHAMBERLAIN_HUB_URL=https://hub.example.edu
  export CHAMBERLAIN_TOKEN=chp_...
or hub_url = "..." and token = "..." in ~/.config/chamberlain/config.toml (mode 0600).

\b
Completion of commands, for bash (zsh and fish work alike):
  eval "$(_CHAMBERLAIN_COMPLETE=bash_source chamberlain)"
""",
)
@click.version_option(package_name="chamberlain")
@click.pass_context
def main(context: click.Context) -> None:
    """Run Python functions on a cluster, as yourself, without a shell account there.

    \b
    Begin with:
      chamberlain whoami            who the hub takes you for
      chamberlain endpoints         where you may run functions
      chamberlain run hello.py:hello ENDPOINT
    """
    if os.environ.get("NO_COLOR"):
        context.color = False


@main.command()
@json_option
def whoami(as_json: bool) -> None:
    """Show who the hub takes you for, with all linked identities.

    The endpoint maps one of these identities to the local account that your functions run as.
    """
    me = _client().whoami()
    if as_json:
        _json(me)
        return
    click.echo(f"{me.get('preferred_username', '')}  ({me.get('name') or 'no name given'})")
    rows = [
        (one.get("username", ""), one.get("sub") or one.get("id", ""), one.get("status", ""))
        for one in me.get("identity_set") or [me | {"username": me.get("preferred_username", "")}]
    ]
    _table(("IDENTITY", "ID", "STATUS"), rows)


@main.command()
@click.option("--mine", is_flag=True, help="Only endpoints that you own.")
@click.option("--status/--no-status", default=True, help="Ask whether each one is online.")
@json_option
def endpoints(mine: bool, status: bool, as_json: bool) -> None:
    """List the endpoints where you may run functions."""
    client = _client()
    found = client.endpoints(role="owner" if mine else "any")
    if status:
        for one in found:
            one.setdefault("status", client.endpoint_status(one["uuid"]).get("status"))
    if as_json:
        _json(found)
        return
    if not found:
        click.echo("No endpoint that you may use. Ask your site's administrator for access.")
        return
    rows = [
        (one["uuid"], one.get("status") or "", one.get("display_name") or one.get("name") or "")
        for one in found
    ]
    _table(("ENDPOINT", "STATUS", "NAME"), rows)


@main.command(
    epilog="""\b
Examples:
  chamberlain run hello.py:hello b7f0...
  chamberlain run fit.py:fit lab-cluster --arg 0.5 --kwarg steps=100
  chamberlain run fit.py:fit lab-cluster --config '{"partition": "gpu"}'
"""
)
@click.argument("function", metavar="FILE:FUNCTION")
@click.argument("endpoint", metavar="ENDPOINT")
@click.option("--arg", "args", multiple=True, metavar="JSON", help="Positional argument; repeat.")
@click.option("--kwarg", "kwargs", multiple=True, metavar="NAME=JSON", help="Named argument.")
@click.option("--config", metavar="JSON", help="Options of the endpoint, or @FILE with them.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Wait no longer than this.")
@json_option
def run(function: str, endpoint: str, as_json: bool, **call: Any) -> None:
    """Run FUNCTION of FILE once on ENDPOINT and print what it returns.

    ENDPOINT is an id or a name that `chamberlain endpoints` lists. FILE travels along, and so
    do your own modules that it imports; installed packages must be installed over there.
    Arguments are JSON; what is no JSON is taken as text.
    """
    called = _load(function)
    answer = _run_once(
        called,
        endpoint,
        [_value(text) for text in call["args"]],
        dict(_named(text) for text in call["kwargs"]),
        _options(call["config"]),
        call["timeout"],
    )
    if as_json:
        _json(answer)
    elif answer["error"] is not None:
        click.echo(answer["error"], err=True)
    else:
        click.echo(_shown(answer["result"]))
    if answer["error"] is not None:
        sys.exit(1)


def _run_once(
    function: Callable[..., Any],
    endpoint: str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    options: Mapping[str, Any] | None,
    timeout_s: float | None,
) -> dict[str, Any]:
    from chamberlain.executor import Executor

    client = _client()
    answer: dict[str, Any] = {"task_id": None, "result": None, "error": None}
    executor = Executor(_endpoint_id(client, endpoint), client, user_endpoint_config=options)
    try:
        future = executor.submit(function, *args, **kwargs)
        answer["task_id"] = future.task_id
        if concurrent.futures.wait([future], timeout_s).done:
            answer["result"] = future.result()
        else:
            answer["error"] = (
                f"no result within {timeout_s:g} s; task {future.task_id} goes on. "
                "`chamberlain tasks` shows its state."
            )
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything
        answer["error"] = _told(error)
    # At the end of the process the session is given back; nothing is left to wait for.
    executor.shutdown(wait=False)
    return answer


@main.command()
@click.option("--limit", default=20, show_default=True, help="How many, newest first.")
@click.option("--state", help="Only those in this state, such as failed.")
@json_option
def tasks(limit: int, state: str | None, as_json: bool) -> None:
    """List your tasks, newest first."""
    found = _client().tasks(limit=limit, state=state)
    if as_json:
        _json(found)
        return
    if not found:
        click.echo("No tasks.")
        return
    rows = [
        (
            one["task_id"],
            one.get("state", ""),
            one.get("function_name") or one.get("function_id", ""),
            str(one.get("submitted_at") or ""),
            str(one.get("completed_at") or ""),
        )
        for one in found
    ]
    _table(("TASK", "STATE", "FUNCTION", "SUBMITTED", "COMPLETED"), rows)


@functools.cache
def _client() -> Any:
    from chamberlain.client import Client

    return Client(patience_s=15.0)


def _endpoint_id(client: Any, text: str) -> str:
    from chamberlain_wire.errors import InvalidIdError
    from chamberlain_wire.ids import parse_endpoint_id

    try:
        return parse_endpoint_id(text)
    except InvalidIdError:
        pass
    found = [
        one["uuid"]
        for one in client.endpoints()
        if text in (one.get("name"), one.get("display_name"))
    ]
    if len(found) != 1:
        how_many = "no endpoint is" if not found else f"{len(found)} endpoints are"
        raise ChamberlainError(
            public=f"{how_many} called {text!r}; `chamberlain endpoints` lists their ids."
        )
    return str(found[0])


def _load(text: str) -> Callable[..., Any]:
    file_name, colon, name = text.rpartition(":")
    file = Path(file_name)
    if not colon or not name:
        raise click.BadParameter("give FILE:FUNCTION, such as hello.py:hello")
    if not file.is_file():
        raise click.BadParameter(f"there is no file {file_name!r}")
    # Its neighbours shall be importable, as when Python runs it.
    sys.path.insert(0, str(file.resolve().parent))
    module_name = file.stem if file.stem not in sys.modules else f"chamberlain_run_{file.stem}"
    spec = importlib.util.spec_from_file_location(module_name, file)
    if spec is None or spec.loader is None:
        raise click.BadParameter(f"{file_name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ChamberlainError(public=f"{file_name} cannot be run: {_told(error)}") from error
    function = getattr(module, name, None)
    if not callable(function):
        names = [key for key, one in vars(module).items() if callable(one) and key[0] != "_"]
        raise click.BadParameter(
            f"{file_name} has no function {name!r}; it has {', '.join(names) or 'none'}"
        )
    return function  # type: ignore[no-any-return]


def _options(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        options = json.loads(Path(text[1:]).read_text() if text.startswith("@") else text)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"--config is no JSON: {error}") from None
    if not isinstance(options, dict):
        raise click.BadParameter('--config must be a JSON object, such as {"partition": "gpu"}')
    return options


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _named(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise click.BadParameter(f"--kwarg {text!r} is not NAME=JSON")
    return name, _value(value)


def _told(error: BaseException) -> str:
    if isinstance(error, ChamberlainError):
        return str(error)
    remote = error.__cause__
    if isinstance(remote, TaskExecutionFailed):
        return str(remote)
    return "".join(traceback.format_exception_only(error)).strip()


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, indent=2, ensure_ascii=False)
    except (TypeError, ValueError):
        return repr(value)


def _json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=repr))


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [heads, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(heads))]
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        cells[-1] = cells[-1].rstrip()
        styled = [
            click.style(cell, bold=True)
            if number == 0
            else click.style(cell, fg=_STATE_COLOURS.get(cell.strip()))
            for cell in cells
        ]
        click.echo("  ".join(styled))
