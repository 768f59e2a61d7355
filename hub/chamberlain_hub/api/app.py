"""The application, and the process that serves it."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final

import uvicorn
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.types import ASGIApp

from chamberlain_hub.api import (
    endpoints,
    errors,
    functions,
    meta,
    oauth,
    sessions,
    submit,
    submit_body,
    submit_v2,
    task_logs,
    tasks,
)
from chamberlain_hub.api.body import BodyLimit
from chamberlain_hub.api.refusals import Refusals
from chamberlain_hub.api.services import Services, source
from chamberlain_hub.api.shortcut import Shortcut
from chamberlain_hub.audit.log import AuditLog
from chamberlain_hub.audit.port import Audit
from chamberlain_hub.config import HubSettings
from chamberlain_hub.dispatch.credentials import BrokerAddress
from chamberlain_hub.dispatch.dispatcher import Dispatcher, DispatchSettings
from chamberlain_hub.dispatch.rabbit_users import RabbitUsers
from chamberlain_hub.dispatch.retention import Terms
from chamberlain_hub.dispatch.submissions import Submissions
from chamberlain_hub.identity.keys import load_signing_keys, public_keys_b64
from chamberlain_hub.metrics import HubMetrics, Metered
from chamberlain_hub.store.data_dir import prepare_data_dir
from chamberlain_hub.store.store import Store
from chamberlain_wire.broker.port import BrokerError, OnLink, TopologyBroker
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.errors import ChamberlainError, ErrorCode

log = logging.getLogger(__name__)

_KEEP_ALIVE_S: Final = 75
_GOODBYE_S: Final = 10
_POOL_THREADS: Final = 8


class BrokerRefusedError(BrokerError):
    """The broker does not accept the hub's own user. Correct `broker_url` and start again."""

    public = "The message broker refuses the hub's own user: check broker_url."


def make_app(services: Services) -> ASGIApp:
    """Return the application over `services`; serving it starts and stops the dispatcher."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(services.dispatcher.start)
        log.info("hub serves", extra={"event": "hub.started"})
        yield
        await asyncio.to_thread(services.dispatcher.stop)
        services.pool.shutdown()
        log.info("hub ended", extra={"event": "hub.ended"})

    app = FastAPI(
        title="Chamberlain hub",
        version=meta.API_VERSION,
        summary="Run functions at endpoints. The routes are those of the public clients.",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
    )
    app.state.services = services

    def note(request: Request, status: int, error: ChamberlainError) -> None:
        came_from = source(services, request)
        services.refusals.note(
            request, came_from, status=status, code=error.code, reason=error.public
        )

    errors.install(app, note)
    parts = (meta, oauth, functions, endpoints, submit, submit_v2, tasks, task_logs, sessions)
    for part in parts:
        app.include_router(part.router)
    _document(app)
    limited = BodyLimit(Shortcut(app, services), limit_bytes=services.settings.max_submit_bytes)
    return Metered(limited, services.metrics)


def make_services(
    settings: HubSettings,
    store: Store,
    audit: Audit,
    metrics: HubMetrics,
    *,
    on_refused: Callable[[], None] = lambda: None,
) -> Services:
    """Return one hub process's services: RabbitMQ as `settings` say, and `store`."""
    keys = load_signing_keys(settings.data_dir)

    def connect(on_link: OnLink) -> TopologyBroker:
        return RabbitBroker(settings.broker_url, name="chamberlain-hub", on_link=on_link)

    dispatcher = Dispatcher(
        store,
        connect,
        RabbitUsers(settings.broker_management_url, vhost=settings.vhost),
        keys[0],
        DispatchSettings(
            address=BrokerAddress(
                settings.broker_public_host,
                settings.broker_public_port,
                settings.vhost,
                settings.broker_public_tls,
            ),
            start_timeout_s=settings.start_timeout_s,
            sweep_period_s=settings.sweep_period_s,
            session_idle_s=settings.session_idle_s,
            result_queue_expires_s=settings.result_queue_expires_s,
            quorum_queues=settings.quorum_queues,
            keep=Terms(settings.task_idle_s, settings.result_keep_s, settings.user_endpoint_keep_s),
            audit=audit,
            metrics=metrics,
        ),
        on_refused=on_refused,
    )
    return Services(
        store=store,
        dispatcher=dispatcher,
        submissions=Submissions(store, dispatcher, audit),
        settings=settings,
        assertion_keys=tuple(public_keys_b64(*keys)),
        pool=ThreadPoolExecutor(_POOL_THREADS, thread_name_prefix="submit"),
        audit=audit,
        refusals=Refusals(audit),
    )


