"""The newest public agent on our hub, as root, driven by our SDK."""

from __future__ import annotations

import re
import subprocess

import psutil
import pytest
from tests.compat.conftest import ACCOUNTS, ADMIN, ALICE, BOB, MALLORY, Open, StartAgent
from tests.compat.public_agent import SCHEMA, AgentPlan, PublicAgent, eventually

from chamberlain import InvalidRequestError
from devtools.paths import VENV
from devtools.site import Site

pytestmark = [
    pytest.mark.needs_rabbit,
    pytest.mark.needs_root,
    pytest.mark.slow,
    # The public agent pins an older dill; our SDK says so, which is right and not the subject.
    pytest.mark.filterwarnings("ignore:Endpoint .* has dill"),
]
WAIT_S = 60.0


@pytest.fixture(scope="module")
def agent(start_agent: StartAgent, people: dict[str, str]) -> PublicAgent:
    return start_agent(AgentPlan(people=people, environment={"SITE_WORD": "harbour"}))


def who_am_i():
    import os
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name, os.environ.get("SITE_WORD"), os.getpid()


def test_two_people_run_as_two_accounts_with_the_sites_environment(
    agent: PublicAgent, open_as: Open, people: dict[str, str]
) -> None:
    alice = open_as(ALICE, agent.endpoint_id).submit(who_am_i)
    bob = open_as(BOB, agent.endpoint_id).submit(who_am_i)
    assert alice.result(WAIT_S)[:2] == (people[ALICE], "harbour")
    assert bob.result(WAIT_S)[:2] == (people[BOB], "harbour")


def test_its_heartbeats_are_shown_like_ours(agent: PublicAgent, inside: Site) -> None:
    status = agent.status()
    assert (status["status"], status["details"]["heartbeat_period"]) == ("online", 5.0)
    shown = inside.get(f"/v2/endpoints/{agent.endpoint_id}", ADMIN)
    assert shown["metadata"]["endpoint_version"] == "4.19.0"
    assert shown["user_config_schema"]["properties"].keys() == SCHEMA["properties"].keys()
    listed = subprocess.run(
        [VENV / "bin" / "chamberlain", "endpoints"],
        env=inside.environment_of(ADMIN),
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = [one for one in listed.stdout.splitlines() if agent.endpoint_id in one]
    assert "online" in line


def test_a_user_endpoint_tells_its_load(agent: PublicAgent, inside: Site, open_as: Open) -> None:
    pid = open_as(ALICE, agent.endpoint_id).submit(who_am_i).result(WAIT_S)[2]
    # It tells its id in its name.
    found = re.search(r"\(([0-9a-f-]{36}),", " ".join(psutil.Process(pid).cmdline()))
    assert found is not None
    path = f"/v2/endpoints/{found[1]}/status"
    told = eventually(lambda: inside.get(path, ALICE))
    assert (told["status"], told["state"]) == ("online", "serving")
    shown = ("outstanding_tasks", "pending_tasks", "total_workers", "engine_type", "posix_ppid")
    assert set(shown) <= told["details"].keys()
    assert told["details"]["engine_type"] == "ThreadPoolEngine"


def test_somebody_whom_the_site_does_not_map_is_told_at_submit(
    agent: PublicAgent, open_as: Open
) -> None:
    error = open_as(MALLORY, agent.endpoint_id).submit(who_am_i).exception(WAIT_S)
    assert isinstance(error, InvalidRequestError)
    assert "Request payload failed validation" in str(error)
    assert "Identity failed to map to a local user name" in str(error)


def test_a_template_that_fails_is_told(agent: PublicAgent, open_as: Open) -> None:
    error = open_as(ALICE, agent.endpoint_id, BREAK=True).submit(who_am_i).exception(WAIT_S)
    assert "no_such_name" in str(error)


def test_the_hub_holds_the_sites_schema(agent: PublicAgent, open_as: Open) -> None:
    error = open_as(ALICE, agent.endpoint_id, HEARTBEAT=1).submit(who_am_i).exception(WAIT_S)
    assert isinstance(error, InvalidRequestError)
    assert "$.HEARTBEAT" in str(error)


def fail():
    raise LookupError("on purpose")


def test_results_and_errors_come_back_without_our_extensions(
    agent: PublicAgent, open_as: Open
) -> None:
    executor = open_as(ALICE, agent.endpoint_id)
    results = [executor.submit(pow, 2, number) for number in range(300)]
    failed = executor.submit(fail)
    assert [one.result(WAIT_S) for one in results] == [2**number for number in range(300)]
    error = failed.exception(WAIT_S)
    assert "on purpose" in str(error)


def test_an_idle_user_endpoint_stops_and_comes_back(agent: PublicAgent, open_as: Open) -> None:
    executor = open_as(BOB, agent.endpoint_id, SOFT=1)
    first = executor.submit(who_am_i).result(WAIT_S)[2]
    process = psutil.Process(first)
    eventually(lambda: not process.is_running())
    assert executor.submit(who_am_i).result(WAIT_S)[2] != first


def test_after_stop_it_registers_again_with_the_id_it_kept(
    agent: PublicAgent, open_as: Open, inside: Site
) -> None:
    before = agent.endpoint_id
    open_as(ALICE, before).submit(who_am_i).result(WAIT_S)
    agent.stop()
    assert agent.status()["status"] == "offline"
    waiting = open_as(ALICE, before).submit(who_am_i)
    assert agent.start() == before
    assert waiting.result(WAIT_S)[0] == ACCOUNTS[ALICE]
