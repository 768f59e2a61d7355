"""What OpenPBS prints, in its documented forms, read as where jobs are and how they ended."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chamberlain_endpoint.scheduler import pbs_words
from chamberlain_endpoint.scheduler.reasons import how_it_went, why_it_waits
from chamberlain_endpoint.scheduler.records import End, JobState, Said

PRINTED = Path(__file__).parent / "pbs"
JSON = (PRINTED / "qstat.json").read_text()
TEXT = (PRINTED / "qstat.txt").read_text()
QUEUED, RUNNING, ENDED = JobState.QUEUED, JobState.RUNNING, JobState.ENDED
BOTH = "node1,node2"

WANTED = {
    "100": Said(RUNNING, node=BOTH),
    "101": Said(QUEUED, "Insufficient amount of resource: ncpus (R: 4 A: 0 T: 8)"),
    "102": Said(QUEUED, "Can Never Run: Insufficient amount of resource: ncpus (R: 400 A: 8 T: 8)"),
    "103": Said(QUEUED, "JobHeldUser"),
    "104": Said(QUEUED, "JobHeldAdmin"),
    "105": Said(QUEUED, "JobHoldMaxRequeue"),
    "106": Said(QUEUED, "BeginTime"),
    "107": Said(QUEUED),
    "108": Said(RUNNING, "suspended", node=BOTH),
    "109": Said(RUNNING, node=BOTH),
    "110[]": Said(RUNNING),
    "110[1]": Said(ENDED, end=End.COMPLETED, exit_code=0, node="node1"),
    "111": Said(ENDED, end=End.COMPLETED, exit_code=0, node=BOTH),
    "112": Said(ENDED, end=End.FAILED, exit_code=3, node="node1"),
    "113": Said(ENDED, end=End.CANCELLED, signal=15, node=BOTH),
    "114": Said(ENDED, end=End.TIMEOUT, node=BOTH),
    "115": Said(ENDED, end=End.TIMEOUT, signal=15, node=BOTH),
    "116": Said(ENDED, end=End.OUT_OF_MEMORY, node="node2"),
    "117": Said(ENDED, end=End.FAILED, signal=9, node="node2"),
    "118": Said(ENDED, "Job was deleted by root@pbs", End.CANCELLED),
    "119": Said(
        ENDED,
        "PBS could not run it (-1): job failed: cannot set up the job's folder",
        End.FAILED,
    ),
    "120": Said(ENDED, "the job's first node failed", End.NODE_FAIL, node=BOTH),
    "121": Said(QUEUED),
}


@pytest.mark.parametrize("number", WANTED)
def test_each_state_and_exit_status_in_both_forms(number: str) -> None:
    for read in (pbs_words.read_json(JSON), pbs_words.read_text(TEXT)):
        found = pbs_words.of_number(read, f"{number}.pbs.example.edu")
        assert found is not None
        assert pbs_words.said(found) == WANTED[number]
        assert found.name.startswith("chamberlain.1f0c7a52-0000-4000-8000-000000000001.")


def test_both_forms_say_the_same() -> None:
    assert pbs_words.read_json(JSON) == pbs_words.read_text(TEXT)
    assert len(pbs_words.read_text(TEXT)) == len(WANTED)


@pytest.mark.parametrize(
    "broken",
    [
        JSON.replace('"/bin/bash"', "005"),
        JSON.replace("/bin/bash", "ab\\,c"),
        JSON[:-40],
        "",
        "[]",
        "null",
        '{"Jobs": [1]}',
    ],
)
def test_json_that_is_none_says_nothing(broken: str) -> None:
    assert pbs_words.read_json(broken) == {}


def test_control_characters_in_a_value_do_no_harm() -> None:
    assert pbs_words.read_json(JSON.replace("/bin/bash", "a\tb")) != {}


def test_a_letter_that_is_not_known_is_no_end() -> None:
    told = json.loads(JSON)
    told["Jobs"]["111.pbs"]["job_state"] = "Z"
    assert pbs_words.said(pbs_words.read_json(json.dumps(told))["111.pbs"]).state is QUEUED


def test_torques_spelling_is_understood_too() -> None:
    (job,) = pbs_words.read_text(
        "Job Id: 7.host\n    Job_Name = x\n    job_state = C\n    exec_host = n1/0+n1/1\n"
        "    exit_status = 4\n"
    ).values()
    assert pbs_words.said(job) == Said(ENDED, end=End.FAILED, exit_code=4, node="n1")


@pytest.mark.parametrize(
    ("error", "unknown", "silent"),
    [
        ("qstat: Unknown Job Id 99.pbs\n", True, False),
        ("qstat: Unknown Job Id 99.pbs\nqstat: Unknown Job Id 98.pbs\n", True, False),
        (
            "qstat: 97.pbs Job has finished, use -x or -H to obtain historical job information\n",
            True,
            False,
        ),
        ("Connection refused\nqstat: cannot connect to server pbs (errno=15010)\n", False, True),
        ("qstat: Unknown Job Id 9.pbs\nqstat: cannot connect to server b\n", False, True),
        ("qsub: Unknown queue\n", False, False),
        ("", False, False),
    ],
)
def test_an_absent_server_is_not_an_absent_job(error: str, unknown: bool, silent: bool) -> None:
    assert pbs_words.is_unknown_job(error) is unknown
    assert pbs_words.is_silence(error) is silent


@pytest.mark.parametrize("number", ["102", "103", "104", "105"])
def test_a_job_that_would_wait_for_ever_is_known_as_such(number: str) -> None:
    waits = why_it_waits(WANTED[number].reason)
    assert waits is not None
    assert waits.stuck
    assert waits.todo


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("112", "exit code 3 on node1"),
        ("113", "cancelled on node1,node2"),
        ("114", "walltime (00:01:00) was over"),
        ("115", "walltime (00:01:00) was over"),
        ("116", "more memory"),
        ("117", "SIGKILL on node2"),
        ("118", "cancelled"),
        ("119", "could not run it (-1): job failed"),
        ("120", "lost with their node"),
    ],
)
def test_a_researcher_understands_each_end(number: str, words: str) -> None:
    assert words in how_it_went(WANTED[number], walltime="00:01:00").how
