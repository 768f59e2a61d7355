"""Which of the jobs that a scheduler lists are ours to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from chamberlain_endpoint.scheduler import job_notes
from chamberlain_endpoint.scheduler.commands import Answer
from chamberlain_endpoint.scheduler.job_notes import JobNotes, Note
from chamberlain_endpoint.scheduler.queues import (
    PbsQueue,
    Queued,
    SlurmQueue,
    are_ours,
    is_answer,
    queue_of,
    read_qstat,
    read_squeue,
)

UEP = "f1ed41e0-d609-59ae-abce-5d576e9d322a"
OTHER = "76e10473-ddb3-55ef-ad70-2cdd7b9462f9"

QSTAT = f"""\
Job Id: 4242.pbs-head
    Job_Name = chamberlain.{UEP}.95796116.0.1795388424.8
\t6430
    Job_Owner = alice@login.example.edu
    job_state = Q
    Resource_List.walltime = 01:00:00
    comment = Not Running: name = odd

Job Id: 4243.pbs-head
    Job_Name = chamberlain.{UEP}.95796116.1.1795388425.1
    Job_Owner = alice@login.example.edu
    job_state = E
    Variable_List = PBS_O_HOME=/home/alice,
\tPBS_O_LANG=C

"""
SLURM_WRAPPER = f"""\
Job Id:\t7
\tJob_Name = chamberlain.{UEP}.95796116.0.1
\tJob_Owner = alice@login
\tjob_state = R
"""


@pytest.mark.parametrize(
    ("name", "owner", "ours"),
    [
        (f"chamberlain.{UEP}.95796116.0.17", "alice", True),
        (f"chamberlain.{UEP}.95796116.12.17", "alice", True),
        # A life that nobody noted: the present one, or a name that somebody made up.
        (f"chamberlain.{UEP}.0badcafe.0.17", "alice", False),
        (f"chamberlain.{UEP}.957961160.0.17", "alice", False),
        (f"chamberlain.{UEP}", "alice", False),
        (f"chamberlain.{OTHER}.95796116.0.17", "alice", False),
        (f"my-chamberlain.{UEP}.95796116.0", "alice", False),
        (f"chamberlain.{UEP}.95796116.0.17", "bob", False),
        ("", "alice", False),
    ],
)
def test_a_job_is_ours_by_owner_and_a_noted_life(name: str, owner: str, ours: bool) -> None:
    listed = [Queued("7", owner, name)]
    found = are_ours(listed, account="alice", user_endpoint=UEP, generations=["95796116"])
    assert found == (["7"] if ours else [])


def test_no_noted_life_means_no_job() -> None:
    listed = [Queued("7", "alice", f"chamberlain.{UEP}..0")]
    assert are_ours(listed, account="alice", user_endpoint=UEP, generations=[]) == []
    assert are_ours(listed, account="alice", user_endpoint=UEP, generations=[""]) == []


def test_slurms_list_is_read_with_odd_names_and_several_clusters() -> None:
    text = (
        "CLUSTER: big\n"
        "7 PENDING alice a name with spaces\n"
        f"8 RUNNING alice chamberlain.{UEP}.95796116.0.1\n"
        "9 COMPLETING alice chamberlain.x\n"
        "\n10 RUNNING alice\n"
    )
    assert read_squeue(text) == [
        Queued("7", "alice", "a name with spaces"),
        Queued("8", "alice", f"chamberlain.{UEP}.95796116.0.1"),
    ]


def test_pbs_list_is_read_with_folded_lines_and_without_what_is_leaving() -> None:
    name = f"chamberlain.{UEP}.95796116.0.1795388424.86430"
    assert read_qstat(QSTAT) == [Queued("4242.pbs-head", "alice", name)]
    assert read_qstat(SLURM_WRAPPER) == [
        Queued("7", "alice", f"chamberlain.{UEP}.95796116.0.1"),
    ]
    assert read_qstat("") == []


@pytest.mark.parametrize(
    ("code", "err", "answered"),
    [
        (0, "", True),
        (153, "", True),
        (153, "qstat: Unknown Job Id 99.pbs\nqstat: Unknown Job Id 98.pbs\n", True),
        (35, "qstat: 97.pbs Job has finished, use -x or -H to obtain historical ...\n", True),
        (153, "qstat: Unknown Job Id 9.pbs\nqstat: cannot connect to server b\n", False),
        (111, "Connection refused\nqstat: cannot connect to server pbs (errno=111)\n", False),
        (1, "", False),
        (5, "Problem loading jobs.\n", False),
    ],
)
def test_pbs_that_does_not_answer_is_not_taken_for_an_empty_queue(
    code: int, err: str, answered: bool
) -> None:
    assert is_answer(Answer(code, "", err)) is answered


def test_who_cannot_be_asked_is_said_to_be_so() -> None:
    kinds = {"SlurmProvider": SlurmQueue, "PBSProProvider": PbsQueue, "TorqueProvider": PbsQueue}
    for kind, queue in kinds.items():
        assert isinstance(queue_of(Note("a", kind, "", frozenset())), queue)
    assert queue_of(Note("a", "CondorProvider", "", frozenset())) is None


def test_notes_are_there_before_the_first_job_and_until_the_last(tmp_path: Path) -> None:
    folder = tmp_path / "jobs" / UEP
    notes = JobNotes(folder, "SlurmProvider", "big")
    assert job_notes.read(folder) == []
    notes.asking()
    assert job_notes.read(folder) == [Note(notes.generation, "SlurmProvider", "big", frozenset())]
    notes.submitted("7")
    notes.submitted("8")
    notes.ended("7")
    assert notes.live == {"8"}
    (note,) = job_notes.read(folder)
    assert note.jobs == {"8"}
    notes.close()
    assert not folder.exists()


def test_a_torn_line_costs_that_line_alone(tmp_path: Path) -> None:
    notes = JobNotes(tmp_path, "SlurmProvider")
    notes.asking()
    notes.submitted("7")
    with (tmp_path / f"{notes.generation}.jsonl").open("a") as file:
        file.write('{"submitted": "8')
    (note,) = job_notes.read(tmp_path)
    assert note.jobs == {"7"}


def test_what_is_no_note_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"v": 2}\n')
    (tmp_path / "y.jsonl").write_text("[]\n")
    (tmp_path / "z.txt").write_text("{}")
    assert job_notes.read(tmp_path) == []
    assert job_notes.read(tmp_path / "absent") == []
