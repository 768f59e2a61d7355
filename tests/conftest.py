"""What all tests share: a real RabbitMQ, started once and ended at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.rabbit import PrivateRabbit


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbit]:
    """A real RabbitMQ node of this test session's own."""
    folder: Path = tmp_path_factory.mktemp("rabbit")
    node = PrivateRabbit(folder)
    node.start()
    yield node
    node.stop()
