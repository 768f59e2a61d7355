"""Gives each account its own subordinate ids, for good.

Two accounts never share one: what a container of one leaves in a shared folder under such an
id must not belong to the other's. Kept in a file, because an account's ids must be the same
after a restart of the launcher.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from chamberlain_endpoint.launcher.runtime import faults
from chamberlain_endpoint.launcher.runtime.faults import NoSubordinateIdsError
from chamberlain_endpoint.launcher.runtime.idmap import IDS
from chamberlain_wire.errors import ChamberlainError, ErrorCode


class RecordsBrokenError(ChamberlainError):
    """The file cannot be read as it was written. Do not start: accounts would share ids."""

    code = ErrorCode.CONFIG_INVALID


class SubordinateIds:
    """The bases of all accounts that ever came.

    Args:
        path: the file, in a folder that root alone can write.
        first: the first id that may be given.
        count: how many may be given.
    """

    def __init__(self, path: Path, first: int, count: int) -> None:
        self._path = path
        self._first = first
        self._most = count // IDS
        self._slots: dict[int, int] = {}

    def open(self) -> None:
        """Read the file; none is an empty one.

        Raises:
            RecordsBrokenError: it says something else than this class wrote.
        """
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return
        try:
            slots = {int(uid): int(slot) for uid, slot in json.loads(text).items()}
        except (ValueError, AttributeError, TypeError):
            raise RecordsBrokenError(f"{self._path} is not readable: restore it") from None
        if len(set(slots.values())) != len(slots) or min(slots.values(), default=0) < 0:
            raise RecordsBrokenError(f"{self._path} gives one range to two accounts: restore it")
        self._slots = slots

    def base_of(self, uid: int) -> int:
        """Return the first of the `IDS` ids of the account `uid`; it gets them now, or has them.

        Raises:
            NoSubordinateIdsError: none is left.
            EngineError: the choice could not be written down.
        """
        slot = self._slot_of(uid)
        if uid not in self._slots:
            self._write({**self._slots, uid: slot})
            self._slots[uid] = slot
        return self._first + slot * IDS

    def expected(self, uid: int) -> int:
        """Return what `base_of` would, and give nothing.

        Raises:
            NoSubordinateIdsError: none is left.
        """
        return self._first + self._slot_of(uid) * IDS

    def _slot_of(self, uid: int) -> int:
        slot = self._slots.get(uid)
        if slot is None:
            return self._free_slot(uid)
        if slot >= self._most:
            raise NoSubordinateIdsError(
                f"uid {uid} has range {slot}, runtime.subordinate_count allows {self._most}"
            )
        return slot

    def _free_slot(self, uid: int) -> int:
        slot = max(self._slots.values(), default=-1) + 1
        # A range that an account lies in would make strangers' files its own.
        while any(
            self._first + slot * IDS <= known < self._first + (slot + 1) * IDS
            for known in (uid, *self._slots)
        ):
            slot += 1
        if slot >= self._most:
            raise NoSubordinateIdsError(
                f"all {self._most} ranges of runtime.subordinate_count are given; "
                f"uid {uid} would be one more"
            )
        return slot

    def _write(self, slots: dict[int, int]) -> None:
        draft = self._path.with_suffix(".new")
        try:
            with draft.open("w") as file:
                json.dump(slots, file)
                file.flush()
                os.fsync(file.fileno())
            draft.rename(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise faults.of_os_error(str(self._path), error) from error
