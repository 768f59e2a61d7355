"""A hub on a free port: real HTTP, real SQL; the broker is the fake or RabbitMQ."""

from __future__ import annotations

import contextlib
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.integration.hub.players import WAIT_S, Caller, Manager, Sdk, eventually

from chamberlain_hub.api.app import make_app, serve_metrics
from chamberlain_hub.api.refusals import Refusals
from chamberlain_hub.api.services import Services
from chamberlain_hub.audit.log import AuditLog
from chamberlain_hub.config import HubSettings
from chamberlain_hub.dispatch.broker_users import BrokerUsers, MemoryUsers
from chamberlain_hub.dispatch.credentials import BrokerAddress
from chamberlain_hub.dispatch.dispatcher import Dispatcher, DispatchSettings
from chamberlain_hub.dispatch.rabbit_users import RabbitUsers
from chamberlain_hub.dispatch.submissions import Submissions
from chamberlain_hub.domain.endpoint_life import is_online
from chamberlain_hub.domain.task import NewTask
from chamberlain_hub.identity.keys import public_keys_b64
from chamberlain_hub.metrics import HubMetrics
from chamberlain_hub.store.schema import user_endpoints
from chamberlain_hub.store.store import Store
from chamberlain_wire.broker.memory import MemoryBroker, MemoryServer
from chamberlain_wire.broker.port import Broker, OnLink, TopologyBroker
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.ids import IdentityId, TaskId, new_id
from chamberlain_wire.logs import Secret
from devtools.postgres import PrivatePostgres
from devtools.rabbit import PrivateRabbit


@dataclass
class BrokerSide:
    """One kind of broker, as the hub and as others reach it."""

    kind: str
    make: Callable[[OnLink], TopologyBroker]
    users: Callable[[], BrokerUsers]
    connect: Callable[[str], Broker]
    address: BrokerAddress


@pytest.fixture
def memory_side() -> BrokerSide:
    server, users = MemoryServer(), MemoryUsers()

    def connect(_url: str) -> Broker:
        broker = MemoryBroker(server)
        broker.open()
        return broker

    return BrokerSide(
        "memory",
        lambda on_link: MemoryBroker(server, on_link=on_link),
        lambda: users,
        connect,
        BrokerAddress("broker.test", 5672, "/", False),
    )


@pytest.fixture
def rabbit_side(rabbit: PrivateRabbit) -> BrokerSide:
    def connect(url: str) -> Broker:
        broker = RabbitBroker(Secret(url), name="player")
        broker.open()
        return broker

    return BrokerSide(
        "rabbit",
        lambda on_link: RabbitBroker(Secret(rabbit.amqp_url), name="hub", on_link=on_link),
        lambda: RabbitUsers(Secret(rabbit.management_url), vhost="/"),
        connect,
        BrokerAddress("127.0.0.1", rabbit.ports.amqp, "/", False),
    )


