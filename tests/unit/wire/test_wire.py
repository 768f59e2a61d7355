"""Ids, states, codec, topology and logs keep their promises."""

from __future__ import annotations

import io
import json
import logging
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chamberlain_wire import topology
from chamberlain_wire.codec import decode, decode_command, encode, encode_command
from chamberlain_wire.errors import InvalidIdError, InvalidMessageError
from chamberlain_wire.ids import EndpointId, IdentityId, TaskGroupId, new_id, parse_task_id
from chamberlain_wire.limits import MAX_COMMAND_BYTES, MAX_MESSAGE_BYTES
from chamberlain_wire.logs import JsonFormatter, Secret
from chamberlain_wire.messages import (
    EndpointEvent,
    ErrorDetails,
    QueueCredentials,
    QueueInfo,
    Result,
    StartCommand,
    StartKwargs,
    StatusReport,
    Task,
    TaskTransition,
)
from chamberlain_wire.states import ENDED, TaskState, moves_to


def test_an_id_in_any_spelling_is_canonical() -> None:
    one = new_id()
    assert parse_task_id("{" + one.upper().replace("-", "") + "}") == one


@pytest.mark.parametrize("text", ["", "x", "1234", None, 7, "g" * 32])
def test_what_is_no_id_is_refused_with_what_it_is(text: object) -> None:
    with pytest.raises(InvalidIdError) as caught:
        parse_task_id(text)  # type: ignore[arg-type]
    assert "task id" in caught.value.public


def test_a_task_only_moves_forward_and_ends_once() -> None:
    order = list(TaskState)
    for now in order:
        for seen in order:
            expected = now not in ENDED and order.index(seen) > order.index(now)
            assert moves_to(now, seen) is expected


MESSAGES = [
    Task(task_id=new_id(), task_buffer="4\nabcd"),
    Result(
        task_id=new_id(),
        data="boom",
        details={"os": "Linux"},
        error_details=ErrorDetails(code="RemoteExecutionError", user_message="boom"),
        task_statuses=[TaskTransition(timestamp=1, state="running", actor="interchange")],
    ),
    StatusReport(
        endpoint_id=new_id(),
        global_state={"heartbeat_period": 30},
        events=[EndpointEvent(kind="refused", user_endpoint=new_id(), message="no")],
    ),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.message_type)
def test_what_is_encoded_is_what_is_decoded(message: Task | Result | StatusReport) -> None:
    body = encode(message)
    assert body[:1] == b"\x01"
    assert b"\n" not in body
    assert decode(body, type(message)) == message


def test_unknown_fields_are_ignored_and_the_alias_is_read() -> None:
    body = b'\x01{"message_type":"ep_status_report","data":{"endpoint_id":"x","new":1,'
    body += b'"ep_status_report":{"heartbeat_period":5},"task_statuses":{}},"more":2}'
    assert decode(body, StatusReport).seen == {"heartbeat_period": 5}


def test_what_python_calls_json_is_read_too() -> None:
    half = Result(task_id=new_id(), data="half a pair: \ud800")
    assert decode(encode(half), Result) == half
    nan = b'\x01{"message_type":"result","data":{"task_id":"x","data":"","usage":{"cpu_s":NaN}}}'
    assert str(decode(nan, Result).usage) == "{'cpu_s': nan}"


@given(st.binary(max_size=200))
def test_noise_is_an_invalid_message(body: bytes) -> None:
    with pytest.raises(InvalidMessageError):
        decode(body, Task)
    with pytest.raises(InvalidMessageError):
        decode_command(body)


def test_another_kind_another_version_and_too_much_are_refused() -> None:
    task = encode(MESSAGES[0])
    for body in (task.replace(b'"task"', b'"result"', 1), b"\x02" + task[1:]):
        with pytest.raises(InvalidMessageError):
            decode(body, Task)
    with pytest.raises(InvalidMessageError, match="limit"):
        decode(b"\x01" + b" " * MAX_MESSAGE_BYTES, Task)
    with pytest.raises(InvalidMessageError, match="limit"):
        decode_command(b" " * (MAX_COMMAND_BYTES + 1))


def test_nesting_without_end_is_an_invalid_message_not_a_crash() -> None:
    deep = b"[" * 200_000
    with pytest.raises(InvalidMessageError):
        decode_command(b'{"command":"x","kwargs":' + deep)


def a_command() -> StartCommand:
    info = QueueInfo(connection_url="amqp://user:pw@host/", exchange="tasks", queue="q")
    creds = QueueCredentials(
        endpoint_id=new_id(),
        task_queue_info=info,
        result_queue_info=info,
        heartbeat_queue_info=info,
    )
    kwargs = StartKwargs(name="uep.a.b", user_opts={}, user_runtime=None, amqp_creds=creds)
    return StartCommand(command="cmd_start_endpoint", kwargs=kwargs, assertion="a.b")


def test_a_command_is_plain_json_and_comes_back() -> None:
    command = a_command()
    body = encode_command(command)
    assert json.loads(body)["kwargs"]["name"] == "uep.a.b"
    assert decode_command(body) == command


def test_a_command_does_not_show_its_credentials() -> None:
    assert "pw" not in repr(a_command())


@pytest.mark.parametrize("other", [new_id(), "*", "#", ""])
def test_a_grant_matches_its_own_names_only(other: str) -> None:
    mine = EndpointId(new_id())
    grant = topology.user_endpoint_grant(mine)
    assert re.search(grant.read, topology.task_queue(mine))
    assert not re.search(grant.read, topology.task_queue(EndpointId(other)))
    for exchange, key in grant.keys:
        assert re.search(grant.write, exchange)
        assert not re.search(key, f"{other}.{exchange}")
    manager = topology.manager_grant(mine)
    assert not re.search(manager.read, topology.task_queue(mine))
    assert not re.search(manager.write, topology.RESULTS)


def test_a_session_reads_its_own_results_only() -> None:
    mine, other = IdentityId(new_id()), IdentityId(new_id())
    grant = topology.session_grant(mine)
    group = TaskGroupId(new_id())
    assert re.search(grant.read, topology.group_queue(mine, group))
    assert not re.search(grant.read, topology.group_queue(other, group))
    assert not re.search(grant.read, "x" + topology.group_queue(mine, group))
    assert not re.search(grant.write, topology.RESULTS)


def test_the_sender_is_the_head_of_the_key() -> None:
    one = EndpointId(new_id())
    assert topology.sender_of(topology.results_key(one)) == one
    for key in ("", "results", "no-id.results"):
        with pytest.raises((InvalidMessageError, InvalidIdError)):
            topology.sender_of(key)


def test_a_log_line_is_one_json_object_with_known_fields() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("chamberlain_wire.test")
    logger.addHandler(handler)
    logger.info("it\nhappened", extra={"event": "task.ran", "task": "t", "password": "pw"})
    lines = stream.getvalue().splitlines()
    assert len(lines) == 1
    line = json.loads(lines[0])
    assert (line["event"], line["task"], line["level"]) == ("task.ran", "t", "INFO")
    assert "password" not in line


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret.reveal() == "hunter2"
    assert secret == Secret("hunter2")
