"""`backup` and `restore`: what makes an endpoint the one that it is, for another host."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from chamberlain_endpoint.cli import accounts, daemons, layout, names
from chamberlain_endpoint.cli.configure import judge, make_folders
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli, common, print_json
from chamberlain_endpoint.cli.layout import Layout
from chamberlain_wire import archive

KIND: Final = "endpoint"
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@cli.command("backup")
@click.argument("name")
@click.argument("file", type=_FILE)
@common
def backup_command(name: str, file: Path, config_dir: Path | None, as_json: bool) -> None:
    """Write id, token, settings and the site's files of endpoint NAME into the new FILE.

    FILE has mode 0600 and holds the token: keep it as you keep the token. Not in it are audit
    logs, logs, images, and what user endpoints have on this host. The endpoint may run.
    """
    endpoint = daemons.known(name, config_dir)
    found = sorted(one for one in endpoint.layout.config.iterdir() if _belongs(one))
    members = [
        archive.Member(one.name, one, stat.S_IMODE(one.stat(follow_symlinks=False).st_mode))
        for one in found
    ]
    facts = {"name": name, "endpoint_id": endpoint.settings.endpoint_id}
    archive.write(file, KIND, _version(), members, facts)
    document = {"file": str(file), "files": [one.name for one in members], **facts}
    if as_json:
        print_json(document)
    else:
        click.echo(f"{name} ({facts['endpoint_id']}) with {len(members)} files is in {file}.")


@cli.command("restore")
@click.argument("name")
@click.argument("file", type=_FILE)
@common
def restore_command(name: str, file: Path, config_dir: Path | None, as_json: bool) -> None:
    """Make endpoint NAME, which is not on this host, of the backup FILE, with the same id.

    The files are judged as the daemons will; nothing is started. Stop the endpoint on its old
    host first: of two that run with one id, the hub hears only the newer.
    """
    fault = names.fault(name)
    if fault is not None:
        raise click.BadParameter(f"it {fault}", param_hint="NAME")
    with tempfile.TemporaryDirectory(prefix="chamberlain-") as folder:
        opened = archive.read(file, KIND, _version(), Path(folder))
        endpoint_id = str(opened.facts.get("endpoint_id"))
        if opened.facts.get("name") != name and _is_system(config_dir):
            # Its files name folders after it.
            raise CommandFailedError(
                f"{file} is of the endpoint {opened.facts.get('name')!s:.80}; give it that name."
            )
        where = layout.plan(name, config_dir, endpoint_id)
        if where.config.exists() or where.config.is_symlink():
            raise CommandFailedError(f"{where.config} exists already. Nothing was changed.")
        _put(where, opened.members)
    document = {"name": name, "endpoint_id": endpoint_id, "made_at": opened.made_at}
    if as_json:
        print_json(document)
    else:
        click.echo(f"{name} ({endpoint_id}) is as it was at {opened.made_at}.")


def _put(where: Layout, members: tuple[archive.Member, ...]) -> None:
    account = accounts.ensure_service_account()[0] if where.multi else None
    if account is not None:
        accounts.prove_can_run(account)
    try:
        with _removed_on_failure(where):
            make_folders(where, account)
            for member in members:
                _write(member, where.config / member.name, account.pw_gid if account else -1)
            judge(where, account)
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from error


def _write(member: archive.Member, to: Path, group: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with (
        member.path.open("rb") as source,
        os.fdopen(os.open(to, flags, 0o600), "wb") as out,
    ):
        shutil.copyfileobj(source, out)
        # What the service account's group reads, and nobody else, such as the token.
        if member.mode & 0o040 and not member.mode & 0o004:
            os.fchown(out.fileno(), -1, group)
        os.fchmod(out.fileno(), member.mode & 0o755)


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


def _belongs(path: Path) -> bool:
    # Token files that are being written begin with a dot.
    return path.is_file() and not path.is_symlink() and not path.name.startswith(".")


def _is_system(config_dir: Path | None) -> bool:
    return (config_dir or layout.default_config_dir()).absolute() == layout.SYSTEM_CONFIG_DIR


def _version() -> str:
    return importlib.metadata.version("chamberlain")