@dataclass
class World:
    """A hub and those who deal with it. `start` and `stop` are the hub's process."""

    side: BrokerSide
    database_url: str
    folder: Path
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    settings: dict[str, Any] = field(default_factory=dict)
    closing: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    port: int = 0

    def start(self) -> None:
        settings = HubSettings(data_dir=self.folder, **({"metrics_listen": ""} | self.settings))
        self.store = Store.open(self.database_url)
        metrics = HubMetrics()
        self.audit = AuditLog.of(settings, metrics.audit_failed)
        self.audit.start()
        self.dispatcher = Dispatcher(
            self.store,
            self.side.make,
            self.side.users(),
            self.key,
            DispatchSettings(
                address=self.side.address, sweep_period_s=0.2, audit=self.audit, metrics=metrics
            ),
        )
        self.services = services = Services(
            store=self.store,
            dispatcher=self.dispatcher,
            submissions=Submissions(self.store, self.dispatcher, self.audit),
            settings=settings,
            assertion_keys=tuple(public_keys_b64(self.key)),
            pool=ThreadPoolExecutor(8),
            audit=self.audit,
            refusals=Refusals(self.audit),
        )
        self._end_metrics = serve_metrics(services)
        listener = socket.socket()
        # A hub that is started again is where it was: its callers know no other place.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        config = uvicorn.Config(
            make_app(services),
            log_config=None,
            loop="uvloop",
            http="httptools",
            ws="none",
            proxy_headers=False,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],))
        self._thread.start()
        eventually(lambda: self._server.started)
        eventually(lambda: self.dispatcher.link_up)

    def restart(self, **settings: Any) -> None:
        """Start again with other settings."""
        self.stop()
        self.settings = settings
        self.start()

    def forget_starts(self) -> None:
        """Make all starts that were asked look as if that had been long ago."""
        store = Store.open(self.database_url)
        with store._database.write() as connection:
            connection.execute(sa.update(user_endpoints).values(asked_at=1.0))
        store.close()

    def store_task_unpublished(self, like: dict[str, Any], owner: str) -> str:
        """Store a task as a hub would that dies before it publishes."""
        task_id = new_id()
        task = NewTask(TaskId(task_id), like["task_group_id"], like["function_id"], "payload")
        where = (like["endpoint_id"], like["user_endpoint_id"], like["task_group_id"])
        self.store.add_tasks(IdentityId(owner), *where, [task], time.time() - 10)
        return task_id

    def online(self, manager: Manager) -> bool:
        endpoint = self.store.endpoint(manager.endpoint)
        return endpoint is not None and is_online(endpoint, time.time())

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        self._end_metrics()
        self.store.close()
        self.audit.stop()

    def caller(self, username: str) -> Caller:
        identity = self.store.find_identity(username) or self.store.add_identity(username)
        _, token = self.store.create_token(identity.id, "test", time.time() + 600)
        return self._closed(Caller(self.base_url, token, identity.id))

    def nobody(self, token: str | None = None) -> Caller:
        return self._closed(Caller(self.base_url, token))

    def manager(self, owner: Caller, **body: Any) -> Manager:
        registration = {"endpoint_name": "site", "multi_user": True, **body}
        answer = owner.post("/v3/endpoints", registration).ok()
        manager = self._closed(Manager.registered(answer, self.side.connect))
        manager.beat()
        eventually(lambda: self.online(manager))
        return manager

    def sdk(self, caller: Caller) -> Sdk:
        return self._closed(Sdk(caller, self.side.connect))

    def _closed(self, thing: Any) -> Any:
        self.closing.callback(thing.close)
        return thing


def _migrate(url: str) -> None:
    store = Store.open(url)
    store.migrate()
    store.close()


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    file = tmp_path_factory.mktemp("migrated") / "hub.db"
    _migrate(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite(migrated: Path, tmp_path: Path) -> str:
    """The URL of a migrated, empty SQLite database."""
    shutil.copy(migrated, tmp_path / "hub.db")
    return f"sqlite:///{tmp_path / 'hub.db'}"


def _world(side: BrokerSide, url: str, folder: Path) -> Iterator[World]:
    world = World(side, url, folder)
    world.start()
    yield world
    world.closing.close()
    world.stop()


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.needs_rabbit)])
def world(request: pytest.FixtureRequest, sqlite: str, tmp_path: Path) -> Iterator[World]:
    """A hub on SQLite; on the fake broker, and on RabbitMQ."""
    side = request.getfixturevalue(f"{request.param}_side")
    yield from _world(side, sqlite, tmp_path)


@pytest.fixture
def memory_world(memory_side: BrokerSide, sqlite: str, tmp_path: Path) -> Iterator[World]:
    """A hub on SQLite and the fake broker, for what has nothing to do with the broker."""
    yield from _world(memory_side, sqlite, tmp_path)


@pytest.fixture
def rabbit_world(rabbit_side: BrokerSide, sqlite: str, tmp_path: Path) -> Iterator[World]:
    """A hub on SQLite and RabbitMQ."""
    yield from _world(rabbit_side, sqlite, tmp_path)


@pytest.fixture
def postgres_world(
    rabbit_side: BrokerSide, postgres: PrivatePostgres, tmp_path: Path
) -> Iterator[World]:
    """A hub on PostgreSQL and RabbitMQ."""
    url = postgres.new_database()
    _migrate(url)
    yield from _world(rabbit_side, url, tmp_path)
