"""`./dev demo`: two people, two local accounts, for real; and a third person refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from devtools import bench, debian, demo_containers, demo_runs
from devtools.demo_runs import Call
from devtools.demo_site import DemoSite
from devtools.known_site import KnownSite
from devtools.paths import ROOT
from devtools.say import Reporter
from devtools.stage import Stage

ALICE, BOB, MALLORY = "alice@example.edu", "bob@example.edu", "mallory@elsewhere.org"
_PEOPLE: Mapping[str, str | None] = {ALICE: "demo-alice", BOB: "demo-bob", MALLORY: None}
_THREADS: Mapping[str, str | int] = {"ENGINE": "threads"}
_IN_CONTAINERS = (
    "User endpoints run in containers: each in a user namespace of its own, over this machine's "
    "/usr. Look: lsns -t user; /proc/PID/uid_map"
)
_BLOCKS: Mapping[str, str | int] = {"ENGINE": "htex", "MAX_WORKERS": 2}


class Demo:
    """The demo below one folder."""

    def __init__(self, where: Path, report: Reporter) -> None:
        self._report = report
        stage = _PlayedStage if os.geteuid() == 0 else Stage
        self._stage = stage(where, "site", _PEOPLE, report)

    def run(self, *, keep: bool) -> list[demo_runs.Run]:
        """Build what is absent, make the calls, and stop everything unless `keep`.

        A demo that was kept running is used as it is, and goes on running.
        """
        kept = self._stage.site.runs
        try:
            if kept:
                self._report.line("The demo that was kept running is used.")
            else:
                self._stage.install()
                self._stage.set()
                self._choose_runtime()
            runs = demo_runs.carry_out(self._stage.site, self._calls(), self._report)
        except BaseException:
            self._stage.clear()
            raise
        if not keep and not kept:
            self._stage.clear()
        return runs

    def down(self) -> list[str]:
        """Remove all that the demo made; return what was removed, in words."""
        # A bench that was killed may have left its own.
        removed = Stage(self._stage.where, bench.STAGE, bench.PEOPLE, self._report).strike()
        removed += self._stage.strike()
        if self._stage.where.exists():
            shutil.rmtree(self._stage.where)
            removed.append(f"the folder {self._stage.where}")
        return removed

    def how_to_use(self) -> str:
        """Return what to type in another terminal while the demo is kept running."""
        return how_to_use(self._stage.site)

    def _choose_runtime(self) -> None:
        """Have user endpoints run in containers where this machine can; say which, and why."""
        reason = demo_containers.why_not(is_root=self._stage.multi)
        site, account = self._stage.site, _PEOPLE[ALICE]
        if not reason and isinstance(site, DemoSite) and account is not None:
            where = self._stage.where
            tried = demo_containers.try_one(site.launcher_toml, where, site.programs, account)
            reason, variables = tried
            if not reason:
                with self._report.step("Playing ansible/site.yml again, with containers"):
                    site.change(variables)
        self._report.line(why_processes(reason) if reason else _IN_CONTAINERS)

    def _calls(self) -> list[Call]:
        several = self._stage.multi
        return [
            Call(ALICE, _THREADS),
            Call(BOB, _THREADS, succeeds=several),
            Call(ALICE, _BLOCKS),
            Call(BOB, _BLOCKS, succeeds=several),
            Call(MALLORY, _THREADS, succeeds=False),
        ]


class _PlayedStage(Stage):
    """The stage of the multi-user form: what stands on it is made by the roles."""

    def install(self) -> None:
        """Install RabbitMQ, and get what the roles need, unless it is there."""
        debian.ensure(["rabbitmq-server"], self._report)
        self.where.mkdir(mode=0o755, parents=True, exist_ok=True)
        DemoSite(self.where, _PEOPLE).prepare(self._report)

    def _site(self) -> KnownSite:
        return DemoSite(self.where, _PEOPLE)


def why_processes(reason: str) -> str:
    """Return why the demo's user endpoints are processes, and where containers can be seen."""
    return f"User endpoints run as processes: {reason}. In containers: ./dev lab up --containers"


def how_to_use(site: KnownSite) -> str:
    """Return what to type in another terminal to use `site`."""
    return (
        "\nThe demo goes on running. In another terminal:\n\n"
        f"  export CHAMBERLAIN_HUB_URL={site.hub_url}\n"
        f"  export CHAMBERLAIN_TOKEN={site.tokens[ALICE]}   # {ALICE}\n"
        f"  {site.programs.python} {ROOT}/examples/hello.py {site.endpoint_id}\n"
        f"  {site.programs.folder}/bin/chamberlain whoami\n"
        f"  {site.programs.endpoint} list --config-dir {site.config_dir}\n\n"
        f"For {BOB}: CHAMBERLAIN_TOKEN={site.tokens[BOB]}\n"
        "To end it and remove all of it: ./dev demo --down\n"
    )
