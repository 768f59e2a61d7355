"""Puts one user endpoint together, runs it, and takes it apart again."""

from __future__ import annotations

import fcntl
import logging
import math
import os
import queue
import signal
import threading
import time
from dataclasses import dataclass
from itertools import chain, repeat
from pathlib import Path
from typing import Final

from chamberlain_endpoint.engine.choose import make_engine, tasks_above
from chamberlain_endpoint.engine.port import Engine, Rules
from chamberlain_endpoint.rendered import settled
from chamberlain_endpoint.user import earlier_jobs, journal, task_time
from chamberlain_endpoint.user.claims import Claims
from chamberlain_endpoint.user.control import Control
from chamberlain_endpoint.user.heartbeat import Heartbeat
from chamberlain_endpoint.user.idle import Idle
from chamberlain_endpoint.user.lease import Lease
from chamberlain_endpoint.user.ledger import Ledger
from chamberlain_endpoint.user.loop import Exit, Inbox, Loop, Parts, Settings, Stop
from chamberlain_endpoint.user.order import Order, OrderInvalidError, read
from chamberlain_endpoint.user.results import Results
from chamberlain_endpoint.user.shell import Shell, ShellFailedError
from chamberlain_endpoint.user.work import Terms
from chamberlain_wire.allowed import AllowList
from chamberlain_wire.broker.port import Broker, BrokerError
from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.limits import EXIT_JOBS_LEFT
from chamberlain_wire.logs import Secret

log = logging.getLogger(__name__)

_ORDER_S: Final = 30.0
_CLOSE_S: Final = 1.0


class AlreadyRunningError(ChamberlainError):
    """Another process serves from this folder. End; two would run tasks twice."""

    code = ErrorCode.START_FAILED
    public = "This user endpoint is running already."


def serve(lease_fd: int, told_fd: int) -> tuple[int, ChamberlainError | None]:
    """Serve as the order on `lease_fd` says; return the exit code and what was fatal.

    Args:
        told_fd: where to tell the launcher of tasks, if it wants to know; ours from now on.
    """
    began = time.monotonic()
    try:
        lease = Lease(lease_fd)
        order = read(lease.first_line(timeout_s=_ORDER_S))
        with _Folder(Path(order.state_dir)) as folder:
            journal.open_log(_log_file(order, folder.path), debug=bool(order.config.get("debug")))
            claims = Claims(told_fd if order.tells_tasks else None)
            return _serve(order, lease, folder.path, claims, began)
    except ChamberlainError as error:
        log.error("cannot serve", extra={"event": "endpoint.failed", "reason": str(error)})
        refused = error.code is ErrorCode.CONFIG_INVALID or isinstance(error, ShellFailedError)
        return Exit.CONFIG_REFUSED if refused else Exit.FAILED, error


def _serve(
    order: Order, lease: Lease, folder: Path, claims: Claims, began: float
) -> tuple[int, ChamberlainError | None]:
    inbox: Inbox = queue.SimpleQueue()
    broker = _connect(order, inbox)
    ledger = Ledger(folder / "ledger.db")
    engine: Engine | None = None
    try:
        config = _settled(order.config)
        # Before anything is started: a bad limit is the site's fault, not each task's.
        task_time.of_site(config.engine.task_timeout_s)
        setup = Shell(folder)
        _watch(lease, order, inbox, setup)
        setup.run("endpoint_setup", config.endpoint_setup)
        ledger.open()
        earlier_jobs.remove(order.user_endpoint)
        engine = make_engine(config.engine, run_dir=folder / "engine", name=order.user_endpoint)
        engine.start(inbox.put)
        log.info(
            "user endpoint serves",
            extra={
                "event": "endpoint.serving",
                "user_endpoint": order.user_endpoint,
                "command": order.command,
                "took_ms": round((time.monotonic() - began) * 1000),
            },
        )
        loop = _loop(order, config, _Made(inbox, broker, engine, ledger, claims), folder)
        code = loop.run()
    finally:
        if engine is not None:
            engine.stop()
        broker.close(timeout_s=_CLOSE_S)
        ledger.close()
    Shell(folder).run("endpoint_teardown", config.endpoint_teardown)
    log.info("user endpoint left", extra={"event": "endpoint.left", "code": int(code)})
    if code is Exit.LEFT and earlier_jobs.are_left(order.user_endpoint):
        return EXIT_JOBS_LEFT, earlier_jobs.JobsLeftError()
    refused = code is Exit.BROKER_REFUSED
    return code, BrokerError(public="The broker refused the credential.") if refused else None


