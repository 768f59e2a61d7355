"""What Prometheus may know of a manager. The only door to its client library here.

Every label has few values, whatever people do: never an identity, a command, an account or a
user endpoint. `docs/reference/metrics.md` describes each metric; a test holds the page to this
module.
"""

from __future__ import annotations

import time
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from chamberlain_endpoint.manager.life import State
from chamberlain_wire.errors import ErrorCode

_START_S: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_RENDER_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LOOK_EVERY_S: Final = 5.0
_CODES: Final = frozenset(code.value for code in ErrorCode)


class Seen(NamedTuple):
    """What the manager sees at one moment.

    Attributes:
        states: state of each user endpoint that has a future.
        mapping_in_force: the launcher has the newest mapping file; None: it does not answer.
        registered: the hub accepted the last registration.
        broker_connected: commands can come.
    """

    states: list[State]
    mapping_in_force: bool | None
    registered: bool
    broker_connected: bool


class ManagerMetrics:
    """The metrics of one manager process, in a registry of their own. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._starts = Counter(
            "chamberlain_manager_starts", "User endpoints started.", registry=self.registry
        )
        self._refusals = Counter(
            "chamberlain_manager_refusals",
            "Starts that were refused or failed, by code.",
            ("code",),
            registry=self.registry,
        )
        self._ends = Counter(
            "chamberlain_manager_ends",
            "User endpoints that ended.",
            ("clean",),
            registry=self.registry,
        )
        self._start_s = Histogram(
            "chamberlain_manager_start_seconds",
            "Time from the first look at a command to the launcher's word that it runs.",
            buckets=_START_S,
            registry=self.registry,
        )
        self._render_s = Histogram(
            "chamberlain_manager_render_seconds",
            "Time to render and check one configuration.",
            buckets=_RENDER_S,
            registry=self.registry,
        )

    def started(self, took_s: float | None) -> None:
        """Count a start; `took_s` is None when its beginning was not seen."""
        self._starts.inc()
        if took_s is not None:
            self._start_s.observe(took_s)

    def refused(self, code: str) -> None:
        """Count a start that came to nothing."""
        self._refusals.labels(code if code in _CODES else "other").inc()

    def ended(self, *, clean: bool) -> None:
        """Count an end."""
        self._ends.labels("yes" if clean else "no").inc()

    def rendered(self, took_s: float) -> None:
        """Note how long a render took, whatever came of it."""
        self._render_s.observe(took_s)

    def watch(self, look: Callable[[], Seen]) -> None:
        """Tell, at each scrape, what `look` finds; it is asked every five seconds at most."""
        self.registry.register(_Live(look))

    def listen(self, address: str) -> Callable[[], None]:
        """Serve the metrics at `HOST:PORT` without a login; return what ends it.

        Raises:
            OSError: nobody can listen there.
        """
        host, _, port = address.rpartition(":")
        server, thread = start_http_server(int(port), host.strip("[]"), self.registry)

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end


class _Live(Collector):
    def __init__(self, look: Callable[[], Seen]) -> None:
        self._look = look
        self._looked_at = -_LOOK_EVERY_S
        self._seen: Seen | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = time.monotonic()
        if self._seen is None or now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at, self._seen = now, self._look()
        seen = self._seen
        states = GaugeMetricFamily(
            "chamberlain_manager_user_endpoints", "User endpoints, by state.", labels=["state"]
        )
        tally = Tally(seen.states)
        for state in State:
            states.add_metric([state.value], tally[state])
        yield states
        yield _gauge("launcher_up", "1: the launcher answers.", seen.mapping_in_force is not None)
        yield _gauge(
            "mapping_in_force",
            "1: the newest mapping file is in force; 0: it could not be read, or nobody knows.",
            bool(seen.mapping_in_force),
        )
        yield _gauge("hub_registered", "1: the hub accepted the registration.", seen.registered)
        yield _gauge("broker_connected", "1: the broker is there.", seen.broker_connected)

    def describe(self) -> list[GaugeMetricFamily]:
        return []


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"chamberlain_manager_{name}", told, value=value)
