"""What the programs of OpenPBS and PBS Pro print, read. Pure.

Written against their documented output: `qstat -x -f -F json`, `qstat -x -f`, exit statuses. Some
releases print JSON that is none (`"A":005`, `\\,`), or leave out all jobs but the first; the text
form has no such faults, so whoever asks falls back on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from chamberlain_endpoint.scheduler.records import End, JobState, Said

_SILENT: Final = (
    "cannot connect to server",
    "connection refused",
    "connection timed out",
    "communication failure",
    "no route to host",
    "end of file",
    "request timed out",
    "pbs_iff",
    "server shutting down",
)
_UNKNOWN: Final = ("unknown job id", "job has finished", "unknown/deleted job id")

_NO_HISTORY: Final = "not configured to maintain job history"

_RUNNING: Final = ("R", "B", "E", "S", "U")
"""Running, array begun, exiting, suspended by an operator and by who sits at the node."""
_ENDED: Final = ("F", "X", "C")
"""Finished, subjob finished, and Torque's completed."""

_TERMINATED: Final = 91
"""Substate of a finished job that was deleted."""

_OWN_ENDS: Final = MappingProxyType(
    {
        -20: (End.NODE_FAIL, "the job's first node failed"),
        -24: (End.FAILED, "it used more processors at once than it had asked for"),
        -25: (End.FAILED, "it used more processor time than it had asked for"),
        -26: (End.OUT_OF_MEMORY, ""),
        -27: (End.OUT_OF_MEMORY, ""),
        -28: (End.TIMEOUT, "its processor time was over"),
        -29: (End.TIMEOUT, ""),
    }
)
"""Negative exit statuses, which PBS itself gives."""

_SIGNAL_AT: Final = (256, 128)
_TERM: Final = 15
_NOT_YET: Final = "Not Running: "
_TOO_OFTEN: Final = "too many failed attempts"


@dataclass(frozen=True, slots=True)
class PbsJob:
    """What `qstat` tells of a job, as far as we ask.

    Attributes:
        exit_status: None: it has not ended, or never began.
        asked_s: its walltime; 0: not told.
        used_s: of its walltime.
    """

    name: str
    state: str
    substate: int = 0
    comment: str = ""
    holds: str = ""
    hosts: str = ""
    exit_status: int | None = None
    asked_s: int = 0
    used_s: int = 0


def is_silence(text: str) -> bool:
    """Tell whether an error is about the server's absence, not about what was asked."""
    lowered = text.lower()
    return any(words in lowered for words in _SILENT)


def is_unknown_job(text: str) -> bool:
    """Tell whether an error says, and says only, that there are no such jobs (any more)."""
    lines = [line.lower() for line in text.splitlines() if line.strip()]
    return bool(lines) and all(any(words in line for words in _UNKNOWN) for line in lines)


def has_no_history(text: str) -> bool:
    """Tell whether an error says that the server forgets jobs when they end."""
    return _NO_HISTORY in text.lower()


def read_json(text: str) -> dict[str, PbsJob]:
    """Return id -> job of what `qstat -f -F json` printed; nothing when that is no JSON."""
    try:
        told = json.loads(text, strict=False)
        jobs = told.get("Jobs", {})
        return {name: _job(_flat(fields)) for name, fields in jobs.items()}
    except (ValueError, AttributeError, RecursionError):
        return {}


def read_text(text: str) -> dict[str, PbsJob]:
    """Return id -> job of what `qstat -f` printed."""
    return {name: _job(fields) for name, fields in _sections(text)}


def of_number(jobs: Mapping[str, PbsJob], job: str) -> PbsJob | None:
    """Return the job that `qsub` called `job`; `qstat` may name its server in another way."""
    number = job.partition(".")[0]
    return jobs.get(job) or next(
        (one for name, one in jobs.items() if name.partition(".")[0] == number), None
    )


def said(job: PbsJob, own_ends: Mapping[int, tuple[End, str]] = _OWN_ENDS) -> Said:
    """Return where a job is, and how it ended if it did.

    Args:
        own_ends: exit statuses that the scheduler itself gives -> the end, and its reason.
    """
    node = ",".join(dict.fromkeys(one.partition("/")[0] for one in job.hosts.split("+") if one))
    if job.state in _RUNNING:
        return Said(JobState.RUNNING, "suspended" if job.state in "SU" else "", node=node)
    if job.state not in _ENDED:
        # H, Q, T, W, M, and a letter that is not known: only a known end is one.
        return Said(JobState.QUEUED, _why(job), node=node)
    end, reason, code, signal = _end(job, own_ends)
    return Said(JobState.ENDED, reason, end, exit_code=code, signal=signal, node=node)


def _why(job: PbsJob) -> str:
    if job.state == "W":
        return "BeginTime"
    if job.state != "H":
        return job.comment.removeprefix(_NOT_YET)
    if _TOO_OFTEN in job.comment:
        return "JobHoldMaxRequeue"
    return "JobHeldUser" if job.holds == "u" else "JobHeldAdmin"


def _end(job: PbsJob, own_ends: Mapping[int, tuple[End, str]]) -> tuple[End, str, int | None, int]:
    status = job.exit_status
    if status is None:
        # It never began: somebody deleted it, or PBS did and says why.
        return End.CANCELLED, job.comment, None, 0
    if status < 0:
        end, reason = own_ends.get(status, (End.FAILED, f"PBS could not run it ({status})"))
        return end, f"{reason}: {job.comment}".strip(": "), None, 0
    base = next((one for one in _SIGNAL_AT if status > one), 0)
    if not base:
        return (End.FAILED if status else End.COMPLETED), "", status, 0
    signal = status - base
    if 0 < job.asked_s <= job.used_s:
        return End.TIMEOUT, "", None, signal
    if job.substate == _TERMINATED or signal == _TERM:
        return End.CANCELLED, "", None, signal
    return End.FAILED, "", None, signal


def _job(fields: Mapping[str, str]) -> PbsJob:
    status = fields.get("exit_status", "")
    return PbsJob(
        name=fields.get("job_name", ""),
        state=fields.get("job_state", ""),
        substate=_number(fields.get("substate", "")) or 0,
        comment=" ".join(fields.get("comment", "").split()),
        holds=fields.get("hold_types", ""),
        hosts=fields.get("exec_host", ""),
        exit_status=_number(status),
        asked_s=_seconds(fields.get("resource_list.walltime", "")),
        used_s=_seconds(fields.get("resources_used.walltime", "")),
    )


def _flat(fields: Mapping[str, Any]) -> dict[str, str]:
    """Return the attributes of a job in JSON by the names of the text form, in small letters."""
    flat: dict[str, str] = {}
    for key, value in fields.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for name, one in inner:
            flat[f"{key}.{name}".rstrip(".").lower()] = str(one)
    return flat


def _sections(text: str) -> Iterator[tuple[str, dict[str, str]]]:
    name, key = "", ""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        if line.startswith("Job Id:"):
            if name:
                yield name, fields
            name, key, fields = line.removeprefix("Job Id:").strip(), "", {}
        elif line.startswith("\t") and key and " = " not in line:
            # A long value goes on in the next line, after a tab.
            fields[key] += line.strip()
        elif " = " in line:
            key, _, value = line.strip().partition(" = ")
            key = key.lower()
            fields[key] = value
    if name:
        yield name, fields


def _number(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _seconds(text: str) -> int:
    parts = text.split(":")
    if not all(part.isdecimal() for part in parts):
        return 0
    seconds = 0
    for part in parts:
        seconds = 60 * seconds + int(part)
    return seconds
