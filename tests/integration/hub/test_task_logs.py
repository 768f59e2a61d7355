"""What tasks print and use: told by the worker, kept by the hub, shown to their owner."""

from __future__ import annotations

from typing import Any

import pytest
from tests.integration.hub.conftest import World
from tests.integration.hub.players import WAIT_S, Caller, Sdk, UserEndpoint, only_task, served

from chamberlain_wire import codec
from chamberlain_wire.details import Output, Stream, Usage, output_of, usage_of
from chamberlain_wire.ids import new_id
from chamberlain_wire.limits import MAX_TASK_OUTPUT_BYTES
from chamberlain_wire.messages import ErrorDetails, Result

OUTPUT = Output(stdout=Stream(text="an ä\n", cut_bytes=7), stderr=Stream(text="an error\n"))
USED = Usage(
    started_at=1000.0,
    ended_at=1002.5,
    cpu_s=1.25,
    max_rss_bytes=123_456_789,
    hostname="node5",
    job_id="42",
)


@pytest.fixture
def alice(world: World) -> Caller:
    return world.caller("alice@example.edu")


@pytest.fixture
def served_alice(world: World, alice: Caller) -> tuple[UserEndpoint, str, str]:
    """A user endpoint of alice, the endpoint's id, a function of hers."""
    manager = world.manager(world.caller("admin@example.edu"))
    child, function = served(alice, manager)
    return child, manager.endpoint, function


def end(child: UserEndpoint, task_id: str, details: dict[str, Any] | None, **more: Any) -> bytes:
    body = codec.encode(Result(task_id=task_id, data="done", details=details, **more))
    child.publish(child._results, body)
    return body


def test_its_owner_gets_what_a_task_printed_and_used(
    world: World, alice: Caller, served_alice: tuple[UserEndpoint, str, str]
) -> None:
    child, endpoint, function = served_alice
    answer = alice.submit(endpoint, function)
    task_id = only_task(answer, function)
    sdk = Sdk(alice, world.side.connect)
    results = sdk.results(answer.ok()["task_group_id"])
    end(child, task_id, {"hostname": "node5", "output": OUTPUT, "usage": USED})
    document = alice.ended(task_id)
    assert document["usage"]["job_id"] == "42"
    # Not the printed text, nor anything else twice: it is polled for hundreds at once.
    assert document["details"] == {"hostname": "node5"}
    assert alice.get(f"/v3/tasks/{task_id}/logs").ok() == {
        "task_id": task_id,
        "state": "success",
        "captured": True,
        "reason": "",
        "stdout": {"text": "an ä\n", "cut_bytes": 7},
        "stderr": {"text": "an error\n", "cut_bytes": 0},
    }
    listed = {one["task_id"]: one["usage"] for one in alice.get("/v3/tasks").ok()["tasks"]}
    assert listed[task_id]["cpu_s"] == 1.25
    assert listed[task_id]["max_rss_bytes"] == 123_456_789
    assert None in listed.values()  # the one that was served first said nothing
    # An SDK gets both with the result, without another question.
    forwarded = codec.decode(results.get(timeout=WAIT_S).body, Result)
    assert (output_of(forwarded), usage_of(forwarded)) == (OUTPUT, USED)
    sdk.close()


@pytest.mark.parametrize(
    ("details", "told"),
    [
        (None, "No worker told"),
        ({"output": {"captured": False}}, "task_output_bytes: 0"),
        ({"output": "rubbish", "usage": [1], "exception": 7}, "No worker told"),
        ({"output": {"stdout": {"cut_bytes": "many"}}, "usage": {"cpu_s": "x"}}, "No worker told"),
        ({"usage": {"hostname": "x" * 1000}}, "No worker told"),
    ],
)
def test_where_nothing_was_captured_the_reason_is_said(
    alice: Caller,
    served_alice: tuple[UserEndpoint, str, str],
    details: dict[str, Any] | None,
    told: str,
) -> None:
    child, endpoint, function = served_alice
    task_id = only_task(alice.submit(endpoint, function), function)
    open_yet = alice.get(f"/v3/tasks/{task_id}/logs").ok()
    assert (open_yet["captured"], "has not ended" in open_yet["reason"]) == (False, True)
    why = ErrorDetails(code="TASK_LOST", user_message="lost")
    end(child, task_id, details, error_details=why)
    document = alice.ended(task_id)
    assert {"packed_exception", "usage"}.isdisjoint(document)
    found = alice.get(f"/v3/tasks/{task_id}/logs").ok()
    assert (found["captured"], told in found["reason"]) == (False, True), found
    assert found["stdout"] == {"text": "", "cut_bytes": 0}
    assert alice.get("/v3/tasks?limit=1").ok()["tasks"][0]["usage"] is None


def test_more_than_any_site_may_keep_is_not_shown(
    alice: Caller, served_alice: tuple[UserEndpoint, str, str]
) -> None:
    """A worker runs the user's code, so what it tells is bounded here, too."""
    child, endpoint, function = served_alice
    task_id = only_task(alice.submit(endpoint, function), function)
    end(child, task_id, {"output": {"stdout": {"text": "x" * 3 * MAX_TASK_OUTPUT_BYTES}}})
    alice.ended(task_id)
    shown = alice.get(f"/v3/tasks/{task_id}/logs").ok()["stdout"]
    assert len(shown["text"]) == MAX_TASK_OUTPUT_BYTES
    assert shown["cut_bytes"] == 2 * MAX_TASK_OUTPUT_BYTES


def test_an_unknown_task_has_no_logs(alice: Caller) -> None:
    assert alice.get(f"/v3/tasks/{new_id()}/logs").status == 404
