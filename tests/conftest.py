"""What all tests share: a real RabbitMQ and a real PostgreSQL, each started once, if needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import debian
from devtools.postgres import PrivatePostgres
from devtools.rabbit import PrivateRabbit


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what cannot run here, with the reason; `./dev test` counts a skip as a failure."""
    reasons = {"needs_root": "root is needed"} if os.geteuid() != 0 else {}
    reasons |= {
        mark: f"not installed: {package}"
        for mark, package in (("needs_rabbit", "rabbitmq-server"), ("needs_postgres", "postgresql"))
        if debian.missing([package])
    }
    for item in items:
        for mark, reason in reasons.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


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
