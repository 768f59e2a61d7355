"""The promises of `broker_users.BrokerUsers`, kept by the fake and by RabbitMQ."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from chamberlain_hub.dispatch.broker_users import (
    BrokerAdminUnreachableError,
    BrokerUsers,
    MemoryUsers,
)
from chamberlain_hub.dispatch.rabbit_users import RabbitUsers
from chamberlain_wire.broker.port import AccessRefusedError
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.ids import EndpointId, new_id
from chamberlain_wire.logs import Secret
from chamberlain_wire.topology import manager_grant, user_endpoint_grant
from devtools.rabbit import PrivateRabbit, free_ports

GRANT = user_endpoint_grant(EndpointId(new_id()))


@pytest.fixture(params=["memory", pytest.param("rabbit", marks=pytest.mark.needs_rabbit)])
def users(request: pytest.FixtureRequest) -> Iterator[BrokerUsers]:
    one: BrokerUsers
    if request.param == "memory":
        one = MemoryUsers()
    else:
        node: PrivateRabbit = request.getfixturevalue("rabbit")
        one = RabbitUsers(Secret(node.management_url), vhost="/")
    yield one
    one.close()


def test_a_grant_may_be_repeated_and_replaced(users: BrokerUsers) -> None:
    users.prepare()
    users.grant("someone", Secret("one"), GRANT)
    users.grant("someone", Secret("two"), manager_grant(EndpointId(new_id())))
    users.revoke("someone")


def test_revoking_nobody_does_nothing(users: BrokerUsers) -> None:
    users.revoke(f"nobody-{new_id()}")


def test_who_has_no_connection_is_not_connected(users: BrokerUsers) -> None:
    users.grant("idle", Secret("x"), GRANT)
    assert "idle" not in users.connected()
    users.revoke("idle")


@pytest.mark.needs_rabbit
@pytest.mark.slow
def test_who_has_a_connection_is_connected(rabbit: PrivateRabbit) -> None:
    users = RabbitUsers(Secret(rabbit.management_url), vhost="/")
    users.grant("busy", Secret("secret"), GRANT)
    broker = RabbitBroker(
        Secret(f"amqp://busy:secret@127.0.0.1:{rabbit.ports.amqp}/%2F"), name="busy"
    )
    broker.open()
    pause, deadline = threading.Event(), time.monotonic() + 20
    # RabbitMQ collects its statistics every five seconds.
    while "busy" not in users.connected() and time.monotonic() < deadline:
        pause.wait(0.1)
    assert "busy" in users.connected()
    broker.close()
    users.revoke("busy")
    users.close()


@pytest.mark.needs_rabbit
def test_a_virtual_host_is_made_and_the_hub_let_in(rabbit: PrivateRabbit) -> None:
    users = RabbitUsers(Secret(rabbit.management_url), vhost="site/one")
    for _ in range(2):
        users.prepare()
    url = rabbit.amqp_url.replace("/%2F", "/site%2Fone")
    broker = RabbitBroker(Secret(url), name="hub")
    broker.open()
    broker.declare_queue("there")
    broker.close()
    users.close()


@pytest.mark.needs_rabbit
def test_another_password_is_refused(rabbit: PrivateRabbit) -> None:
    users = RabbitUsers(Secret(rabbit.management_url), vhost="/")
    users.grant("careful", Secret("right"), GRANT)
    broker = RabbitBroker(
        Secret(f"amqp://careful:wrong@127.0.0.1:{rabbit.ports.amqp}/%2F"), name="careful"
    )
    with pytest.raises(AccessRefusedError):
        broker.open()
    users.revoke("careful")
    users.close()


def test_an_administration_that_is_away_says_so() -> None:
    users = RabbitUsers(Secret(f"http://a:b@127.0.0.1:{free_ports(1)[0]}"), vhost="/")
    with pytest.raises(BrokerAdminUnreachableError):
        users.connected()
    memory = MemoryUsers()
    memory.up = False
    with pytest.raises(BrokerAdminUnreachableError):
        memory.connected()
