"""Which Python runs over there: known before the first task is sent, and said when it differs."""

from __future__ import annotations

import logging
import platform
import threading
import warnings
from collections.abc import Mapping
from typing import Any

from chamberlain.errors import ChamberlainError, VersionMismatchWarning
from chamberlain.rest import Rest
from chamberlain_wire.serialize import DEFAULT, Serializer

log = logging.getLogger(__name__)


class Versions:
    """What is known of the endpoints' Python. Thread-safe.

    Before the first task the hub is asked which Python the endpoint runs; results say which
    the workers do. Nothing is said when functions travel as source.
    """

    def __init__(self, rest: Rest, serializer: Serializer) -> None:
        self._rest = rest
        self._matters = serializer.code is DEFAULT.code
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._said: set[tuple[str, str]] = set()

    def learn(self, endpoint_id: str, details: Mapping[str, Any]) -> None:
        """Remember what a result from `endpoint_id` says of its worker."""
        version = details.get("python_version")
        if endpoint_id and isinstance(version, str):
            with self._lock:
                self._known[endpoint_id] = version

    def check(self, endpoint_id: str) -> None:
        """Warn, once for each version, when `endpoint_id` runs another Python than this one.

        Raises:
            VersionMismatchWarning: where warnings are errors; the tasks must not be sent.
        """
        if not self._matters:
            return
        with self._lock:
            there = self._known.get(endpoint_id)
        if there is None:
            there = self._asked(endpoint_id)
            with self._lock:
                # A result may have come in the meantime, and knows better.
                there = self._known.setdefault(endpoint_id, there)
        here = platform.python_version()
        with self._lock:
            same = not there or there.split(".")[:2] == here.split(".")[:2]
            if same or (endpoint_id, there) in self._said:
                return
        warnings.warn(
            f"Endpoint {endpoint_id} runs Python {there}, and this is Python {here}: functions "
            "and objects do not always survive the difference. Use a Python "
            f"{'.'.join(there.split('.')[:2])} here, or send source: "
            'serializer(code="AllCodeStrategies").',
            VersionMismatchWarning,
            stacklevel=2,
        )
        # After the warning: where it is an error, each batch is refused, not only the first.
        with self._lock:
            self._said.add((endpoint_id, there))

    def _asked(self, endpoint_id: str) -> str:
        try:
            told = self._rest.call("GET", f"/v2/endpoints/{endpoint_id}", patience_s=0.0)
        except ChamberlainError as error:
            # The submission that follows says what is wrong, and better.
            log.debug("endpoint not asked", extra={"event": "hub.refused", "reason": str(error)})
            return ""
        metadata = told.get("metadata") if isinstance(told, dict) else None
        version = metadata.get("python_version") if isinstance(metadata, dict) else None
        return version if isinstance(version, str) else ""
