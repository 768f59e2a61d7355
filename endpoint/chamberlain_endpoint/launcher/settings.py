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


LEASE_S: Final = 30.0
"""The usual lease."""


class RuntimeKind(StrEnum):
    """What user endpoints run in."""

    PROCESS = "process"
    CONTAINER = "container"


class EngineKind(StrEnum):
    """Which engine runs containers."""

    PODMAN = "podman"
    DOCKER = "docker"


class SchedulerSource(StrEnum):
    """Where containers have the scheduler's commands from."""

    IMAGE = "image"
    HOST = "host"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one user endpoint may use. 0 is no limit of ours.

    Attributes:
        cpus: processor time, in processors.
        pids: processes and threads.
    """

    memory_mib: int = 4096
    cpus: float = 0.0
    pids: int = 1024
    open_files: int = 65536


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of the host that containers see.

    Attributes:
        target: where, in the container; the same path as on the host unless told otherwise.
    """

    source: Path
    target: Path
    is_writable: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeSettings:
    """How user endpoints are run. All but kinds and lease is for containers. `choice` reads it.

    Attributes:
        kind: what a user endpoint runs in when its template chooses nothing.
        more_kinds: what templates may choose instead.
        group_kinds: all kinds for members of a group, the usual one first; `account_kinds`:
            likewise for one account.
        if_unavailable: what runs them when no container can be had; None: the start fails.
        images: the allow-list: name -> digest (`sha256:` and 64 digits) of an image.
        image: the name of the one that is taken when a template names none.
        group_images: all images for members of a group, the usual one first;
            `account_images`: likewise for one account.
        images_dir: where unpacked images are kept.
        python: the interpreter in the image.
        network: `host`, or the name of one of the engine's networks.
        mounts: what every container sees beside the account's home.
        scheduler: where the scheduler's commands come from.
        scheduler_paths: commands, libraries and plugins of the host that every container sees,
            read-only, for `SchedulerSource.HOST`; empty for the other.
        mounts_home: whether containers see the account's home.
        known_accounts: names of the host's accounts that containers know beside their own;
            scheduler tools look up their daemons' accounts.
        subordinate_first: the first of the ids that stand for all but the account.
        subordinate_count: how many there are; 65,536 for each account that ever comes.
        limits: for everybody, unless a group or the account has its own.
        lease_s: a user endpoint that hears nothing from the launcher for so long ends itself.
        ends_with_launcher: whether a stop of the launcher ends what runs; else the next
            launcher goes on with it, if it comes within the lease.
    """

    kind: RuntimeKind = RuntimeKind.PROCESS
    more_kinds: tuple[RuntimeKind, ...] = ()
    group_kinds: tuple[tuple[str, tuple[RuntimeKind, ...]], ...] = ()
    account_kinds: tuple[tuple[str, tuple[RuntimeKind, ...]], ...] = ()
    if_unavailable: RuntimeKind | None = None
    engine: EngineKind = EngineKind.PODMAN
    socket: Path = Path("/run/podman/podman.sock")
    images: tuple[tuple[str, str], ...] = ()
    image: str = ""
    group_images: tuple[tuple[str, tuple[str, ...]], ...] = ()
    account_images: tuple[tuple[str, tuple[str, ...]], ...] = ()
    images_dir: Path = Path("/var/lib/chamberlain/images")
    python: Path = Path("/opt/chamberlain/bin/python3")
    network: str = "host"
    mounts: tuple[Mount, ...] = ()
    scheduler: SchedulerSource = SchedulerSource.IMAGE
    scheduler_paths: tuple[Path, ...] = ()
    mounts_home: bool = True
    known_accounts: tuple[str, ...] = ("root", "nobody", "munge", "slurm")
    subordinate_first: int = 1_000_000_000
    subordinate_count: int = 1_000_000_000
    limits: Limits = Limits()
    group_limits: tuple[tuple[str, Limits], ...] = ()
    account_limits: tuple[tuple[str, Limits], ...] = ()
    lease_s: float = LEASE_S
    ends_with_launcher: bool = True

    def digest_of(self, image: str) -> str | None:
        """Return the digest of the image `image`, empty for the usual one; None: not allowed."""
        return dict(self.images).get(image or self.image)

    def root_of(self, image: str) -> Path | None:
        """Return the root folder of the image `image`, wherever it is installed; None: none."""
        digest = self.digest_of(image)
        return None if digest is None else self.images_dir / digest.replace(":", "-") / "root"

    @property
    def kinds(self) -> frozenset[RuntimeKind]:
        """Every kind that somebody may be given."""
        own = [kinds for _, kinds in (*self.group_kinds, *self.account_kinds)]
        return frozenset({self.kind, *self.more_kinds}.union(*own))

    @property
    def has_processes(self) -> bool:
        """Whether somebody may get a process: by choice, or in place of a container."""
        return RuntimeKind.PROCESS in (*self.kinds, self.if_unavailable)


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
    runtime: RuntimeSettings = field(default_factory=RuntimeSettings)
    pam: PamSettings = field(default_factory=PamSettings)

    @property
    def needs_open_unit(self) -> bool:
        """Whether the launcher's unit must let the site's own programs work.

        Those are people's, where user endpoints are its children, and modules of PAM.
        """
        return self.runtime.has_processes or self.pam.enable
