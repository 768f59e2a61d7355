"""Tasks in worker processes on the user endpoint's host, one task a process at a time.

`concurrent.futures.ProcessPoolExecutor` was tried first: when one worker dies it fails every
task of every worker, it cannot end a running task, and it forks from a process with threads.
Here each worker has a socket and a process group of its own: a death is one worker's death,
and is known at once by the end of its socket.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Final

from chamberlain_endpoint.engine import capture
from chamberlain_endpoint.engine.family import end_family
from chamberlain_endpoint.engine.memory_kills import MemoryKills
from chamberlain_endpoint.engine.port import (
    Broken,
    CapacityChanged,
    EngineStartError,
    EngineStatus,
    Finished,
    Job,
    JobRefusedError,
    Lost,
    OnReport,
    Returned,
)
from chamberlain_endpoint.rendered.settled import ProcessPoolEngine
from chamberlain_endpoint.scheduler.ending import how_it_ended
from chamberlain_wire.ids import TaskId

log = logging.getLogger(__name__)

_END_S: Final = 1.0
_MOST_BAD_STARTS: Final = 3
_TAIL_BYTES: Final = 1000
_LAST_WORDS_BYTES: Final = 4000


@dataclass(slots=True, eq=False)
class _Worker:
    process: subprocess.Popen[bytes]
    line: Connection
    output: tuple[int, int]
    job: Job | None = None
    answered: bool = False


class ProcessEngine:
    """See `port.Engine`. Workers start when tasks need them, and stay.

    Args:
        run_dir: for the workers' standard error.
    """

    def __init__(self, config: ProcessPoolEngine, *, run_dir: Path) -> None:
        self._most = config.max_workers or os.cpu_count() or 1
        self._label = config.type
        self._run_dir = run_dir
        self._on_report: OnReport = lambda report: None
        self._calls: deque[Callable[[], None]] = deque()
        self._waker, self._wakened = socket.socketpair()
        self._thread: threading.Thread | None = None
        self._stopping = False
        # Below: the pool's own thread only, but for reading lengths.
        self._selector = selectors.DefaultSelector()
        self._workers: list[_Worker] = []
        self._queue: deque[Job] = deque()
        self._bad_starts = 0
        self._kills = MemoryKills()
        self._errors: IO[bytes] | None = None

    def start(self, on_report: OnReport) -> None:
        """See `port.Engine.start`."""
        self._on_report = on_report
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
            self._errors = (self._run_dir / "workers.err").open("wb")
        except OSError as error:
            raise EngineStartError(f"cannot use {self._run_dir}: {error}") from error
        self._wakened.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._run, name="process-pool", daemon=True)
        self._thread.start()
        # The first task need not wait for a process and its imports.
        self._call(lambda: self._workers.append(self._new_worker()))
        on_report(CapacityChanged())

    @property
    def capacity(self) -> int:
        """See `port.Engine.capacity`."""
        return self._most

    def want(self, waiting: int) -> None:
        """See `port.Engine.want`. Workers start with the tasks that need them."""

    def submit(self, job: Job) -> None:
        """See `port.Engine.submit`."""
        if job.resources:
            raise JobRefusedError(public=f"{self._label} takes no resource specification.")
        self._call(lambda: self._enqueue(job))

    def cancel(self, task_id: TaskId) -> bool:
        """See `port.Engine.cancel`. A running task's process is killed, with its family."""
        self._call(lambda: self._cancel(task_id))
        return True

    def status(self) -> EngineStatus:
        """See `port.Engine.status`."""
        workers = list(self._workers)
        busy = sum(worker.job is not None for worker in workers)
        return EngineStatus(
            workers=len(workers),
            idle=len(workers) - busy,
            running=busy + len(self._queue),
            more={
                "engine_type": self._label,
                "scaling_enabled": False,
                "max_workers_per_node": self._most,
            },
        )

    def stop(self) -> None:
        """See `port.Engine.stop`."""
        self._on_report = lambda report: None
        if self._thread is None or self._stopping:
            return
        self._stopping = True
        self._wake()
        self._thread.join()

    def _for_memory(self, code: int) -> str:
        why = self._kills.sentence() if code == -signal.SIGKILL else ""
        return f" {why}" if why else ""

    # The pool's own thread; it lives as long as the workers, who are tied to it.

    def _call(self, call: Callable[[], None]) -> None:
        self._calls.append(call)
        self._wake()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0", socket.MSG_DONTWAIT)

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._turn()
            except Exception as error:
                # The edge of the thread: without an answer, tasks would wait for ever.
                log.exception("engine failed", extra={"event": "engine.failed"})
                self._fail_all(f"The process pool failed ({type(error).__name__}: {error}).")
        self._end_all()

    def _turn(self) -> None:
        for key, _ in self._selector.select():
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wakened.recv(4096)
            else:
                self._read(key.data)
        while self._calls and not self._stopping:
            self._calls.popleft()()

    def _fail_all(self, reason: str) -> None:
        for job in self._queue:
            self._on_report(Lost(job.task_id, reason))
        self._queue.clear()
        for worker in list(self._workers):
            self._bury(worker, reason)
        self._on_report(Broken(reason))

    def _enqueue(self, job: Job) -> None:
        self._queue.append(job)
        self._feed()

    def _feed(self) -> None:
        while self._queue:
            worker = next((one for one in self._workers if one.job is None), None)
            if worker is None and len(self._workers) < self._most:
                worker = self._new_worker()
                self._workers.append(worker)
            if worker is None:
                return
            self._give(worker, self._queue.popleft())

    def _give(self, worker: _Worker, job: Job) -> None:
        from chamberlain_endpoint.engine.worker import pack_job

        worker.job = job
        # When it is dead its socket says so at the next look; the task is lost with it.
        with contextlib.suppress(OSError):
            worker.line.send_bytes(pack_job(job))

    def _read(self, worker: _Worker) -> None:
        try:
            body = worker.line.recv_bytes()
        except (EOFError, OSError):
            self._bury(worker)
            return
        job, worker.job = worker.job, None
        worker.answered = True
        self._bad_starts = 0
        if job is not None:
            self._on_report(Finished(job.task_id, body))
        self._feed()

    def _bury(self, worker: _Worker, reason: str | None = None) -> None:
        self._selector.unregister(worker.line)
        self._workers.remove(worker)
        worker.line.close()
        _kill_group(worker.process, signal.SIGKILL)
        code = worker.process.wait()
        if not worker.answered and reason is None:
            self._bad_starts += 1
        log.warning(
            "worker process ended", extra={"event": "worker.ended", "reason": how_it_ended(code)}
        )
        if worker.job is not None:
            text = reason or (
                f"The worker process {how_it_ended(code)} while the task ran."
                f"{self._for_memory(code)}{_last_words(worker, worker.job)}"
            )
            self._on_report(Lost(worker.job.task_id, text))
        _close_output(worker)
        if self._bad_starts >= _MOST_BAD_STARTS and self._queue:
            self._give_up()
        self._feed()

    def _give_up(self) -> None:
        self._bad_starts = 0
        tail = b""
        with contextlib.suppress(OSError):
            tail = (self._run_dir / "workers.err").read_bytes()[-_TAIL_BYTES:]
        self._fail_all(
            f"The worker processes end as soon as they start: {tail.decode(errors='replace')}"
        )

    def _cancel(self, task_id: TaskId) -> None:
        for job in self._queue:
            if job.task_id == task_id:
                self._queue.remove(job)
                self._on_report(Returned(task_id))
                return
        for worker in self._workers:
            if worker.job is not None and worker.job.task_id == task_id:
                # Its group is not enough: shell functions and daemons have their own.
                end_family(worker.process.pid, task_id)
                self._bury(worker, "The task was cancelled.")
                return

    def _new_worker(self) -> _Worker:
        ours, theirs = socket.socketpair()
        output = capture.new_files()
        process = subprocess.Popen(
            [
                *(sys.executable, "-I", "-m", "chamberlain_endpoint.engine.child"),
                *(str(one) for one in (theirs.fileno(), os.getpid(), *output)),
            ],
            pass_fds=[theirs.fileno(), *output],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
        )
        theirs.close()
        worker = _Worker(process, Connection(ours.detach()), output)
        self._selector.register(worker.line, selectors.EVENT_READ, worker)
        return worker

    def _end_all(self) -> None:
        for worker in self._workers:
            worker.line.close()
            _kill_group(worker.process, signal.SIGTERM)
        deadline = time.monotonic() + _END_S
        for worker in self._workers:
            _await_end(worker.process, deadline - time.monotonic())
            # Also what the task started in the worker's group.
            _kill_group(worker.process, signal.SIGKILL)
            worker.process.wait()
            _close_output(worker)
        self._workers.clear()
        self._selector.close()
        self._waker.close()
        self._wakened.close()
        if self._errors is not None:
            self._errors.close()


def _last_words(worker: _Worker, job: Job) -> str:
    if not job.rules.output_bytes:
        return ""
    found = capture.last_words(worker.output, _LAST_WORDS_BYTES)
    return f" It last wrote to standard error: {found}" if found else ""


def _close_output(worker: _Worker) -> None:
    for fd in worker.output:
        os.close(fd)


def _await_end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait for its end without asking for its exit code, which would free its group's number."""
    fd = os.pidfd_open(process.pid)
    try:
        select.select([fd], [], [], max(0.0, timeout_s))
    finally:
        os.close(fd)


def _kill_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
