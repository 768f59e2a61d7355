"""Either SDK at either agent: the same scenario, on one hub.

The public SDK also as it was a year before, and with a program's login instead of a token.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.compat.conftest import ALICE, MALLORY, StartAgent
from tests.compat.pair import Run, steps
from tests.compat.public_agent import SCHEMA, TEMPLATE, AgentPlan, ServiceAccount

from devtools import public
from devtools.own_network import OwnNetwork
from devtools.paths import ROOT
from devtools.processes import standing_below
from devtools.programs import Programs
from devtools.say import Reporter
from devtools.site import Plan, Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.needs_root, pytest.mark.slow]
# The first test installs, starts a site with two agents, and runs all scenarios.
pytestmark.append(pytest.mark.timeout(1500))

STEPS = steps()
# Logging in is what differs; the other steps run with an access token.
AFTER_LOGIN = [
    "executor_submits_and_returns",
    "client_runs_a_batch",
    "tasks_reload",
    "endpoints_by_role",
    "allowed_functions_are_told_and_held",
    "remote_errors_bring_their_traceback",
    "what_is_not_there_is_404",
]
NOT_YET_A_YEAR_AGO = {"shell_function_as_dictionary", "results_that_may_not_be_read_are_told"}
"""What that release did not have: `return_dict`, and a list of strategies that may be read."""

NOT_AT_THE_PUBLIC_AGENT = {"shell_function", "shell_function_at_its_walltime"}
"""Of that release: the public worker of now looks for `return_dict`, too. Ours does without."""

OUR_AGENT, PUBLIC_AGENT = "our agent", "public agent"


@dataclass(frozen=True)
class Column:
    """One SDK, one agent.

    Attributes:
        packages: what to install for it; none: it is ours.
        by_secret: it logs in with a service account's secret.
    """

    name: str
    agent: str
    packages: tuple[str, ...]
    steps: list[str]
    by_secret: bool = False

    @property
    def title(self) -> str:
        return f"{self.name} at {self.agent}"


COLUMNS = [
    column
    for agent in (OUR_AGENT, PUBLIC_AGENT)
    for column in (
        Column("public SDK", agent, public.SDK_NEWEST, STEPS),
        Column("our SDK", agent, (), STEPS),
        Column("public SDK, client credentials", agent, public.SDK_NEWEST, AFTER_LOGIN, True),
        Column(
            "public SDK of a year before",
            agent,
            public.SDK_YEAR_BEFORE,
            [
                one
                for one in STEPS
                if one not in NOT_YET_A_YEAR_AGO
                and (agent == OUR_AGENT or one not in NOT_AT_THE_PUBLIC_AGENT)
            ],
        ),
    )
]

EXPECTED = (
    # dill differs: their package asks for one exact version, our workers have a newer one.
    "Environment differences detected",
    # ... and ours says the same of theirs.
    "has dill 0.3.9, and here is dill",
)
"""What the SDKs may say: nothing of ours is unknown to the public one."""


@pytest.fixture(scope="module")
def our_agent(
    public_folder: Path,
    network: OwnNetwork,
    hub_site: Site,
    programs: Programs,
    people: Mapping[str, str],
) -> Iterator[str]:
    """Our agent at the hub; the id of its endpoint."""
    files = {"template": TEMPLATE, "schema": json.dumps(SCHEMA)}
    for name, text in files.items():
        (public_folder / f"ours-{name}").write_text(text)
    options = [f"--{name}-config={public_folder}/ours-{name}" for name in files]
    plan = Plan(multi=True, people=people, owner=ALICE, options=options)
    site = Site(hub_site.folder, programs, plan)
    try:
        with network.entered():
            site.start_agent(Reporter())
        yield site.endpoint_id
    finally:
        with network.entered():
            site.stop_endpoint()
        assert standing_below(site.config_dir) == []


@pytest.fixture(scope="module")
def public_agent(start_agent: StartAgent, people: dict[str, str]) -> str:
    """The public agent at the hub; the id of its endpoint."""
    return start_agent(AgentPlan(people=people, owner=ALICE)).endpoint_id


@pytest.fixture(scope="module")
def runs(
    our_agent: str,
    public_agent: str,
    hub_site: Site,
    network: OwnNetwork,
    programs: Programs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, Run]:
    """All columns at once: each of them mostly waits."""
    folder = tmp_path_factory.mktemp("runs")
    account = ServiceAccount.create(hub_site, "pairs", "--link-to", ALICE)
    login = {
        "GLOBUS_COMPUTE_CLIENT_ID": account.client_id,
        "GLOBUS_COMPUTE_CLIENT_SECRET": account.secret,
        "GLOBUS_SDK_SERVICE_URL_AUTH": f"{hub_site.hub_url}/",
    }
    started: dict[str, Run] = {}
    for place, column in enumerate(COLUMNS):
        told = {
            "sdk": "public" if column.packages else "ours",
            "hub_url": hub_site.hub_url,
            "endpoint": our_agent if column.agent == OUR_AGENT else public_agent,
            "token": "" if column.by_secret else hub_site.tokens[ALICE],
            "strangers_token": hub_site.tokens[MALLORY],
            "steps": column.steps,
        }
        python = public.python(column.packages) if column.packages else programs.python
        with network.entered():
            started[column.title] = Run(
                python, told, login if column.by_secret else {}, folder / str(place)
            )
    try:
        for run in started.values():
            run.finish()
    finally:
        for run in started.values():
            run.stop()
    return started


@pytest.mark.parametrize(
    ("column", "step"), [(column.title, step) for column in COLUMNS for step in column.steps]
)
def test_the_step_does_what_users_expect(
    runs: Mapping[str, Run], table: dict[str, dict[str, str]], column: str, step: str
) -> None:
    result = runs[column].results[step]
    table.setdefault(column, {})[step] = "FAILED" if result.error else f"{result.took_s:.1f} s"
    assert not result.error, result.error


@pytest.mark.parametrize("column", [column.title for column in COLUMNS])
def test_nothing_unexpected_is_warned_of(runs: Mapping[str, Run], column: str) -> None:
    heard = {line for result in runs[column].results.values() for line in result.heard}
    assert not [line for line in heard if not any(known in line for known in EXPECTED)]


PAGE = ROOT / "docs" / "guides" / "coming-from-globus-compute.md"
_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAYS = re.compile(r"  # -> (.*)$", re.MULTILINE)


@pytest.mark.parametrize(
    ("heading", "packages", "agent"),
    [
        ("Keep your SDK", public.SDK_NEWEST, OUR_AGENT),
        ("Keep your SDK", public.SDK_NEWEST, PUBLIC_AGENT),
        ("Keep your SDK", public.SDK_YEAR_BEFORE, OUR_AGENT),
        ("Use ours", (), OUR_AGENT),
    ],
)
def test_the_guides_blocks_print_what_they_say(
    heading: str,
    packages: tuple[str, ...],
    agent: str,
    our_agent: str,
    public_agent: str,
    programs: Programs,
    inside: Site,
    tmp_path: Path,
) -> None:
    section = PAGE.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    script = tmp_path / "guide.py"
    script.write_text("\n".join(_BLOCK.findall(section)))
    endpoint = our_agent if agent == OUR_AGENT else public_agent
    done = subprocess.run(
        [public.python(packages) if packages else programs.python, script],
        env=inside.environment_of(ALICE) | {"ENDPOINT": endpoint, "HOME": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == _SAYS.findall(section)
    assert len(_SAYS.findall(section)) > 2
