"""What the store promises of tasks: stored once, forward only, ended once, never lost."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import msgspec
import pytest

from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.endpoint_life import UserEndpointEvent
from chamberlain_hub.domain.errors import TaskIdTakenError
from chamberlain_hub.domain.task import FinishedTask, NewTask, ReceivedResult
from chamberlain_hub.store.store import Store
from chamberlain_wire import codec
from chamberlain_wire.details import Usage
from chamberlain_wire.ids import (
    EndpointId,
    FunctionId,
    IdentityId,
    TaskGroupId,
    TaskId,
    new_id,
)
from chamberlain_wire.messages import ErrorDetails, Result
from chamberlain_wire.states import ENDED, TaskState, moves_to

AT = 1_000_000.0


@dataclass(frozen=True)
class Caller:
    """Somebody with a user endpoint and a task group."""

    owner: IdentityId = field(default_factory=lambda: IdentityId(new_id()))
    endpoint: EndpointId = field(default_factory=lambda: EndpointId(new_id()))
    user_endpoint: EndpointId = field(default_factory=lambda: EndpointId(new_id()))
    group: TaskGroupId = field(default_factory=lambda: TaskGroupId(new_id()))

    def make(self, count: int = 1, payload: str = "packed") -> list[NewTask]:
        return [
            NewTask(
                id=TaskId(new_id()),
                group=self.group,
                function=FunctionId(new_id()),
                payload=payload,
                resources='{"num_nodes": 2}',
                serializers=("a", "b"),
            )
            for _ in range(count)
        ]

    def add(self, store: Store, tasks: Sequence[NewTask], at: float = AT) -> frozenset[TaskId]:
        return store.add_tasks(self.owner, self.endpoint, self.user_endpoint, self.group, tasks, at)

    def submit(self, store: Store, count: int = 1, at: float = AT) -> list[TaskId]:
        tasks = self.make(count)
        self.add(store, tasks, at)
        return [task.id for task in tasks]

    def success(self, task: TaskId, data: str = "packed") -> ReceivedResult:
        result = Result(task_id=task, data=data, details={"os": "Linux"})
        return ReceivedResult(self.user_endpoint, result, codec.encode(result))


@pytest.fixture
def caller() -> Caller:
    return Caller()


# Submit


def test_a_task_is_stored_as_it_came(store: Store, caller: Caller) -> None:
    (new,) = caller.make()
    assert caller.add(store, [new]) == {new.id}
    (waiting,) = store.unpublished(10, now=AT + 1)
    assert (waiting.id, waiting.group, waiting.function) == (new.id, new.group, new.function)
    assert (waiting.payload, waiting.resources) == (new.payload, new.resources)
    assert waiting.serializers == new.serializers
    assert (waiting.owner, waiting.endpoint) == (caller.owner, caller.endpoint)
    assert waiting.user_endpoint == caller.user_endpoint
    assert (waiting.state, waiting.submitted_at) == (TaskState.RECEIVED, AT)
    assert (waiting.published_at, waiting.completed_at, waiting.result) == (None, None, None)
    seen = store.task(new.id)
    assert seen is not None
    assert seen.payload is None


def test_a_repeated_submit_stores_nothing_twice_and_keeps_the_first_payload(
    store: Store, caller: Caller
) -> None:
    (new,) = caller.make(payload="first")
    caller.add(store, [new])
    again = NewTask(new.id, new.group, new.function, "second")
    (fresh,) = caller.make()
    assert caller.add(store, [again, fresh], AT + 5) == {fresh.id}
    payloads = {task.id: task.payload for task in store.unpublished(10, now=AT + 10)}
    assert payloads == {new.id: "first", fresh.id: "packed"}


def test_an_id_of_another_identity_refuses_the_whole_submit(store: Store, caller: Caller) -> None:
    (taken,) = caller.make()
    caller.add(store, [taken])
    thief = Caller()
    fresh = thief.make(3)
    with pytest.raises(TaskIdTakenError):
        thief.add(store, [*fresh, taken])
    assert store.tasks([task.id for task in fresh]) == []
    found = store.task(taken.id)
    assert found is not None
    assert found.owner == caller.owner


def test_an_id_twice_in_one_submit_is_one_task(store: Store, caller: Caller) -> None:
    (new,) = caller.make()
    assert caller.add(store, [new, new]) == {new.id}
    assert store.group_tasks(caller.group) == [new.id]


def test_no_tasks_are_no_problem(store: Store, caller: Caller) -> None:
    assert caller.add(store, []) == frozenset()
    assert store.finish([], AT) == []
    store.mark_published([], AT)
    store.note_states(caller.user_endpoint, {})
    assert store.tasks([]) == []


def test_ids_that_two_hubs_store_at_once_are_stored_once(url: str, caller: Caller) -> None:
    stores = [Store.open(url) for _ in range(4)]
    tasks = caller.make(50)
    together = threading.Barrier(len(stores))

    def add(store: Store) -> int:
        together.wait(timeout=10)
        return len(caller.add(store, tasks))

    with ThreadPoolExecutor(len(stores)) as pool:
        assert sum(pool.map(add, stores)) == len(tasks)
    for store in stores:
        store.close()


# The way to the broker


def test_what_the_broker_did_not_confirm_is_found_again_oldest_first(
    store: Store, caller: Caller
) -> None:
    (late,) = caller.submit(store, at=AT + 2)
    (early,) = caller.submit(store, at=AT)
    (just_now,) = caller.submit(store, at=AT + 9.5)
    found = [task.id for task in store.unpublished(10, now=AT + 10)]
    assert found == [early, late]
    assert [task.id for task in store.unpublished(1, now=AT + 10)] == [early]
    store.mark_published([early, late], AT + 10)
    assert store.unpublished(10, now=AT + 10) == []
    assert [task.id for task in store.unpublished(10, now=AT + 20)] == [just_now]


def test_publishing_moves_a_task_once(store: Store, caller: Caller) -> None:
    (task,) = caller.submit(store)
    store.note_states(caller.user_endpoint, {task: TaskState.RUNNING})
    store.mark_published([task], AT + 1)
    store.mark_published([task], AT + 2)
    found = store.task(task)
    assert found is not None
    assert (found.state, found.published_at) == (TaskState.RUNNING, AT + 1)
    (other,) = caller.submit(store)
    store.mark_published([other, new_id()], AT + 1)
    moved = store.task(other)
    assert moved is not None
    assert moved.state is TaskState.WAITING_FOR_ENDPOINT


def test_an_ended_task_is_not_published(store: Store, caller: Caller) -> None:
    (task,) = caller.submit(store)
    store.finish([caller.success(task)], AT)
    assert store.unpublished(10, now=AT + 60) == []


# States


def test_a_reported_state_moves_a_task_forward_only_and_never_ends_it(
    store: Store, caller: Caller
) -> None:
    pairs = [(now, seen) for now in TaskState if now not in ENDED for seen in TaskState]
    tasks = dict(zip(caller.submit(store, len(pairs)), pairs, strict=True))
    store.note_states(caller.user_endpoint, {task: now for task, (now, _) in tasks.items()})
    store.note_states(caller.user_endpoint, {task: seen for task, (_, seen) in tasks.items()})
    for found in store.tasks(tasks):
        now, seen = tasks[found.id]
        forward = moves_to(now, seen) and seen not in ENDED
        assert found.state is (seen if forward else now), (now, seen)


def test_nobody_reports_on_anothers_task(store: Store, caller: Caller) -> None:
    (task,) = caller.submit(store)
    store.note_states(new_id(), {task: TaskState.RUNNING})
    found = store.task(task)
    assert found is not None
    assert found.state is TaskState.RECEIVED


# The end


def test_a_result_ends_a_task_and_is_forwarded_as_it_came(store: Store, caller: Caller) -> None:
    (task,) = caller.submit(store)
    received = caller.success(task, "42")
    assert store.finish([received], AT + 7) == [
        FinishedTask(
            task,
            caller.group,
            caller.owner,
            True,
            received.body,
            caller.user_endpoint,
            TaskState.SUCCESS,
        )
    ]
    found = store.task(task)
    assert found is not None
    assert (found.state, found.completed_at) == (TaskState.SUCCESS, AT + 7)
    assert found.result == received.result
    assert found.payload is None


@pytest.mark.parametrize(
    ("code", "state"),
    [("TASK_CANCELLED", TaskState.CANCELLED), ("RemoteExecutionError", TaskState.FAILED)],
)
def test_a_failure_ends_a_task_too(
    store: Store, caller: Caller, code: str, state: TaskState
) -> None:
    (task,) = caller.submit(store)
    error = ErrorDetails(code=code, user_message="it broke")
    result = Result(task_id=task, data="Traceback", error_details=error)
    store.finish([ReceivedResult(caller.user_endpoint, result, codec.encode(result))], AT)
    found = store.task(task)
    assert found is not None
    assert (found.state, found.result) == (state, result)


def test_a_task_ends_once_and_a_repeat_forwards_the_first_result(
    store: Store, caller: Caller
) -> None:
    (task,) = caller.submit(store)
    first, second = caller.success(task, "first"), caller.success(task, "second")
    store.finish([first], AT + 1)
    (repeat,) = store.finish([second], AT + 2)
    assert (repeat.first, repeat.body) == (False, first.body)
    found = store.task(task)
    assert found is not None
    assert (found.result, found.completed_at) == (first.result, AT + 1)


def test_a_repeat_in_the_same_batch_is_a_repeat(store: Store, caller: Caller) -> None:
    (task,) = caller.submit(store)
    first, second = caller.success(task, "first"), caller.success(task, "second")
    finished = store.finish([first, second], AT)
    assert [(entry.first, entry.body) for entry in finished] == [
        (True, first.body),
        (False, first.body),
    ]


def test_a_result_from_another_user_endpoint_changes_nothing(store: Store, caller: Caller) -> None:
    (task,) = caller.submit(store)
    thief = Caller()
    assert store.finish([thief.success(task), caller.success(TaskId(new_id()))], AT) == []
    assert store.open_tasks(caller.user_endpoint) == [task]


def test_a_batch_is_answered_in_its_order(store: Store, caller: Caller) -> None:
    tasks = caller.submit(store, 100)
    backwards = [caller.success(task) for task in reversed(tasks)]
    finished = store.finish(backwards, AT)
    assert [entry.task_id for entry in finished] == tasks[::-1]
    assert all(entry.first for entry in finished)
    assert store.open_tasks(caller.user_endpoint) == []


def test_results_that_two_hubs_get_at_once_end_each_task_once(url: str, caller: Caller) -> None:
    stores = [Store.open(url) for _ in range(3)]
    tasks = caller.submit(stores[0], 60)
    together = threading.Barrier(len(stores))

    def finish(place: int) -> int:
        mine = [caller.success(task, str(place)) for task in tasks[place:] + tasks[:place]]
        together.wait(timeout=10)
        finished = stores[place].finish(mine, AT)
        return sum(entry.first for entry in finished)

    with ThreadPoolExecutor(len(stores)) as pool:
        assert sum(pool.map(finish, range(len(stores)))) == len(tasks)
    for store in stores:
        store.close()


def test_a_finished_task_ends_the_row_of_failures(store: Store, caller: Caller) -> None:
    store.ensure_user_endpoint(UserEndpoint(caller.user_endpoint, caller.endpoint, caller.owner))
    command = new_id()
    store.note_asked(caller.user_endpoint, command, AT)
    store.move_user_endpoint(
        caller.user_endpoint, UserEndpointEvent.CRASHED, command=command, at=AT
    )
    (task,) = caller.submit(store)
    store.finish([caller.success(task)], AT)
    found = store.user_endpoint(caller.user_endpoint)
    assert found is not None
    assert found.failures == 0


# Looking up


def test_own_tasks_are_listed_newest_first_and_by_state(store: Store, caller: Caller) -> None:
    (old,) = caller.submit(store, at=AT)
    (new,) = caller.submit(store, at=AT + 1)
    Caller().submit(store)
    store.finish([caller.success(old)], AT + 2)
    listed = store.tasks_of(caller.owner, 10)
    assert [task.id for task in listed] == [new, old]
    assert [task.result for task in listed] == [None, None]
    assert [task.id for task in store.tasks_of(caller.owner, 1)] == [new]
    assert [task.id for task in store.tasks_of(caller.owner, 9, TaskState.SUCCESS)] == [old]


def test_a_group_lists_its_tasks_in_order_of_submit(store: Store, caller: Caller) -> None:
    (second,) = caller.submit(store, at=AT + 1)
    (first,) = caller.submit(store, at=AT)
    assert store.group_tasks(caller.group) == [first, second]
    assert store.group_tasks(new_id()) == []


def test_more_ids_than_fit_into_one_statement_are_no_problem(store: Store, caller: Caller) -> None:
    tasks = caller.submit(store, 1201)
    store.mark_published(tasks, AT)
    assert len(store.tasks(tasks)) == 1201
    assert len(store.finish([caller.success(task) for task in tasks], AT)) == 1201
    assert store.open_tasks(caller.user_endpoint) == []


def test_open_work_is_found_by_index(sqlite_store: Store) -> None:
    questions = {
        "ix_tasks_open": "SELECT id FROM tasks WHERE user_endpoint = 'x' AND completed_at IS NULL",
        "ix_tasks_unpublished": "SELECT id FROM tasks WHERE published_at IS NULL AND "
        "completed_at IS NULL AND submitted_at <= 1 ORDER BY submitted_at",
        "ix_tasks_owner_submitted_at": "SELECT id FROM tasks WHERE owner = 'x' "
        "ORDER BY submitted_at DESC",
        "uq_tokens_sha256|sqlite_autoindex_tokens": "SELECT id FROM tokens WHERE sha256 = 'x'",
    }
    for index, question in questions.items():
        with sqlite_store._database.read() as connection:
            plan = str(connection.exec_driver_sql("EXPLAIN QUERY PLAN " + question).all())
        assert any(name in plan for name in index.split("|")), plan


def test_a_submit_of_128_costs_far_less_than_128_submits(
    sqlite_store: Store, caller: Caller
) -> None:
    one_s, many_s = [], []
    for _ in range(9):
        for count, taken_s in ((1, one_s), (128, many_s)):
            tasks = caller.make(count)
            results = [caller.success(task.id) for task in tasks]
            began = time.perf_counter()
            caller.add(sqlite_store, tasks)
            sqlite_store.finish(results, AT)
            taken_s.append(time.perf_counter() - began)
    # About 5 times as much on an idle machine; one transaction a task would be 128 times.
    assert statistics.median(many_s) < 40 * statistics.median(one_s), (one_s, many_s)


def test_what_a_task_used_is_listed_without_its_result(store: Store, caller: Caller) -> None:
    used, silent = caller.submit(store, 2)
    usage = Usage(started_at=1.0, ended_at=2.5, cpu_s=0.5, hostname="n", job_id="7")
    result = Result(task_id=used, data="packed", details={"usage": usage})
    # As it is read from the broker.
    result = codec.decode(codec.encode(result), Result)
    store.finish(
        [ReceivedResult(caller.user_endpoint, result, b"body"), caller.success(silent)], AT
    )
    listed = {task.id: task.usage for task in store.tasks_of(caller.owner, 10)}
    assert listed == {used: msgspec.to_builtins(usage), silent: None}
