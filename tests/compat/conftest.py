"""A hub on port 5000 of a network of its own, where the public clients look for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.compat.public_agent import AgentPlan, PublicAgent, ServiceAccount

from chamberlain import Client, Executor
from devtools.accounts import MadeAccounts
from devtools.own_network import OwnNetwork
from devtools.paths import VENV
from devtools.programs import Programs
from devtools.say import Reporter
from devtools.site import Plan, Site

ADMIN, ALICE, BOB = "admin@example.edu", "alice@example.edu", "bob@example.edu"
MALLORY = "mallory@elsewhere.org"
# Of this run alone: runs side by side must not remove one another's.
ACCOUNTS = {ALICE: f"chpub{os.getpid()}a", BOB: f"chpub{os.getpid()}b"}
HUB_PORT = 5000

StartAgent = Callable[[AgentPlan], PublicAgent]
Open = Callable[..., Executor]

_TABLE: dict[str, dict[str, str]] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print which step of the scenario went how, with which SDK at which agent."""
    if not _TABLE:
        return
    terminalreporter.section("steps of the scenario, by SDK and agent")
    columns = list(_TABLE)
    for number, name in enumerate(columns, 1):
        terminalreporter.write_line(f"({number}) {name}")
    heads = "".join(f"{f'({number})':>8}" for number in range(1, len(columns) + 1))
    terminalreporter.write_line(f"{'':<45}{heads}")
    for step in dict.fromkeys(step for column in _TABLE.values() for step in column):
        cells = "".join(f"{_TABLE[name].get(step, '-'):>8}" for name in columns)
        terminalreporter.write_line(f"{step:<45}{cells}")


@pytest.fixture(scope="session")
def table() -> dict[str, dict[str, str]]:
    """Column (SDK and agent) -> step -> how it went; printed at the end."""
    return _TABLE


@pytest.fixture(scope="session")
def network() -> Iterator[OwnNetwork]:
    """The network that broker, hub, agents and SDKs of the compatibility tests live in."""
    one = OwnNetwork()
    yield one
    one.close()


@pytest.fixture(scope="session")
def hub_site(public_folder: Path, network: OwnNetwork) -> Iterator[Site]:
    """Broker, hub on port 5000 and people; no endpoint yet."""
    plan = Plan(
        multi=False,
        people={ADMIN: None, ALICE: ACCOUNTS[ALICE], BOB: ACCOUNTS[BOB], MALLORY: None},
        owner=ADMIN,
        hub_settings={"listen_port": HUB_PORT, "sweep_period_s": 1.0},
    )
    # The hub runs as ourselves here, so the checkout's own environment will do.
    site = Site(public_folder / "hub-site", Programs(VENV), plan)
    try:
        with network.entered():
            site.start_services(Reporter())
        yield site
    finally:
        with network.entered():
            site.stop()


@pytest.fixture(scope="session")
def people(public_folder: Path) -> Iterator[dict[str, str]]:
    """Username at the hub -> local account, made for these tests."""
    made = MadeAccounts(public_folder / "compat-accounts.json")
    try:
        for account in ACCOUNTS.values():
            made.ensure(account, public_folder / account)
        yield dict(ACCOUNTS)
    finally:
        made.remove_all()


@pytest.fixture
def inside(network: OwnNetwork, hub_site: Site) -> Iterator[Site]:
    """Let the test live in the network; the site."""
    with network.entered():
        yield hub_site


@pytest.fixture(scope="module")
def start_agent(
    public_folder: Path, network: OwnNetwork, hub_site: Site, request: pytest.FixtureRequest
) -> Iterator[StartAgent]:
    """Start a public agent; killed at the end of the module, which its `stop` takes 10 s for."""
    started: list[PublicAgent] = []

    def start(plan: AgentPlan) -> PublicAgent:
        name = f"{request.module.__name__.rpartition('.')[2]}-{len(started)}"
        folder = public_folder / name
        folder.mkdir(mode=0o755)
        account = ServiceAccount.create(hub_site, name, "--link-to", plan.owner)
        agent = PublicAgent(folder, hub_site, account, plan)
        started.append(agent)
        with network.entered():
            agent.start()
        return agent

    yield start
    with network.entered():
        for agent in started:
            agent.kill()


@pytest.fixture
def open_as(inside: Site) -> Iterator[Open]:
    """Open our Executor as somebody; closed at the end of the test."""
    opened: list[Executor] = []

    def open_one(person: str, endpoint: str, **options: Any) -> Executor:
        client = Client(inside.hub_url, inside.tokens[person])
        opened.append(Executor(endpoint, client, user_endpoint_config=options))
        return opened[-1]

    yield open_one
    for executor in opened:
        executor.shutdown(wait=False, cancel_futures=True)
        executor.client.close()
