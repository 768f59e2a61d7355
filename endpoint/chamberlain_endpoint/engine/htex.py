"""The engine on Parsl's high-throughput executor: when blocks come and go, and what is lost.

One thread controls it; Parsl is imported there, while the broker connection is being made.
The first block is started before the interchange, because it takes longest to get ready.
An interchange that ends takes its blocks and tasks along; another is made when tasks wait.
"""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from chamberlain_endpoint.engine import tether
from chamberlain_endpoint.engine.fleet import Fleet, describe
from chamberlain_endpoint.engine.letting_go import let_go
from chamberlain_endpoint.engine.meeting import Meeting
from chamberlain_endpoint.engine.pool_command import blocks_wanted, workers_per_block
from chamberlain_endpoint.engine.port import (
    Broken,
    CapacityChanged,
    EngineStartError,
    EngineStatus,
    Finished,
    Job,
    Lost,
    OnReport,
    Returned,
)
from chamberlain_endpoint.engine.resources import checked_resources
from chamberlain_endpoint.engine.starts import Places, Starts, sentence, told
from chamberlain_endpoint.rendered.settled import HtexEngine
from chamberlain_endpoint.scheduler.choose import make_blocks
from chamberlain_endpoint.scheduler.port import BlockEnded, BlockRefusedError
from chamberlain_wire.errors import ChamberlainError
from chamberlain_wire.ids import TaskId

if TYPE_CHECKING:
    from chamberlain_endpoint.engine.parsl_engine import Interchange

log = logging.getLogger(__name__)

_STARTING_LOOK_S: Final = 0.5
_STOP_S: Final = 8.0


