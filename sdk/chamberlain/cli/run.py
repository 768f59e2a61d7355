"""`chamberlain run`: one function of a file, once, on an endpoint."""

from __future__ import annotations

import concurrent.futures
import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from chamberlain.cli.show import client, json_option, print_json, shown, told
from chamberlain.errors import ChamberlainError, HubError


@click.command(
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

    What the function prints goes to standard error, when it has ended.

    ENDPOINT is an id or a name that `chamberlain endpoints` lists. FILE travels along, and so
    do your own modules that it imports; installed packages must be installed over there.
    Arguments are JSON; what is no JSON is taken as text. Ctrl-C cancels the task; after
    --timeout it goes on.
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
        print_json(answer)
        sys.exit(1 if answer["error"] is not None else 0)
    click.echo(answer["printed"], nl=False, err=True)
    if answer["error"] is not None:
        click.echo(answer["error"], err=True)
    else:
        click.echo(shown(answer["result"]))
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

    hub = client()
    answer: dict[str, Any] = {"task_id": None, "result": None, "error": None, "printed": ""}
    executor = Executor(_endpoint_id(hub, endpoint), hub, user_endpoint_config=options)
    try:
        future = executor.submit(function, *args, **kwargs)
        answer["task_id"] = future.task_id
        if concurrent.futures.wait([future], timeout_s).done:
            answer["printed"] = _printed(future)
            answer["result"] = future.result()
        else:
            answer["error"] = (
                f"no result within {timeout_s:g} s; task {future.task_id} goes on. "
                "`chamberlain tasks` shows its state."
            )
    except KeyboardInterrupt:
        executor.shutdown(wait=False, cancel_futures=True)
        raise
    except Exception as error:  # noqa: BLE001 - the user's function may raise anything
        answer["error"] = told(error)
    # At the end of the process the session is given back; nothing is left to wait for.
    executor.shutdown(wait=False)
    return answer


def _printed(future: Any) -> str:
    """Return what the function printed; empty where nobody knows."""
    if isinstance(future.exception(), HubError):
        # It never ran.
        return ""
    try:
        logs = future.logs()
    except ChamberlainError:
        # The result is what matters.
        return ""
    return str(logs) if logs.captured else ""


def _endpoint_id(hub: Any, text: str) -> str:
    from chamberlain_wire.errors import InvalidIdError
    from chamberlain_wire.ids import parse_endpoint_id

    try:
        return parse_endpoint_id(text)
    except InvalidIdError:
        pass
    found = [
        one["uuid"] for one in hub.endpoints() if text in (one.get("name"), one.get("display_name"))
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
        raise ChamberlainError(public=f"{file_name} cannot be run: {told(error)}") from error
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
