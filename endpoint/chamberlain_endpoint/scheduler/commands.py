"""Runs a scheduler's programs, for so long and no longer.

Without their daemon they block for minutes; then nothing is known, which is no answer.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chamberlain_endpoint.scheduler.port import SchedulerSilentError

_MOST_CHARS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Answer:
    """What a program said."""

    code: int
    out: str
    err: str


def run(words: Sequence[str], *, limit_s: float) -> Answer:
    """Run `words`, without a shell; return how it ended, well or not.

    Raises:
        SchedulerSilentError: it is not there, or did not end in time; nothing of it is left.
    """
    try:
        process = subprocess.Popen(
            list(words),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            # Texts that we read are those of this locale.
            env={**os.environ, "LC_ALL": "C"},
            start_new_session=True,
        )
    except OSError as error:
        raise SchedulerSilentError(f"{words[0]} cannot be run: {error.strerror}") from error
    try:
        out, err = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise SchedulerSilentError(f"{words[0]} gave no answer within {limit_s:g} s") from None
    return Answer(process.returncode, out[:_MOST_CHARS], err[:_MOST_CHARS])