def _log_file(order: Order, folder: Path) -> Path:
    # Before the configuration is looked at: what is wrong with it must get into a log.
    paths = order.config.get("paths")
    given = paths.get("endpoint_log") if isinstance(paths, dict) else None
    return folder / (given if isinstance(given, str) else "endpoint.log")


def _settled(document: object) -> settled.UserEndpoint:
    """Return the configuration; one that the manager did not check is checked here.

    Raises:
        ConfigInvalidError: it has faults; `public` names them all.
    """
    try:
        return settled.read(document)
    except settled.NotSettledError:
        from chamberlain_endpoint.rendered import parse

        return settled.read(parse(document).model_dump(mode="json"))


@dataclass(frozen=True, slots=True)
class _Made:
    inbox: Inbox
    broker: Broker
    engine: Engine
    ledger: Ledger
    claims: Claims


def _loop(order: Order, config: settled.UserEndpoint, made: _Made, folder: Path) -> Loop:
    allowed = config.allowed_functions
    above = tasks_above(config.engine, state_dir=folder, name=order.user_endpoint)
    working_dir = above / config.engine.working_dir
    working_dir.mkdir(parents=True, exist_ok=True)
    # For threads, which cannot have a folder each.
    os.chdir(working_dir)
    rules = Rules(
        endpoint_id=order.user_endpoint,
        working_dir=str(working_dir),
        sandbox=config.engine.run_in_sandbox,
        allowed_serializers=config.engine.allowed_serializers,
        output_bytes=config.engine.task_output_bytes,
        timeout_s=task_time.of_site(config.engine.task_timeout_s),
    )
    info = order.credentials.control_queue_info
    control_queue = info.queue if info is not None else ""
    settings = Settings(
        task_queue=order.credentials.task_queue_info.queue,
        control_queue=control_queue,
        terms=Terms(
            rules=rules,
            retries=config.engine.max_retries_on_system_failure,
            allowed=None if allowed is None else AllowList(allowed),
        ),
        idle=Idle(soft=config.idle_heartbeats_soft, hard=config.idle_heartbeats_hard),
        heartbeat_period_s=config.heartbeat_period,
        grace_s=order.stop_grace_s,
    )
    parts = Parts(
        inbox=made.inbox,
        broker=made.broker,
        engine=made.engine,
        ledger=made.ledger,
        results=Results(made.broker, order.credentials.result_queue_info, made.inbox.put),
        control=Control(made.broker, control_queue),
        heartbeat=Heartbeat(
            order.user_endpoint,
            order.credentials.heartbeat_queue_info,
            period_s=config.heartbeat_period,
            identity={"id": order.identity.id, "username": order.identity.username},
            control=bool(control_queue),
        ),
        claims=made.claims,
    )
    return Loop(settings, parts)


def _connect(order: Order, inbox: Inbox) -> Broker:
    """Begin to connect; how it goes comes to the inbox."""
    from chamberlain_wire.broker.rabbit import RabbitBroker

    broker = RabbitBroker(
        Secret(order.credentials.task_queue_info.connection_url),
        name=f"uep.{order.user_endpoint}",
        on_link=inbox.put,
    )

    try:
        broker.open(timeout_s=0.0)
    except BrokerError as error:
        # Not yet, which is no news; or refused, which the inbox has been told.
        log.debug("no broker yet", extra={"event": "broker.waiting", "reason": str(error)})
    return broker


def _watch(lease: Lease, order: Order, inbox: Inbox, setup: Shell) -> None:
    def stop(reason: str, grace_s: float | None = None) -> None:
        inbox.put(Stop(reason, grace_s=grace_s))
        setup.interrupt()

    # Whoever asks twice gives its own time, and says when it is over.
    graces = chain((math.inf,), repeat(0.0)) if order.asks_twice else repeat(None)

    def asked(number: int, *_: object) -> None:
        told = (f"{signal.Signals(number).name} came", next(graces))
        # In a thread: the signal may have come while this one holds the setup's lock.
        threading.Thread(target=stop, args=told).start()

    lease.watch(order.lease_s, stop, order.lease_file)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked)


class _Folder:
    """Our own folder, held by a lock for as long as the process lives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1

    def __enter__(self) -> _Folder:
        if not self.path.is_absolute():
            raise OrderInvalidError("state_dir is not an absolute path")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._fd = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunningError from None
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
