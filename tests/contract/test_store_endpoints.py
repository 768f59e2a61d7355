"""What the store promises of endpoints and user endpoints."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from chamberlain_hub.domain.endpoint import Endpoint, UserEndpoint
from chamberlain_hub.domain.endpoint_life import UserEndpointEvent
from chamberlain_hub.domain.errors import EndpointNotFoundError, ForbiddenError
from chamberlain_hub.domain.task import NewTask, ReceivedResult
from chamberlain_hub.store.store import Store
from chamberlain_wire import codec
from chamberlain_wire.ids import (
    EndpointId,
    FunctionId,
    IdentityId,
    TaskGroupId,
    TaskId,
    new_id,
)
from chamberlain_wire.messages import Result
from chamberlain_wire.states import UserEndpointState

AT = 1_000_000.0
State = UserEndpointState
Event = UserEndpointEvent


def _endpoint(**fields: object) -> Endpoint:
    return Endpoint(
        **{  # type: ignore[arg-type]
            "id": EndpointId(new_id()),
            "owner": IdentityId(new_id()),
            "name": "cluster",
            **fields,
        }
    )


@pytest.fixture
def uep(store: Store) -> UserEndpoint:
    return store.ensure_user_endpoint(
        UserEndpoint(
            id=EndpointId(new_id()),
            endpoint=EndpointId(new_id()),
            identity=IdentityId(new_id()),
            options={"queue": "short"},
            runtime={"python_version": "3.12.1"},
            created_at=AT,
        )
    )


def _see(store: Store, uep: UserEndpoint, event: Event, **fields: str) -> UserEndpoint:
    return store.move_user_endpoint(uep.id, event, at=AT + 1, **fields)  # type: ignore[arg-type]


# Endpoints


def test_an_endpoint_comes_back_as_it_was_registered(store: Store) -> None:
    endpoint = _endpoint(
        display_name="Cluster",
        public=True,
        metadata={"hostname": "login1", "config": "ä\n"},
        schema={"type": "object"},
        template="engine: {}",
        allowed_functions=(FunctionId(new_id()),),
        authentication_policy="policy",
        subscription="s",
        high_assurance=True,
        admins=(IdentityId(new_id()),),
        created_at=AT,
    )
    assert store.put_endpoint(endpoint) == endpoint
    assert store.endpoint(endpoint.id) == endpoint
    assert store.endpoint(new_id()) is None


def test_registering_again_updates_what_is_registered_and_keeps_what_was_seen(
    store: Store,
) -> None:
    endpoint = _endpoint(created_at=AT)
    store.put_endpoint(endpoint)
    store.note_endpoint_heartbeat(endpoint.id, AT + 5, 15.0, {"heartbeat_period": 15})
    store.lock_endpoint(endpoint.id, AT + 60)
    again = store.put_endpoint(replace(endpoint, display_name="New", created_at=AT + 9))
    assert again.display_name == "New"
    assert (again.last_heartbeat_at, again.heartbeat_period_s) == (AT + 5, 15.0)
    assert (again.locked_until, again.created_at) == (AT + 60, AT)


def test_nobody_registers_over_anothers_endpoint(store: Store) -> None:
    endpoint = _endpoint()
    store.put_endpoint(endpoint)
    with pytest.raises(ForbiddenError) as caught:
        store.put_endpoint(replace(endpoint, owner=IdentityId(new_id()), name="mine"))
    assert endpoint.id in caught.value.public
    assert store.endpoint(endpoint.id) == endpoint


def test_lists_show_own_managed_and_public_endpoints(store: Store) -> None:
    me, other = IdentityId(new_id()), IdentityId(new_id())
    mine = _endpoint(owner=me, name="a")
    managed = _endpoint(owner=other, name="b", admins=(IdentityId(new_id()), me))
    public = _endpoint(owner=other, name="c", public=True)
    hidden = _endpoint(owner=other, name="d", admins=(IdentityId(new_id()),))
    for endpoint in (hidden, public, managed, mine):
        store.put_endpoint(endpoint)
    assert [entry.name for entry in store.endpoints_visible([me])] == ["a", "b", "c"]
    assert [entry.name for entry in store.endpoints_of([me])] == ["a"]
    assert [entry.name for entry in store.endpoints_of([other, me])] == ["a", "b", "c", "d"]
    assert store.endpoints_of([]) == []
    assert [entry.name for entry in store.endpoints_visible([])] == ["c"]


def test_a_late_heartbeat_does_not_turn_the_clock_back(store: Store) -> None:
    endpoint = _endpoint()
    store.put_endpoint(endpoint)
    store.note_endpoint_heartbeat(endpoint.id, AT + 5, 0.0, {"heartbeat_period": 0})
    store.note_endpoint_heartbeat(endpoint.id, AT + 4, 30.0, {"heartbeat_period": 30})
    store.note_endpoint_heartbeat(new_id(), AT, 30.0, {})
    found = store.endpoint(endpoint.id)
    assert found is not None
    assert (found.last_heartbeat_at, found.heartbeat_period_s) == (AT + 5, 0.0)


def test_a_deleted_endpoint_takes_its_user_endpoints_along(store: Store) -> None:
    endpoint = _endpoint()
    store.put_endpoint(endpoint)
    uep = UserEndpoint(EndpointId(new_id()), endpoint.id, endpoint.owner)
    store.ensure_user_endpoint(uep)
    store.delete_endpoint(endpoint.id)
    assert store.endpoint(endpoint.id) is None
    assert store.user_endpoint(uep.id) is None
    with pytest.raises(EndpointNotFoundError):
        store.delete_endpoint(endpoint.id)
    with pytest.raises(EndpointNotFoundError):
        store.lock_endpoint(endpoint.id, AT)


# User endpoints


def test_a_user_endpoint_is_made_once_and_comes_back_as_it_is(
    store: Store, uep: UserEndpoint
) -> None:
    assert store.user_endpoint(uep.id) == uep
    assert store.ensure_user_endpoint(replace(uep, options=None, created_at=0.0)) == uep
    assert store.user_endpoints_of(uep.endpoint) == [uep]
    assert uep.state is State.GONE


def test_a_user_endpoint_that_many_ensure_at_once_is_made_once(store: Store) -> None:
    wanted = UserEndpoint(EndpointId(new_id()), EndpointId(new_id()), IdentityId(new_id()))
    together = threading.Barrier(4)

    def ensure(number: int) -> float:
        together.wait(timeout=10)
        return store.ensure_user_endpoint(replace(wanted, created_at=float(number))).created_at

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(ensure, range(4)))) == 1


def test_each_asked_start_is_a_new_generation(store: Store, uep: UserEndpoint) -> None:
    first, second = new_id(), new_id()
    assert store.note_asked(uep.id, first, AT) == 1
    assert store.note_asked(uep.id, second, AT + 5) == 2
    found = store.user_endpoint(uep.id)
    assert found is not None
    assert (found.state, found.command, found.asked_at) == (State.ASKED, second, AT + 5)
    with pytest.raises(EndpointNotFoundError):
        store.note_asked(new_id(), first, AT)


def test_a_start_goes_its_way(store: Store, uep: UserEndpoint) -> None:
    command = new_id()
    store.note_asked(uep.id, command, AT)
    assert _see(store, uep, Event.ADMITTED, command=command).state is State.ADMITTED
    assert _see(store, uep, Event.STARTED, command=command).state is State.ADMITTED
    serving = store.note_heartbeat(uep.id, AT + 2, 10.0, {"total_workers": 2})
    assert (serving.state, serving.moved_at) == (State.SERVING, AT + 2)
    assert (serving.heartbeat_period_s, serving.last_state) == (10.0, {"total_workers": 2})
    later = store.note_heartbeat(uep.id, AT + 12, 10.0, {})
    assert (later.moved_at, later.last_heartbeat_at) == (AT + 2, AT + 12)
    leaving = store.note_heartbeat(uep.id, AT + 13, 0.0, {})
    assert (leaving.state, leaving.heartbeat_period_s) == (State.STOPPING, 10.0)
    gone = _see(store, uep, Event.ENDED, command=command)
    assert (gone.state, gone.failures) == (State.GONE, 0)
    assert store.user_endpoint(uep.id) == gone


def test_a_refusal_keeps_its_reason_until_the_next_start(store: Store, uep: UserEndpoint) -> None:
    command = new_id()
    store.note_asked(uep.id, command, AT)
    refused = _see(
        store, uep, Event.REFUSED, command=command, code="ACCOUNT_REFUSED", message="No."
    )
    assert (refused.state, refused.error_code) == (State.REFUSED, "ACCOUNT_REFUSED")
    assert refused.error_message == "No."
    store.note_asked(uep.id, new_id(), AT)
    found = store.user_endpoint(uep.id)
    assert found is not None
    assert (found.error_code, found.error_message) == ("", "")


def test_a_report_about_an_earlier_start_changes_nothing(store: Store, uep: UserEndpoint) -> None:
    old, new = new_id(), new_id()
    store.note_asked(uep.id, old, AT)
    store.note_asked(uep.id, new, AT)
    for event in (Event.REFUSED, Event.FAILED, Event.ENDED, Event.CRASHED, Event.ADMITTED):
        seen = _see(store, uep, event, command=old, code="X", message="x")
        assert (seen.state, seen.failures, seen.error_code) == (State.ASKED, 0, "")


def test_a_repeated_report_counts_once(store: Store, uep: UserEndpoint) -> None:
    command = new_id()
    store.note_asked(uep.id, command, AT)
    for _ in range(3):
        seen = _see(store, uep, Event.FAILED, command=command, code="START_FAILED", message="x")
    assert (seen.state, seen.failures) == (State.FAILED, 1)


def test_unclean_ends_are_counted(store: Store, uep: UserEndpoint) -> None:
    for expected in (1, 2, 3):
        command = new_id()
        store.note_asked(uep.id, command, AT)
        store.note_heartbeat(uep.id, AT, 10.0, {})
        assert _see(store, uep, Event.CRASHED, command=command).failures == expected


def test_reports_about_nobody_are_an_error(store: Store) -> None:
    with pytest.raises(EndpointNotFoundError):
        store.move_user_endpoint(new_id(), Event.ENDED, at=AT)
    with pytest.raises(EndpointNotFoundError):
        store.note_heartbeat(new_id(), AT, 10.0, {})


def test_who_still_has_work_is_known(store: Store, uep: UserEndpoint) -> None:
    idle = UserEndpoint(EndpointId(new_id()), uep.endpoint, uep.identity)
    store.ensure_user_endpoint(idle)
    group = TaskGroupId(new_id())
    task = NewTask(TaskId(new_id()), group, FunctionId(new_id()), "x")
    store.add_tasks(uep.identity, uep.endpoint, uep.id, group, [task], AT)
    assert store.with_open_tasks() == [uep]
    result = Result(task_id=task.id, data="packed")
    store.finish([ReceivedResult(uep.id, result, codec.encode(result))], AT)
    assert store.with_open_tasks() == []
