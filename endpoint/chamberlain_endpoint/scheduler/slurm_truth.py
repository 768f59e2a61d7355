"""How Slurm's jobs are, from `squeue`, then `scontrol`, then `sacct` where there is accounting.

Parsl's provider asks `sacct`, which lags behind and is absent without a database, or `squeue`
for live jobs alone, and takes what is not named for completed. `squeue -t all` and `scontrol`
know a job for some minutes after its end, with its reason and exit code.
"""

from __future__ import annotations

import getpass
from collections.abc import Sequence

from chamberlain_endpoint.rendered.settled_nodes import SlurmProvider
from chamberlain_endpoint.scheduler import commands, slurm_words
from chamberlain_endpoint.scheduler.port import SchedulerSilentError
from chamberlain_endpoint.scheduler.records import JobState, Said
from chamberlain_endpoint.scheduler.truth import Found


class SlurmTruth:
    """See `truth.Truth`."""

    def __init__(self, config: SlurmProvider) -> None:
        self._clusters = [f"--clusters={config.clusters}"] if config.clusters else []
        self._limit_s = float(config.cmd_timeout)
        self._batch = max(1, config.status_batch_size)

    def ask(self, jobs: Sequence[str]) -> dict[str, Said]:
        """See `truth.Truth.ask`."""
        found: dict[str, Said] = {}
        for at in range(0, len(jobs), self._batch):
            found |= self._queue(jobs[at : at + self._batch])
        for job in jobs:
            said = found.get(job)
            if said is None or said.state is JobState.ENDED:
                exact = self._exact(job)
                if exact is not None:
                    found[job] = exact
        return found

    def find(self, prefix: str) -> Found | None:
        """See `truth.Truth.find`."""
        words = ["squeue", *self._clusters, "-h", "-a", "-u", getpass.getuser(), "-o", "%i|%j"]
        answer = self._asked(words)
        for line in answer.out.splitlines():
            job, _, name = line.strip().partition("|")
            if name.startswith(prefix):
                return Found(job, name)
        return None

    def doubt(self, job: str) -> None:
        """See `truth.Truth.doubt`; what is said here is certain."""

    def _queue(self, jobs: Sequence[str]) -> dict[str, Said]:
        words = ["squeue", *self._clusters, "-h", "-a", "-t", "all", "-j", ",".join(jobs)]
        answer = self._asked([*words, "-o", slurm_words.SQUEUE_FORMAT])
        return dict(slurm_words.read_squeue(answer.out))

    def _exact(self, job: str) -> Said | None:
        """Return what the books say of a job that ended, or that the queue does not name."""
        show = ["scontrol", *self._clusters, "-o", "show", "job", job]
        said = slurm_words.read_scontrol(self._asked(show).out)
        if said is not None:
            return said
        account = ["sacct", *self._clusters, "-X", "-n", "-P", "-j", job]
        try:
            answer = commands.run([*account, "-o", slurm_words.SACCT_FIELDS], limit_s=self._limit_s)
        except SchedulerSilentError:
            # Without accounting there is no such program, or no answer: the others counted.
            return None
        return slurm_words.read_sacct(answer.out, job)

    def _asked(self, words: Sequence[str]) -> commands.Answer:
        answer = commands.run(words, limit_s=self._limit_s)
        if answer.code != 0 and not slurm_words.is_unknown_job(answer.err):
            raise SchedulerSilentError(f"{words[0]}: {' '.join(answer.err.split())[:300]}")
        return answer
