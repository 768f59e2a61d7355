"""Checks everything that the launcher rests on before it serves; names all faults at once."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from chamberlain_endpoint.identity.mapper import Mapper, OwnerMapper
from chamberlain_endpoint.identity.rules import MappingRefusedError
from chamberlain_endpoint.launcher import accounts, config, pam_service, trusted_file
from chamberlain_endpoint.launcher.config import ConfigRefusedError
from chamberlain_endpoint.launcher.external import ProgramRunner
from chamberlain_endpoint.launcher.mapping_file import IN_FORCE, MappingFile
from chamberlain_endpoint.launcher.policy import Denied
from chamberlain_endpoint.launcher.settings import (
    LauncherSettings,
    Mode,
    PolicySettings,
    RuntimeKind,
)

CLOSED_FOR: Final = "CHAMBERLAIN_CLOSED_FOR"
"""Set by a unit that is closed for one runtime: user endpoints of another would not work in it."""

OnMapping = Callable[[str], None]
"""Takes the fault of an edit of the mapping file; empty when the edit was taken."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What the checks found.

    Attributes:
        owners: uids whose files are trusted.
        peer_uids: whose processes may speak on the socket.
        manager_gid: the manager's group; -1 in the single form.
        policy: the policy that holds; in the single form only its limits.
        runner: runs mapping programs; None: there is no account for them.
        warnings: what of the mapping works, but perhaps not as it is meant.
        doubts: likewise, of the settings.
    """

    settings: LauncherSettings
    owners: frozenset[int]
    peer_uids: frozenset[int]
    manager_gid: int
    policy: PolicySettings
    denied: Denied
    runner: ProgramRunner | None = None
    warnings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()

    def mapping_source(
        self, on_mapping: OnMapping
    ) -> tuple[Callable[[], Mapper], Callable[[], str]]:
        """Return functions that return the mapper in force, and its state.

        Raises:
            UntrustedPathError, MappingRefusedError: the file changed since it was checked.
        """
        if self.settings.identity_mapping is None:
            owner = OwnerMapper(self.settings.owner_identity, accounts.own_name())
            return lambda: owner, lambda: IN_FORCE
        names = _denied_names(self.settings)
        file = MappingFile(
            self.settings.identity_mapping, self.owners, on_mapping, self.runner, names
        )
        file.open()
        return file.mapper, file.look


def check(path: Path) -> Ready:
    """Check the settings file `path` and what it names. Nothing is made or changed.

    Raises:
        ConfigRefusedError: something is wrong; all of it is named.
    """
    me = os.geteuid()
    owners = frozenset({0, me})
    try:
        settings = config.load(path, owners)
    except trusted_file.UntrustedPathError as error:
        raise ConfigRefusedError((str(error),)) from None
    faults: list[str] = []
    if settings.mode is Mode.MULTI:
        ready = _check_multi(settings, owners, faults)
    else:
        ready = _check_single(settings, owners, faults)
    faults += _closed_for_others(settings, os.environ.get(CLOSED_FOR, ""))
    if not os.access(settings.python, os.X_OK):
        faults.append(f"python: {settings.python} is no program that can be run")
    if faults:
        raise ConfigRefusedError(tuple(faults))
    return ready


def _closed_for_others(settings: LauncherSettings, closed_for: str) -> list[str]:
    if closed_for != "containers":
        return []
    runtime = settings.runtime
    used = {"kind": RuntimeKind.PROCESS in (runtime.kind, *runtime.more_kinds)}
    for name in ("group_kinds", "account_kinds"):
        used |= {
            f"{name}.{who}": RuntimeKind.PROCESS in kinds for who, kinds in getattr(runtime, name)
        }
    used["if_unavailable"] = runtime.if_unavailable is RuntimeKind.PROCESS
    names = [f'runtime.{name} = "process"' for name, is_process in used.items() if is_process]
    if settings.pam.enable:
        names.append("pam.enable")
    return [
        f"{name}: this unit is closed for all but containers; run: "
        "chamberlain-endpoint enable-on-boot NAME"
        for name in names
    ]


def make_folders(ready: Ready) -> None:
    """Make the folders that are missing, and check all of them.

    Raises:
        UntrustedPathError: others could exchange what is in them.
        ConfigRefusedError: an account could not reach its own folder.
    """
    settings, owners = ready.settings, ready.owners
    is_multi = settings.mode is Mode.MULTI
    socket_mode = 0o750 if is_multi else 0o700
    trusted_file.make_folder(
        settings.socket.parent, owners, mode=socket_mode, gid=ready.manager_gid
    )
    trusted_file.make_folder(settings.state_dir, owners, mode=0o700)
    accounts_mode = 0o711 if is_multi else 0o700
    trusted_file.make_folder(settings.accounts_dir, owners, mode=accounts_mode)
    if is_multi:
        _check_reachable(settings.accounts_dir)


def _check_multi(settings: LauncherSettings, owners: frozenset[int], faults: list[str]) -> Ready:
    if os.geteuid() != 0:
        faults.append('mode = "multi" needs root: only root can start processes of others')
    uid, gid = -1, -1
    try:
        manager = pwd.getpwnam(settings.manager_user)
    except KeyError:
        faults.append(f"manager_user: {settings.manager_user!r} is no account of this host")
    else:
        uid, gid = manager.pw_uid, manager.pw_gid
        if uid == 0:
            faults.append("manager_user must not be root: the manager talks to the network")
    for step in _closed_steps(settings.python, Path(os.path.realpath(settings.python))):
        faults.append(f"python: accounts cannot pass {step}; choose another, or chmod o+rx it")
    faults += pam_service.faults(settings.pam, owners)
    assert settings.identity_mapping is not None
    runner = _runner(settings, owners, uid, faults)
    names = _denied_names(settings)
    file = MappingFile(settings.identity_mapping, owners, lambda _: None, runner, names)
    try:
        file.open()
    except trusted_file.UntrustedPathError as error:
        faults.append(f"identity_mapping: {error}")
    except MappingRefusedError as error:
        faults += [f"identity_mapping: {fault}" for fault in error.faults]
    return Ready(
        settings=settings,
        owners=owners,
        peer_uids=frozenset({0, uid}),
        manager_gid=gid,
        policy=settings.policy,
        denied=Denied(
            service_uids=frozenset({0, uid} | ({runner.account.uid} if runner else set())),
            uids=_uids(settings.policy.denied_accounts),
            gids=_gids(settings.policy.denied_groups),
        ),
        runner=runner,
        warnings=file.warnings,
        doubts=_unknown_names(settings),
    )


def _unknown_names(settings: LauncherSettings) -> tuple[str, ...]:
    """Return a warning for each choice that is nobody's: whom it was meant for has another."""
    runtime = settings.runtime
    found = []
    for name in ("kinds", "images", "limits"):
        for who, _ in getattr(runtime, f"account_{name}"):
            if not _uids((who,)):
                found.append(f"runtime.account_{name}: this host has no account {who!r}")
        for who, _ in getattr(runtime, f"group_{name}"):
            if not _gids((who,)):
                found.append(f"runtime.group_{name}: this host has no group {who!r}")
    return tuple(found)


