"""Blocks as jobs of a scheduler: Parsl's provider submits and cancels, a `truth` tells of them.

A watcher asks while jobs live, often while one is young or waits, seldom while all run. What it
hears goes into one record a block (`records`); a job that would wait for ever is taken back.
"""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.rendered.settled_nodes import (
    BatchProvider,
    CloudProvider,
    PBSProProvider,
    SlurmProvider,
    TorqueProvider,
)
from chamberlain_endpoint.scheduler import pbs_words, slurm_words
from chamberlain_endpoint.scheduler.port import (
    BlockEnded,
    BlockRefusedError,
    BlocksState,
    BlockState,
    OnEnded,
    SchedulerSilentError,
)
from chamberlain_endpoint.scheduler.reasons import how_it_went, what_to_do, why_it_waits
from chamberlain_endpoint.scheduler.records import End, JobState, Record, Said
from chamberlain_endpoint.scheduler.truth import Truth

log = logging.getLogger(__name__)

_PERIOD_S: Final = 2.0
_CALM_PERIODS: Final = 5
"""Of calm jobs, only every fifth time: schedulers are shared by many."""
_YOUNG_S: Final = 60.0
_UNKNOWN_S: Final = 30.0
"""How long after its submission a job may be unknown to the scheduler's records."""
_MOST_UNKNOWN: Final = 3
_STUCK_S: Final = 20.0
"""A job that is held, or asks for too much, for so long is taken back."""
_TAIL_CHARS: Final = 2_000
_NOT_TAKEN: Final = "The scheduler did not take the job of the workers"
_KILLED_LATE: Final = (124, 137)
"""Exit codes of `timeout` when the time is over."""

Make = Callable[[], Any]


