"""What a user endpoint tells the launcher of its tasks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import pytest
from tests.unit.endpoint.user.conftest import Endpoint

from chamberlain_endpoint.user.claims import Claims
from chamberlain_wire import claims, topology
from chamberlain_wire.allowed import AllowList
from chamberlain_wire.claims import Claim, What
from chamberlain_wire.codec import encode
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import ErrorDetails, Result
from chamberlain_wire.serialize.buffers import join

CODE = "01\nthe packed function"
BUFFER = join([CODE, "11\nthe payload"])
DIGEST = hashlib.sha256(join([CODE]).encode()).hexdigest()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    heard, told = os.pipe()
    yield heard, told
    os.close(heard)


def told_by(heard: int) -> list[Claim]:
    data = os.read(heard, 64 * 1024)
    size = claims.RECORD_BYTES
    assert len(data) % size == 0
    return [claims.unpack(data[at : at + size]) for at in range(0, len(data), size)]


def test_a_task_that_runs_is_told_of_three_times(endpoint: Endpoint, pipe: tuple[int, int]) -> None:
    heard, told = pipe
    endpoint.start(told=told)
    function = new_id()
    task_id = endpoint.submit(buffer=BUFFER, **{topology.HEADER_FUNCTION: function})
    endpoint.engine.await_submitted(1)
    endpoint.engine.finish([task_id], "00\nfine")
    endpoint.result()
    endpoint.stop()
    assert told_by(heard) == [
        Claim(what, task_id, function, DIGEST) for what in (What.RECEIVED, What.STARTED, What.ENDED)
    ]


def test_a_function_that_is_not_allowed_is_refused(
    endpoint: Endpoint, pipe: tuple[int, int]
) -> None:
    heard, told = pipe
    endpoint.start(told=told, allowed=AllowList([new_id()]))
    function = new_id()
    task_id = endpoint.submit(buffer=BUFFER, **{topology.HEADER_FUNCTION: function})
    endpoint.result()
    endpoint.stop()
    assert told_by(heard) == [
        Claim(what, task_id, function, DIGEST) for what in (What.RECEIVED, What.REFUSED)
    ]


def test_a_task_whose_worker_went_away_failed(endpoint: Endpoint, pipe: tuple[int, int]) -> None:
    heard, told = pipe
    endpoint.start(told=told)
    task_id = endpoint.submit(**{topology.HEADER_FUNCTION: "no id"})
    endpoint.engine.await_submitted(1)
    endpoint.engine.lose(task_id, "It went away.")
    endpoint.result()
    endpoint.stop()
    assert told_by(heard) == [
        Claim(what, task_id) for what in (What.RECEIVED, What.STARTED, What.FAILED)
    ]


def test_where_nobody_wants_to_know_nothing_is_kept() -> None:
    quiet = Claims(None)
    quiet.received(TaskId(new_id()), new_id(), BUFFER)
    quiet.flush()
    assert quiet.due_at == float("inf")


def test_a_full_pipe_holds_nobody_up_and_nothing_is_lost(pipe: tuple[int, int]) -> None:
    heard, told = pipe
    out = Claims(told)
    ids = [TaskId(new_id()) for _ in range(2_000)]
    for task_id in ids:
        out.received(task_id, "", BUFFER)
    found = bytearray()
    out.flush()
    while out.due_at != float("inf"):
        found += os.read(heard, 1_000)
        out.flush()
    os.set_blocking(heard, False)
    while len(found) < len(ids) * claims.RECORD_BYTES:
        found += os.read(heard, 64 * 1024)
    size = claims.RECORD_BYTES
    told_ids = [
        claims.unpack(bytes(found[at : at + size])).task for at in range(0, len(found), size)
    ]
    assert told_ids == ids
    out.close()


def test_what_was_left_out_is_counted(pipe: tuple[int, int]) -> None:
    heard, told = pipe
    out = Claims(told)
    for _ in range(50_003):
        out.started(TaskId("00000000-0000-4000-8000-00000000000a"))
    # Room for one more, which then says how many had none.
    out.flush()
    out.started(TaskId("00000000-0000-4000-8000-00000000000b"))
    assert claims.unpack(bytes(out._waiting[-claims.RECORD_BYTES :])).missed == 3
    os.set_blocking(heard, False)
    assert os.read(heard, claims.RECORD_BYTES)
    out.close()


def test_more_than_agreed_is_never_sent(pipe: tuple[int, int]) -> None:
    heard, told = pipe
    out = Claims(told)
    for _ in range(claims.BURST + 10_000):
        out.started(TaskId(new_id()))
    allowance = claims.Allowance(0.0, claims.BURST, now_s=0.0)
    for _ in range(400):
        out.flush()
        os.set_blocking(heard, False)
        try:
            allowance.take(len(os.read(heard, 64 * 1024)) // claims.RECORD_BYTES)
        except BlockingIOError:
            break
    assert allowance.left(now_s=0.0) >= 0
    out.close()


def test_a_launcher_that_hangs_up_is_told_nothing_more() -> None:
    heard, told = os.pipe()
    os.close(heard)
    out = Claims(told)
    out.started(TaskId(new_id()))
    out.flush()
    out.started(TaskId(new_id()))
    out.flush()
    assert out.due_at == float("inf")


def test_a_result_tells_how_its_task_ended_and_in_which_job(
    endpoint: Endpoint, pipe: tuple[int, int]
) -> None:
    from chamberlain_endpoint.user.results import told_by

    task_id = TaskId(new_id())
    failed = ErrorDetails(code=ErrorCode.REMOTE_EXECUTION, user_message="no")
    used = {"usage": {"job_id": "4242.pbs", "hostname": "node1"}}
    good = Result(task_id=task_id, data="fine", details=used)
    bad = Result(task_id=task_id, data="no", error_details=failed, details=used)
    assert told_by(encode(good)) == (What.ENDED, "4242.pbs")
    assert told_by(encode(bad)) == (What.FAILED, "4242.pbs")
    assert told_by(encode(Result(task_id=task_id, data="fine"))) == (What.ENDED, "")
    assert told_by(b"rubbish") == (What.FAILED, "")


def test_a_job_that_a_worker_made_up_still_fits_its_place(pipe: tuple[int, int]) -> None:
    heard, told = pipe
    out = Claims(told)
    task_id = TaskId(new_id())
    out.ended(task_id, What.ENDED, "12; rm -rf / \n" + "x" * 100)
    out.flush()
    claim = claims.unpack(os.read(heard, claims.RECORD_BYTES))
    assert claim.job == "12__rm_-rf____" + "x" * 18
