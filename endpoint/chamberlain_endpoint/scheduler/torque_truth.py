"""How the jobs of Torque are, from its `qstat -f`.

Torque has neither JSON nor a history: an ended job is told of for as long as the server's
`keep_completed` says, and is unknown afterwards. Exit statuses below zero are Torque's own; see
its manual, "Job Exit Status".
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from chamberlain_endpoint.rendered.settled_nodes import TorqueProvider
from chamberlain_endpoint.scheduler import commands, pbs_words, queues
from chamberlain_endpoint.scheduler.pbs_words import PbsJob
from chamberlain_endpoint.scheduler.port import SchedulerSilentError
from chamberlain_endpoint.scheduler.records import End, JobState, Said
from chamberlain_endpoint.scheduler.truth import Found

_FAILED: Final = MappingProxyType(
    {
        -1: "Torque could not begin it",
        -2: "Torque could not begin it",
        -3: "Torque could not begin it, and tries again",
        -4: "its node's daemon was started anew",
        -5: "its node's daemon was started anew",
        -6: "its node's daemon was started anew",
        -7: "Torque could not begin it anew",
        -8: "Torque could not start the job's script",
        -9: "Torque could not write the job's output files",
        -12: "its processor time was over",
        -13: "Torque could not make the job's control groups",
        -14: "the site's prologue failed",
    }
)
_ENDS: Final = MappingProxyType(
    {
        **{status: (End.FAILED, said) for status, said in _FAILED.items()},
        -10: (End.OUT_OF_MEMORY, ""),
        -11: (End.TIMEOUT, ""),
    }
)


class TorqueTruth:
    """See `truth.Truth`."""

    def __init__(self, config: TorqueProvider) -> None:
        self._limit_s = float(config.cmd_timeout)

    def ask(self, jobs: Sequence[str]) -> dict[str, Said]:
        """See `truth.Truth.ask`."""
        told = self._told(jobs)
        found = {job: pbs_words.of_number(told, job) for job in jobs}
        return {job: said(one) for job, one in found.items() if one is not None}

    def find(self, prefix: str) -> Found | None:
        """See `truth.Truth.find`."""
        jobs = self._asked(["qselect", "-u", getpass.getuser()]).out.split()
        for job, one in self._told(jobs).items() if jobs else ():
            if one.name.startswith(prefix):
                return Found(job, one.name)
        return None

    def doubt(self, job: str) -> None:
        """See `truth.Truth.doubt`; what is said here is certain."""

    def _told(self, jobs: Sequence[str]) -> dict[str, PbsJob]:
        return pbs_words.read_text(self._asked(["qstat", "-f", *jobs]).out)

    def _asked(self, words: Sequence[str]) -> commands.Answer:
        answer = commands.run(words, limit_s=self._limit_s)
        if not queues.is_answer(answer):
            raise SchedulerSilentError(f"{words[0]}: {' '.join(answer.err.split())[:300]}")
        return answer


def said(job: PbsJob) -> Said:
    """Return where a job of Torque's is, and how it ended if it did. Pure."""
    told = pbs_words.said(job, _ENDS)
    if told.state is JobState.ENDED and job.exit_status is None and job.hosts:
        # It ran; how it ended, this server does not say.
        return Said(JobState.ENDED, end=End.COMPLETED, node=told.node)
    return told
