"""What a user endpoint tells the launcher of its tasks: records of one fixed size.

Sent by the user endpoint, which runs as the account, on its standard output; read by the
launcher, which holds root. So there is nothing to parse: every record has the same length,
every field its place, and whatever is not exactly like that ends the channel. A record is a
claim of the account's own process; nothing follows from it but a line in the audit log.
Standard library only.
"""

from __future__ import annotations

import re
import struct
from enum import IntEnum
from typing import Final, NamedTuple

from chamberlain_wire.errors import InvalidMessageError

VERSION: Final = 1
RATE_PER_S: Final = 5_000
"""Records of one user endpoint that the launcher takes each second, in the long run."""
BURST: Final = 30_000
"""Records that it takes at once on top of that. More than that ends the channel."""

_LAYOUT: Final = struct.Struct(">BBxxI16s16s32s32s")
RECORD_BYTES: Final = _LAYOUT.size
"""104: version, what, two zero bytes, records that were left out before this one, task,
function, SHA-256 of the function's packed code, batch job (ASCII, filled up with zeros)."""

_NOTHING: Final = bytes(16)
_NO_CODE: Final = bytes(32)
_JOB: Final = re.compile(rb"[A-Za-z0-9._:@\[\]+-]{0,32}")
_NOT_IN_A_JOB: Final = re.compile(r"[^A-Za-z0-9._:@\[\]+-]")
_JOB_CHARS: Final = 32


class What(IntEnum):
    """What happened to the task."""

    RECEIVED = 1
    STARTED = 2
    ENDED = 3
    FAILED = 4
    REFUSED = 5
    CANCELLED = 6


class Claim(NamedTuple):
    """One thing that happened to one task, as the user endpoint says.

    Attributes:
        task: its id, canonical.
        function: its function's id; empty when the task named none.
        code_sha256: of the function's packed code, as it was registered, 64 hex digits; empty:
            not known.
        job: the batch job that it runs in; empty: none, or not known.
        missed: how many records the user endpoint left out before this one.
    """

    what: What
    task: str
    function: str = ""
    code_sha256: str = ""
    job: str = ""
    missed: int = 0


def job_that_fits(job: str) -> str:
    """Return a batch job's id as a record can hold it: cut, other characters as `_`.

    A worker named it, in whose process strangers' code runs; the number stands first.
    """
    return _NOT_IN_A_JOB.sub("_", job[:_JOB_CHARS])


def pack(claim: Claim) -> bytes:
    """Return the record of `claim`.

    Raises:
        InvalidMessageError: a field does not fit its place. The caller's code is wrong.
    """
    job = claim.job.encode("ascii", "replace")
    if not _JOB.fullmatch(job):
        raise InvalidMessageError(f"{claim.job!r:.80} is no id of a batch job")
    try:
        return _LAYOUT.pack(
            VERSION,
            claim.what,
            min(claim.missed, 0xFFFFFFFF),
            _sized(claim.task, 16),
            _sized(claim.function, 16) if claim.function else _NOTHING,
            _sized(claim.code_sha256, 32) if claim.code_sha256 else _NO_CODE,
            job,
        )
    except (ValueError, struct.error) as error:
        raise InvalidMessageError(f"no record: {error}") from None


def _sized(text: str, size: int) -> bytes:
    found = bytes.fromhex(text.replace("-", ""))
    if len(found) != size:
        raise ValueError(f"{text!r:.80} has not {size} bytes")
    return found


def _id(data: bytes) -> str:
    # Five times as fast as `uuid.UUID`, and root does it for every record.
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def unpack(record: bytes) -> Claim:
    """Return the claim in one record of `RECORD_BYTES` bytes.

    Raises:
        InvalidMessageError: it is none. Read nothing more from where it came.
    """
    version, what, missed, task, function, code, job = _LAYOUT.unpack(record)
    job = job.rstrip(b"\0")
    if version != VERSION or record[2:4] != b"\0\0":
        raise InvalidMessageError(f"a record of version {version}, known is {VERSION}")
    if not 1 <= what <= len(What):
        raise InvalidMessageError(f"a record tells of {what}, which is nothing that happens")
    if not _JOB.fullmatch(job):
        raise InvalidMessageError("a record names a batch job in characters that none has")
    if task == _NOTHING:
        raise InvalidMessageError("a record names no task")
    return Claim(
        what=What(what),
        task=_id(task),
        function="" if function == _NOTHING else _id(function),
        code_sha256="" if code == _NO_CODE else code.hex(),
        job=job.decode("ascii"),
        missed=missed,
    )


class Allowance:
    """How many records may pass: `rate_per_s` in the long run, `burst` on top. Pure.

    Args:
        now_s: any clock that only goes forward, in seconds; the same for all calls.
    """

    def __init__(self, rate_per_s: float, burst: int, *, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._left = float(burst)
        self._at_s = now_s

    def left(self, *, now_s: float) -> int:
        """Return how many may pass now."""
        gained = (now_s - self._at_s) * self._rate_per_s
        self._left, self._at_s = min(self._left + gained, self._burst), now_s
        return int(self._left)

    def take(self, count: int) -> None:
        """Note that `count` passed."""
        self._left -= count
