"""Runs the migrations that lie beside this module, on a connection that is given."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

_FOLDER: Final = Path(__file__).parent / "migrations"
# Any number, as long as all hubs use the same: two that start at once must not both migrate.
_ADVISORY_LOCK: Final = 0x6368616D


def upgrade(connection: sa.Connection) -> None:
    """Run what is missing, inside the caller's transaction: all of it or nothing."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def is_new(connection: sa.Connection) -> bool:
    """Tell whether there is nothing yet in the database."""
    return not sa.inspect(connection).get_table_names()


def revision(connection: sa.Connection) -> str:
    """Return the version of the tables; empty when none is noted."""
    return MigrationContext.configure(connection).get_current_revision() or ""


def knows(wanted: str) -> bool:
    """Tell whether tables of the version `wanted` can be brought up to date by this program."""
    scripts = ScriptDirectory.from_config(_config())
    return wanted in {entry.revision for entry in scripts.walk_revisions()}


def fault(connection: sa.Connection) -> str:
    """Return what is wrong with the tables' version, with the way out; empty if nothing is."""
    found = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(_config())
    wanted = scripts.get_current_head()
    if found == wanted:
        return ""
    if found is not None and not knows(found):
        return (
            f"The hub's database was made by a newer version (revision {found}). "
            "Install that version, or restore the backup from before the upgrade."
        )
    return (
        f"The hub's database is at revision {found or 'none'}, this version needs {wanted}. "
        "Make a backup, then run: chamberlain-hub migrate"
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