class BatchBlocks:
    """See `port.Blocks`.

    Args:
        run_dir: absolute, for job scripts and what jobs print.
        name: id of the user endpoint.
        make: makes Parsl's provider; None is `parsl_nodes.make_provider`.
        truth: None is the one for this kind of scheduler.
    """

    def __init__(
        self,
        config: BatchProvider | CloudProvider,
        *,
        run_dir: Path,
        name: str,
        make: Make | None = None,
        truth: Truth | None = None,
        period_s: float = _PERIOD_S,
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._name = name
        self._make = make
        self._truth = truth
        self._period_s = period_s
        self._provider: Any = None
        self._records: dict[str, Record] = {}
        self._on_ended: dict[str, OnEnded] = {}
        self._doubtful: set[str] = set()
        self._silence = ""
        self._silent_since_s: float | None = None
        # One call to Parsl's objects at a time: they are for one thread.
        self._lock = threading.Lock()
        self._changed = threading.Event()
        self._stopped = threading.Event()
        self._watcher: threading.Thread | None = None

    def launch(self, block: str, command: str, on_ended: OnEnded) -> None:
        """See `port.Blocks.launch`. Returns when the scheduler has taken the job."""
        with self._lock:
            job = self._found(block) or self._submitted(block, command)
            now_s = time.monotonic()
            self._records[block] = Record(block, job, now_s, now_s)
            self._on_ended[block] = on_ended
        log.info("job submitted", extra={"event": "block.submitted", "job": job})
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="jobs", daemon=True)
            self._watcher.start()
        self._changed.set()

    def cancel(self, block: str) -> None:
        """See `port.Blocks.cancel`."""
        with self._lock:
            record = self._records.get(block)
            if record is not None:
                self._records[block] = replace(record, cancelled=True)
                self._cancel([record.job])

    def state(self) -> BlocksState:
        """See `port.Blocks.state`."""
        now_s = time.monotonic()
        since_s = self._silent_since_s
        return BlocksState(
            tuple(_shown(record, now_s) for record in tuple(self._records.values())),
            0.0 if since_s is None else now_s - since_s,
            self._silence,
        )

    def stop(self) -> None:
        """See `port.Blocks.stop`. The scheduler has been told; it may need some seconds."""
        self._stopped.set()
        self._changed.set()
        with self._lock:
            jobs = [record.job for record in self._records.values()]
            self._records.clear()
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

    def _teller(self) -> Truth:
        if self._truth is None:
            if isinstance(self._config, SlurmProvider):
                from chamberlain_endpoint.scheduler.slurm_truth import SlurmTruth

                self._truth = SlurmTruth(self._config)
            elif isinstance(self._config, PBSProProvider):
                from chamberlain_endpoint.scheduler.pbs_truth import PbsTruth

                self._truth = PbsTruth(self._config)
            elif isinstance(self._config, TorqueProvider):
                from chamberlain_endpoint.scheduler.torque_truth import TorqueTruth

                self._truth = TorqueTruth(self._config)
            else:
                from chamberlain_endpoint.scheduler.parsl_truth import ParslTruth

                self._truth = ParslTruth(self._made(), self._lock)
        return self._truth

    def _submitted(self, block: str, command: str) -> str:
        from chamberlain_endpoint.scheduler.parsl_nodes import job_name, last_words

        provider = self._made()
        try:
            job = provider.submit(command, 1, job_name=job_name(self._name, block))
        except Exception as error:
            said = _said_by(error)
            if _is_silence(error, said):
                self._doubtful.add(block)
                self._fall_silent(said)
                raise SchedulerSilentError(said) from error
            raise _refused(said) from error
        if job is None:
            # Some of Parsl's providers tell it to their log alone.
            raise _refused(last_words(provider))
        self._hear()
        return str(job)

    def _found(self, block: str) -> str | None:
        """Return the job of a block whose submission was not answered, if there is one."""
        from chamberlain_endpoint.scheduler.parsl_nodes import job_name

        if block not in self._doubtful:
            return None
        found = self._teller().find(f"{job_name(self._name, block)}.")
        self._doubtful.discard(block)
        self._hear()
        if found is None:
            return None
        prints = self._run_dir / found.name
        self._made().resources[found.job] = {
            "job_id": found.job,
            "job_stdout_path": f"{prints}.stdout",
            "job_stderr_path": f"{prints}.stderr",
        }
        return found.job

    def _cancel(self, jobs: list[str]) -> None:
        try:
            done = self._provider.cancel(jobs)
        except Exception as error:  # noqa: BLE001 - Parsl's providers raise what they like
            done = [False]
            log.warning("cancel failed", extra={"event": "block.stuck", "reason": str(error)})
        if not all(done or [False]):
            # Cancelled jobs end by themselves as well: their interchange is gone.
            log.error("jobs are not cancelled", extra={"event": "block.stuck", "count": len(jobs)})

    def _watch(self) -> None:
        turn = 0
        while not self._stopped.is_set():
            if not self._records:
                self._changed.wait()
                self._changed.clear()
                continue
            if self._stopped.wait(self._period_s):
                return
            turn += 1
            if turn % _CALM_PERIODS and not self._is_lively():
                continue
            for on_ended, ended in self._look():
                on_ended(ended)

    def _is_lively(self) -> bool:
        now_s = time.monotonic()
        return any(
            now_s - record.since_s < _YOUNG_S or record.unknown
            for record in tuple(self._records.values())
        )

    def _look(self) -> list[tuple[OnEnded, BlockEnded]]:
        records = tuple(self._records.values())
        try:
            said = self._teller().ask([record.job for record in records])
        except (SchedulerSilentError, BlockRefusedError) as error:
            # A scheduler that does not answer says nothing about its jobs.
            self._fall_silent(str(error))
            return []
        self._hear()
        with self._lock:
            return [
                one for record in records if (one := self._note(record.block, said)) is not None
            ]

    def _note(self, block: str, said: dict[str, Said]) -> tuple[OnEnded, BlockEnded] | None:
        """Move one record; return whom to tell of its end."""
        record = self._records.get(block)
        if record is None:
            return None
        now_s = time.monotonic()
        record = self._moved(record, said.get(record.job), now_s)
        if record.said.state is JobState.QUEUED and self._is_stuck(record, now_s):
            self._cancel([record.job])
            record = record.heard(Said(JobState.ENDED, record.said.reason, End.STUCK), now_s=now_s)
        self._records[block] = record
        if record.said.state is not JobState.ENDED:
            return None
        del self._records[block]
        walltime = str(getattr(self._config, "walltime", ""))
        tail = self._tail(record.job)
        said_at_last = slurm_words.with_printed(record.said, tail)
        told = how_it_went(said_at_last, cancelled=record.cancelled, walltime=walltime)
        log.info(
            "job ended",
            extra={"event": "job.ended", "job": record.job, "reason": f"{told.how}"},
        )
        return self._on_ended.pop(block), BlockEnded(
            block,
            told.how,
            tail,
            told.todo,
            # Somebody took it away, or it asks for what there is not.
            again=record.said.end not in (End.CANCELLED, End.STUCK),
            never_began=record.said.end is End.STUCK,
        )

    def _moved(self, record: Record, said: Said | None, now_s: float) -> Record:
        young = now_s - record.asked_s < _UNKNOWN_S
        if said is not None and not said.certain and young and not record.cancelled:
            self._teller().doubt(record.job)
            return record
        if said is None:
            return record.unheard(
                now_s=now_s,
                young_s=0.0 if record.cancelled else _UNKNOWN_S,
                most=_MOST_UNKNOWN,
            )
        moved = record.heard(said, now_s=now_s)
        if moved.since_s != record.since_s:
            log.info(
                "job moved",
                extra={
                    "event": "job.moved",
                    "job": record.job,
                    "state_from": record.said.state,
                    "state_to": said.state,
                    "reason": said.reason,
                },
            )
        return moved

    def _is_stuck(self, record: Record, now_s: float) -> bool:
        waits = why_it_waits(record.said.reason)
        return waits is not None and waits.stuck and now_s - record.since_s >= _STUCK_S

    def _fall_silent(self, why: str) -> None:
        if self._silent_since_s is None:
            self._silent_since_s = time.monotonic()
            log.warning("no answer", extra={"event": "scheduler.silent", "reason": why})
        self._silence = why

    def _hear(self) -> None:
        if self._silent_since_s is not None:
            log.info("it answers again", extra={"event": "scheduler.heard"})
        self._silent_since_s, self._silence = None, ""

    def _tail(self, job: str) -> str:
        known = getattr(self._provider, "resources", {}).get(job, {})
        for key in ("job_stderr_path", "job_stdout_path"):
            try:
                text = Path(known[key]).read_text(errors="replace").strip()
            except (OSError, KeyError, TypeError, ValueError):
                continue
            if text:
                return text[-_TAIL_CHARS:]
        return ""


def _refused(said: str) -> BlockRefusedError:
    told = f": {said.rstrip('.')}" if said else ""
    return BlockRefusedError(public=f"{_NOT_TAKEN}{told}. {what_to_do(said)}".strip())


def _said_by(error: Exception) -> str:
    said = str(getattr(error, "stderr", "") or error)
    return " ".join(said.split())[:_TAIL_CHARS]


def _is_silence(error: Exception, said: str) -> bool:
    late = getattr(error, "retcode", None) in _KILLED_LATE
    silence = slurm_words.is_silence(said) or pbs_words.is_silence(said)
    return late or isinstance(error, subprocess.TimeoutExpired) or silence


def _shown(record: Record, now_s: float) -> BlockState:
    said = record.said
    waits = why_it_waits(said.reason) if said.state is JobState.QUEUED else None
    meaning = "" if waits is None else waits.meaning
    for_s = round(now_s - record.since_s, 1)
    return BlockState(record.block, record.job, said.state, said.reason, meaning, for_s)
