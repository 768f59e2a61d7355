"""What one user endpoint tells of its tasks, over its standard output. See `claims`."""

from __future__ import annotations

import time

from chamberlain_wire import claims
from chamberlain_wire.errors import InvalidMessageError


class FloodError(InvalidMessageError):
    """More records than one user endpoint may send. Read nothing more from it."""


class TaskHearing:
    """Puts records together and bounds how many may come."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._is_apart = False
        self._allowance = claims.Allowance(claims.RATE_PER_S, claims.BURST, now_s=time.monotonic())

    def begin_anywhere(self) -> None:
        """Expect that what comes next begins within a record, and go on with the next whole one."""
        self._buffer.clear()
        self._is_apart = True

    def hear(self, data: bytes) -> tuple[claims.Claim, ...]:
        """Return the claims that are complete with `data`.

        Raises:
            InvalidMessageError: it sends something else, or too much. Hear it no more.
        """
        self._buffer += data
        if self._is_apart and not self._found_record():
            return ()
        size = claims.RECORD_BYTES
        count = len(self._buffer) // size
        if count > self._allowance.left(now_s=time.monotonic()):
            raise FloodError(
                f"it sends more than {claims.RATE_PER_S} records a second, "
                f"with {claims.BURST} at once"
            )
        self._allowance.take(count)
        found = tuple(
            claims.unpack(bytes(self._buffer[at : at + size]))
            for at in range(0, count * size, size)
        )
        del self._buffer[: count * size]
        return found

    def _found_record(self) -> bool:
        """Drop what is left of a broken record; return whether a whole one follows.

        Raises:
            InvalidMessageError: there is none where one must be.
        """
        size = claims.RECORD_BYTES
        for at in range(min(size, len(self._buffer) - size + 1)):
            try:
                # Read across the border of two, a record's job has characters that none has.
                claims.unpack(bytes(self._buffer[at : at + size]))
            except InvalidMessageError:
                continue
            del self._buffer[:at]
            self._is_apart = False
            return True
        if len(self._buffer) >= 2 * size:
            raise InvalidMessageError("no record where one must be")
        return False
