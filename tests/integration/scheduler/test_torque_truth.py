"""How jobs of Torque are, asked of a `qstat` that prints what Torque's manual says."""

from __future__ import annotations

import pytest
from tests.integration.scheduler.conftest import Write

from chamberlain_endpoint import rendered
from chamberlain_endpoint.rendered import settled
from chamberlain_endpoint.rendered.settled_nodes import TorqueProvider
from chamberlain_endpoint.scheduler.port import SchedulerSilentError
from chamberlain_endpoint.scheduler.reasons import how_it_went
from chamberlain_endpoint.scheduler.records import End, JobState, Said
from chamberlain_endpoint.scheduler.torque_truth import TorqueTruth
from chamberlain_endpoint.scheduler.truth import Found

JOB = """\
Job Id: {number}.torque
    Job_Name = chamberlain.one.{number}
    Job_Owner = alice@login
    {used}job_state = {state}
    queue = batch
    {hosts}Hold_Types = {holds}
    Resource_List.walltime = 00:01:00
    {exit}Variable_List = PBS_O_HOME=/home/alice,PBS_O_LOGNAME=alice,
\tPBS_O_PATH=/usr/bin:/bin
"""
UNKNOWN = "echo 'qstat: Unknown Job Id Error 9.torque' >&2; exit 153"
ENDED = JobState.ENDED


@pytest.fixture
def truth() -> TorqueTruth:
    provider = {"type": "TorqueProvider", "cmd_timeout": 5}
    checked = rendered.parse({"engine": {"type": "GlobusComputeEngine", "provider": provider}})
    engine = settled.read(checked.model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    assert isinstance(engine.provider, TorqueProvider)
    return TorqueTruth(engine.provider)


def printed(
    number: int, state: str, *, hosts: str = "n1/0+n1/1", code: str = "", used: str = ""
) -> str:
    return JOB.format(
        number=number,
        state=state,
        holds="o" if state == "H" else "n",
        hosts=f"exec_host = {hosts}\n    " if hosts else "",
        exit=f"exit_status = {code}\n    " if code else "",
        used=f"resources_used.walltime = {used}\n    " if used else "",
    )


@pytest.mark.parametrize(
    ("job", "wanted"),
    [
        (printed(7, "Q", hosts=""), Said(JobState.QUEUED)),
        (printed(7, "H", hosts=""), Said(JobState.QUEUED, "JobHeldAdmin")),
        (printed(7, "R"), Said(JobState.RUNNING, node="n1")),
        (printed(7, "E"), Said(JobState.RUNNING, node="n1")),
        (printed(7, "C", code="0"), Said(ENDED, end=End.COMPLETED, exit_code=0, node="n1")),
        (printed(7, "C", code="4"), Said(ENDED, end=End.FAILED, exit_code=4, node="n1")),
        (printed(7, "C", code="271"), Said(ENDED, end=End.CANCELLED, signal=15, node="n1")),
        (printed(7, "C", hosts=""), Said(ENDED, end=End.CANCELLED)),
        (printed(7, "C"), Said(ENDED, end=End.COMPLETED, node="n1")),
        (printed(7, "C", code="-11"), Said(ENDED, end=End.TIMEOUT, node="n1")),
        (
            printed(7, "C", code="271", used="00:01:12"),
            Said(ENDED, end=End.TIMEOUT, signal=15, node="n1"),
        ),
        (printed(7, "C", code="-10"), Said(ENDED, end=End.OUT_OF_MEMORY, node="n1")),
        (
            printed(7, "C", code="-14"),
            Said(ENDED, "the site's prologue failed", End.FAILED, node="n1"),
        ),
    ],
)
def test_each_state_and_exit_status_of_the_manual(
    write: Write, truth: TorqueTruth, job: str, wanted: Said
) -> None:
    write("qstat", f"cat <<'END'\n{job}END")
    assert truth.ask(["7.torque.example.edu"]) == {"7.torque.example.edu": wanted}


def test_a_researcher_reads_why(write: Write, truth: TorqueTruth) -> None:
    write("qstat", f"cat <<'END'\n{printed(7, 'C', code='-14')}{printed(8, 'C', code='-77')}END")
    ends = truth.ask(["7.torque", "8.torque"])
    assert how_it_went(ends["7.torque"]).how == "failed on n1 (the site's prologue failed)"
    assert "could not run it (-77)" in how_it_went(ends["8.torque"]).how


@pytest.mark.parametrize("unknown", [UNKNOWN, "exit 153"])
def test_jobs_are_told_although_one_of_them_is_unknown(
    write: Write, truth: TorqueTruth, unknown: str
) -> None:
    write("qstat", f"cat <<'END'\n{printed(7, 'R')}END\n{unknown}")
    told = truth.ask(["7.torque", "9.torque"])
    assert told == {"7.torque": Said(JobState.RUNNING, node="n1")}


def test_a_server_that_is_away_says_nothing_of_any_job(write: Write, truth: TorqueTruth) -> None:
    for script in ("echo 'Connection refused' >&2; exit 171", "exit 1"):
        write("qstat", script)
        write("qselect", script)
        with pytest.raises(SchedulerSilentError):
            truth.ask(["7.torque"])
        with pytest.raises(SchedulerSilentError):
            truth.find("chamberlain.one.")


def test_a_job_whose_submission_was_not_answered_is_found_by_its_name(
    write: Write, truth: TorqueTruth
) -> None:
    write("qselect", "echo 7.torque")
    write("qstat", f"cat <<'END'\n{printed(7, 'R')}END")
    assert truth.find("chamberlain.one.") == Found("7.torque", "chamberlain.one.7")
    assert truth.find("chamberlain.two.") is None
    write("qselect", "true")
    assert truth.find("chamberlain.one.") is None
