"""What we add to `details` of a Result: the original exception, what was printed, what was used.

The public clients know exactly five fields of a Result and warn of any other, but take
`details` as it comes. So our additions travel there (`docs/adr/0015-output-of-tasks.md`).
Everything here is told by a worker, which runs the user's code: what has a wrong shape counts
as not told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec

from chamberlain_wire.limits import MAX_TASK_OUTPUT_BYTES
from chamberlain_wire.messages import Result

PROTOCOL: Final = 1
"""Goes up when a worker and an SDK of different versions no longer understand each other."""

EXCEPTION: Final = "exception"
USAGE: Final = "usage"
OUTPUT: Final = "output"
_OURS: Final = frozenset({EXCEPTION, USAGE, OUTPUT})
_Name = Annotated[str, msgspec.Meta(max_length=256)]


class Stream(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The end of what a task printed to one stream.

    Attributes:
        cut_bytes: how much more there was before `text`.
    """

    text: str = ""
    cut_bytes: int = 0


class Output(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task printed.

    Attributes:
        captured: False: the site has switched the capture off.
    """

    captured: bool = True
    stdout: Stream = Stream()
    stderr: Stream = Stream()


class Usage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a task used, and where.

    Attributes:
        started_at: UTC seconds, by the worker's clock; also `ended_at`.
        cpu_s: of the task's process or thread, and of its children that have ended.
        max_rss_bytes: the most that the worker process, or one of its children, ever had.
        job_id: of the batch job that the worker ran in; empty outside of one.
    """

    started_at: float = 0.0
    ended_at: float = 0.0
    cpu_s: float = 0.0
    max_rss_bytes: int = 0
    hostname: _Name = ""
    job_id: _Name = ""


def exception_of(result: Result) -> str | None:
    """Return the packed exception of a task; None when there is none to be had."""
    found = (result.details or {}).get(EXCEPTION) or result.exception
    return found if isinstance(found, str) else None


def usage_of(result: Result) -> Usage | None:
    """Return what a task used; None when the worker did not say."""
    try:
        return msgspec.convert((result.details or {}).get(USAGE, result.usage), Usage | None)
    except msgspec.ValidationError:
        return None


def output_of(result: Result) -> Output | None:
    """Return what a task printed, bounded; None when the worker did not say."""
    try:
        told = msgspec.convert((result.details or {}).get(OUTPUT), Output | None)
    except msgspec.ValidationError:
        return None
    if told is None:
        return None
    return Output(
        captured=told.captured, stdout=_bounded(told.stdout), stderr=_bounded(told.stderr)
    )


def plain(details: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return `details` with what the public clients have there, and no more."""
    if details is None:
        return None
    return {key: value for key, value in details.items() if key not in _OURS}


def tail(data: bytes, cut_bytes: int = 0) -> Stream:
    """Return the stream that ends with `data`, before which `cut_bytes` more were printed."""
    if cut_bytes:
        # Not in the middle of a character.
        begin = next((at for at, byte in enumerate(data[:4]) if byte & 0xC0 != 0x80), 0)
        data, cut_bytes = data[begin:], cut_bytes + begin
    return Stream(text=data.decode(errors="replace"), cut_bytes=cut_bytes)


def _bounded(stream: Stream) -> Stream:
    data = stream.text.encode(errors="replace")
    more = len(data) - MAX_TASK_OUTPUT_BYTES
    if more <= 0:
        return stream
    return tail(data[more:], max(0, stream.cut_bytes) + more)
