from __future__ import annotations

import pickle

import pytest

from chamberlain.errors import SerializationError, TaskExecutionFailed
from chamberlain.futures import ChamberlainFuture
from chamberlain.outcomes import from_rest, settle, value_of
from chamberlain_wire.ids import new_id
from chamberlain_wire.messages import ErrorDetails, Result
from chamberlain_wire.serialize import DEFAULT, pack_exception, pack_result

TASK = new_id()
FAILED = ErrorDetails(code="RemoteExecutionError", user_message="it failed")


def failed(error: BaseException | None = None, **more: object) -> Result:
    return Result(
        task_id=TASK,
        data="Traceback ...\nKeyError: 'x'",
        error_details=FAILED,
        exception=None if error is None else pack_exception(error),
        **more,  # type: ignore[arg-type]
    )


def test_a_result_is_the_value() -> None:
    assert value_of(Result(task_id=TASK, data=pack_result([1])), DEFAULT) == [1]


def test_the_original_exception_is_caused_by_the_remote_traceback() -> None:
    with pytest.raises(KeyError) as caught:
        value_of(failed(KeyError("x"), details={"hostname": "node7"}), DEFAULT)
    cause = caught.value.__cause__
    assert isinstance(cause, TaskExecutionFailed)
    assert "node7" in str(cause)
    assert "    Traceback" in str(cause) or "  Traceback" in str(cause)


def test_without_the_original_the_traceback_is_raised() -> None:
    with pytest.raises(TaskExecutionFailed, match="KeyError: 'x'") as caught:
        value_of(failed(), DEFAULT)
    assert caught.value.task_id == TASK


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_what_would_end_this_process_is_wrapped(error: BaseException) -> None:
    with pytest.raises(TaskExecutionFailed):
        value_of(failed(error), DEFAULT)


def test_an_end_without_a_run_says_its_word() -> None:
    lost = Result(
        task_id=TASK,
        data="The user endpoint ended three times without finishing a task.",
        error_details=ErrorDetails(code="TASK_LOST", user_message=""),
    )
    with pytest.raises(TaskExecutionFailed, match=r"three times .* \(TASK_LOST\)") as caught:
        value_of(lost, DEFAULT)
    assert caught.value.word == "TASK_LOST"


def test_another_python_is_noted() -> None:
    with pytest.raises(SerializationError) as caught:
        value_of(
            Result(task_id=TASK, data="00\n????", details={"python_version": "3.9.1"}), DEFAULT
        )
    assert "The worker runs Python 3.9.1" in caught.value.__notes__[0]


def test_a_repeated_result_changes_nothing() -> None:
    future = ChamberlainFuture(TASK)
    settle(future, Result(task_id=TASK, data=pack_result(1)), DEFAULT)
    settle(future, Result(task_id=TASK, data=pack_result(2)), DEFAULT)
    settle(future, failed(), DEFAULT)
    assert future.result() == 1


def test_a_failure_can_be_pickled() -> None:
    failure = TaskExecutionFailed("text", word="TASK_LOST", task_id=TASK, details={"a": 1})
    again = pickle.loads(pickle.dumps(failure))
    assert (str(again), again.details) == (str(failure), {"a": 1})


@pytest.mark.parametrize("status", ["received", "waiting-for-ep", "running", "new-word", ""])
def test_an_open_task_has_no_result(status: str) -> None:
    assert from_rest({"task_id": TASK, "status": status}) is None


def test_documents_of_the_hub_become_results() -> None:
    done = from_rest({"task_id": TASK, "status": "success", "result": pack_result(5)})
    assert done is not None
    assert value_of(done, DEFAULT) == 5
    document = {
        "task_id": TASK,
        "status": "failed",
        "exception": "Traceback",
        "packed_exception": pack_exception(KeyError("x")),
        "error_details": {"code": "RemoteExecutionError", "user_message": "m"},
    }
    bad = from_rest(document)
    assert bad is not None
    with pytest.raises(KeyError):
        value_of(bad, DEFAULT)
