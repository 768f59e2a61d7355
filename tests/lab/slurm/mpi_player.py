"""What a researcher with MPI programs does, from the hub's host; prints what became of it as JSON.

Reads `endpoint`, `hub`, `token`, `options` and `programs` (a folder that nodes see) as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

from chamberlain import ChamberlainError, Client, Executor, MPIFunction
from chamberlain_endpoint.engine import public_names

LIMIT_S = 150.0
STUBBORN = "python3 {programs}/mpi_rank.py stubborn {programs}/marks/{mark}"
SPAN = "python3 {programs}/mpi_rank.py span {seconds} {programs}/marks/span"
COUNT = "sh -c 'pgrep -fc [s]tubborn || true'"
TWO = {"num_nodes": 2, "num_ranks": 2}


def main() -> None:
    """Play all of it."""
    given = json.load(sys.stdin)
    client = Client(given["hub"], given["token"])
    with Executor(given["endpoint"], client, user_endpoint_config=given["options"]) as executor:
        json.dump(Player(executor, given["programs"]).play(), sys.stdout)


class Player:
    """One researcher."""

    def __init__(self, executor: Executor, programs: str) -> None:
        self._executor = executor
        self._programs = programs

    def play(self) -> dict[str, Any]:
        """Return what became of each step."""
        return {
            "ring": self.end(self.ring({"num_nodes": 2, "ranks_per_node": 2})),
            "shared": self.share(),
            "three_nodes": self.end(self.ring({"num_nodes": 3, "ranks_per_node": 1})),
            "shell_in_options": self.end(self.ring(TWO | {"launcher_options": "$(id)"})),
            "failing": self.end(self.submit("sh -c 'echo out; echo err >&2; exit 3'", TWO)),
            "python": self.end(self.submit(where, None)),
            "public": self.end(self.public()),
            "walltime": self.end(self.stubborn("walltime", walltime=2.0)),
            "after_walltime": self.end(self.submit(COUNT, TWO)),
            "task_timeout": self.end(self.stubborn("timeout", {"task_timeout_s": 2.0})),
            "after_task_timeout": self.end(self.submit(COUNT, TWO)),
            "worker_lost": self.lose_worker(),
            "after_worker_lost": self.end(self.submit(COUNT, TWO)),
            "cancelled": self.cancel(),
        }

    def share(self) -> list[dict[str, Any]]:
        """Run a long and a short task of one node, and while they run one of two nodes."""
        one = {"num_nodes": 1, "ranks_per_node": 1}
        spans = [self.submit(SPAN.replace("{seconds}", text), one) for text in ("4", "2")]
        self.await_ranks("span")
        spans.append(self.submit(SPAN.replace("{seconds}", "0.1"), TWO))
        return [self.end(span) for span in spans]

    def lose_worker(self) -> dict[str, Any]:
        """Have a function start ranks, and die with its worker while they run."""
        self._executor.resource_specification = TWO
        command = STUBBORN.format(programs=self._programs, mark="lost")
        return self.end(self._executor.submit(start_and_die, command, f"{self._programs}/marks"))

    def cancel(self) -> dict[str, Any]:
        """Cancel a task that runs, and one that waits for its nodes."""
        running = self.stubborn("running")
        waiting = self.stubborn("waiting")
        self.await_ranks("running")
        began = time.monotonic()
        told: dict[str, Any] = {"asked": [waiting.cancel(), running.cancel()]}
        told["ends"] = [self.end(waiting), self.end(running)]
        # It gets its nodes when they are free again, so nothing may be left on them by then.
        told["after"] = self.end(self.submit(COUNT, TWO))
        told["seconds"] = time.monotonic() - began
        told["begun"] = [self.ranks("running"), self.ranks("waiting")]
        return told

    def await_ranks(self, mark: str) -> None:
        """Return when both ranks with `mark` run."""
        deadline = time.monotonic() + LIMIT_S
        while self.ranks(mark) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)

    def ranks(self, mark: str) -> int:
        """Return how many ranks with `mark` have begun."""
        return len([*Path(self._programs, "marks").glob(f"{mark}.*")])

    def stubborn(self, mark: str, asked: dict[str, Any] | None = None, **more: Any) -> Future[Any]:
        """Run two ranks that do not end when they are told to."""
        return self.submit(STUBBORN.replace("{mark}", mark), TWO | (asked or {}), **more)

    def public(self) -> Future[Any]:
        """Submit what the public SDK makes of its MPIFunction: the name of its class, and state."""
        public_names.offer()
        function = public_names.MPIFunction()
        vars(function).update(cmd="hostname", walltime=60.0, snippet_lines=10, __name__="public")
        self._executor.resource_specification = TWO
        return self._executor.submit(function)

    def ring(self, asked: dict[str, Any]) -> Future[Any]:
        """Have all ranks add up their numbers."""
        return self.submit("python3 {programs}/mpi_rank.py ring", asked)

    def submit(self, what: Any, asked: dict[str, Any] | None, **more: Any) -> Future[Any]:
        """Submit a function, or a command for the MPI launcher."""
        self._executor.resource_specification = asked
        if isinstance(what, str):
            return self._executor.submit(MPIFunction(what, **more), programs=self._programs)
        return self._executor.submit(what)

    def end(self, future: Future[Any]) -> dict[str, Any]:
        """Return how it ended: fields of its result, or its error."""
        try:
            result = future.result(LIMIT_S)
        except CancelledError:
            return {"error": "cancelled"}
        except ChamberlainError as error:
            return {"error": error.public}
        return vars(result) if hasattr(result, "returncode") else {"result": result}


def start_and_die(command: str, marks: str) -> None:
    """Start `command` on the task's nodes; die when it has begun."""
    import os
    import signal
    import subprocess
    import time
    from pathlib import Path

    subprocess.Popen(["bash", "-c", f"$PARSL_MPI_PREFIX {command}"], start_new_session=True)
    while len([*Path(marks).glob("lost.*")]) < 2:
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)


def where() -> dict[str, str]:
    """Return what a Python function finds in its environment."""
    import os

    names = ("SLURM_JOB_ID", "PARSL_MPI_PREFIX", "PARSL_NUM_NODES", "USER")
    return {name: os.environ.get(name, "") for name in names}


if __name__ == "__main__":
    main()