def _denied_names(settings: LauncherSettings) -> tuple[str, ...]:
    return ("root", settings.manager_user, *settings.policy.denied_accounts)


def _runner(
    settings: LauncherSettings, owners: frozenset[int], manager_uid: int, faults: list[str]
) -> ProgramRunner | None:
    name = settings.mapping.external_account
    if not name:
        return None
    try:
        account = accounts.look_up(name)
    except accounts.NoSuchAccountError as error:
        faults.append(f"mapping.external_account: {error}")
        return None
    if account.uid in (0, manager_uid):
        # The manager talks to the network: it could change what a program of its own says.
        faults.append(
            "mapping.external_account must be neither root nor the manager's account; make one "
            "that nobody else uses"
        )
        return None
    return ProgramRunner(account, settings.endpoint_id, settings.mapping.external_timeout_s, owners)


def _check_single(settings: LauncherSettings, owners: frozenset[int], faults: list[str]) -> Ready:
    me = os.geteuid()
    if me == 0:
        faults.append('mode = "single" is for ordinary users: root must not run their functions')
    # The rules about accounts do not apply: whoever starts this could run it all by hand.
    limits = replace(
        settings.policy, min_uid=1, denied_accounts=(), denied_groups=(), allowed_groups=()
    )
    return Ready(
        settings=settings,
        owners=owners,
        peer_uids=frozenset({0, me}),
        manager_gid=-1,
        policy=limits,
        denied=Denied(),
    )


def _check_reachable(folder: Path) -> None:
    closed = _closed_steps(folder)
    if closed:
        raise ConfigRefusedError(
            tuple(
                f"accounts_dir: accounts cannot pass {step}; run: chmod o+x {step}"
                for step in closed
            )
        )


def _closed_steps(*paths: Path) -> list[Path]:
    """Return what on the way to `paths` an account without special rights cannot pass."""
    steps = {step for path in paths for step in (path, *path.parents)}
    return sorted(
        step for step in steps if step.exists() and not step.stat().st_mode & stat.S_IXOTH
    )


def _uids(names: tuple[str, ...]) -> frozenset[int]:
    found = set()
    for name in names:
        try:
            found.add(pwd.getpwnam(name).pw_uid)
        except KeyError:
            continue  # a name that may come later is denied by its name
    return frozenset(found)


def _gids(names: tuple[str, ...]) -> frozenset[int]:
    found = set()
    for name in names:
        try:
            found.add(grp.getgrnam(name).gr_gid)
        except KeyError:
            continue
    return frozenset(found)
