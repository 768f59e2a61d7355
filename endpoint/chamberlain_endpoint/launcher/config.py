"""Reads `launcher.toml` into `settings`.

TOML and dataclasses, because root reads it and the standard library has both. Unknown keys
are refused, nothing is repaired, and all faults are named at once.
"""

from __future__ import annotations

import base64
import binascii
import re
import sys
import tomllib
from pathlib import Path
from typing import Final

from chamberlain_endpoint.launcher import runtime_config, trusted_file
from chamberlain_endpoint.launcher.settings import (
    USUAL_PATH,
    AuditSettings,
    LauncherSettings,
    MappingSettings,
    Mode,
    OnWriteFailure,
    PamSettings,
    PolicySettings,
    RuntimeKind,
)
from chamberlain_endpoint.launcher.toml_table import Table
from chamberlain_wire.errors import ChamberlainError, ErrorCode, InvalidIdError
from chamberlain_wire.ids import canonical

_MAX_SOCKET_PATH_BYTES: Final = 107
_KEY_BYTES: Final = 32
_LEAST_AUDIT_BYTES: Final = 4096
_LEAST_EXTERNAL_S: Final = 0.1
_MOST_EXTERNAL_S: Final = 10.0
_LEAST_PAM_S: Final = 0.1
_MOST_PAM_S: Final = 300.0
_PAM_SERVICE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")


class ConfigRefusedError(ChamberlainError):
    """The settings have faults. Do not start; show `faults` to the administrator.

    Attributes:
        faults: one sentence each, never empty.
    """

    code = ErrorCode.CONFIG_INVALID

    def __init__(self, faults: tuple[str, ...]) -> None:
        super().__init__("; ".join(faults))
        self.faults = faults


def load(path: Path, owners: frozenset[int]) -> LauncherSettings:
    """Return the settings in the file `path`, which only `owners` can have written.

    Raises:
        UntrustedPathError: others could have written it.
        ConfigRefusedError: it has faults.
    """
    return parse(trusted_file.read(path, owners))


def check(path: Path, owners: frozenset[int]) -> tuple[str, ...]:
    """Return every fault of the file `path`; empty when the launcher would take it."""
    try:
        load(path, owners)
    except ConfigRefusedError as error:
        return error.faults
    except trusted_file.UntrustedPathError as error:
        return (str(error),)
    return ()


def parse(content: bytes) -> LauncherSettings:
    """Return the settings in the text of a `launcher.toml`.

    Raises:
        ConfigRefusedError: it has faults; all of them are named.
    """
    try:
        document = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigRefusedError((f"not TOML: {error}",)) from None
    faults: list[str] = []
    table = Table(document, "", faults)
    settings = LauncherSettings(
        mode=_mode(table),
        endpoint_id=_uuid(table, "endpoint_id", required=True),
        socket=table.path("socket"),
        state_dir=table.path("state_dir"),
        accounts_dir=table.path("accounts_dir"),
        hub_keys=_keys(table),
        manager_user=table.text("manager_user", ""),
        identity_mapping=table.path("identity_mapping") if table.has("identity_mapping") else None,
        python=table.path("python", sys.executable),
        path=table.text("path", USUAL_PATH),
        owner_identity=_uuid(table, "owner_identity", required=False),
        audit_tasks=table.truth("audit_tasks", default=True),
        policy=_policy(table),
        audit=_audit(table),
        mapping=_mapping(table),
        runtime=runtime_config.parse(table.table("runtime")),
        pam=_pam(table),
    )
    table.refuse_unknown()
    faults += _faults_across(settings)
    if faults:
        raise ConfigRefusedError(tuple(faults))
    return settings


def _mode(table: Table) -> Mode:
    text = table.text("mode", Mode.MULTI)
    if text not in set(Mode):
        table.fault("mode", 'must be "multi" or "single"')
        return Mode.MULTI
    return Mode(text)


def _uuid(table: Table, name: str, *, required: bool) -> str:
    text = table.text(name, None if required else "")
    if not text:
        return text
    try:
        return canonical(text, name)
    except InvalidIdError:
        table.fault(name, "must be a UUID")
        return text


def _keys(table: Table) -> tuple[bytes, ...]:
    keys = []
    for number, text in enumerate(table.texts("hub_keys"), start=1):
        try:
            key = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            key = b""
        if len(key) != _KEY_BYTES:
            table.fault("hub_keys", f"number {number} is not base64 of {_KEY_BYTES} bytes")
        keys.append(key)
    if not keys and table.has("hub_keys"):
        table.fault("hub_keys", "must name at least one key")
    return tuple(keys)


