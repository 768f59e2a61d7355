"""The public agent and its user endpoints die; no future stays open. Driven by our SDK."""

from __future__ import annotations

from concurrent.futures import wait

import pytest
from tests.compat.conftest import ALICE, Open, StartAgent
from tests.compat.public_agent import AgentPlan, PublicAgent, eventually, kill

from devtools.site import Site

pytestmark = [
    pytest.mark.needs_rabbit,
    pytest.mark.needs_root,
    pytest.mark.slow,
    # The public agent pins an older dill; our SDK says so, which is right and not the subject.
    pytest.mark.filterwarnings("ignore:Endpoint .* has dill"),
]
WAIT_S = 120.0
LOST = "had taken this task with it"


@pytest.fixture(scope="module")
def agent(start_agent: StartAgent, people: dict[str, str]) -> PublicAgent:
    return start_agent(AgentPlan(people=people))


def stay():
    import time

    time.sleep(600)


def where():
    import os

    return os.getpid()


def acknowledged(site: Site) -> int:
    """Return how many tasks the user endpoints have acknowledged since the broker started."""
    queues = site.rabbit.api("GET", "/api/queues")
    assert isinstance(queues, list)
    return sum(
        queue.get("message_stats", {}).get("ack", 0)
        for queue in queues
        if queue["name"].endswith(".tasks")
    )


def test_what_a_killed_user_endpoint_had_taken_ends_as_lost(
    agent: PublicAgent, open_as: Open, inside: Site
) -> None:
    executor = open_as(ALICE, agent.endpoint_id)
    before = executor.submit(where).result(WAIT_S)
    already = eventually(lambda: acknowledged(inside))
    taken = [executor.submit(stay) for _ in range(20)]
    eventually(lambda: acknowledged(inside) >= already + 20)
    (user_endpoint,) = agent.user_endpoints()
    kill(user_endpoint)
    done, still_open = wait(taken, WAIT_S)
    assert still_open == set()
    assert [LOST in str(one.exception()) for one in done] == [True] * 20
    assert executor.submit(where).result(WAIT_S) != before


def test_when_the_agent_itself_dies_what_waits_runs_when_it_is_back(
    agent: PublicAgent, open_as: Open, inside: Site
) -> None:
    executor = open_as(ALICE, agent.endpoint_id)
    executor.submit(where).result(WAIT_S)
    already = acknowledged(inside)
    taken = executor.submit(stay)
    eventually(lambda: acknowledged(inside) > already)
    agent.kill()
    waiting = executor.submit(pow, 2, 10)
    assert LOST in str(taken.exception(WAIT_S))
    assert not waiting.done()
    agent.start()
    assert waiting.result(WAIT_S) == 1024
