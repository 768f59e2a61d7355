"""What the launcher may be told. Pure; `config` reads it from a file."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

USUAL_PATH: Final = "/usr/local/bin:/usr/bin:/bin"


class Mode(StrEnum):
    """Whom the launcher serves."""

    MULTI = "multi"
    SINGLE = "single"


class OnWriteFailure(StrEnum):
    """What the launcher does when a line of the audit log cannot be written."""

    REFUSE = "refuse"
    CONTINUE = "continue"


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """How the audit log is kept.

    Attributes:
        on_write_failure: refuse what cannot be noted, or go on with an alarm in the log.
        max_bytes: a file of this size is full, and another one is begun.
        keep_files: how many full files are kept; older ones are removed.
    """

    on_write_failure: OnWriteFailure = OnWriteFailure.REFUSE
    max_bytes: int = 16 * 1024 * 1024
    keep_files: int = 64


@dataclass(frozen=True, slots=True)
class MappingSettings:
    """How external mapping programs are run.

    Attributes:
        external_account: the account that they run as; empty: none may be used.
        external_timeout_s: each is killed after so long.
    """

    external_account: str = ""
    external_timeout_s: float = 5.0


PAM_SERVICE: Final = "chamberlain-endpoint"
"""The service whose file `configure` can install."""


@dataclass(frozen=True, slots=True)
class PamSettings:
    """Whether a user endpoint has a session of the host's PAM stack around it.

    Attributes:
        service: name of the file in /etc/pam.d.
        timeout_s: how long its modules may take until the session is open.
    """

    enable: bool = False
    service: str = PAM_SERVICE
    timeout_s: float = 30.0


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """Which accounts may run user endpoints, and how many.

    Attributes:
        allowed_groups: one of these must be among the account's groups; empty: all may.
        stop_grace_s: how long user endpoints may finish when the launcher itself is stopped.
    """

    min_uid: int = 1000
    denied_accounts: tuple[str, ...] = ("root", "nobody", "chamberlain")
    denied_groups: tuple[str, ...] = ()
    allowed_groups: tuple[str, ...] = ()
    max_user_endpoints: int = 200
    max_user_endpoints_per_account: int = 20
    stop_grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class LauncherSettings:
    """Everything the launcher may be told.

    Attributes:
        manager_user: the account whose processes may speak on the socket; in the single
            form empty: the user's own.
        identity_mapping: the mapping file; None in the single form.
        hub_keys: raw Ed25519 public keys of the hub, 32 bytes each.
        python: interpreter of the user endpoints.
        path: their PATH.
        owner_identity: the only identity that is let in; empty in the multi-user form.
        audit_tasks: user endpoints tell of their tasks, for the audit log.
    """

    mode: Mode
    endpoint_id: str
    socket: Path
    state_dir: Path
    accounts_dir: Path
    hub_keys: tuple[bytes, ...]
    manager_user: str = ""
    identity_mapping: Path | None = None
    python: Path = Path(sys.executable)
    path: str = USUAL_PATH
    owner_identity: str = ""
    audit_tasks: bool = True
    policy: PolicySettings = field(default_factory=PolicySettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    mapping: MappingSettings = field(default_factory=MappingSettings)
    pam: PamSettings = field(default_factory=PamSettings)
