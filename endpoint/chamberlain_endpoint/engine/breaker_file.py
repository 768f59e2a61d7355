"""The breaker on disk, so that the next process of this user endpoint goes on with it.

The file is the truth: whoever removes it (`reset-breaker`, as the account) closes the breaker
of a user endpoint that runs. It holds for one configuration alone.
"""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import Final

import msgspec

from chamberlain_endpoint.engine.breaker import Breaker

log = logging.getLogger(__name__)

FILE_NAME: Final = "breaker.json"
_MOST_BYTES: Final = 64 * 1024


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """The content of the file.

    Attributes:
        config: hash of the configuration that it holds for.
    """

    config: str
    failures: int
    reason: str
    at: float


class BreakerFile:
    """Reads and writes the breaker of one configuration.

    Args:
        config: hash of the engine's configuration.
    """

    def __init__(self, path: Path, config: str) -> None:
        self._path = path
        self._config = config

    def read(self) -> Breaker:
        """Return what is kept; a closed breaker when there is no file of this configuration."""
        kept = read_kept(self._path)
        if kept is None or kept.config != self._config:
            return Breaker()
        return Breaker(kept.failures, kept.reason, kept.at)

    def write(self, breaker: Breaker) -> None:
        """Keep it; one without a failure needs no file."""
        try:
            if not breaker.failures:
                self._path.unlink(missing_ok=True)
                return
            kept = Kept(
                config=self._config,
                failures=breaker.failures,
                reason=breaker.reason,
                at=breaker.at,
            )
            self._path.parent.mkdir(parents=True, exist_ok=True)
            new = self._path.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(kept))
            new.replace(self._path)
        except OSError as error:
            # It holds for as long as this process lives.
            log.warning(
                "breaker is not kept", extra={"event": "breaker.unkept", "reason": str(error)}
            )


def read_kept(path: Path) -> Kept | None:
    """Return the content of the file; None when there is none that can be read."""
    with contextlib.suppress(OSError, msgspec.MsgspecError), path.open("rb") as file:
        return msgspec.json.decode(file.read(_MOST_BYTES), type=Kept)
    return None
