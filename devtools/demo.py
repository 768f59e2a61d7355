"""`./dev demo`: two people, two local accounts, for real; and a third person refused."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from devtools import bench, demo_containers, demo_runs
from devtools.demo_runs import Call
from devtools.paths import ROOT
from devtools.say import Reporter
from devtools.site import Site
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
        self._stage = Stage(where, "site", _PEOPLE, report, self._choose_runtime)

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
                if not self._stage.multi:
                    self._report.line(why_processes(demo_containers.why_not(is_root=False)))
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

    def _choose_runtime(self, launcher_toml: Path) -> None:
        """Have user endpoints run in containers where this machine can; say which, and why."""
        reason = demo_containers.why_not(is_root=True)
        account = _PEOPLE[ALICE]
        assert account is not None
        if not reason:
            site = self._stage.site
            reason = demo_containers.use(launcher_toml, self._stage.where, site.programs, account)
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


def why_processes(reason: str) -> str:
    """Return why the demo's user endpoints are processes, and where containers can be seen."""
    return f"User endpoints run as processes: {reason}. In containers: ./dev lab up --containers"


def how_to_use(site: Site) -> str:
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
