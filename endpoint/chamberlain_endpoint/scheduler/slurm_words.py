"""What Slurm's programs print, read. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from typing import Final

from chamberlain_endpoint.scheduler.records import End, JobState, Said

SQUEUE_FORMAT: Final = "%i|%T|%r|%N"
SACCT_FIELDS: Final = "JobID,State,ExitCode,Reason,NodeList"

_ENDS: Final = MappingProxyType(
    {
        "COMPLETED": End.COMPLETED,
        "CANCELLED": End.CANCELLED,
        "FAILED": End.FAILED,
        "LAUNCH_FAILED": End.FAILED,
        "RECONFIG_FAIL": End.FAILED,
        "REVOKED": End.CANCELLED,
        "TIMEOUT": End.TIMEOUT,
        "DEADLINE": End.TIMEOUT,
        "OUT_OF_MEMORY": End.OUT_OF_MEMORY,
        "NODE_FAIL": End.NODE_FAIL,
        "BOOT_FAIL": End.NODE_FAIL,
        "PREEMPTED": End.PREEMPTED,
    }
)
_LIVE: Final = MappingProxyType(
    {
        "RUNNING": JobState.RUNNING,
        "COMPLETING": JobState.RUNNING,
        "STAGE_OUT": JobState.RUNNING,
        "SIGNALING": JobState.RUNNING,
        "SUSPENDED": JobState.RUNNING,
        "STOPPED": JobState.RUNNING,
        "RESIZING": JobState.RUNNING,
    }
)
_NOTHING: Final = ("", "None", "(null)", "N/A", "Unknown")
_SILENT: Final = (
    "unable to contact slurm controller",
    "socket timed out",
    "connection refused",
    "connection timed out",
    "zero bytes were transmitted",
    "temporarily unable",
    "communication connection failure",
    "protocol authentication error",
)

_MEMORY: Final = re.compile(
    r"^(?:\d+: )?(?:slurmstepd|srun)[^ ]*: error: .*"
    r"(?:exceeded (?:job )?memory limit|oom[_-]kill|out of memory)",
    re.IGNORECASE | re.MULTILINE,
)


def is_silence(text: str) -> bool:
    """Tell whether an error is about the controller's absence, not about what was asked."""
    lowered = text.lower()
    return any(words in lowered for words in _SILENT)


def is_unknown_job(text: str) -> bool:
    """Tell whether an error says that there is no such job."""
    return "invalid job id" in text.lower()


def with_printed(said: Said, printed: str) -> Said:
    """Return `said`, corrected by what Slurm itself wrote into the job's output.

    Where memory is counted and not walled in (JobAcctGatherParams=OverMemoryKill), a job that
    takes too much is killed, and its record says no more than that it failed with 137.
    """
    if said.end is End.FAILED and _MEMORY.search(printed):
        return replace(said, end=End.OUT_OF_MEMORY)
    return said


def read_squeue(text: str) -> Iterator[tuple[str, Said]]:
    """Yield job and state of each line of `squeue -h -o SQUEUE_FORMAT`."""
    for line in text.splitlines():
        job, *rest = line.strip().split("|")
        if len(rest) == 3:  # not a line that names a cluster
            state, reason, node = rest
            yield job, _said(state, reason, "", node)


def read_scontrol(text: str) -> Said | None:
    """Return what a line of `scontrol show job -o` says; None when it says nothing."""

    def of(key: str) -> str:
        found = re.search(rf"(?:^| ){key}=(\S*)", text)
        return found[1] if found else ""

    state = of("JobState")
    return _said(state, of("Reason"), of("ExitCode"), of("NodeList")) if state else None


def read_sacct(text: str, job: str) -> Said | None:
    """Return what `sacct -X -n -P -o SACCT_FIELDS` says of `job`; None when it does not."""
    for line in text.splitlines():
        name, *rest = line.strip().split("|")
        if name == job and len(rest) == 4:
            state, code, reason, node = rest
            # `CANCELLED by 1001`, or `CANCELLED+` where a field was too short.
            return _said(state.split(" ")[0].rstrip("+"), reason, code, node)
    return None


def _said(state: str, reason: str, code: str, node: str) -> Said:
    reason = "" if reason in _NOTHING else reason
    node = "" if node in _NOTHING else node
    exit_code, _, signal = code.partition(":")
    end = _ENDS.get(state)
    if end is None:
        # A word that is not known is a state that passes: only a known end is one.
        return Said(_LIVE.get(state, JobState.QUEUED), reason, node=node)
    return Said(
        JobState.ENDED,
        reason,
        end,
        exit_code=int(exit_code) if exit_code.isdecimal() else None,
        signal=int(signal) if signal.isdecimal() else 0,
        node=node,
    )
