"""The jobs of one account, as the scheduler's own programs list them, and how they are cancelled.

Read for removal alone: what a job is called and whose it is. How jobs of a living user
endpoint fare is `truth`'s to tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from chamberlain_endpoint.scheduler import commands
from chamberlain_endpoint.scheduler.job_notes import PREFIX, Note
from chamberlain_endpoint.scheduler.port import SchedulerSilentError

COMMAND_S: Final = 8.0
"""How long one of the scheduler's programs may take."""

_LEAVING: Final = frozenset({"COMPLETING", "COMPLETED", "CANCELLED", "FAILED", "TIMEOUT"})
_UNKNOWN_TO_PBS: Final = re.compile(r"unknown(/deleted)? job id|job has finished", re.IGNORECASE)
_NO_SUCH_JOB: Final = 153
"""Exit code of `qstat` then; the wrapper over Slurm says nothing beside it."""

_PBS_JOB: Final = re.compile(r"^Job Id:\s*(\S+)", re.MULTILINE)
_PBS_FOLDED: Final = re.compile(r"\n\t(?! *\w+ = )")
_PBS_ENDED: Final = frozenset({"C", "E", "F", "X"})


@dataclass(frozen=True, slots=True)
class Queued:
    """A job that waits or runs."""

    job: str
    owner: str
    name: str


class Queue(Protocol):
    """One scheduler's list of jobs."""

    def live(self, account: str, jobs: Iterable[str]) -> list[Queued]:
        """Return jobs that live: all of `account`, or those of `jobs` where no more is told.

        Raises:
            SchedulerSilentError: nothing is known.
        """

    def cancel(self, jobs: Sequence[str]) -> None:
        """Ask for their end; `live` tells whether it came.

        Raises:
            SchedulerSilentError: nobody heard.
        """


def are_ours(
    queued: Iterable[Queued], *, account: str, user_endpoint: str, generations: Iterable[str]
) -> list[str]:
    """Return the ids of jobs that are `account`'s and carry the names of these generations. Pure.

    A generation is a word that only one life of the user endpoint had, and noted.
    """
    heads = tuple(f"{PREFIX}.{user_endpoint}.{one}." for one in generations if one)
    return [one.job for one in queued if one.owner == account and one.name.startswith(heads)]


def queue_of(note: Note) -> Queue | None:
    """Return the list of jobs of the scheduler in `note`; None: we cannot read that one's."""
    if note.kind == "SlurmProvider":
        return SlurmQueue(note.clusters)
    if note.kind in ("PBSProProvider", "TorqueProvider"):
        return PbsQueue()
    return None


class SlurmQueue:
    """By `squeue` and `scancel`."""

    def __init__(self, clusters: str = "") -> None:
        self._where = [f"--clusters={clusters}"] if clusters else []

    def live(self, account: str, jobs: Iterable[str]) -> list[Queued]:
        """See `Queue.live`."""
        words = ["squeue", *self._where, "--noheader", "--all", f"--user={account}"]
        answer = _asked([*words, "--format=%i %T %u %j"])
        return read_squeue(answer.out)

    def cancel(self, jobs: Sequence[str]) -> None:
        """See `Queue.cancel`."""
        commands.run(["scancel", *self._where, *jobs], limit_s=COMMAND_S)


class PbsQueue:
    """By `qstat -f` and `qdel`, for PBS and for Torque."""

    def live(self, account: str, jobs: Iterable[str]) -> list[Queued]:
        """See `Queue.live`."""
        wanted = sorted(jobs)
        if not wanted:
            return []
        answer = commands.run(["qstat", "-f", *wanted], limit_s=COMMAND_S)
        if not is_answer(answer):
            raise SchedulerSilentError(f"qstat: {' '.join(answer.err.split())[:300]}")
        return read_qstat(answer.out)

    def cancel(self, jobs: Sequence[str]) -> None:
        """See `Queue.cancel`."""
        commands.run(["qdel", *jobs], limit_s=COMMAND_S)


def is_answer(answer: commands.Answer) -> bool:
    """Tell whether `qstat` answered, be it that some of the jobs are not there any more."""
    lines = [line for line in answer.err.splitlines() if line.strip()]
    if answer.code == 0 or not lines:
        return answer.code in (0, _NO_SUCH_JOB)
    return all(_UNKNOWN_TO_PBS.search(line) for line in lines)


def read_squeue(text: str) -> list[Queued]:
    """Return the jobs in lines of id, state, account and name; those that are leaving are gone."""
    found = []
    for line in text.splitlines():
        words = line.split(None, 3)
        # A line of another cluster's name has two words.
        if len(words) == 4 and words[1] not in _LEAVING:
            found.append(Queued(words[0], words[2], words[3]))
    return found


def read_qstat(text: str) -> list[Queued]:
    """Return the jobs in the answer of `qstat -f`; those that are leaving are gone."""
    parts = _PBS_JOB.split(_PBS_FOLDED.sub("", text))
    found = []
    for job, about in zip(parts[1::2], parts[2::2], strict=True):
        told = {
            key.strip(): value.strip()
            for key, sign, value in (line.partition("=") for line in about.splitlines())
            if sign
        }
        if told.get("job_state", "") not in _PBS_ENDED:
            owner = told.get("Job_Owner", "").partition("@")[0]
            found.append(Queued(job, owner, told.get("Job_Name", "")))
    return found


def _asked(words: Sequence[str]) -> commands.Answer:
    answer = commands.run(words, limit_s=COMMAND_S)
    if answer.code != 0:
        raise SchedulerSilentError(f"{words[0]}: {' '.join(answer.err.split())[:300]}")
    return answer
