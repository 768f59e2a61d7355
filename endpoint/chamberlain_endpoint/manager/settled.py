"""The manager's settings as it works with them: checked, with every path and default in place.

`config.ManagerSettings` checks the file, and costs 12 MB of libraries that are needed for
nothing else. `read_apart` lets a child pay them, so that an idle manager stays small.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from chamberlain_endpoint.manager.fatal import Exit, FatalError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What one manager is told; see `config.ManagerSettings` for the keys behind it.

    Attributes:
        config_file: where it was read.
        hub_address: without a slash at the end.
        authentication_policy_terms: in the words of the file, as JSON.
        heartbeat_period: seconds.
        parent_config: what a template sees as `_GC.parent_config`.
    """

    name: str
    config_file: Path
    template_file: Path
    schema_file: Path
    environment_file: Path
    token_path: Path
    socket_path: Path
    state_path: Path
    hub_address: str
    heartbeat_period: float
    public: bool
    high_assurance: bool
    debug: bool
    parent_config: dict[str, Any]
    display_name: str | None = None
    email: str | None = None
    endpoint_id: str | None = None
    admins: tuple[str, ...] | None = None
    allowed_functions: tuple[str, ...] | None = None
    authentication_policy: str | None = None
    authentication_policy_terms: dict[str, Any] | None = None
    subscription_id: str | None = None
    amqp_port: int | None = None
    metrics_listen: str | None = None


class _Failed(msgspec.Struct, tag=True):
    """Why there are none, as the child says it."""

    exit_code: int
    public: str


class _Read(msgspec.Struct, tag=True):
    settings: Settings


def read_apart(read: Callable[[Path], Settings], path: Path) -> Settings:
    """Return `read(path)`, read in a child process; call it while there is one thread.

    Raises:
        FatalError: what `read` raised, in the same words; or the child died.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _answer(writer, read, path)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read()
    _, status = os.waitpid(pid, 0)
    if not text:
        code = os.waitstatus_to_exitcode(status)
        raise FatalError(Exit.UNEXPECTED_ANSWER, f"Reading {path} ended with {code}, no answer.")
    said = msgspec.json.decode(text, type=_Read | _Failed, dec_hook=lambda kind, value: kind(value))
    if isinstance(said, _Failed):
        raise FatalError(Exit(said.exit_code), said.public)
    return said.settings


def _answer(writer: int, read: Callable[[Path], Settings], path: Path) -> NoReturn:
    """Write what `read` returned or raised, and end; runs in the child."""
    code = 1
    try:
        said: _Read | _Failed
        try:
            said = _Read(read(path))
        except FatalError as error:
            said = _Failed(error.exit_code, error.public)
        with os.fdopen(writer, "wb") as answer:
            answer.write(msgspec.json.encode(said, enc_hook=os.fspath))
        code = 0
    except BaseException:  # noqa: BLE001 - the edge of the process
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)
