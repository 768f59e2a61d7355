"""Blocks of a scheduler that are noted, and known to be gone when they are stopped.

Around other blocks and around Parsl's provider, so that neither knows of notes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.scheduler import job_notes
from chamberlain_endpoint.scheduler.job_notes import JobNotes
from chamberlain_endpoint.scheduler.port import BlockEnded, Blocks, BlocksState, OnEnded
from chamberlain_endpoint.scheduler.removal import remove

log = logging.getLogger(__name__)

_CONFIRM_S: Final = 4.0
"""How long stopping waits until the scheduler has none of our jobs any more."""


class NotedProvider:
    """One of Parsl's providers; what it submits is noted before and after."""

    def __init__(self, inner: Any, notes: JobNotes) -> None:
        self._inner = inner
        self._notes = notes

    def submit(self, command: str, tasks_per_node: int, job_name: str) -> object:
        """Submit a job; see Parsl's."""
        self._notes.asking()
        job = self._inner.submit(command, tasks_per_node, job_name=job_name)
        if job is not None:
            self._notes.submitted(str(job))
        return job

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class NotedBlocks:
    """See `port.Blocks`.

    Args:
        folder: of the notes.
        user_endpoint: whose jobs these are.
    """

    def __init__(self, inner: Blocks, notes: JobNotes, folder: Path, user_endpoint: str) -> None:
        self._inner = inner
        self._notes = notes
        self._folder = folder
        self._user_endpoint = user_endpoint

    def launch(self, block: str, command: str, on_ended: OnEnded) -> None:
        """See `port.Blocks.launch`."""
        before = self._notes.live
        told: list[str] = []

        def ended(how: BlockEnded) -> None:
            for job in told:
                self._notes.ended(job)
            on_ended(how)

        self._inner.launch(block, command, ended)
        told += self._notes.live - before

    def cancel(self, block: str) -> None:
        """See `port.Blocks.cancel`."""
        self._inner.cancel(block)

    def state(self) -> BlocksState:
        """See `port.Blocks.state`."""
        return self._inner.state()

    def stop(self) -> None:
        """End all blocks; return when the scheduler has none any more, or does not say so.

        What is left keeps its notes: the launcher, or the next start, removes it.
        """
        self._inner.stop()
        mine = [
            one for one in job_notes.read(self._folder) if one.generation == self._notes.generation
        ]
        removed = remove(self._folder, self._user_endpoint, mine, within_s=_CONFIRM_S)
        if not removed.is_clean:
            log.error(
                "jobs may be left",
                extra={
                    "event": "jobs.left",
                    "user_endpoint": self._user_endpoint,
                    "count": len(removed.left),
                    "reason": removed.why,
                },
            )
