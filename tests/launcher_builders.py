"""Makes valid launcher things in one call, for tests."""

from __future__ import annotations

import base64
import os
import pwd
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chamberlain_endpoint.launcher.accounts import look_up
from chamberlain_endpoint.launcher.protocol import Account, Group
from chamberlain_endpoint.launcher.settings import (
    LauncherSettings,
    Mode,
    PolicySettings,
)
from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire.assertion import Assertion, LinkedIdentity, sign
from chamberlain_wire.ids import new_id

ENDPOINT = "00000000-0000-4000-8000-00000000e4d0"
UEP = "00000000-0000-4000-8000-0000000000a1"
ALICE = "00000000-0000-4000-8000-00000000a11c"
STAND_IN = Path(__file__).parent / "stand_in.py"
SYSTEM_PYTHON = Path("/usr/bin/python3")
"""An interpreter that every account can run, which the one of the tests need not be."""


def make_account(uname: str = "alice", uid: int = 1001, *groups: tuple[int, str]) -> Account:
    all_groups = tuple(Group(gid, name) for gid, name in (groups or ((uid, uname),)))
    home = f"/home/{uname}"
    return Account(uname, uid, all_groups[0].gid, all_groups, "", "/bin/bash", home)


def own_account() -> Account:
    return look_up(pwd.getpwuid(os.geteuid()).pw_name)


def make_spec(
    folder: Path,
    behaviour: str,
    *,
    account: Account,
    user_endpoint: str = UEP,
    told: Path | None = None,
    first_line: bytes = b'{"password": "hunter2"}\n',
    python: Path = Path(sys.executable),
    script: Path = STAND_IN,
    **more: Any,
) -> LaunchSpec:
    return LaunchSpec(
        user_endpoint=user_endpoint,
        command=new_id(),
        account=account,
        arguments=(str(python), "-I", str(script), behaviour, str(told or "")),
        environment={"PATH": "/usr/bin:/bin", "HOME": account.dir, "LANG": "C.UTF-8"},
        state_dir=folder / str(account.uid) / user_endpoint,
        first_line=first_line,
        **more,
    )


class Hub:
    """Signs statements as the hub does."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    @property
    def public_text(self) -> str:
        return base64.b64encode(self.public_key).decode()

    def sign(self, assertion: Assertion) -> str:
        return sign(assertion, self._key).decode()

    def token(self, **changes: object) -> str:
        return self.sign(make_assertion(**changes))


def make_assertion(
    *,
    username: str = "alice@example.edu",
    identity: str = ALICE,
    identities: tuple[LinkedIdentity, ...] | None = None,
    endpoint: str = ENDPOINT,
    user_endpoint: str = UEP,
    assertion_id: str = "",
    issued_at: float | None = None,
    life_s: float = 120.0,
) -> Assertion:
    at = time.time() if issued_at is None else issued_at
    return Assertion(
        id=assertion_id or new_id(),
        endpoint=endpoint,
        user_endpoint=user_endpoint,
        identity=identity,
        username=username,
        identities=identities or (LinkedIdentity(id=identity, username=username),),
        request_digest="0" * 64,
        source="192.0.2.7",
        issued_at=at,
        expires_at=at + life_s,
    )


def make_settings(
    folder: Path, hub: Hub, policy: PolicySettings | None = None, **changes: Any
) -> LauncherSettings:
    settings = LauncherSettings(
        mode=Mode.MULTI,
        endpoint_id=ENDPOINT,
        socket=folder / "launcher.sock",
        state_dir=folder / "state",
        accounts_dir=folder / "accounts",
        hub_keys=(hub.public_key,),
        manager_user="chamberlain",
        identity_mapping=folder / "mapping.json",
        policy=policy or PolicySettings(),
    )
    return replace(settings, **changes)
