"""`configure`: writes a new endpoint's folder, whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chamberlain_endpoint.cli import accounts, files, hub, layout, pam_service
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.files import Facts, File, Overrides
from chamberlain_endpoint.cli.layout import Layout
from chamberlain_endpoint.launcher.settings import PAM_SERVICE
from chamberlain_endpoint.manager.config import PamSettings
from chamberlain_wire.ids import new_id


@dataclass(frozen=True, slots=True)
class Wish:
    """What the administrator asked for.

    Attributes:
        hub_key_text: content of the key file; None: ask the hub.
        owner: single-account form: the identity to let in; None: the token's owner.
        more: further keys of config.yaml.
        pam: the session around user endpoints.
        endpoint_id: one that the endpoint has already; None: a new one.
    """

    name: str
    config_dir: Path | None
    hub_url: str
    token: str
    hub_key_text: str | None
    display_name: str | None
    email: str | None
    owner: str | None
    brought: Overrides
    more: Mapping[str, Any] = field(default_factory=dict)
    pam: PamSettings = field(default_factory=lambda: PamSettings(enable=False))
    endpoint_id: str | None = None


@dataclass(frozen=True, slots=True)
class Configured:
    """What was made.

    Attributes:
        fingerprints: of the hub's keys that the launcher will believe.
        account_made: the service account was made now.
        pam_service_made: the service file of PAM was made now.
    """

    endpoint_id: str
    layout: Layout
    files: tuple[File, ...]
    fingerprints: tuple[str, ...]
    account_made: bool
    pam_service_made: bool = False


def configure(wish: Wish) -> Configured:
    """Write the folder of a new endpoint.

    Raises:
        CommandFailedError: it exists already, or something could not be made. What was
            written is removed again; a service account and a PAM service that were made stay.
    """
    endpoint_id = wish.endpoint_id or new_id()
    where = layout.plan(wish.name, wish.config_dir, endpoint_id)
    if where.config.exists() or where.config.is_symlink():
        raise CommandFailedError(f"{where.config} exists already. Choose another name.")
    account, account_made = accounts.ensure_service_account() if where.multi else (None, False)
    if account is not None:
        accounts.prove_can_run(account)
    keys = (
        hub.fetch_keys(wish.hub_url, account)
        if wish.hub_key_text is None
        else hub.keys_in(wish.hub_key_text)
    )
    facts = Facts(
        endpoint_id=endpoint_id,
        hub_url=wish.hub_url,
        token=hub.one_token(wish.token),
        hub_keys=tuple(keys),
        display_name=wish.display_name,
        email=wish.email,
        owner="" if where.multi else wish.owner or hub.owner(wish.hub_url, wish.token, None),
        manager_user=account.pw_name if account else "",
        more=wish.more,
        pam=wish.pam,
    )
    pam_made = wish.pam.enable and wish.pam.service_name == PAM_SERVICE and pam_service.ensure()
    try:
        written = files.all_files(where, facts, wish.brought)
        with _removed_on_failure(where):
            make_folders(where, account)
            for file in written:
                files.write(file, account.pw_gid if account else -1)
            judge(where, account)
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from error
    return Configured(
        endpoint_id=endpoint_id,
        layout=where,
        files=tuple(written),
        fingerprints=tuple(hub.fingerprint(key) for key in keys),
        account_made=account_made,
        pam_service_made=pam_made,
    )


def make_folders(where: Layout, account: pwd.struct_passwd | None) -> None:
    """Make the endpoint's folders that are absent, each with its owner and mode.

    Args:
        account: the service account; None in the single-account form.

    Raises:
        OSError: one could not be made.
    """
    group = account.pw_gid if account else -1
    for folder, mode, owner, owning_group in (
        (where.config, 0o755 if account else 0o700, -1, -1),
        (where.manager, 0o700, account.pw_uid if account else -1, group),
        (where.launcher, 0o700, -1, -1),
        (where.accounts, 0o711 if account else 0o700, -1, -1),
        (where.run, 0o750 if account else 0o700, -1, group),
        (where.log, 0o750 if account else 0o700, -1, group),
    ):
        folder.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        os.chown(folder, owner, owning_group)
        folder.chmod(mode)


@contextlib.contextmanager
def _removed_on_failure(where: Layout) -> Iterator[None]:
    folders = (where.config, where.manager, where.launcher, where.accounts, where.run, where.log)
    ours = [folder for folder in folders if not folder.exists()]
    try:
        yield
    except BaseException:
        for folder in ours:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def judge(where: Layout, account: pwd.struct_passwd | None) -> None:
    """Let the daemons' own code judge the files, as the accounts that will read them.

    Raises:
        CommandFailedError: a daemon would not start with them; all faults are named.
    """
    launcher = ["-m", "chamberlain_endpoint.launcher.main", "--check", "--config"]
    manager = ["-m", "chamberlain_endpoint.cli.check_manager"]
    checks = (
        accounts.run_as(None, [*launcher, str(where.launcher_toml)]),
        accounts.run_as(account, [*manager, str(where.manager_config)]),
    )
    said = [line for check in checks if check.returncode for line in _messages(check.stderr)]
    if said:
        raise CommandFailedError(f"{where.config}: " + "; ".join(said))


def _messages(log: str) -> list[str]:
    """Return the sentences of a daemon's JSON log lines; other lines as they are."""
    said = []
    for line in log.strip().splitlines():
        try:
            said.append(str(json.loads(line)["message"]))
        except (ValueError, TypeError, KeyError):
            said.append(line)
    return said or ["a check failed without a word"]
