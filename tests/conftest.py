"""What all tests share: a real RabbitMQ and a real PostgreSQL, each started once, if needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.postgres import PrivatePostgres
from devtools.rabbit import PrivateRabbit


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbit]:
    """A real RabbitMQ node of this test session's own."""
    folder: Path = tmp_path_factory.mktemp("rabbit")
    node = PrivateRabbit(folder)
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """A real PostgreSQL cluster of this test session's own; each test makes its database."""
    cluster = PrivatePostgres()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
