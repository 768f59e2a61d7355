"""Removes the jobs of lives of a user endpoint that are over, and knows when they are gone.

Whatever cannot be asked is unknown, never gone: notes stay until the scheduler itself says that
nothing is left. Jobs that nobody can reach end by themselves (`engine/lifeline`).
"""

from __future__ import annotations

import logging
import os
import pwd
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chamberlain_endpoint.scheduler import job_notes
from chamberlain_endpoint.scheduler.job_notes import Note
from chamberlain_endpoint.scheduler.port import SchedulerSilentError
from chamberlain_endpoint.scheduler.queues import Queue, are_ours, queue_of

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.3
_MOST_LOOK_S: Final = 2.0
_CANCEL_AGAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of jobs.

    Attributes:
        cancelled: ids for which an end was asked.
        left: ids that still live, as far as is known.
        why: what kept us from knowing; empty when the scheduler answered.
    """

    cancelled: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    why: str = ""

    @property
    def is_clean(self) -> bool:
        """Whether the scheduler has none of them any more."""
        return not self.left and not self.why


def remove(folder: Path, user_endpoint: str, notes: Iterable[Note], *, within_s: float) -> Removed:
    """Cancel the jobs of these generations, and forget each that has none any more.

    Args:
        folder: of the notes (`job_notes.place`).
        within_s: give up after so long; what is left keeps its notes.
    """
    groups: dict[tuple[str, str], list[Note]] = defaultdict(list)
    for note in notes:
        groups[note.kind, note.clusters].append(note)
    until_s = time.monotonic() + within_s
    done = [_remove_from(folder, user_endpoint, each, until_s) for each in groups.values()]
    return Removed(
        tuple(job for one in done for job in one.cancelled),
        tuple(job for one in done for job in one.left),
        "; ".join(one.why for one in done if one.why),
    )


def _remove_from(folder: Path, user_endpoint: str, notes: list[Note], until_s: float) -> Removed:
    queue = queue_of(notes[0])
    if queue is None:
        log.warning(
            "jobs of this scheduler are left to end by themselves",
            extra={"event": "jobs.unreachable", "reason": notes[0].kind},
        )
        removed = Removed()
    else:
        removed = _cancel_all(queue, user_endpoint, notes, until_s)
    if removed.is_clean:
        for note in notes:
            job_notes.forget(folder, note.generation)
    return removed


def _cancel_all(queue: Queue, user_endpoint: str, notes: list[Note], until_s: float) -> Removed:
    account = pwd.getpwuid(os.getuid()).pw_name
    noted = frozenset(job for note in notes for job in note.jobs)
    generations = [note.generation for note in notes]
    cancelled: set[str] = set()
    left: tuple[str, ...] = ()
    pause_s, again_at_s = _LOOK_S, 0.0
    while True:
        why = ""
        try:
            live = queue.live(account, noted)
            left = tuple(
                are_ours(
                    live, account=account, user_endpoint=user_endpoint, generations=generations
                )
            )
            if not left:
                return Removed(tuple(sorted(cancelled)))
            # Once more for one that came into the queue late, or was not heard of.
            if time.monotonic() >= again_at_s or set(left) - cancelled:
                queue.cancel(left)
                cancelled.update(left)
                again_at_s = time.monotonic() + _CANCEL_AGAIN_S
        except SchedulerSilentError as error:
            why = str(error)
        if time.monotonic() + pause_s >= until_s:
            return Removed(tuple(sorted(cancelled)), left, why or _still(left))
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, _MOST_LOOK_S)


def _still(left: tuple[str, ...]) -> str:
    return f"still there: {', '.join(left[:20])}"