def _policy(table: Table) -> PolicySettings:
    policy, usual = table.table("policy"), PolicySettings()
    settings = PolicySettings(
        # 1 and not 0: root is refused whatever the file says, so it must not seem allowed.
        min_uid=policy.whole("min_uid", usual.min_uid, least=1),
        denied_accounts=policy.texts("denied_accounts", usual.denied_accounts),
        denied_groups=policy.texts("denied_groups", usual.denied_groups),
        allowed_groups=policy.texts("allowed_groups", usual.allowed_groups),
        max_user_endpoints=policy.whole("max_user_endpoints", usual.max_user_endpoints, least=1),
        max_user_endpoints_per_account=policy.whole(
            "max_user_endpoints_per_account", usual.max_user_endpoints_per_account, least=1
        ),
        stop_grace_s=policy.number("stop_grace_s", usual.stop_grace_s, least=0.0),
    )
    policy.refuse_unknown()
    return settings


def _audit(table: Table) -> AuditSettings:
    audit, usual = table.table("audit"), AuditSettings()
    policy = audit.text("on_write_failure", usual.on_write_failure)
    if policy not in set(OnWriteFailure):
        audit.fault("on_write_failure", 'must be "refuse" or "continue"')
        policy = usual.on_write_failure
    settings = AuditSettings(
        on_write_failure=OnWriteFailure(policy),
        max_bytes=audit.whole("max_bytes", usual.max_bytes, least=_LEAST_AUDIT_BYTES),
        keep_files=audit.whole("keep_files", usual.keep_files, least=1),
    )
    audit.refuse_unknown()
    return settings


def _mapping(table: Table) -> MappingSettings:
    mapping, usual = table.table("mapping"), MappingSettings()
    settings = MappingSettings(
        external_account=mapping.text("external_account", usual.external_account),
        external_timeout_s=mapping.number(
            "external_timeout_s", usual.external_timeout_s, least=_LEAST_EXTERNAL_S
        ),
    )
    if settings.external_timeout_s > _MOST_EXTERNAL_S:
        # The whole decision has to end in time, with several programs one after the other.
        mapping.fault("external_timeout_s", f"must be {_MOST_EXTERNAL_S:g} or less")
    mapping.refuse_unknown()
    return settings


def _pam(table: Table) -> PamSettings:
    pam, usual = table.table("pam"), PamSettings()
    settings = PamSettings(
        enable=pam.truth("enable", default=usual.enable),
        service=pam.text("service", usual.service),
        timeout_s=pam.number("timeout_s", usual.timeout_s, least=_LEAST_PAM_S),
    )
    if settings.timeout_s > _MOST_PAM_S:
        pam.fault("timeout_s", f"must be {_MOST_PAM_S:g} or less")
    if not _PAM_SERVICE.fullmatch(settings.service):
        pam.fault("service", "must be the name of a file in /etc/pam.d, without a folder")
    pam.refuse_unknown()
    return settings


def _faults_across(settings: LauncherSettings) -> list[str]:
    faults = []
    if len(bytes(settings.socket)) > _MAX_SOCKET_PATH_BYTES:
        faults.append(f"socket has a path above {_MAX_SOCKET_PATH_BYTES} bytes; the kernel's limit")
    faults += (
        _faults_of_multi(settings) if settings.mode is Mode.MULTI else _faults_of_single(settings)
    )
    return faults


def _faults_of_multi(settings: LauncherSettings) -> list[str]:
    faults = []
    if settings.identity_mapping is None:
        faults.append("identity_mapping is missing: without it nobody can come in")
    if not settings.manager_user:
        faults.append("manager_user is missing: nobody could speak on the socket")
    if settings.owner_identity:
        faults.append('owner_identity is for mode = "single" only')
    return faults


def _faults_of_single(settings: LauncherSettings) -> list[str]:
    faults = []
    if not settings.owner_identity:
        faults.append("owner_identity is missing: without it nobody can come in")
    if settings.identity_mapping is not None:
        faults.append('identity_mapping is for mode = "multi" only')
    if RuntimeKind.CONTAINER in settings.runtime.kinds:
        faults.append('runtime.kind = "container" is for mode = "multi" only')
    if settings.mapping.external_account:
        faults.append('mapping.external_account is for mode = "multi" only')
    if settings.pam.enable:
        faults.append('pam.enable is for mode = "multi" only: a session needs root')
    return faults
