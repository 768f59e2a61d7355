"""What Slurm's programs print, as they printed it, and what we make of it."""

from __future__ import annotations

import pytest

from chamberlain_endpoint.scheduler import slurm_words
from chamberlain_endpoint.scheduler.records import End, JobState, Said

SHOW = (
    "JobId=2 JobName=chamberlain.x.0.17.6 UserId=alice(1001) Priority=1 Account=(null) "
    "JobState={state} Reason={reason} Dependency=(null) Requeue=1 ExitCode={code} "
    "RunTime=00:00:19 NodeList={node} BatchHost=node1 Comment=JobState=RUNNING"
)
STATES = {
    "COMPLETED": End.COMPLETED,
    "FAILED": End.FAILED,
    "LAUNCH_FAILED": End.FAILED,
    "CANCELLED": End.CANCELLED,
    "REVOKED": End.CANCELLED,
    "TIMEOUT": End.TIMEOUT,
    "DEADLINE": End.TIMEOUT,
    "OUT_OF_MEMORY": End.OUT_OF_MEMORY,
    "NODE_FAIL": End.NODE_FAIL,
    "BOOT_FAIL": End.NODE_FAIL,
    "PREEMPTED": End.PREEMPTED,
}


@pytest.mark.parametrize(("word", "end"), STATES.items())
def test_every_end_is_known(word: str, end: End) -> None:
    said = slurm_words.read_scontrol(SHOW.format(state=word, reason="None", code="0:0", node="n1"))
    assert said is not None
    assert (said.state, said.end, said.node) == (JobState.ENDED, end, "n1")


def test_a_line_of_scontrol_tells_exit_code_signal_and_reason() -> None:
    line = SHOW.format(state="FAILED", reason="NonZeroExitCode", code="3:0", node="node1")
    assert slurm_words.read_scontrol(line) == Said(
        JobState.ENDED, "NonZeroExitCode", End.FAILED, exit_code=3, node="node1"
    )
    line = SHOW.format(state="FAILED", reason="RaisedSignal:9(Killed)", code="0:9", node="node1")
    said = slurm_words.read_scontrol(line)
    assert said is not None
    assert (said.exit_code, said.signal) == (0, 9)


def test_no_line_of_scontrol_is_no_statement() -> None:
    assert slurm_words.read_scontrol("") is None


def test_squeue_names_jobs_with_state_and_reason_and_lines_of_clusters_are_passed_over() -> None:
    text = "CLUSTER: one\n7|PENDING|AssocGrpCpuLimit|\n8|RUNNING|None|node[1-2]\n9|TIMEOUT|x|n1\n"
    assert dict(slurm_words.read_squeue(text)) == {
        "7": Said(JobState.QUEUED, "AssocGrpCpuLimit"),
        "8": Said(JobState.RUNNING, node="node[1-2]"),
        "9": Said(JobState.ENDED, "x", End.TIMEOUT, node="n1"),
    }


@pytest.mark.parametrize("word", ["COMPLETING", "SUSPENDED", "RESIZING"])
def test_what_still_has_its_nodes_runs(word: str) -> None:
    [(_, said)] = slurm_words.read_squeue(f"1|{word}|None|n1")
    assert said.state is JobState.RUNNING


@pytest.mark.parametrize("word", ["REQUEUED", "CONFIGURING", "SPECIAL_EXIT", "SOMETHING_NEW"])
def test_a_word_that_is_no_end_is_none(word: str) -> None:
    [(_, said)] = slurm_words.read_squeue(f"1|{word}|None|n1")
    assert said.state is JobState.QUEUED


def test_sacct_tells_of_one_job_and_not_of_its_steps() -> None:
    text = "5.batch|COMPLETED|0:0||n1\n5|CANCELLED by 1001|0:15|None|n1\n"
    assert slurm_words.read_sacct(text, "5") == Said(
        JobState.ENDED, "", End.CANCELLED, exit_code=0, signal=15, node="n1"
    )
    assert slurm_words.read_sacct("Slurm accounting storage is disabled", "5") is None


@pytest.mark.parametrize(
    "text",
    [
        "slurm_load_jobs error: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
    ],
)
def test_a_controller_that_is_away_is_silence(text: str) -> None:
    assert slurm_words.is_silence(text)


def test_a_refusal_is_no_silence() -> None:
    assert not slurm_words.is_silence("sbatch: error: invalid partition specified: nosuch")
    assert slurm_words.is_unknown_job("slurm_load_jobs error: Invalid job id specified")


KILLED_FOR_MEMORY = """\
0: slurmstepd-node1: error: *** STEP 22.0 ON node1 CANCELLED AT 2026-11-23T03:16:20 ***
0: slurmstepd-node1: error: StepId=22.0 exceeded memory limit (540258304 > 524288000), being killed
srun: Job step aborted: Waiting up to 4 seconds for job step to finish.
"""


@pytest.mark.parametrize(
    "printed",
    [
        KILLED_FOR_MEMORY,
        "slurmstepd-node1: error: Exceeded job memory limit\n",
        "slurmstepd: error: Detected 1 oom_kill event in StepId=5.0. Some ...\n",
        "srun: error: node1: task 0: Out Of Memory\n",
    ],
)
def test_what_slurm_wrote_of_memory_is_believed_of_a_job_that_failed(printed: str) -> None:
    failed = Said(JobState.ENDED, end=End.FAILED, exit_code=137, node="node1")
    assert slurm_words.with_printed(failed, printed).end is End.OUT_OF_MEMORY


def test_what_others_wrote_of_memory_is_not_slurms_word() -> None:
    failed = Said(JobState.ENDED, end=End.FAILED, exit_code=1)
    assert slurm_words.with_printed(failed, "my program exceeded memory limit\n") == failed
    ended = Said(JobState.ENDED, end=End.TIMEOUT)
    assert slurm_words.with_printed(ended, KILLED_FOR_MEMORY) == ended
