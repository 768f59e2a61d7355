"""Which versions run over there: known before the first task is sent, and said when it differs."""

from __future__ import annotations

import logging
import platform
import threading
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from chamberlain.errors import ChamberlainError, VersionMismatchWarning
from chamberlain.rest import Rest
from chamberlain.runtime import dill_version, version
from chamberlain_wire.details import PROTOCOL
from chamberlain_wire.serialize import DEFAULT, Serializer

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _There:
    """What runs there; what is not known is empty, or our own."""

    python: str = ""
    dill: str = ""
    chamberlain: str = ""
    protocol: int = PROTOCOL


class Versions:
    """What is known of the endpoints' versions. Thread-safe.

    Before the first task the hub is asked which Python the endpoint runs; results say what
    the workers have. Nothing is said of Python and dill when functions travel as source.
    """

    def __init__(self, rest: Rest, serializer: Serializer) -> None:
        self._rest = rest
        self._matters = serializer.code is DEFAULT.code
        self._lock = threading.Lock()
        self._known: dict[str, _There] = {}
        self._said: set[tuple[str, str]] = set()

    def learn(self, endpoint_id: str, details: Mapping[str, Any]) -> None:
        """Remember what a result from `endpoint_id` says of its worker."""
        if endpoint_id and isinstance(details.get("python_version"), str):
            with self._lock:
                self._known[endpoint_id] = _read(details)

    def check(self, endpoint_id: str) -> None:
        """Warn, once for each difference, when what `endpoint_id` runs may not understand us.

        Raises:
            VersionMismatchWarning: where warnings are errors; the tasks must not be sent.
        """
        with self._lock:
            there = self._known.get(endpoint_id)
        if there is None and self._matters:
            asked = _There(python=self._asked(endpoint_id))
            with self._lock:
                # A result may have come in the meantime, and knows better.
                there = self._known.setdefault(endpoint_id, asked)
        for text in () if there is None else _differences(there, packed=self._matters):
            with self._lock:
                if (endpoint_id, text) in self._said:
                    continue
            warnings.warn(f"Endpoint {endpoint_id} {text}", VersionMismatchWarning, stacklevel=2)
            # After the warning: where it is an error, each batch is refused, not only the first.
            with self._lock:
                self._said.add((endpoint_id, text))

    def _asked(self, endpoint_id: str) -> str:
        try:
            told = self._rest.call("GET", f"/v2/endpoints/{endpoint_id}", patience_s=0.0)
        except ChamberlainError as error:
            # The submission that follows says what is wrong, and better.
            log.debug("endpoint not asked", extra={"event": "hub.refused", "reason": str(error)})
            return ""
        metadata = told.get("metadata") if isinstance(told, dict) else None
        found = metadata.get("python_version") if isinstance(metadata, dict) else None
        return found if isinstance(found, str) else ""


def _differences(there: _There, *, packed: bool) -> Iterator[str]:
    """Say what differs. What travels as source minds neither Python nor dill."""
    here = platform.python_version()
    if packed and not _alike(there.python, here):
        yield (
            f"runs Python {there.python}, and this is Python {here}: functions and objects do not "
            f"always survive the difference. Use a Python {_minor(there.python)} here, or send "
            'source: serializer(code="AllCodeStrategies").'
        )
    if packed and not _alike(there.dill, dill_version()):
        yield (
            f"has dill {there.dill}, and here is dill {dill_version()}: functions and objects do "
            "not always survive the difference. Install the same here: pip install "
            f"'dill~={_minor(there.dill)}.0'; or send source: "
            'serializer(code="AllCodeStrategies").'
        )
    if there.protocol != PROTOCOL:
        older = "there" if there.protocol < PROTOCOL else "here"
        yield (
            f"has Chamberlain {there.chamberlain} (protocol {there.protocol}), and here is "
            f"Chamberlain {version()} (protocol {PROTOCOL}): upgrade Chamberlain {older}."
        )


def _read(details: Mapping[str, Any]) -> _There:
    def text(name: str) -> str:
        found = details.get(name)
        return found if isinstance(found, str) else ""

    protocol = details.get("protocol")
    return _There(
        python=text("python_version"),
        dill=text("dill_version"),
        chamberlain=text("chamberlain_version"),
        protocol=protocol if isinstance(protocol, int) else PROTOCOL,
    )


def _alike(there: str, here: str) -> bool:
    return not there or _minor(there) == _minor(here)


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])
