"""`chamberlain-hub backup` and `restore`: all that a hub would need on another host."""

from __future__ import annotations

import importlib.metadata
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from chamberlain_hub.cli.frame import json_option, open_audit, say, settings_of
from chamberlain_wire import archive

if TYPE_CHECKING:
    from chamberlain_hub.config import HubSettings

KIND: Final = "hub"
_DATABASE: Final = "database"
_FILE: Final = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("file", type=_FILE)
@json_option
@click.pass_obj
def backup(config: Path | None, file: Path, as_json: bool) -> None:
    """Write the database and the signing key into the new FILE, mode 0600; the hub may run.

    Whoever has FILE can be any of the hub's users: keep it as you keep the key. Not in it are
    the settings (hub.toml has the passwords of broker and database), the audit log, and what
    the broker holds. PostgreSQL: pg_dump is needed on this host.
    """
    from chamberlain_hub.identity.keys import FILE_NAME, NEXT_FILE_NAME, load_signing_keys
    from chamberlain_hub.store import copies
    from chamberlain_hub.store.data_dir import prepare_data_dir

    settings = settings_of(config)
    prepare_data_dir(settings.data_dir)
    url = settings.database_url.reveal()
    revision = copies.revision(url)
    if not revision:
        raise copies.CopyError(public="The database has no tables yet: there is nothing to copy.")
    load_signing_keys(settings.data_dir)  # says what is wrong with them, if anything is
    facts = {"database": copies.kind(url), "revision": revision, "host": socket.getfqdn()}
    keys = [settings.data_dir / name for name in (FILE_NAME, NEXT_FILE_NAME)]
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=settings.data_dir) as folder:
        copy = Path(folder, _DATABASE)
        copies.copy_out(url, copy)
        members = [archive.Member(key.name, key) for key in keys if key.exists()]
        members.append(archive.Member(_DATABASE, copy))
        with open_audit(config) as note:
            note("backup-made", about=file.name)
        archive.write(file, KIND, _version(), members, facts)
    say({"file": str(file), **facts}, f"The backup is in {file}.", as_json=as_json)


@click.command()
@click.argument("file", type=_FILE)
@json_option
@click.pass_obj
def restore(config: Path | None, file: Path, as_json: bool) -> None:
    """Put the backup FILE in place on a host whose hub has neither database nor key yet.

    The settings say where: make them first, with the same kind of database. PostgreSQL: an empty
    database, and pg_restore on this host. Start the hub then; it brings the tables up to date.
    """
    from chamberlain_hub.store import copies
    from chamberlain_hub.store.data_dir import prepare_data_dir

    settings = settings_of(config)
    prepare_data_dir(settings.data_dir)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=settings.data_dir) as folder:
        opened = archive.read(file, KIND, _version(), Path(folder))
        database = opened.member(_DATABASE)
        if database is None:
            raise archive.ArchiveError(public=f"{file} holds no database.")
        _check(settings, file, opened)
        with open_audit(config) as note:
            note("backup-restored", about=file.name)
        copies.put_in(settings.database_url.reveal(), database.path)
        for member in opened.members:
            if member is not database:
                member.path.rename(settings.data_dir / member.name)
    document = {"file": str(file), "made_at": opened.made_at, **opened.facts}
    text = f"The backup of {opened.made_at} is in place. Next: start the hub."
    say(document, text, as_json=as_json)


def _check(settings: HubSettings, file: Path, opened: archive.Opened) -> None:
    """Refuse what would not fit, before anything is changed."""
    from chamberlain_hub.identity.keys import FILE_NAME, NEXT_FILE_NAME
    from chamberlain_hub.store import copies, migrate

    url = settings.database_url.reveal()
    has, wants = copies.kind(url), opened.facts.get("database")
    if has != wants:
        raise copies.CopyError(
            public=f"{file} is a backup of {wants}, and database_url names {has}. Name an empty "
            f"{wants} database."
        )
    if not migrate.knows(str(opened.facts.get("revision"))):
        raise copies.CopyError(
            public=f"{file} has tables of a newer version ({opened.version}, and this is "
            f"{_version()}). Install that version."
        )
    keys = [settings.data_dir / name for name in (FILE_NAME, NEXT_FILE_NAME)]
    there = [str(key) for key in keys if key.exists()]
    there += ["a database with tables"] if copies.revision(url) else []
    if not there and has == "sqlite" and (database := copies.sqlite_file(url)).exists():
        there = [str(database)]
    if there:
        raise copies.CopyError(
            public=f"This hub is not new: it has {' and '.join(there)}. Stop it, and move that "
            "away first."
        )


def _version() -> str:
    return importlib.metadata.version("chamberlain")
