"""Broker users that nobody uses are revoked; those in use, or not old enough, are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from chamberlain_hub.dispatch.broker_users import MemoryUsers
from chamberlain_hub.dispatch.credentials import BrokerAddress, Credentials
from chamberlain_hub.dispatch.ports import Ports
from chamberlain_hub.dispatch.queues import Queues
from chamberlain_hub.dispatch.unused_users import START_UNUSED_S, UnusedUsers
from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.store.store import Store
from chamberlain_wire.broker.memory import MemoryBroker, MemoryServer
from chamberlain_wire.ids import EndpointId, IdentityId, new_id

IDLE_S = 600.0


@dataclass
class Scene:
    store: Store
    users: MemoryUsers = field(default_factory=MemoryUsers)
    now: float = 1000.0

    def __post_init__(self) -> None:
        broker = MemoryBroker(MemoryServer())
        queues = Queues(broker, result_queue_expires_s=60)
        address = BrokerAddress("broker.test", 5672, "/", False)
        clock = lambda: self.now  # noqa: E731 - it reads what tests change
        self.credentials = Credentials(self.store, self.users, address, clock=clock)
        ports = Ports(self.store, broker, queues, clock)
        self.unused = UnusedUsers(ports, self.users, self.credentials, session_idle_s=IDLE_S)

    def pass_by(self, seconds: float) -> None:
        self.unused.revoke()
        self.now += seconds
        self.unused.revoke()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    store = Store.open(f"sqlite:///{tmp_path / 'hub.db'}")
    store.migrate()
    yield Scene(store)
    store.close()


def test_a_session_without_a_connection_ends_after_a_while(scene: Scene) -> None:
    scene.credentials.for_session(IdentityId(new_id()))
    scene.pass_by(IDLE_S - 1)
    assert len(scene.users.users) == 1
    scene.pass_by(1)
    assert scene.users.users == {}
    assert scene.store.credentials_all("sdk") == []


def test_a_session_that_is_connected_stays(scene: Scene) -> None:
    scene.credentials.for_session(IdentityId(new_id()))
    scene.users.online.update(scene.users.users)
    scene.pass_by(10 * IDLE_S)
    assert len(scene.users.users) == 1


def test_a_session_that_comes_back_begins_anew(scene: Scene) -> None:
    scene.credentials.for_session(IdentityId(new_id()))
    scene.pass_by(IDLE_S - 1)
    scene.users.online.update(scene.users.users)
    scene.pass_by(1)
    scene.users.online.clear()
    scene.pass_by(IDLE_S - 1)
    assert len(scene.users.users) == 1


def test_a_start_whose_process_is_gone_ends_and_one_that_lives_stays(scene: Scene) -> None:
    gone, alive = EndpointId(new_id()), EndpointId(new_id())
    for one in (gone, alive):
        scene.store.ensure_user_endpoint(
            UserEndpoint(id=one, endpoint=EndpointId(new_id()), identity=IdentityId(new_id()))
        )
        scene.credentials.for_user_endpoint(one, command=new_id(), generation=1)
    scene.unused.revoke()
    scene.now += START_UNUSED_S
    scene.store.note_heartbeat(alive, scene.now, 30.0, {})
    scene.unused.revoke()
    assert list(scene.users.users) == [f"uep.{alive}.1"]


def test_what_could_not_be_revoked_is_revoked_later(scene: Scene) -> None:
    scene.credentials.for_session(IdentityId(new_id()))
    (entry,) = scene.store.credentials_all("sdk")
    user_endpoint = EndpointId(new_id())
    scene.credentials.for_user_endpoint(user_endpoint, command=new_id(), generation=1)
    scene.users.up = False
    scene.credentials.end_user_endpoint(user_endpoint, up_to=1)
    assert len(scene.store.credentials_all("uep")) == 1
    scene.users.up = True
    scene.pass_by(START_UNUSED_S)
    assert scene.users.users == {}
    assert entry.user.startswith("sdk.")
