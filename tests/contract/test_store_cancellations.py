"""What the store promises of cancelled tasks: one end, decided once, and nothing forgotten."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.contract.test_store_tasks import AT, Caller

from chamberlain_hub.store.store import Store
from chamberlain_wire import codec
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import ErrorDetails, Result
from chamberlain_wire.states import CancelOutcome, TaskState


@pytest.fixture
def caller() -> Caller:
    return Caller()


def body(task_id: TaskId) -> bytes:
    error = ErrorDetails(code="TASK_CANCELLED", user_message="cancelled")
    return codec.encode(Result(task_id=task_id, data="cancelled", error_details=error))


def state(store: Store, task_id: str) -> TaskState:
    task = store.task(task_id)
    assert task is not None
    return task.state


def test_a_cancelled_task_has_ended_and_no_result_changes_it(store: Store, caller: Caller) -> None:
    (task_id,) = caller.submit(store)
    (task,) = store.cancel([task_id], {caller.owner}, body, AT).values()
    assert task.body == body(task_id)
    (again,) = store.finish([caller.success(task_id)], AT + 1)
    assert not again.first
    assert again.body == body(task_id)
    assert state(store, task_id) is TaskState.CANCELLED
    assert store.unpublished(10, now=AT + 10) == []
    assert store.open_with_payloads([task_id]) == []


def test_an_end_before_the_cancel_stays(store: Store, caller: Caller) -> None:
    (task_id,) = caller.submit(store)
    store.finish([caller.success(task_id)], AT)
    (task,) = store.cancel([task_id], {caller.owner}, body, AT).values()
    assert (task.state, task.body) == (TaskState.SUCCESS, None)
    assert store.cancellations([task_id]) == {}


def test_only_owners_are_answered(store: Store, caller: Caller) -> None:
    (task_id,) = caller.submit(store)
    assert store.cancel([task_id, new_id()], {new_id()}, body, AT) == {}
    assert state(store, task_id) is TaskState.RECEIVED


def test_what_is_to_be_told_is_remembered_until_it_was(store: Store, caller: Caller) -> None:
    first, second = caller.submit(store, 2)
    store.cancel([first, second], {caller.owner}, body, AT)
    assert store.untold_cancels(before=AT) == []
    assert {one.id for one in store.untold_cancels(before=AT + 1)} == {first, second}
    store.note_cancels_told([first], AT)
    assert [one.body for one in store.untold_cancels(before=AT + 1)] == [body(second)]
    unsent = store.unsent_cancels(before=AT + 1)
    assert {one: set(ids) for one, ids in unsent.items()} == {caller.user_endpoint: {first, second}}
    store.note_cancels_sent([second], AT)
    assert store.unsent_cancels(before=AT + 1) == {caller.user_endpoint: [first]}
    assert set(store.open_cancels(caller.user_endpoint)) == {first, second}
    outcomes = {first: CancelOutcome.KILLED, TaskId(new_id()): CancelOutcome.LATE}
    assert store.close_cancels(outcomes, AT + 2) == [first]
    assert store.close_cancels({first: CancelOutcome.LATE}, AT + 3) == []
    assert store.open_cancels(caller.user_endpoint) == [second]
    known = store.cancellations([first, second])
    assert (known[first].closed_at, known[first].outcome) == (AT + 2, CancelOutcome.KILLED)
    assert (known[second].closed_at, known[second].outcome) == (None, None)


def test_of_cancel_and_result_at_the_same_time_one_comes_first(
    store: Store, caller: Caller
) -> None:
    ids = caller.submit(store, 40)
    with ThreadPoolExecutor(2) as pool:
        for task_id in ids:
            finished = pool.submit(store.finish, [caller.success(task_id)], AT)
            cancelled = pool.submit(store.cancel, [task_id], {caller.owner}, body, AT)
            won = finished.result()[0].first
            told = cancelled.result()[task_id]
            assert won is (told.body is None)
            ended = TaskState.SUCCESS if won else TaskState.CANCELLED
            assert state(store, task_id) is ended
            assert told.state is ended