def serve(settings: HubSettings) -> bool:
    """Serve until SIGTERM or SIGINT; then take no more, finish what is in hand, and return.

    The database must be migrated.

    Returns:
        Whether it was SIGHUP instead: begin afresh, with the settings as they are then.

    Raises:
        BrokerRefusedError: the broker does not accept the hub's own user.
        SigningKeyError: the signing key cannot be used.
        MetricsListenError: nobody can listen where the settings want the metrics.
        AuditError: the audit log cannot be opened, and the settings say to refuse then.
    """
    prepare_data_dir(settings.data_dir)
    metrics = HubMetrics()
    audit = AuditLog.of(settings, metrics.audit_failed)
    audit.start()
    store = Store.open(settings.database_url.reveal())
    stack = ExitStack()
    server: list[uvicorn.Server] = []
    refused, again = threading.Event(), threading.Event()

    def end(*_: object) -> None:
        again.clear()
        for one in server:
            one.should_exit = True

    def reload(*_: object) -> None:
        end()
        again.set()

    def on_refused() -> None:
        refused.set()
        end()

    try:
        services = make_services(settings, store, audit, metrics, on_refused=on_refused)
        stack.callback(serve_metrics(services))
        server.append(_server(services))
        # The server takes these over while it runs, and sends itself the signal again at its
        # end, which would then kill us before the store is closed.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        signal.signal(signal.SIGHUP, reload)
        server[0].run()
    except SystemExit:
        # The server's way to say that it could not start.
        if not refused.is_set():
            raise
    finally:
        stack.close()
        store.close()
        audit.stop()
    if refused.is_set():
        raise BrokerRefusedError
    return again.is_set()


class MetricsListenError(ChamberlainError):
    """Nobody can listen where the settings want the metrics. Change `metrics_listen`."""

    code = ErrorCode.CONFIG_INVALID


def serve_metrics(services: Services) -> Callable[[], None]:
    """Serve the metrics where the settings say; return what ends it."""
    settings, metrics = services.settings, services.metrics
    store, dispatcher = services.store, services.dispatcher
    store.watch_time(metrics.database)
    metrics.watch(lambda: store.counts(time.time()), lambda: dispatcher.link_up)
    if not settings.metrics_listen:
        return lambda: None
    try:
        return metrics.listen(settings.metrics_listen)
    except OSError as error:
        where = f"metrics_listen: {settings.metrics_listen}: {error.strerror or error}"
        if "metrics_listen" in settings.model_fields_set:
            raise MetricsListenError(public=f"{where}.") from error
        # Nobody asked for it there: perhaps a second hub on this host.
        log.warning("no metrics", extra={"event": "metrics.failed", "reason": where})
        return lambda: None


def _server(services: Services) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            make_app(services),
            host=services.settings.listen_host,
            port=services.settings.listen_port,
            loop="uvloop",
            http="httptools",
            ws="none",
            log_config=None,
            access_log=False,
            # We look at X-Forwarded-For ourselves, and believe `trusted_proxies` only.
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=_GOODBYE_S,
        )
    )


def _document(app: FastAPI) -> None:
    """Add what FastAPI cannot see to OpenAPI: the body of the hot route, and the token."""
    components = submit_body.schema()

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            parts = document.setdefault("components", {})
            parts.setdefault("schemas", {}).update(components)
            parts["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
            document["security"] = [{"token": []}]
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
