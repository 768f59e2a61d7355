"""Blocks as jobs of a scheduler, by Parsl's provider for it.

A watcher asks the scheduler while jobs live. The first end that a job is seen to have counts:
Parsl's providers forget it at the next look, and take a job that the scheduler does not know
yet for one that has ended.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.rendered.settled_nodes import BatchProvider, CloudProvider
from chamberlain_endpoint.scheduler.port import BlockEnded, BlockRefusedError, OnEnded

log = logging.getLogger(__name__)

_PERIOD_S: Final = 5.0
_UNKNOWN_S: Final = 30.0
"""How long after its submission a job may be unknown to the scheduler's records."""
_TAIL_CHARS: Final = 2_000

Make = Callable[[], Any]


@dataclass(slots=True)
class _Job:
    id: str
    on_ended: OnEnded
    since: float
    cancelled: bool = False


class BatchBlocks:
    """See `port.Blocks`.

    Args:
        run_dir: absolute, for job scripts and what jobs print.
        name: id of the user endpoint.
        make: makes Parsl's provider; None is `parsl_nodes.make_provider`.
    """

    def __init__(
        self,
        config: BatchProvider | CloudProvider,
        *,
        run_dir: Path,
        name: str,
        make: Make | None = None,
        period_s: float = _PERIOD_S,
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._name = name
        self._make = make
        self._period_s = period_s
        self._provider: Any = None
        self._jobs: dict[str, _Job] = {}
        # One call to the scheduler at a time: Parsl's objects are for one thread.
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None

    def launch(self, block: str, command: str, on_ended: OnEnded) -> None:
        """See `port.Blocks.launch`. Returns when the scheduler has taken the job."""
        from chamberlain_endpoint.scheduler.parsl_nodes import job_name

        with self._lock:
            provider = self._made()
            try:
                job = provider.submit(command, 1, job_name=job_name(self._name, block))
            except Exception as error:
                raise BlockRefusedError(public=_refusal(error)) from error
            if job is None:
                raise BlockRefusedError
            self._jobs[block] = _Job(str(job), on_ended, time.monotonic())
        log.info("job submitted", extra={"event": "block.submitted", "job": str(job)})
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="jobs", daemon=True)
            self._watcher.start()
        self._changed.set()

    def cancel(self, block: str) -> None:
        """See `port.Blocks.cancel`."""
        with self._lock:
            job = self._jobs.get(block)
            if job is not None:
                job.cancelled = True
                self._cancel([job])

    def stop(self) -> None:
        """See `port.Blocks.stop`. The scheduler has been told; it may need some seconds."""
        self._stopped.set()
        self._changed.set()
        with self._lock:
            jobs, self._jobs = list(self._jobs.values()), {}
            if jobs:
                self._cancel(jobs)

    def _made(self) -> Any:
        if self._provider is None:
            from chamberlain_endpoint.scheduler.parsl_nodes import make_provider

            make = self._make or (
                lambda: make_provider(self._config, name=self._name, script_dir=self._run_dir)
            )
            self._provider = make()
        return self._provider

    def _cancel(self, jobs: list[_Job]) -> None:
        ids = [job.id for job in jobs]
        try:
            done = self._provider.cancel(ids)
        except Exception as error:  # noqa: BLE001 - Parsl's providers raise what they like
            done = [False]
            log.warning("cancel failed", extra={"event": "block.stuck", "reason": str(error)})
        if not all(done or [False]):
            # Cancelled jobs end by themselves as well: their interchange is gone.
            log.error("jobs are not cancelled", extra={"event": "block.stuck", "count": len(ids)})

    def _watch(self) -> None:
        while not self._stopped.is_set():
            if not self._jobs:
                self._changed.wait()
                self._changed.clear()
                continue
            if self._stopped.wait(self._period_s):
                return
            for on_ended, ended in self._look():
                on_ended(ended)

    def _look(self) -> list[tuple[OnEnded, BlockEnded]]:
        with self._lock:
            jobs = dict(self._jobs)
            try:
                states = self._provider.status([job.id for job in jobs.values()])
            except Exception as error:  # noqa: BLE001 - as above
                # A scheduler that does not answer says nothing about its jobs.
                log.warning("no answer", extra={"event": "scheduler.silent", "reason": str(error)})
                return []
            ended = []
            for (block, job), state in zip(jobs.items(), states, strict=True):
                if state.terminal and not self._too_early(job, state):
                    del self._jobs[block]
                    how = BlockEnded(block, _how(state), _tail(state))
                    ended.append((job.on_ended, how))
            return ended

    def _too_early(self, job: _Job, state: Any) -> bool:
        """Tell whether `completed` may only mean that the job is not in the records yet."""
        young = time.monotonic() - job.since < _UNKNOWN_S
        if not (young and state.state.name == "COMPLETED" and not job.cancelled):
            return False
        from parsl.jobs.states import JobState, JobStatus

        # Or Parsl would not ask again.
        self._provider.resources[job.id]["status"] = JobStatus(JobState.PENDING)
        return True


def _refusal(error: Exception) -> str:
    said = " ".join(str(getattr(error, "stderr", "") or error).split())
    return f"The scheduler did not take the job of the workers: {said[:_TAIL_CHARS]}"


def _how(state: Any) -> str:
    words = {
        "COMPLETED": "ended",
        "CANCELLED": "were cancelled by the scheduler or an operator",
        "TIMEOUT": "were ended by the scheduler: their walltime was over",
        "FAILED": "failed",
        "MISSING": "are not known to the scheduler any more",
    }
    said = words.get(state.state.name, f"ended ({state.state.name})")
    return f"{said}: {state.message}" if state.message else said


def _tail(state: Any) -> str:
    for path in (state.stderr_path, state.stdout_path):
        with contextlib.suppress(OSError, TypeError, ValueError):
            text = Path(path).read_text(errors="replace").strip()
            if text:
                return text[-_TAIL_CHARS:]
    return ""
