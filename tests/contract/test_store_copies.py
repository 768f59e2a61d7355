"""A copy of a database that is written to is one moment of it, and goes where there is none."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain_hub.store import copies
from chamberlain_hub.store.store import Store
from devtools.postgres import PrivatePostgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs_postgres)])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """The URL of a migrated database, and that of one without tables."""
    if request.param == "sqlite":
        first = f"sqlite:///{tmp_path / 'first.db'}"
        second = f"sqlite:///{tmp_path / 'second.db'}"
    else:
        postgres: PrivatePostgres = request.getfixturevalue("postgres")
        first, second = postgres.new_database(), postgres.new_database()
    store = Store.open(first)
    store.migrate()
    store.close()
    return first, second


@pytest.fixture
def busy(urls: tuple[str, str]) -> Iterator[Store]:
    """The first store, into which somebody writes all the time."""
    store = Store.open(urls[0])
    ended, begun = threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        while not ended.is_set():
            store.add_identity(f"user{number}@example.edu")
            number += 1
            if number == 20:
                begun.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert begun.wait(60)
    try:
        yield store
    finally:
        ended.set()
        writer.join()
        store.close()


def test_a_copy_made_while_it_is_written_to_is_whole(
    urls: tuple[str, str], busy: Store, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copies.copy_out(urls[0], copy)
    known = {one.username for one in busy.list_identities()}
    assert copies.revision(urls[1]) == ""
    copies.put_in(urls[1], copy)
    assert copies.revision(urls[1]) == copies.revision(urls[0])
    second = Store.open(urls[1])
    second.check_migrated()
    found = {one.username for one in second.list_identities()}
    second.close()
    assert len(found) >= 20
    # One moment: whoever is in it came before whoever is not.
    assert found == {f"user{number}@example.edu" for number in range(len(found))}
    assert found <= known


def test_a_database_with_tables_is_not_replaced(urls: tuple[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copies.copy_out(urls[0], copy)
    with pytest.raises(copies.CopyError):
        copies.put_in(urls[0], copy)
    store = Store.open(urls[0])
    store.check_migrated()
    store.close()


def test_a_damaged_copy_is_put_nowhere(urls: tuple[str, str], tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.write_bytes(b"no database" * 1000)
    with pytest.raises(copies.CopyError):
        copies.put_in(urls[1], copy)
    assert copies.revision(urls[1]) == ""