class ParslEngine:
    """See `port.Engine`.

    Args:
        run_dir: absolute, for logs, keys and scripts; where blocks run has it as well.
        breaker_path: see `breaker_file`.
        name: id of the user endpoint, which jobs of a scheduler carry.
    """

    def __init__(
        self, config: HtexEngine, *, run_dir: Path, breaker_path: Path, name: str = ""
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._blocks = make_blocks(
            config.provider, run_dir=run_dir / "blocks", name=name, tie=tether.words
        )
        self._workers_per_block = workers_per_block(config, cores=os.cpu_count() or 1)
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._on_report: OnReport = lambda report: None
        # Shared by the threads, under the lock.
        self._lock = threading.RLock()
        self._interchange: Interchange | None = None
        self._running: dict[TaskId, object] = {}
        self._recalled: set[TaskId] = set()
        self._capacity = 0
        self._waiting = 0
        self._scaling = False
        # The control thread's own.
        self._fleet = Fleet()
        places = Places(run_dir, breaker_path)
        self._starts = Starts(config, self._blocks, self._fleet, places, self._later)
        self._meeting: Meeting | None = None
        self._generation = 0
        self._looked_at = 0.0

    # What the user endpoint asks.

    def start(self, on_report: OnReport) -> None:
        """See `port.Engine.start`."""
        self._on_report = on_report
        self._thread = threading.Thread(target=self._control, name="htex", daemon=True)
        self._thread.start()
        self._calls.put(self._begin)

    @property
    def capacity(self) -> int:
        """See `port.Engine.capacity`."""
        return self._capacity

    def want(self, waiting: int) -> None:
        """See `port.Engine.want`."""
        with self._lock:
            more = waiting > self._waiting and not self._scaling
            self._waiting = waiting
            self._scaling = self._scaling or more
        if more:
            self._calls.put(self._scale)

    def submit(self, job: Job) -> None:
        """See `port.Engine.submit`. See `checked_resources` for what a specification may hold."""
        from chamberlain_endpoint.engine.worker import pack_job

        job = msgspec.structs.replace(job, resources=checked_resources(self._config, job.resources))
        packed = pack_job(job)
        token = object()
        with self._lock:
            interchange = self._interchange if self._capacity else None
            if interchange is not None:
                self._running[job.task_id] = token
                interchange.submit(
                    packed, job, lambda future: self._on_done(job.task_id, token, future)
                )
        if interchange is None:
            self._on_report(Returned(job.task_id))

    def cancel(self, task_id: TaskId) -> bool:
        """See `port.Engine.cancel`. The worker is killed on its node, whichever that is."""
        with self._lock:
            if task_id not in self._running or self._interchange is None:
                return False
            # For who looks for a fault, workers are as Parsl made them.
            if self._config.worker_debug or not self._interchange.recall(task_id):
                return False
            self._recalled.add(task_id)
        return True

    def status(self) -> EngineStatus:
        """See `port.Engine.status`."""
        workers, running = self._capacity, len(self._running)
        more = describe(self._config, self._fleet.pools, workers_per_node=self._workers_per_block)
        more |= self._starts.status()
        return EngineStatus(workers, max(0, workers - running), running, more)

    def stop(self) -> None:
        """See `port.Engine.stop`."""
        self._on_report = lambda report: None
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._calls.put(None)
        thread.join(_STOP_S)
        if thread.is_alive():
            # What it started is tied to it and goes with the process.
            log.error("engine does not stop", extra={"event": "engine.stuck"})

    # Everything below is the control thread's, but for _on_done.

    def _control(self) -> None:
        # Logs, keys and scripts of an earlier process; nobody needs them any more.
        shutil.rmtree(self._run_dir, ignore_errors=True)
        try:
            while (call := self._next_call()) is not None:
                self._carry_out(call)
        finally:
            self._starts.close()
            self._blocks.stop()
            self._part()

    def _begin(self) -> None:
        self._starts.open()
        provider = self._config.provider
        count = max(provider.init_blocks, provider.min_blocks)
        if count and self._starts.may_ask():
            self._launch(count)

    def _carry_out(self, call: Callable[[], None]) -> None:
        try:
            call()
        except BlockRefusedError as error:
            self._give_up(self._starts.failed(error.public))
        except ChamberlainError as error:
            self._give_up(told(error))
        except Exception as error:
            # The edge of the thread: without an answer, tasks would wait for ever.
            log.exception("engine failed", extra={"event": "engine.failed"})
            self._give_up(f"The engine failed ({type(error).__name__}).")

    def _next_call(self) -> Callable[[], None] | None:
        if self._fleet.starting:
            period_s = _STARTING_LOOK_S
        elif self._fleet.names:
            period_s = self._config.job_status_kwargs.strategy_period
        else:
            return self._calls.get()
        try:
            return self._calls.get(timeout=max(0.0, self._looked_at + period_s - time.monotonic()))
        except queue.Empty:
            return self._look

    def _scale(self) -> None:
        with self._lock:
            self._scaling = False
            tasks = self._waiting + len(self._running)
        wanted = blocks_wanted(self._config, tasks=tasks, workers=self._workers_per_block)
        if wanted <= self._fleet.count or self._starts.waits:
            return
        if self._starts.may_ask():
            self._launch(wanted - self._fleet.count)
        elif not self._fleet.works():
            self._give_up(self._starts.breaker.sentence())

    def _later(self) -> None:
        self._calls.put(self._scale)

    def _block_ended(self, ended: BlockEnded) -> None:
        self._calls.put(lambda: self._on_block_ended(ended))

    def _launch(self, count: int) -> None:
        meeting = self._meeting or self._meet()
        try:
            self._starts.launch(meeting, count, self._block_ended)
        finally:
            # The others want to be met, when one was refused.
            if self._fleet.count:
                interchange = self._interchange or self._start_interchange(meeting)
                for _ in range(count):
                    interchange.knock(self._on_knock)

    def _meet(self) -> Meeting:
        from chamberlain_endpoint.engine.meeting import arrange

        self._generation += 1
        folder = self._run_dir / f"interchange-{self._generation}"
        self._meeting = arrange(self._config, folder)
        return self._meeting

    def _start_interchange(self, meeting: Meeting) -> Interchange:
        from chamberlain_endpoint.engine.parsl_engine import Interchange

        def ended(how: str) -> None:
            self._calls.put(lambda: self._on_interchange_ended(interchange, how))

        interchange = Interchange(self._config, meeting, ended)
        interchange.start()
        with self._lock:
            self._interchange = interchange
        return interchange

    def _on_knock(self, future: Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self._calls.put(self._look)
            return
        fields = {"event": "worker.bad", "reason": str(error)}
        log.warning("a worker is of no use", extra=fields)
        self._calls.put(lambda: self._refuse(f"The workers cannot run tasks: {error}"))

    def _refuse(self, reason: str) -> None:
        if self._interchange is not None and not self._interchange.is_met:
            # They are connected, and of no use to any task.
            self._drop(Returned, reason)
        self._give_up(self._starts.failed(reason))

    def _look(self) -> None:
        """See which workers are there, and let idle blocks go."""
        self._looked_at = time.monotonic()
        interchange = self._interchange
        if interchange is None:
            return
        try:
            self._fleet.see(interchange.pools())
            with self._lock:
                busy = bool(self._waiting or self._running)
            let_go(self._config, self._fleet, interchange, self._blocks, busy=busy)
        except EngineStartError as error:
            self._drop(Lost, f"The engine's interchange was lost while the task ran ({error}).")
        self._recount()
        self._scale_if_wanted()

    def _on_block_ended(self, ended: BlockEnded) -> None:
        if ended.block not in self._fleet.names:
            return
        # It may have connected since the last look.
        self._look()
        served = self._fleet.end(ended.block, sentence(ended, served=True))
        fields = {"event": "block.ended", "job": ended.block, "reason": ended.how}
        log.info("block ended", extra=fields)
        if served:
            if not self._fleet.works():
                # Nobody is left who could send their results.
                self._drop(Lost, sentence(ended, served=True))
        elif served is not None:
            reason = sentence(ended, served=False)
            self._note_bad_start(reason, ended.tail, again=ended.again)
        self._recount()
        self._scale_if_wanted()

    def _on_interchange_ended(self, interchange: Interchange, how: str) -> None:
        if interchange is not self._interchange:
            return
        self._drop(Lost, f"The engine's interchange {how} while the task ran.")
        self._note_bad_start(f"The engine's interchange {how}.", "", again=True)
        self._scale_if_wanted()

    def _note_bad_start(self, reason: str, detail: str, *, again: bool) -> None:
        told = self._starts.failed(reason, detail)
        if self._starts.breaker.is_open:
            # The others that start are like those that failed.
            for block in self._fleet.unconnected:
                self._blocks.cancel(block)
                self._fleet.end(block)
        elif again:
            return
        if not self._fleet.works():
            self._give_up(told)

    def _scale_if_wanted(self) -> None:
        # A task may be with the interchange when the last block goes.
        wanted = self._waiting or self._running
        failed = self._starts.breaker.failures
        missing = self._fleet.count < self._config.provider.min_blocks and not failed
        if (wanted and not self._fleet.count) or missing:
            self._scale()

    def _give_up(self, reason: str) -> None:
        """Tell that what waits will not run; what comes later may."""
        if not self._fleet.works():
            self._drop(Returned, reason)
        with self._lock:
            self._waiting = 0
        self._on_report(Broken(reason))

    def _drop(self, report: type[Lost] | type[Returned], reason: str) -> None:
        """Part with interchange and blocks, and report what they had."""
        with self._lock:
            had, self._running = list(self._running), {}
            self._recalled.clear()
            self._capacity = 0
        fields = {"event": "engine.lost", "count": len(had), "reason": reason}
        log.warning("engine lost", extra=fields)
        for block in self._fleet.names:
            self._blocks.cancel(block)
        self._fleet.clear()
        self._part()
        for task_id in had:
            self._on_report(Lost(task_id, reason) if report is Lost else Returned(task_id))
        self._on_report(CapacityChanged())

    def _part(self) -> None:
        """End the interchange and give up the place where workers met it."""
        with self._lock:
            interchange, self._interchange = self._interchange, None
        if interchange is not None:
            interchange.stop()
        meeting, self._meeting = self._meeting, None
        if meeting is not None:
            meeting.release()

    def _recount(self) -> None:
        with self._lock:
            # Before a worker answered, nobody knows whether tasks should run there.
            is_met = self._interchange is not None and self._interchange.is_met
            capacity = self._fleet.workers if is_met else 0
            changed = capacity != self._capacity
            self._capacity = capacity
        if changed:
            self._on_report(CapacityChanged())

    def _on_done(self, task_id: TaskId, token: object, future: Future[Any]) -> None:
        """Report the end of a task; comes from the executor's thread."""
        with self._lock:
            if self._running.get(task_id) is not token:
                # Dropped, and reported as lost.
                return
            del self._running[task_id]
            if task_id in self._recalled and self._interchange is not None:
                self._recalled.discard(task_id)
                self._interchange.ended(task_id)
        error = future.exception()
        if error is None:
            if self._starts.breaker.failures:
                self._calls.put(self._starts.worked)
            self._on_report(Finished(task_id, future.result()))
            return
        from chamberlain_endpoint.engine.parsl_engine import lost_pool, was_not_begun, why_lost

        if was_not_begun(error):
            self._on_report(Returned(task_id))
            return
        # Another block may work on: then the scheduler's word is here before its silence counts.
        cause = self._fleet.cause(lost_pool(error))
        self._on_report(Lost(task_id, cause or why_lost(error)))
        self._calls.put(self._look)
