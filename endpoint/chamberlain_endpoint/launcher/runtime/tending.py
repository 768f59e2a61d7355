"""What the clerk does when its launcher is gone: it removes what ends until the next one is there.

A launcher that was killed, and is not started again, leaves containers whose lease runs out.
They end by themselves, and nobody else would take the empty shells from the engine. Whose a
container is, its lease file tells: root alone writes there, and a launcher that goes on with
it renews the file.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any, Final, Protocol

from chamberlain_endpoint.launcher.runtime.faults import EngineError

LONGEST_S: Final = 6 * 3600.0
"""An engine that never comes back keeps nobody waiting for ever."""

_AGAIN_S: Final = 2.0


class Engine(Protocol):
    """What is needed of an engine. See `docker_api.DockerEngine`."""

    def list(self, endpoint: str) -> list[dict[str, Any]]:
        """Return `container`, `labels` and `running` of each container of the endpoint."""
        ...

    def remove(self, container: str) -> None:
        """Remove it. One that is not there is no error."""
        ...


class Tending:
    """The containers that were there when the launcher went.

    Args:
        label: of the generation.
        leases: folder with one file for each generation.
    """

    def __init__(self, engine: Engine, endpoint: str, label: str, leases: Path) -> None:
        self._engine = engine
        self._endpoint = endpoint
        self._label = label
        self._leases = leases
        self._left = _times(leases)

    def run(self, until: float) -> None:
        """Return when nothing is left to do, a launcher is there, or the clock says `until`."""
        while time.monotonic() < until:
            # First of all: starts that were just being made come true, or fail.
            time.sleep(_AGAIN_S)
            if self.is_over():
                return

    def is_over(self) -> bool:
        """Look once, and remove what has ended; tell whether this was the last time."""
        now = _times(self._leases)
        if any(now.get(name) != changed for name, changed in self._left.items()):
            return True
        with contextlib.suppress(EngineError):
            self._remove_ended()
        return not self._left

    def _remove_ended(self) -> None:
        found = {
            row["labels"].get(self._label, ""): row for row in self._engine.list(self._endpoint)
        }
        for name in tuple(self._left):
            row = found.get(name)
            if row is not None and row["running"]:
                continue
            if row is not None:
                self._engine.remove(row["container"])
            (self._leases / name).unlink(missing_ok=True)
            del self._left[name]


def _times(folder: Path) -> dict[str, int]:
    found = {}
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[file.name] = file.stat().st_mtime_ns
    return found
