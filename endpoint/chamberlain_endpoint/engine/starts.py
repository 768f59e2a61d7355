"""Asks for blocks, and knows when not to: the breaker is open, or the scheduler is silent.

The control thread's own.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from chamberlain_endpoint.engine import unpacked
from chamberlain_endpoint.engine.breaker import Breaker
from chamberlain_endpoint.engine.breaker_file import BreakerFile
from chamberlain_endpoint.engine.containers import in_container, worker_python
from chamberlain_endpoint.engine.fleet import Fleet
from chamberlain_endpoint.engine.meeting import Meeting
from chamberlain_endpoint.engine.pool_command import pool_command
from chamberlain_endpoint.rendered.settled import HtexEngine
from chamberlain_endpoint.scheduler.port import (
    BlockEnded,
    BlockRefusedError,
    Blocks,
    OnEnded,
    SchedulerSilentError,
)
from chamberlain_wire.errors import ChamberlainError

log = logging.getLogger(__name__)

_POOL: Final = ("-I", "-m", "chamberlain_endpoint.engine.parsl_entry", "pool")
_PAUSES_S: Final = (2.0, 5.0, 10.0, 20.0)
_MOST_SILENT_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are.

    Attributes:
        run_dir: as the engine's.
        breaker_path: where the breaker is kept.
    """

    run_dir: Path
    breaker_path: Path


class Starts:
    """Blocks that are asked for.

    Args:
        again: called, from a thread, when a silent scheduler may be asked once more.
    """

    def __init__(
        self,
        config: HtexEngine,
        blocks: Blocks,
        fleet: Fleet,
        places: Places,
        again: Callable[[], None],
    ) -> None:
        self._config = config
        self._blocks = blocks
        self._fleet = fleet
        self._run_dir = places.run_dir
        self._file = BreakerFile(places.breaker_path, fingerprint(config))
        self._again = again
        self._doubtful: str | None = None
        self._timer: threading.Timer | None = None
        self._pauses = 0
        self._silent_since_s: float | None = None
        self.breaker = Breaker()

    def open(self) -> None:
        """Take over the breaker of an earlier process."""
        self.breaker = self._file.read()

    def close(self) -> None:
        """Ask for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def may_ask(self) -> bool:
        """Tell whether a block may be asked for; looks whether somebody closed the breaker."""
        if self.breaker.is_open:
            self.breaker = self._file.read()
            if not self.breaker.is_open:
                log.info("breaker closed", extra={"event": "breaker.closed"})
        return not self.breaker.is_open

    @property
    def waits(self) -> bool:
        """Whether the scheduler is silent and will be asked again, but not yet."""
        return self._timer is not None

    def launch(self, meeting: Meeting, count: int, on_ended: OnEnded) -> int:
        """Ask for `count` blocks; return how many were taken before the scheduler fell silent.

        Raises:
            BlockRefusedError: one was refused; those before it were taken.
            SchedulerSilentError: it has been silent for too long. Tell who waits.
        """
        for taken in range(count):
            block = self._fleet.new_block(again=self._doubtful)
            try:
                self._blocks.launch(block, self._command(meeting, block), on_ended)
            except SchedulerSilentError as error:
                self._fleet.end(block)
                self._doubtful = block
                self._pause(error)
                return taken
            except BlockRefusedError:
                self._fleet.end(block)
                self._doubtful = None
                raise
            self._doubtful = None
            self._pauses, self._silent_since_s = 0, None
            log.info("block launched", extra={"event": "block.launched", "job": block})
        return count

    def worked(self) -> None:
        """A task ran."""
        if self.breaker.failures:
            self.breaker = Breaker()
            self._file.write(self.breaker)

    def failed(self, reason: str, detail: str = "") -> str:
        """A block was of no use; return what to tell callers.

        Args:
            detail: the end of what it printed.
        """
        text = f"{reason} {detail}".strip()
        self.breaker = self.breaker.failed(text, at=time.time())
        self._file.write(self.breaker)
        log.warning(
            "block failed",
            extra={"event": "block.failed", "reason": text, "count": self.breaker.failures},
        )
        if self.breaker.is_open:
            log.error("breaker open", extra={"event": "breaker.opened", "reason": text})
            return self.breaker.sentence()
        return text

    def status(self) -> dict[str, object]:
        """Return what a heartbeat tells of breaker and blocks. From any thread."""
        state, breaker = self._blocks.state(), self.breaker
        told: dict[str, object] = {
            "breaker": {
                "state": "open" if breaker.is_open else "closed",
                "failures": breaker.failures,
                "reason": breaker.reason,
                "at": breaker.at,
            },
            "blocks": [
                {
                    "block": one.block,
                    "job": one.job,
                    "state": one.state,
                    "reason": one.reason,
                    "meaning": one.meaning,
                    "seconds": one.for_s,
                }
                for one in state.blocks
            ],
        }
        if state.silence:
            told["scheduler_silent"] = {"seconds": round(state.silent_s), "why": state.silence}
        return told

    def _command(self, meeting: Meeting, block: str) -> str:
        python = worker_python(self._config, sys.executable)
        pool = pool_command(self._config, meeting, block=block, start=_POOL)
        command = f"{python} {pool}"
        if self._config.container_type == unpacked.KIND:
            unpacked.write_script(self._run_dir)
        image = os.environ.get(unpacked.VARIABLE, "")
        return in_container(self._config, command, run_dir=self._run_dir, image=image)

    def _pause(self, error: SchedulerSilentError) -> None:
        now_s = time.monotonic()
        self._silent_since_s = self._silent_since_s or now_s
        if now_s - self._silent_since_s > _MOST_SILENT_S:
            self._silent_since_s = None
            raise SchedulerSilentError(
                str(error),
                public=f"The scheduler has not answered for {_MOST_SILENT_S / 60:.0f} minutes, so "
                f"no nodes could be asked for ({error}). Submit again later.",
            ) from error
        pause_s = _PAUSES_S[min(self._pauses, len(_PAUSES_S) - 1)]
        self._pauses += 1
        self._timer = threading.Timer(pause_s, self._end_pause)
        self._timer.daemon = True
        self._timer.start()

    def _end_pause(self) -> None:
        self._timer = None
        self._again()


def sentence(ended: BlockEnded, *, served: bool) -> str:
    """Return what to tell of a block that ended: after it served, or before it could."""
    when = "while the task ran" if served else "before they could serve"
    text = f"The workers {ended.how}." if ended.never_began else f"The workers {ended.how} {when}."
    return f"{text} {ended.todo}".strip()


def told(error: ChamberlainError) -> str:
    """Return what to tell of a failure of the engine."""
    detail = str(error)
    return error.public if detail in error.public else f"{error.public} {detail}"


def fingerprint(config: HtexEngine) -> str:
    """Return a hash of the configuration; another one is given another chance."""
    return hashlib.sha256(msgspec.json.encode(config, order="deterministic")).hexdigest()
