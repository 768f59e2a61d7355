"""A RabbitMQ node that crashes and comes back under an `Executor` costs nobody a result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.sdk.stand_in import ENDPOINT, TOKEN, StandInHub

from chamberlain import Client, Executor
from devtools.rabbit import PrivateRabbit

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]
WAIT_S = 60.0


def double(number: int) -> int:
    return 2 * number


@pytest.fixture
def own_rabbit(tmp_path: Path) -> Iterator[PrivateRabbit]:
    node = PrivateRabbit(tmp_path / "rabbit")
    node.start()
    yield node
    node.stop()


def test_results_come_after_a_broker_crash(own_rabbit: PrivateRabbit) -> None:
    hub = StandInHub(own_rabbit)
    try:
        assert hub.linked.acquire(timeout=WAIT_S)
        with Executor(ENDPOINT, Client(hub.url, TOKEN)) as executor:
            assert executor.submit(double, 1).result(WAIT_S) == 2
            hub.go.clear()
            waiting = [executor.submit(double, number) for number in range(20)]
            while len(hub.documents) < 21:
                assert hub.accepted.acquire(timeout=WAIT_S)
            own_rabbit.kill()
            own_rabbit.start()
            assert hub.linked.acquire(timeout=WAIT_S)
            hub.go.set()
            assert [one.result(WAIT_S) for one in waiting] == [2 * n for n in range(20)]
            assert executor.submit(double, 3).result(WAIT_S) == 6
    finally:
        hub.close()


def test_a_result_that_came_while_the_broker_was_away_is_asked_for(
    own_rabbit: PrivateRabbit,
) -> None:
    hub = StandInHub(own_rabbit)
    try:
        with Executor(ENDPOINT, Client(hub.url, TOKEN)) as executor:
            assert executor.submit(double, 1).result(WAIT_S) == 2
            hub.go.clear()
            hub.push = False
            waiting = executor.submit(double, 2)
            for _ in range(2):
                assert hub.accepted.acquire(timeout=WAIT_S)
            own_rabbit.kill()
            hub.go.set()
            own_rabbit.start()
            assert waiting.result(WAIT_S) == 4
    finally:
        hub.close()
