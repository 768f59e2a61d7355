"""The mapping file in force, taken anew when it was changed.

It is looked at when somebody asks, not polled: an edit counts from the next request on. A
faulty or untrusted edit changes nothing; the rules that were good stay, and the fault is
told once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chamberlain_endpoint.identity.mapper import RuleMapper
from chamberlain_endpoint.launcher import trusted_file
from chamberlain_wire.errors import ChamberlainError

_log: Final = logging.getLogger(__name__)


class MappingFile:
    """Keeps the mapper that the file `path` describes.

    Args:
        on_change: called with the fault of an edit; empty when the edit was taken.
    """

    def __init__(
        self, path: Path, owners: frozenset[int], on_change: Callable[[str], None]
    ) -> None:
        self._path = path
        self._owners = owners
        self._on_change = on_change
        self._stamp: tuple[int, ...] = ()
        self._fault = ""
        self._mapper: RuleMapper | None = None

    def open(self) -> None:
        """Read the file for the first time.

        Raises:
            UntrustedPathError, MappingRefusedError: it cannot be used. Do not start.
        """
        self._read()

    def mapper(self) -> RuleMapper:
        """Return the mapper of the newest good version of the file."""
        try:
            if trusted_file.stamp(self._path, self._owners) != self._stamp:
                self._read()
                self._tell("", changed=True)
            else:
                self._tell("", changed=False)
        except ChamberlainError as error:
            self._tell(f"{self._path}: {error}", changed=False)
        assert self._mapper is not None, "open() comes first"
        return self._mapper

    def _read(self) -> None:
        stamp = trusted_file.stamp(self._path, self._owners)
        self._mapper = RuleMapper.read(trusted_file.read(self._path, self._owners))
        # Last, so that a version that could not be read is tried again.
        self._stamp = stamp

    def _tell(self, fault: str, *, changed: bool) -> None:
        if fault == self._fault and not changed:
            return
        self._fault = fault
        if fault:
            _log.error(
                "the mapping file cannot be used; the rules before the edit stay in force",
                extra={"event": "mapping.refused", "reason": fault},
            )
        else:
            _log.info("the mapping file is in force", extra={"event": "mapping.taken"})
        self._on_change(fault)
