"""Parsl's high-throughput executor without its DataFlowKernel: the only place that drives it.

One `Interchange` is one executor and its interchange process. What Parsl's scaling would do
(start blocks, look after them) is `htex.ParslEngine`'s, without polling periods.
"""

from __future__ import annotations

import contextlib
import pickle
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.engine.doors import open_lazily

open_lazily()

import zmq  # noqa: E402
from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost  # noqa: E402
from parsl.executors.high_throughput.executor import HighThroughputExecutor  # noqa: E402

from chamberlain_endpoint.engine import tether  # noqa: E402
from chamberlain_endpoint.engine.fleet import Pool  # noqa: E402
from chamberlain_endpoint.engine.meeting import Meeting  # noqa: E402
from chamberlain_endpoint.engine.memory_kills import MemoryKills  # noqa: E402
from chamberlain_endpoint.engine.port import EngineStartError, Job  # noqa: E402
from chamberlain_endpoint.engine.recall import Recall  # noqa: E402
from chamberlain_endpoint.engine.slots import Recalled  # noqa: E402
from chamberlain_endpoint.engine.versions import judged  # noqa: E402
from chamberlain_endpoint.rendered.settled import HtexEngine  # noqa: E402
from chamberlain_endpoint.scheduler.ending import how_it_ended  # noqa: E402
from chamberlain_wire.ids import TaskId  # noqa: E402

_ENTRY: Final = "chamberlain_endpoint.engine.parsl_entry"
_START_S: Final = 60.0
_ANSWER_S: Final = 10.0
"""How long a living interchange may take to answer."""
_LOOK_MS: Final = 50
_POLL_MS: Final = 100
"""How often Parsl's loops look up although nothing came; messages do not wait for it."""

_KILLS: Final = MemoryKills()
"""From when Parsl is loaded, before any worker runs: a process has one control group."""

OnDone = Callable[["Future[Any]"], None]


class InterchangeGoneError(EngineStartError):
    """The interchange ended or does not answer. Start another; its tasks are lost."""


class Interchange:
    """One executor and its interchange process, from start to stop.

    Start and stop in one thread that lives as long as it does: the process is tied to it.

    Attributes:
        is_met: a worker answered, and is of our versions.
    """

    def __init__(self, config: HtexEngine, meeting: Meeting, on_ended: Callable[[str], None]):
        self._executor = _Executor(config, meeting)
        self._recall = Recall(meeting)
        self._on_ended = on_ended
        self._stopping = False
        self.is_met = False

    def start(self) -> None:
        """Start it and return when it takes tasks.

        Raises:
            EngineStartError: it ended, or does not answer. Nothing of it is left.
        """
        try:
            self._executor.start()  # type: ignore[no-untyped-call]
        except EngineStartError:
            self.stop()
            raise
        self._recall.open()
        threading.Thread(target=self._watch, name="interchange", daemon=True).start()

    def submit(self, packed: bytes, job: Job, on_done: OnDone) -> None:
        """Run `packed` on a worker; `on_done` gets the future with the encoded result."""
        context: dict[str, Any] = _context("run_packed")
        if job.resources:
            context["resource_spec"] = job.resources
        self._executor.submit_payload(context, packed).add_done_callback(on_done)

    def recall(self, task_id: TaskId) -> bool:
        """Have the worker of a task ended; False when the workers cannot be told."""
        return self._recall.ask(task_id)

    def ended(self, task_id: TaskId) -> None:
        """The task is over; whoever recalled it may rest."""
        self._recall.done(task_id)

    def knock(self, on_done: OnDone) -> None:
        """Let the first worker that connects answer.

        The future that `on_done` gets has an error when that worker is of other versions.
        """

        def tell(future: Future[Any]) -> None:
            answer = judged(future)
            self.is_met = self.is_met or answer.exception() is None
            on_done(answer)

        self._executor.submit_payload(_context("knock"), b"").add_done_callback(tell)

    def pools(self) -> list[Pool]:
        """Return the workers that are connected.

        Raises:
            InterchangeGoneError: nobody answers, or it has given up on itself.
        """
        if self._executor.bad_state_is_set:
            raise InterchangeGoneError(f"it gave up: {self._executor.executor_exception}")
        return [
            Pool(
                name=one["manager"],
                block=one["block_id"],
                workers=one["worker_count"],
                tasks=one["tasks"],
                usable=one["active"] and not one["draining"],
                idle_s=one["idle_duration"] if one["tasks"] == 0 else 0.0,
                versions={"parsl": one["parsl_version"], "python": one["python_version"]},
            )
            for one in self._ask("MANAGERS")
        ]

    def hold(self, pool: str) -> None:
        """Give this pool no more tasks, for good."""
        self._ask(["HOLD_MANAGER", pool])

    def stop(self) -> None:
        """End it and return when it is gone; twice is harmless."""
        if self._stopping:
            return
        self._stopping = True
        self._recall.close()
        executor = self._executor
        if hasattr(executor, "outgoing_q"):
            # What nobody will read must not keep us here.
            executor.outgoing_q.zmq_socket.setsockopt(zmq.LINGER, 0)
        executor.shutdown(timeout=1.0)
        if executor.interchange_proc is not None:
            executor.interchange_proc.wait()

    def _ask(self, command: object) -> Any:
        try:
            client = self._executor.command_client
            return client.run(command, timeout_s=_ANSWER_S)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise InterchangeGoneError(f"the interchange does not answer: {error!r}") from error

    def _watch(self) -> None:
        process = self._executor.interchange_proc
        assert process is not None
        code = process.wait()
        if not self._stopping:
            self._on_ended(how_it_ended(code))


