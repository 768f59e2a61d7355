"""Every end and every reason is a sentence that a researcher without a shell understands."""

from __future__ import annotations

import pytest

from chamberlain_endpoint.scheduler.reasons import how_it_went, what_to_do, why_it_waits
from chamberlain_endpoint.scheduler.records import End, JobState, Said


@pytest.mark.parametrize("end", End)
def test_every_end_has_words(end: End) -> None:
    told = how_it_went(Said(JobState.ENDED, "JobHeldUser", end, node="n1"), walltime="01:00:00")
    assert told.how
    assert "{" not in told.how


@pytest.mark.parametrize(
    ("end", "words", "todo"),
    [
        (End.TIMEOUT, "their walltime (01:00:00) was over", "longer walltime"),
        (End.OUT_OF_MEMORY, "used more memory than it had asked for", "mem_per_worker"),
        (End.NODE_FAIL, "were lost with their node on n1, which failed", "Submit again"),
        (End.PREEMPTED, "had to make room on n1 for a job of higher priority", "Submit again"),
        (End.CANCELLED, "by an operator or from your account", "Submit again"),
        (End.MISSING, "not known to the scheduler any more", "Submit again"),
    ],
)
def test_an_end_says_what_happened_and_what_to_do(end: End, words: str, todo: str) -> None:
    told = how_it_went(Said(JobState.ENDED, "", end, node="n1"), walltime="01:00:00")
    assert words in told.how
    assert todo in told.todo


def test_a_script_that_failed_tells_its_code_or_its_signal() -> None:
    failed = Said(JobState.ENDED, "NonZeroExitCode", End.FAILED, exit_code=3)
    assert how_it_went(failed).how == "ended with exit code 3"
    killed = Said(JobState.ENDED, "", End.FAILED, exit_code=0, signal=9, node="n1")
    assert how_it_went(killed).how == "were killed by SIGKILL on n1"


def test_what_we_let_go_is_nobodys_fault() -> None:
    said = Said(JobState.ENDED, "", End.CANCELLED)
    assert how_it_went(said, cancelled=True).how == "were let go"


@pytest.mark.parametrize(
    "reason",
    [
        *("JobHeldAdmin", "JobHeldUser", "JobHoldMaxRequeue", "PartitionTimeLimit"),
        *("PartitionNodeLimit", "BadConstraints", "InvalidAccount", "InvalidQOS"),
        *("AssocMaxCpuPerJobLimit", "QOSMaxWallDurationPerJobLimit"),
        "uid 1001 not in group permitted to use this partition (closed). groups allowed: root",
        *("launch_failed_requeued_held", "DependencyNeverSatisfied"),
    ],
)
def test_what_nobody_but_a_person_can_end_is_stuck(reason: str) -> None:
    waits = why_it_waits(reason)
    assert waits is not None
    assert waits.stuck
    assert waits.todo


@pytest.mark.parametrize(
    "reason",
    [
        *("Resources", "Priority", "AssocGrpCpuLimit", "QOSMaxJobsPerUserLimit", "Licenses"),
        *("ReqNodeNotAvail", "PartitionDown", "BeginTime", "SomethingNew"),
    ],
)
def test_what_ends_by_itself_is_waited_for(reason: str) -> None:
    waits = why_it_waits(reason)
    assert waits is not None
    assert not waits.stuck
    assert waits.meaning


def test_no_reason_is_nothing_to_say() -> None:
    assert why_it_waits("") is None


@pytest.mark.parametrize(
    ("said", "todo"),
    [
        ("error: invalid partition specified: x", "partition's name"),
        ("error: User's group not permitted to use this partition", "partition"),
        ("Invalid account or account/partition combination specified", "account"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "shorter walltime"),
        ("Requested node configuration is not available", "Ask for less"),
        ("Memory specification can not be satisfied", "Ask for less"),
        ("sbatch: error: I am out of ideas", ""),
    ],
)
def test_a_refusal_says_what_to_do(said: str, todo: str) -> None:
    answer = what_to_do(said)
    assert todo in answer
    assert bool(answer) == bool(todo)
