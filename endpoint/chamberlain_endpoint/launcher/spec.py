"""From a granted launch to what exactly is started. Pure.

Nothing secret stands in the arguments or the environment: configuration and credentials are
the first line on standard input.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher import choice
from chamberlain_endpoint.launcher.protocol import Account, Admitted, Launch
from chamberlain_endpoint.launcher.settings import LauncherSettings, PamSettings, RuntimeKind
from chamberlain_wire.assertion import Assertion
from chamberlain_wire.errors import ChamberlainError, ErrorCode

LEASE_FILE: Final = "/etc/chamberlain/lease"
"""Where a container finds the file whose time the launcher changes as long as it lives."""
_MODULE: Final = "chamberlain_endpoint.user.main"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


class LaunchRefusedError(ChamberlainError):
    """What the manager wants to hand over cannot be handed over. Asking again is no use."""

    code = ErrorCode.START_FAILED
    public = "The endpoint could not start your user endpoint."


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """All that a runtime needs to start one user endpoint.

    Attributes:
        command: id of the assertion that asked for it.
        identity: who asked, as the hub names them; `username`: likewise.
        arguments: the program and its arguments; no secret among them.
        environment: the whole environment; nothing is inherited.
        state_dir: a folder of the account's own, made by the runtime; the working directory.
        first_line: what stands first on standard input, with its newline. A secret.
        runtime: what it runs in.
        image: name of the container's image; empty is the usual one.
        pam: the session to open around it.
        tells_tasks: its standard output are records of its tasks (`chamberlain_wire.claims`).
        may_have_jobs: its nodes come from a scheduler, so jobs of its may outlive it.
    """

    user_endpoint: str
    command: str
    account: Account
    arguments: tuple[str, ...]
    environment: dict[str, str] = field(repr=False)
    state_dir: Path
    first_line: bytes = field(repr=False)
    runtime: RuntimeKind = RuntimeKind.PROCESS
    image: str = ""
    pam: PamSettings = field(default_factory=PamSettings)
    tells_tasks: bool = False
    may_have_jobs: bool = False
    identity: str = ""
    username: str = ""


def build(
    settings: LauncherSettings, launch: Launch, assertion: Assertion, admitted: Admitted
) -> LaunchSpec:
    """Return what to start for a launch that was granted.

    Raises:
        LaunchRefusedError: configuration, credentials or environment have a wrong shape.
        ChoiceRefusedError: the template chose a runtime or image that the account may not have.
    """
    account = admitted.account
    config = _object(launch.config, "config")
    runtime, image = _chosen(settings, account, config)
    root = settings.runtime.root_of(image) if runtime is RuntimeKind.CONTAINER else None
    state_dir = settings.accounts_dir / str(account.uid) / launch.user_endpoint
    line = {
        "v": 1,
        "endpoint": settings.endpoint_id,
        "user_endpoint": launch.user_endpoint,
        "command": assertion.id,
        "config": config,
        "credentials": _object(launch.credentials, "credentials"),
        "state_dir": str(state_dir),
        "lease_s": settings.runtime.lease_s,
        "lease_file": LEASE_FILE if runtime is RuntimeKind.CONTAINER else "",
        "tells_tasks": settings.audit_tasks,
        "identity": {
            "id": admitted.identity,
            "username": admitted.username,
            "rule": admitted.rule,
        },
    }
    return LaunchSpec(
        user_endpoint=launch.user_endpoint,
        command=assertion.id,
        account=account,
        # -I: neither the account's own packages nor PYTHON* variables change what runs.
        arguments=(str(settings.python), "-I", "-m", _MODULE),
        environment=_environment(settings, account, launch.environment, root),
        state_dir=state_dir,
        first_line=json.dumps(line, separators=(",", ":")).encode() + b"\n",
        runtime=runtime,
        image=image,
        pam=settings.pam,
        tells_tasks=settings.audit_tasks,
        may_have_jobs=_may_have_jobs(config),
        identity=admitted.identity,
        username=admitted.username,
    )


def _chosen(
    settings: LauncherSettings, account: Account, config: dict[str, Any]
) -> tuple[RuntimeKind, str]:
    kind = choice.kind_for(settings.runtime, account, _text(config, "runtime"))
    image = _text(config, "container_image")
    if kind is RuntimeKind.PROCESS:
        return kind, ""
    return kind, choice.image_for(settings.runtime, account, image)


def _text(config: dict[str, Any], name: str) -> str:
    value = config.get(name) or ""
    if type(value) is not str:
        raise LaunchRefusedError(f"config: {name} is no text")
    return value


def _may_have_jobs(config: dict[str, Any]) -> bool:
    engine = config.get("engine")
    provider = engine.get("provider") if type(engine) is dict else None
    return type(provider) is dict and provider.get("type") != "LocalProvider"


def _object(text: str, what: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise LaunchRefusedError(f"{what} is not JSON") from None
    if type(document) is not dict:
        raise LaunchRefusedError(f"{what} is not a JSON object")
    return document


def _environment(
    settings: LauncherSettings, account: Account, added: dict[str, str], root: Path | None
) -> dict[str, str]:
    for name, value in added.items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise LaunchRefusedError(f"environment: {name[:128]!r} is no variable")
    return {
        "PATH": settings.path,
        "LANG": "C.UTF-8",
        **added,
        # Last: who the process is, the site's environment file does not decide.
        "HOME": account.dir,
        "USER": account.uname,
        "LOGNAME": account.uname,
        "SHELL": account.shell,
        # For workers that are to run in the same image: see `engine/unpacked`.
        **({"CHAMBERLAIN_IMAGE": str(root)} if root else {}),
    }
