"""What a task used: of its thread, or of its process and the children that have ended."""

from __future__ import annotations

import os
import platform
import resource
from functools import cache
from typing import Final

from chamberlain_wire.details import Usage

_JOB_VARIABLES: Final = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "JOB_ID")
"""As Slurm, PBS and Torque, LSF, Flux and Grid Engine set them in their jobs."""
_NANO: Final = 1e9


class Meter:
    """Runs from its making to `read`, in the thread of the task.

    Args:
        own_process: nobody else is in this process while the task runs.
    """

    def __init__(self, *, own_process: bool) -> None:
        self._own_process = own_process
        self._before_s = self._cpu_s()

    def read(self, began_ns: int, ended_ns: int) -> Usage:
        """Return what was used until now. Times are UTC nanoseconds."""
        peak_kib = max(resource.getrusage(who).ru_maxrss for who in _EVERYBODY)
        return usage(began_ns, ended_ns, cpu_s=self._cpu_s() - self._before_s, peak_kib=peak_kib)

    def _cpu_s(self) -> float:
        whose = _EVERYBODY if self._own_process else _THREAD
        used = [resource.getrusage(who) for who in whose]
        return sum(one.ru_utime + one.ru_stime for one in used)


def usage(began_ns: int, ended_ns: int, *, cpu_s: float, peak_kib: int) -> Usage:
    """Return these figures, with the names of this host and job."""
    return Usage(
        started_at=began_ns / _NANO,
        ended_at=ended_ns / _NANO,
        cpu_s=round(max(0.0, cpu_s), 6),
        max_rss_bytes=peak_kib * 1024,
        hostname=platform.node(),
        job_id=_job_id(),
    )


@cache
def _job_id() -> str:
    return next((found for name in _JOB_VARIABLES if (found := os.environ.get(name))), "")


_EVERYBODY: Final = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
_THREAD: Final = (resource.RUSAGE_THREAD,)
