"""User endpoints as real processes, with the hub's side of a real RabbitMQ."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devtools.rabbit import PrivateRabbit
from devtools.user_endpoint import HubSide, UserEndpointProcess

THREADS: dict[str, Any] = {"engine": {"type": "ThreadPoolEngine", "max_workers": 4}}
PROCESSES: dict[str, Any] = {"engine": {"type": "ProcessPoolEngine", "max_workers": 2}}
HTEX: dict[str, Any] = {"engine": {"type": "GlobusComputeEngine", "max_workers_per_node": 2}}

Start = Callable[..., UserEndpointProcess]


@pytest.fixture
def hub(rabbit: PrivateRabbit) -> Iterator[HubSide]:
    one = HubSide(rabbit.amqp_url)
    one.open()
    yield one
    one.close()


@pytest.fixture
def start(hub: HubSide, tmp_path: Path) -> Iterator[Start]:
    made: list[UserEndpointProcess] = []

    def make(config: dict[str, Any] = THREADS, **order: Any) -> UserEndpointProcess:
        made.append(UserEndpointProcess(hub, tmp_path, config, **order))
        return made[-1]

    yield make
    for one in made:
        one.end()
