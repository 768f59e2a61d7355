"""A store on each database, migrated once and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from chamberlain_hub.store.schema import metadata
from chamberlain_hub.store.store import Store
from devtools.postgres import PrivatePostgres


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file."""
    file = tmp_path_factory.mktemp("template") / "hub.db"
    store = Store.open(f"sqlite:///{file}")
    store.migrate()
    store.close()
    return file


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PrivatePostgres) -> Iterator[tuple[str, sa.Engine]]:
    """The URL of a migrated PostgreSQL database, and a way in that is not the store's."""
    url = postgres.new_database()
    store = Store.open(url)
    store.migrate()
    store.close()
    engine = sa.create_engine(sa.make_url(url).set(drivername="postgresql+psycopg"))
    yield url, engine
    engine.dispose()


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite database."""
    file = tmp_path / "hub.db"
    shutil.copy(sqlite_template, file)
    return f"sqlite:///{file}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database."""
    if request.param == "sqlite":
        sqlite: str = request.getfixturevalue("sqlite_url")
        return sqlite
    address: str
    engine: sa.Engine
    address, engine = request.getfixturevalue("migrated_postgres")
    with engine.begin() as connection:
        names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
        connection.execute(sa.text(f"TRUNCATE {names}"))
    return address


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    cluster: PrivatePostgres = request.getfixturevalue("postgres")
    return cluster.new_database()


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """A migrated, empty store."""
    opened = Store.open(url)
    yield opened
    opened.close()


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """A migrated, empty store in SQLite, for promises about SQLite alone."""
    opened = Store.open(sqlite_url)
    yield opened
    opened.close()