class _Executor(HighThroughputExecutor):
    """Starts the interchange tied to us, and notices when it ends instead of answering."""

    def __init__(self, config: HtexEngine, meeting: Meeting) -> None:
        super().__init__(
            label=config.label or config.type,
            address=meeting.addresses[0],
            loopback_address=config.loopback_address,
            worker_port=meeting.port,
            interchange_port_range=config.interchange_port_range,
            worker_debug=config.worker_debug,
            heartbeat_period=meeting.heartbeat_period_s,
            heartbeat_threshold=meeting.heartbeat_threshold_s,
            poll_period=config.poll_period or _POLL_MS,
            encrypted=meeting.certificates is not None,
        )
        self.run_dir = str(meeting.log_dir)
        self._log_dir = meeting.log_dir
        if meeting.certificates is not None:
            # Keys of our own: the first block needs them before this object is made.
            self.cert_dir = str(meeting.certificates)  # type: ignore[assignment]

    def initialize_scaling(self) -> None:
        """Do nothing: blocks are started elsewhere."""

    def _start_local_interchange_process(self) -> None:
        Path(self.logdir).mkdir(parents=True, exist_ok=True)
        errors = self._log_dir / "interchange.err"
        with errors.open("wb") as stderr:
            process = self.interchange_proc = subprocess.Popen(
                tether.words("exec", sys.executable, "-I", "-m", _ENTRY, "interchange"),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                cwd=self._log_dir,
                start_new_session=True,
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin as stdin:
            stdin.write(pickle.dumps(self._interchange_settings()))
        socket = self.command_client.zmq_socket
        deadline = time.monotonic() + _START_S
        asked = False
        while process.poll() is None and time.monotonic() < deadline:
            flag = zmq.POLLIN if asked else zmq.POLLOUT
            if not socket.poll(_LOOK_MS, flag):
                continue
            if asked:
                self.worker_port = socket.recv_pyobj()
                return
            socket.send_pyobj("WORKER_BINDS")
            asked = True
        process.kill()
        how = how_it_ended(process.wait())
        raise EngineStartError(
            public=f"The engine's interchange did not start ({how}): {_last_line(errors)}"
        )

    def _interchange_settings(self) -> dict[str, Any]:
        return {
            "client_address": self.loopback_address,
            "client_ports": (
                self.outgoing_q.port,
                self.incoming_q.port,
                self.command_client.port,
            ),
            "interchange_address": self.address,
            "worker_port": self.worker_port,
            "worker_port_range": self.worker_port_range,
            "hub_address": self.loopback_address,
            "hub_zmq_port": None,
            "logdir": self.logdir,
            "heartbeat_threshold": self.heartbeat_threshold,
            "poll_period": self.poll_period,
            "logging_level": 10 if self.worker_debug else 20,
            "cert_dir": self.cert_dir,
            "manager_selector": self.manager_selector,
            "run_id": "chamberlain",
            "log_config": None,
            "_check_python_mismatch": True,
        }


def _last_line(errors: Path) -> str:
    lines = errors.read_text(errors="replace").split("\n")
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][-500:] if said else f"it said nothing within {_START_S:g} s."


def was_not_begun(error: BaseException) -> bool:
    """Tell whether a future failed because its task was cancelled before a worker began it."""
    return isinstance(error, Recalled)


def lost_pool(error: BaseException) -> str:
    """Return the name of the pool that went away with a task; empty: none did."""
    return error.manager_id.decode() if isinstance(error, ManagerLost) else ""


def why_lost(error: BaseException) -> str:
    """Return a sentence for the caller about a task whose future failed with `error`."""
    if isinstance(error, WorkerLost):
        died = f"The worker that ran the task died on host {error.hostname}"
        why = _KILLS.sentence() if error.hostname == socket.gethostname() else ""
        if why:
            return f"{died}. {why}"
        return (
            f"{died}: it was killed, for example because the memory was full, or the function "
            "ended its process."
        )
    if isinstance(error, ManagerLost):
        return "The node that ran the task was lost: its workers went silent."
    return f"The task could not be run by a worker ({type(error).__name__}: {error})."


def _context(function: str) -> dict[str, Any]:
    return {"task_executor": {"f": f"chamberlain_endpoint.engine.worker.{function}"}}
