"""How the jobs of OpenPBS and PBS Pro are, from `qstat`.

Parsl's provider takes a job that `qstat` does not name for completed, one that exits for ended,
and hears nothing of any job when one of them is unknown: `qstat` fails then, and still prints
the others.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence

from chamberlain_endpoint.rendered.settled_nodes import PBSProProvider
from chamberlain_endpoint.scheduler import commands, pbs_words
from chamberlain_endpoint.scheduler.pbs_words import PbsJob
from chamberlain_endpoint.scheduler.port import SchedulerSilentError
from chamberlain_endpoint.scheduler.records import Said
from chamberlain_endpoint.scheduler.truth import Found


class PbsTruth:
    """See `truth.Truth`."""

    def __init__(self, config: PBSProProvider) -> None:
        self._limit_s = float(config.cmd_timeout)
        # Ended jobs as well, as long as the server keeps their history.
        self._ended = ["-x"]

    def ask(self, jobs: Sequence[str]) -> dict[str, Said]:
        """See `truth.Truth.ask`."""
        found = self._jobs(jobs)
        return {job: pbs_words.said(found[job]) for job in jobs if job in found}

    def find(self, prefix: str) -> Found | None:
        """See `truth.Truth.find`."""
        answer = self._asked(["qselect", "-u", getpass.getuser()])
        jobs = answer.out.split()
        for job, one in self._jobs(jobs).items() if jobs else ():
            if one.name.startswith(prefix):
                return Found(job, one.name)
        return None

    def doubt(self, job: str) -> None:
        """See `truth.Truth.doubt`; what is said here is certain."""

    def _jobs(self, jobs: Sequence[str]) -> dict[str, PbsJob]:
        told = pbs_words.read_json(self._status("-f", "-F", "json", *jobs))
        found = {job: one for job in jobs if (one := pbs_words.of_number(told, job))}
        missing = [job for job in jobs if job not in found]
        if missing:
            told = pbs_words.read_text(self._status("-f", *missing))
            found |= {job: one for job in missing if (one := pbs_words.of_number(told, job))}
        return found

    def _status(self, *words: str) -> str:
        try:
            return self._asked(["qstat", *self._ended, *words]).out
        except SchedulerSilentError as error:
            if not (self._ended and pbs_words.has_no_history(str(error))):
                raise
            self._ended = []
            return self._status(*words)

    def _asked(self, words: Sequence[str]) -> commands.Answer:
        answer = commands.run(words, limit_s=self._limit_s)
        if answer.code != 0 and not pbs_words.is_unknown_job(answer.err):
            raise SchedulerSilentError(f"{words[0]}: {' '.join(answer.err.split())[:300]}")
        return answer
