"""The public agent in its other forms: with PAM, as one user, with restrictions, a year older."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.compat.conftest import ADMIN, ALICE, BOB, Open, StartAgent
from tests.compat.public_agent import AgentPlan

from chamberlain import Client, ForbiddenError
from chamberlain_wire.ids import new_id
from devtools import public
from devtools.site import Site

pytestmark = [
    pytest.mark.needs_rabbit,
    pytest.mark.needs_root,
    pytest.mark.slow,
    # The public agent pins an older dill; our SDK says so, which is right and not the subject.
    pytest.mark.filterwarnings("ignore:Endpoint .* has dill"),
]
WAIT_S = 90.0


def who_am_i():
    import os
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def pam_service() -> Iterator[Path]:
    """A PAM service of this test's own; it does not exist yet."""
    file = Path("/etc/pam.d") / f"chpub{os.getpid()}"
    yield file
    file.unlink(missing_ok=True)


def test_with_pam_the_sites_service_decides_who_comes_in(
    start_agent: StartAgent, open_as: Open, people: dict[str, str], pam_service: Path
) -> None:
    pam = {"enable": True, "service_name": pam_service.name}
    agent = start_agent(AgentPlan(people=people, config={"pam": pam}))
    pam_service.write_text("account required pam_deny.so\n")
    refused = open_as(ALICE, agent.endpoint_id).submit(who_am_i).exception(WAIT_S)
    assert "see your system administrator" in str(refused)
    stages = ("auth", "account", "session")
    pam_service.write_text("".join(f"{stage} required pam_permit.so\n" for stage in stages))
    assert open_as(ALICE, agent.endpoint_id).submit(who_am_i).result(WAIT_S) == people[ALICE]


def test_an_ordinary_users_agent_serves_that_user_and_listed_functions(
    start_agent: StartAgent, open_as: Open, people: dict[str, str], inside: Site
) -> None:
    client = Client(inside.hub_url, inside.tokens[ALICE])
    listed, other = client.register_function(who_am_i), client.register_function(pow)
    client.close()
    plan = AgentPlan(account=people[ALICE], config={"allowed_functions": [listed]}, owner=ALICE)
    agent = start_agent(plan)
    executor = open_as(ALICE, agent.endpoint_id)
    ran = executor.submit_to_registered_function(listed)
    assert ran.result(WAIT_S) == people[ALICE]
    refused = executor.submit_to_registered_function(other, (2, 2)).exception(WAIT_S)
    assert isinstance(refused, ForbiddenError)
    assert f"Function {other} is not permitted" in str(refused)
    stranger = open_as(BOB, agent.endpoint_id).submit(who_am_i).exception(WAIT_S)
    assert "There is no endpoint" in str(stranger)


def test_what_it_says_of_itself_is_stored_and_a_policy_held(
    start_agent: StartAgent, open_as: Open, people: dict[str, str], inside: Site
) -> None:
    policy, subscription, helper = new_id(), new_id(), new_id()
    config = {
        "authentication_policy": policy,
        "subscription_id": subscription,
        "high_assurance": True,
        "admins": [helper],
        "display_name": "Harbour",
        "public": True,
    }
    agent = start_agent(AgentPlan(people=people, config=config))
    shown = inside.get(f"/v2/endpoints/{agent.endpoint_id}", ADMIN)
    assert shown["authentication_policy"] == policy
    assert shown["subscription_uuid"] == subscription
    assert shown["high_assurance"] is True
    assert shown["admins"] == [helper]
    assert (shown["display_name"], shown["public"]) == ("Harbour", True)
    closed = open_as(ALICE, agent.endpoint_id).submit(who_am_i).exception(WAIT_S)
    assert isinstance(closed, ForbiddenError)
    assert f"authentication policy {policy}" in str(closed)
    inside.hub_command("policy", "create", "staff", "--id", policy, "--include", "other.org")
    refused = open_as(ALICE, agent.endpoint_id).submit(who_am_i).exception(WAIT_S)
    assert "needs an identity of other.org" in str(refused)


def test_the_agent_of_a_year_before_serves_too(
    start_agent: StartAgent, open_as: Open, people: dict[str, str], inside: Site
) -> None:
    agent = start_agent(AgentPlan(people=people, release=public.AGENT_YEAR_BEFORE))
    executor = open_as(ALICE, agent.endpoint_id)
    assert executor.submit(who_am_i).result(WAIT_S) == people[ALICE]
    assert [executor.submit(pow, 2, n).result(WAIT_S) for n in (3, 5)] == [8, 32]
    agent.stop()
    assert agent.status()["status"] == "offline"
