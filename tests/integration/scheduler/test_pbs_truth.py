"""How jobs of PBS are, asked of programs that answer as a good, a bad and an absent server do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.scheduler.conftest import Write

from chamberlain_endpoint import rendered
from chamberlain_endpoint.rendered import settled
from chamberlain_endpoint.rendered.settled_nodes import PBSProProvider
from chamberlain_endpoint.scheduler.pbs_truth import PbsTruth
from chamberlain_endpoint.scheduler.port import SchedulerSilentError
from chamberlain_endpoint.scheduler.records import End, JobState, Said
from chamberlain_endpoint.scheduler.truth import Found

RUNS = {"Job_Name": "chamberlain.one.0.17", "job_state": "R", "exec_host": "node1/0"}
ENDED = {"Job_Name": "chamberlain.one.1.18", "job_state": "F", "Exit_status": 3}
IS_RUNNING = Said(JobState.RUNNING, node="node1")
HAS_ENDED = Said(JobState.ENDED, end=End.FAILED, exit_code=3)
UNKNOWN = "echo 'qstat: Unknown Job Id 9.pbs' >&2; exit 153"


@pytest.fixture
def truth() -> PbsTruth:
    checked = rendered.parse(
        {
            "engine": {
                "type": "GlobusComputeEngine",
                "provider": {"type": "PBSProProvider", "cmd_timeout": 5},
            }
        }
    )
    engine = settled.read(checked.model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    assert isinstance(engine.provider, PBSProProvider)
    return PbsTruth(engine.provider)


def as_json(**jobs: dict[str, object]) -> str:
    return f"cat <<'END'\n{json.dumps({'Jobs': {f'{k[1:]}.pbs': v for k, v in jobs.items()}})}\nEND"


def as_text(number: str, job: dict[str, object]) -> str:
    lines = [f"Job Id: {number}.pbs", *(f"    {key} = {value}" for key, value in job.items())]
    return "cat <<'END'\n" + "\n".join(lines) + "\nEND"


def test_jobs_are_told_although_one_of_them_is_unknown(write: Write, truth: PbsTruth) -> None:
    told = f"{as_json(j7=RUNS, j8=ENDED)}\n{UNKNOWN}"
    write("qstat", f'case "$*" in *json*) {told};; *) {UNKNOWN};; esac')
    jobs = ["7.pbs.example.edu", "8.pbs", "9.pbs"]
    assert truth.ask(jobs) == {jobs[0]: IS_RUNNING, jobs[1]: HAS_ENDED}


@pytest.mark.parametrize(
    "bad",
    [
        'echo \'{"Jobs": {"7.pbs": {"job_state": "R", "Variable_List": {"A": 005}}}}\'',
        # the first job alone
        as_json(j7=RUNS),
        "true",
    ],
)
def test_what_json_leaves_out_is_asked_for_as_text(write: Write, truth: PbsTruth, bad: str) -> None:
    text = f"{as_text('7', RUNS)}\n{as_text('8', ENDED)}"
    write("qstat", f'case "$*" in\n*json*) {bad}\n;;\n*) {text}\n;; esac')
    assert truth.ask(["7.pbs", "8.pbs"]) == {"7.pbs": IS_RUNNING, "8.pbs": HAS_ENDED}


def test_a_server_without_history_is_asked_without(
    write: Write, truth: PbsTruth, tmp_path: Path
) -> None:
    refusal = "echo 'qstat: PBS is not configured to maintain job history' >&2; exit 1"
    write("qstat", f'case "$*" in\n*-x*) {refusal};;\n*) {as_json(j7=RUNS)}\n;; esac')
    for _ in range(2):
        assert truth.ask(["7.pbs"]) == {"7.pbs": IS_RUNNING}
    asked = (tmp_path / "asked").read_text().splitlines()
    assert ["-x" in line for line in asked] == [True, False, False]


@pytest.mark.parametrize(
    "script",
    [
        "echo 'qstat: cannot connect to server pbs (errno=15010)' >&2; exit 255",
        "echo 'Connection refused' >&2; exit 1",
        "exit 1",
    ],
)
def test_a_server_that_is_away_says_nothing_of_any_job(
    write: Write, truth: PbsTruth, script: str
) -> None:
    write("qstat", script)
    write("qselect", script)
    with pytest.raises(SchedulerSilentError):
        truth.ask(["7.pbs"])
    with pytest.raises(SchedulerSilentError):
        truth.find("chamberlain.one.0.")


def test_a_job_whose_submission_was_not_answered_is_found_by_its_name(
    write: Write, truth: PbsTruth
) -> None:
    write("qselect", "printf '7.pbs\\n8.pbs\\n'")
    write("qstat", as_json(j7=RUNS, j8=ENDED))
    assert truth.find("chamberlain.one.0.") == Found("7.pbs", "chamberlain.one.0.17")
    assert truth.find("chamberlain.two.0.") is None
    write("qselect", "true")
    assert truth.find("chamberlain.one.0.") is None
