"""What Prometheus may know of a hub. The only door to its client library.

Every label has few values, whatever people do: never an identity, a task, an account or an
address. `docs/reference/metrics.md` describes each metric; a test holds the page to this module.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_FAST_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_LOOK_EVERY_S: Final = 5.0
_METHODS: Final = frozenset({"GET", "POST", "PUT", "DELETE"})


class Counts(NamedTuple):
    """What the store knows of the hub's work at one moment."""

    open_tasks: int
    unpublished_tasks: int
    endpoints: int
    user_endpoints: int


class HubMetrics:
    """The metrics of one hub process, in a registry of their own. Thread-safe."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "chamberlain_hub_requests",
            "Requests answered, by method, route and status.",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self._submit_s = Histogram(
            "chamberlain_hub_submit_seconds",
            "Time from a submit to its answer, the endpoint's verdict included.",
            buckets=_FAST_S,
            registry=self.registry,
        )
        self._tasks = Counter(
            "chamberlain_hub_task_moves",
            "Tasks that came into a state.",
            ("state",),
            registry=self.registry,
        )
        self._database_s = Histogram(
            "chamberlain_hub_database_seconds",
            "Time of a transaction, waiting for its turn included.",
            ("kind",),
            buckets=_FAST_S,
            registry=self.registry,
        )
        self._audit_failures = Counter(
            "chamberlain_hub_audit_failures",
            "Writes to the audit log that failed.",
            registry=self.registry,
        )
        reads, writes = (self._database_s.labels(kind) for kind in ("read", "write"))
        self._database = {"read": reads, "write": writes}

    def request(self, method: str, route: str, status: int) -> None:
        """Count an answer."""
        self._requests.labels(method if method in _METHODS else "other", route, status).inc()

    def submitted(self, took_s: float) -> None:
        """Note how long a submit took."""
        self._submit_s.observe(took_s)

    def moved(self, state: str, count: int = 1) -> None:
        """Count tasks that came into `state`, a word of `TaskState`."""
        self._tasks.labels(state).inc(count)

    def database(self, kind: str, took_s: float) -> None:
        """Note how long a transaction took; `kind` is `read` or `write`."""
        self._database[kind].observe(took_s)

    def audit_failed(self) -> None:
        """Count a write to the audit log that failed."""
        self._audit_failures.inc()

    def watch(self, look: Callable[[], Counts], broker_connected: Callable[[], bool]) -> None:
        """Tell, at each scrape, what `look` finds; it is asked every five seconds at most."""
        self.registry.register(_Live(look, broker_connected))

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
    def __init__(self, look: Callable[[], Counts], broker_connected: Callable[[], bool]) -> None:
        self._look = look
        self._broker_connected = broker_connected
        self._looked_at = -_LOOK_EVERY_S
        self._counts: Counts | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = time.monotonic()
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            try:
                self._counts = self._look()
            except Exception:  # noqa: BLE001 - whatever it is, the database is not well
                self._counts = None
        counts = self._counts
        yield _gauge("broker_connected", "1: the broker is there.", self._broker_connected())
        yield _gauge("database_up", "1: the database answered.", counts is not None)
        if counts is not None:
            yield _gauge("open_tasks", "Tasks without an end.", counts.open_tasks)
            yield _gauge(
                "unpublished_tasks",
                "Open tasks that the broker did not confirm: the depth of the outbox.",
                counts.unpublished_tasks,
            )
            yield _gauge("endpoints_online", "Endpoints heard of lately.", counts.endpoints)
            yield _gauge("user_endpoints_live", "User endpoints that serve.", counts.user_endpoints)

    def describe(self) -> list[GaugeMetricFamily]:
        return []


def _gauge(name: str, told: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"chamberlain_hub_{name}", told, value=value)


class Metered:
    """ASGI middleware: counts answers by route, never by path."""

    def __init__(self, app: ASGIApp, metrics: HubMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and look at its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, counted)
        finally:
            route = getattr(scope.get("route"), "path", None) or scope.get(ROUTE, "none")
            self._metrics.request(scope["method"], route, status)
            if route == SUBMIT_ROUTE:
                self._metrics.submitted(time.perf_counter() - began)


ROUTE: Final = "chamberlain.route"
SUBMIT_ROUTE: Final = "/v3/endpoints/{endpoint_id}/submit"
"""The key of a scope under which the shortcut tells its route, and that route."""
