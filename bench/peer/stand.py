"""Both agents on one site: a private broker, one hub, one account, a network of their own.

The public agent looks for a local hub on port 5000 and nowhere else, hence the network. Both
have the same template, run as root and start user endpoints as the same account. Needs root.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import psutil
from tests.compat.public_agent import AgentPlan, PublicAgent, ServiceAccount

from bench.peer.plan import Side
from devtools import debian, public
from devtools.accounts import MadeAccounts, exists
from devtools.own_network import OwnNetwork
from devtools.processes import Daemon
from devtools.programs import Programs
from devtools.programs import install as install_programs
from devtools.say import CannotGoOnError, Reporter
from devtools.site import Plan, Site
from devtools.stage import deaf_to_interrupts

PERSON: Final = "bench@example.edu"
_HUB_PORT: Final = 5000
_PREFIX: Final = "chpeer"
_GONE_S: Final = 20.0
_SERVICE_ACCOUNT: Final = "chamberlain"  # `chamberlain-endpoint configure` makes it

TEMPLATE: Final = """\
idle_heartbeats_soft: 0
engine:
{% if "htex" in (ENGINE | default("threads")) %}
  type: GlobusComputeEngine
  address: 127.0.0.1
  max_workers_per_node: 2
  provider:
    type: LocalProvider
    init_blocks: 1
    min_blocks: 1
    max_blocks: 1
{% else %}
  type: ThreadPoolEngine
  max_workers: 4
{% endif %}
"""
SCHEMA: Final[Mapping[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "ENGINE": {"enum": ["threads", "htex"]},
        # Another number is another user endpoint.
        "NUMBER": {"type": "integer"},
    },
    "additionalProperties": False,
}


class NotRootError(CannotGoOnError):
    """The comparison cannot run here; the message says what to do."""


class Agent(Protocol):
    """What both agents can do."""

    def start(self) -> str:
        """Start and return the endpoint's id when the hub sees it online."""

    def stop(self) -> None:
        """Stop it and its user endpoints."""

    def processes(self) -> list[psutil.Process]:
        """Return it, its helpers and its user endpoints."""


class OurAgent:
    """Our agent, as `chamberlain-endpoint start` leaves it: under supervisord."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def start(self) -> str:
        """See `Agent`."""
        self._site.start_endpoint()
        return self._site.endpoint_id

    def stop(self) -> None:
        """See `Agent`."""
        self._site.stop_endpoint()

    def processes(self) -> list[psutil.Process]:
        """See `Agent`."""
        pid_file = self._site.config_dir / self._site.name / "run" / "supervisord.pid"
        first = psutil.Process(int(pid_file.read_text()))
        return [first, *first.children(recursive=True)]


class Stand:
    """The site, below `where`. `close` in any case."""

    def __init__(self, where: Path, report: Reporter) -> None:
        if os.geteuid() != 0:
            raise NotRootError(
                "Both agents are compared in the multi-user form, in a network of their own. "
                "Run it as root: sudo ./dev bench --peer"
            )
        self._where = where
        self._folder = where / "peer"
        self._report = report
        self._made = MadeAccounts(where / "peer-accounts.json")
        self._network: OwnNetwork | None = None
        self._account = f"{_PREFIX}{os.getpid()}"
        self._programs = Programs(where / "venv")
        self.agents: dict[Side, Agent] = {}
        self.site = self._site()

    def open(self) -> None:
        """Install what is absent, start broker and hub, configure both agents.

        Raises:
            CannotGoOnError: something is missing or does not start; the message says what.
        """
        debian.ensure(["rabbitmq-server"], self._report)
        self._where.mkdir(mode=0o755, parents=True, exist_ok=True)
        install_programs(self._where / "venv", self._report)
        public.python(public.SDK_NEWEST, self._report)
        public.python(public.AGENT_NEWEST, self._report)
        self._clear()
        self._folder.mkdir(mode=0o755)
        for name, text in (("template", TEMPLATE), ("schema", json.dumps(SCHEMA))):
            (self._folder / name).write_text(text)
        self._made.ensure(self._account, self._folder / "home")
        if not exists(_SERVICE_ACCOUNT):
            self._made.claim(_SERVICE_ACCOUNT)
        self._network = OwnNetwork()
        with self.inside():
            self.site.start_services(self._report)
            self.site.start_agent(self._report)
            self.site.stop_endpoint()
            theirs = self._public_agent()
            with self._report.step("Configuring the public agent"):
                theirs.configure()
        self.agents = {Side.OURS: OurAgent(self.site), Side.PUBLIC: theirs}

    def python(self, side: Side) -> Path:
        """Return a Python with the SDK of `side`."""
        return self._programs.python if side is Side.OURS else public.python(public.SDK_NEWEST)

    def python_of_agent(self, side: Side) -> Path:
        """Return the Python that the agent of `side` runs in."""
        return self._programs.python if side is Side.OURS else public.python(public.AGENT_NEWEST)

    @property
    def laptop(self) -> Path:
        """A home for the programs of the SDKs."""
        return self._folder

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Let this thread, and all that it starts meanwhile, live in the site's network."""
        assert self._network is not None
        with self._network.entered():
            yield

    def close(self) -> None:
        """Stop everything and remove it, with the account. What was installed stays."""
        if not self._folder.exists():
            return
        with self._report.step("Stopping everything"), deaf_to_interrupts():
            for agent in self.agents.values():
                # What it leaves is ended below.
                with contextlib.suppress(CannotGoOnError, AssertionError), self.inside():
                    agent.stop()
            self._clear()
            if self._network is not None:
                self._network.close()
                self._network = None

    def _clear(self) -> None:
        """End what is there, also of a run that could not clean up after itself."""
        if self._folder.exists():
            Daemon("agent", self._folder / "public").stop()
            self._site().stop()
            _end_processes_of([name for name in self._made.names if name.startswith(_PREFIX)])
            shutil.rmtree(self._folder)
        self._made.remove_all()

    def _site(self) -> Site:
        options = [f"--{name}-config={self._folder / name}" for name in ("template", "schema")]
        plan = Plan(
            multi=True,
            people={PERSON: self._account},
            owner=PERSON,
            options=options,
            hub_settings={"listen_port": _HUB_PORT},
            # As many as are asked for at once, and those from before.
            policy={"max_user_endpoints_per_account": 100},
        )
        return Site(self._folder, self._programs, plan)

    def _public_agent(self) -> PublicAgent:
        folder = self._folder / "public"
        folder.mkdir(mode=0o755)
        program = public.python_for_all(public.AGENT_NEWEST)
        plan = AgentPlan(
            people={PERSON: self._account},
            template=TEMPLATE,
            schema=SCHEMA,
            # Its worker pools are found by name.
            environment={"PATH": f"{program.parent}:/usr/bin:/bin"},
            owner=PERSON,
        )
        login = ServiceAccount.create(self.site, "peer", "--link-to", PERSON)
        return PublicAgent(folder, self.site, login, plan)


def _end_processes_of(accounts: list[str]) -> None:
    """Kill what runs as accounts that were made for this alone, and wait until it is gone."""
    left = [one for one in psutil.process_iter(["username"]) if one.info["username"] in accounts]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=_GONE_S)
