"""The hub's keys in force: those of the newest good `launcher.toml`.

Looked at when a statement comes, as the mapping file is, so that a hub can exchange its key while
user endpoints run: no other setting is taken from the file before the launcher's next start.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from chamberlain_endpoint.launcher import config, trusted_file
from chamberlain_wire.errors import ChamberlainError

_log: Final = logging.getLogger(__name__)


class HubKeys:
    """Keeps the keys that the file `path` names.

    Args:
        keys: those that it named when the launcher read it.
    """

    def __init__(self, path: Path, owners: frozenset[int], keys: tuple[bytes, ...]) -> None:
        self._path = path
        self._owners = owners
        self._keys = keys
        self._stamp: tuple[int, ...] = ()
        self._fault = ""

    def newest(self) -> tuple[bytes, ...]:
        """Return the keys to believe now. A faulty edit changes nothing, and is told once."""
        try:
            stamp = trusted_file.stamp(self._path, self._owners)
            if stamp == self._stamp:
                return self._keys
            keys = config.load(self._path, self._owners).hub_keys
        except ChamberlainError as error:
            self._tell(f"{self._path}: {error}")
            return self._keys
        if keys != self._keys:
            _log.info("the hub's keys are other ones now", extra={"event": "hub_keys.taken"})
        # The stamp last, so that a version that could not be read is tried again.
        self._fault, self._keys, self._stamp = "", keys, stamp
        return keys

    def _tell(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            _log.error(
                "launcher.toml cannot be used; the hub's keys before the edit stay in force",
                extra={"event": "hub_keys.refused", "reason": fault},
            )
