"""Batch jobs that outlive who asked for them: of an earlier life of this user endpoint, or ours."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Final

from chamberlain_endpoint.scheduler import job_notes
from chamberlain_endpoint.scheduler.job_notes import Note
from chamberlain_wire.errors import ChamberlainError, ErrorCode

log = logging.getLogger(__name__)

_WITHIN_S: Final = 60.0


class JobsLeftError(ChamberlainError):
    """The scheduler did not confirm that our jobs are gone. The launcher sweeps after us."""

    code = ErrorCode.START_FAILED
    public = (
        "The user endpoint ended, but the scheduler did not confirm that its batch jobs are gone; "
        "those that are left end by themselves when they run."
    )


def remove(user_endpoint: str) -> None:
    """Remove, beside the start, what earlier lives of `user_endpoint` left with a scheduler.

    Call it before this life asks for jobs: its own are not among what is found here.
    """
    folder = job_notes.place(user_endpoint)
    notes = job_notes.read(folder)
    if notes:
        threading.Thread(
            target=_remove, args=(folder, user_endpoint, notes), name="earlier-jobs", daemon=True
        ).start()


def are_left(user_endpoint: str) -> bool:
    """Tell whether jobs of this or an earlier life may be left."""
    return bool(job_notes.read(job_notes.place(user_endpoint)))


def _remove(folder: Path, user_endpoint: str, notes: list[Note]) -> None:
    from chamberlain_endpoint.scheduler import removal

    removed = removal.remove(folder, user_endpoint, notes, within_s=_WITHIN_S)
    log.log(
        logging.INFO if removed.is_clean else logging.ERROR,
        "jobs of an earlier life",
        extra={
            "event": "jobs.earlier",
            "user_endpoint": user_endpoint,
            "count": len(removed.cancelled),
            "reason": removed.why,
        },
    )
