"""The agents in turn, A B A B; at ours, both SDKs in turn. All that is timed is asked for here."""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import tempfile
import threading
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.peer import amqp, memory
from bench.peer.plan import ENGINES, Plan, Side
from bench.peer.progress import Bar
from bench.peer.stand import PERSON, Stand
from devtools.say import CannotGoOnError

_CLIENT: Final = Path(__file__).with_name("client.py")
_IMPORT: Final = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
_IMPORTS: Final = {
    Side.OURS: _IMPORT.format("from chamberlain import Client, Executor"),
    Side.PUBLIC: _IMPORT.format("from globus_compute_sdk import Client, Executor"),
}
_WHOSE: Final = {Side.OURS: "our", Side.PUBLIC: "the public"}
_RUN_S: Final = 900.0

Samples = dict[Side, list[list[float]]]
"""For each side a list for each turn."""


class Job(NamedTuple):
    """Something that `client.py` does, and under which name what it finds is kept."""

    name: str
    argument: Any
    samples: str


class ClientFailedError(CannotGoOnError):
    """A measuring program failed; the message holds what it said."""


class Turns:
    """Takes the samples.

    Attributes:
        samples: name, as in `plan.Row.samples`, to what was found; times in seconds.
    """

    def __init__(self, stand: Stand, plan: Plan) -> None:
        self._stand = stand
        self._plan = plan
        self._numbers = itertools.count(1)
        self._round = 0
        self.samples: dict[str, Samples] = defaultdict(
            lambda: {side: [[] for _ in range(plan.rounds)] for side in Side}
        )

    def take(self) -> None:
        """Measure everything.

        Raises:
            CannotGoOnError: an agent or a client failed; the message says what.
        """
        # The steps of `_turn`, and those of `_sdks` for ours.
        steps = self._plan.rounds * (2 * (self._plan.cold + 14) + 6) + 2 * len(ENGINES)
        with Bar(steps) as bar, self._stand.inside():
            for number in range(self._plan.rounds):
                self._round = number
                for side in Side:
                    self._turn(bar, side)

    @property
    def _is_last(self) -> bool:
        """Whether this is the last round: the longest measurements are taken once."""
        return self._round == self._plan.rounds - 1

    def _turn(self, bar: Bar, side: Side) -> None:
        """Start one agent, measure it, and stop it."""
        whose, agent = f"{_WHOSE[side]} agent", self._stand.agents[side]
        try:
            bar.step(f"{whose}: start")
            endpoint = agent.start()
            bar.step(f"{whose}: memory")
            self._note("memory_agent", side, [memory.settled_mb(agent.processes)])
            cold = Job("cold", None, "threads_cold")
            first = self._options("threads")
            self._run(bar, side, _Asked(whose, endpoint, first), [cold])
            bar.step(f"{whose}: memory with one user endpoint")
            self._note("memory_with_one", side, [memory.settled_mb(agent.processes)])
            self._engine(bar, side, _Asked(whose, endpoint, first), "threads", [])
            for _ in range(self._plan.cold - 1):
                self._run(bar, side, _Asked(whose, endpoint, self._options("threads")), [cold])
            htex = _Asked(whose, endpoint, self._options("htex"))
            self._engine(bar, side, htex, "htex", [Job("cold", None, "htex_cold")])
            many = [self._options("threads") for _ in range(self._plan.together)]
            together = Job("together", many, "together")
            self._run(bar, side, _Asked(whose, endpoint, first), [together])
            if side is Side.OURS:
                self._sdks(bar, endpoint, first)
        finally:
            bar.step(f"{whose}: stop")
            agent.stop()

    def _engine(self, bar: Bar, side: Side, asked: _Asked, engine: str, before: list[Job]) -> None:
        """Measure one user endpoint, through our SDK and over AMQP."""
        jobs = [
            *before,
            Job("trips", self._plan.trips, f"{engine}_trips"),
            Job("rate", self._plan.few, f"{engine}_few"),
            Job("where", None, ""),
        ]
        if self._is_last:
            jobs.insert(-1, Job("rate", self._plan.many, f"{engine}_many"))
        where = self._run(bar, side, asked, jobs)
        bar.step(f"{asked.whose}, {ENGINES[engine]}: round trips over AMQP")
        url = self._stand.site.rabbit.amqp_url
        trips = amqp.trips_s(url, where, self._plan.trips, self._plan.limit_s)
        self._note(f"{engine}_amqp", side, trips)

    def _sdks(self, bar: Bar, endpoint: str, options: dict[str, Any]) -> None:
        """Measure both SDKs at a warm thread pool of our agent."""
        jobs = [
            Job("trips", self._plan.trips, "sdk_trips"),
            Job("rate", self._plan.few, "sdk_few"),
        ]
        for sdk in Side:
            whose = f"{_WHOSE[sdk]} SDK at our agent"
            self._run(bar, sdk, _Asked(whose, endpoint, options, sdk), jobs)
        for sdk in Side:
            bar.step(f"{_WHOSE[sdk]} SDK: import")
            self._note("sdk_import", sdk, [self._import_s(sdk) for _ in range(self._plan.imports)])

    def _options(self, engine: str) -> dict[str, Any]:
        """Return options that nobody had before: a user endpoint that never ran."""
        return {"ENGINE": engine, "NUMBER": next(self._numbers)}

    def _note(self, name: str, side: Side, found: list[float]) -> None:
        self.samples[name][side][self._round] += found

    def _import_s(self, sdk: Side) -> float:
        command = [str(self._stand.python(sdk)), "-c", _IMPORTS[sdk]]
        done = subprocess.run(
            command, env=self._environment(), cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise ClientFailedError(f"{_WHOSE[sdk]} SDK cannot be imported:\n{done.stderr}")
        return float(done.stdout)

    def _run(self, bar: Bar, side: Side, asked: _Asked, jobs: list[Job]) -> Any:
        """Let `client.py` do the jobs, keep what it finds, and return its last word."""
        question = {
            "sdk": asked.sdk,
            "endpoint": asked.endpoint,
            "hub_url": self._stand.site.hub_url,
            "token": self._stand.site.tokens[PERSON],
            "options": asked.options,
            "limit_s": self._plan.limit_s,
            "jobs": [[job.name, job.argument] for job in jobs],
        }
        found: Any = None
        with self._client(asked, json.dumps(question)) as said:
            for job in jobs:
                bar.step(f"{asked.whose}: {_words(job, asked.options)}")
                line = next(said, "")
                if not line:
                    break  # it ends with a failure, which the end of this block tells
                found = json.loads(line)
                if job.samples:
                    self._note(job.samples, side, found)
        return found

    @contextlib.contextmanager
    def _client(self, asked: _Asked, question: str) -> Iterator[Iterator[str]]:
        """Run the program with one of the SDKs; its lines."""
        with tempfile.TemporaryFile("w+") as complaints:
            process = subprocess.Popen(
                [str(self._stand.python(asked.sdk)), str(_CLIENT)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                env=self._environment(),
                cwd="/",
                text=True,
            )
            assert process.stdin is not None
            assert process.stdout is not None
            # Each of its waits has a limit; this is for what has none.
            alarm = threading.Timer(_RUN_S, process.kill)
            alarm.start()
            try:
                with process.stdin as stdin:
                    stdin.write(question)
                yield iter(process.stdout)
                process.wait()
            except BaseException:
                process.kill()
                raise
            finally:
                alarm.cancel()
                process.stdout.close()
                process.wait()
            if process.returncode != 0:
                complaints.seek(0)
                said = complaints.read()[-3000:]
                raise ClientFailedError(f"Measuring {asked.whose} failed:\n{said}")

    def _environment(self) -> dict[str, str]:
        return {"PATH": "/usr/bin:/bin", "HOME": str(self._stand.laptop), "LANG": "C.UTF-8"}


class _Asked(NamedTuple):
    """Which endpoint, with which options, by which SDK; `whose` is for people."""

    whose: str
    endpoint: str
    options: dict[str, Any]
    sdk: Side = Side.OURS


def _words(job: Job, options: dict[str, Any]) -> str:
    engine = ENGINES[options["ENGINE"]]
    return {
        "cold": f"{engine}, cold start",
        "trips": f"{engine}, round trips through the SDK",
        "rate": f"{engine}, {job.argument} no-ops" if job.name == "rate" else "",
        "together": "user endpoints at once",
        "where": f"{engine}, ask for its id",
    }[job.name]
