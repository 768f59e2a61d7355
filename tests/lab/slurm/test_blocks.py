"""Tasks in jobs of a real Slurm, asked for from another host, and blocks that come and go."""

from __future__ import annotations

import re
import time

import pytest
from tests.lab.slurm.conftest import PROGRAM, Slurm, block_of, results_of

from devtools.lab.plan import LOGIN
from devtools.lab.rollout import ENDPOINT
from devtools.processes import wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
ALICE = 1001
GONE_S = 60.0
HEARD_S = 150.0
"""A heartbeat is 30 s."""


def test_hello_through_a_job_as_ones_own_account(slurm: Slurm) -> None:
    assert slurm.jobs(live=True) == []
    answers = slurm.ask({"hello": {"options": {}}})
    [said] = results_of(answers["hello"])
    [job] = slurm.jobs(live=True)
    assert (said["hostname"], said["job"], said["uid"]) == (job.nodes, job.id, ALICE)
    # Whoever looks at the queue sees whose it is.
    # Whose it is, in which of its lives, and which block.
    assert re.match(rf"chamberlain\.{job.user_endpoint}\.[0-9a-f]{{8}}\.0\.", job.name)


def test_two_hundred_tasks_over_two_nodes_and_an_empty_queue_when_they_are_idle(
    slurm: Slurm,
) -> None:
    options = {"MAX": 2, "EXCLUSIVE": 1, "MAX_WORKERS": 2, "IDLETIME": 3}
    begun = slurm.begin({"many": {"options": options, "arguments": [0.1] * 200}})
    # Not both at once before there is work, and both while there is.
    assert wait_until(lambda: len(slurm.jobs(live=True)) == 2, GONE_S)
    results = results_of(begun.result()["many"])
    assert len(results) == 200
    assert {one["hostname"] for one in results} == {"node1", "node2"}
    # The user endpoint lives on; its blocks do not.
    slurm.wait_empty()
    again = slurm.ask({"again": {"options": options}})
    assert results_of(again["again"])[0]["uid"] == ALICE
    assert len(slurm.jobs(live=True)) == 1


def test_one_block_of_two_nodes_has_workers_on_both(slurm: Slurm) -> None:
    options = {"NODES": 2, "EXCLUSIVE": 1, "MAX_WORKERS": 1}
    answers = slurm.ask({"wide": {"options": options, "arguments": [1.0] * 8}})
    assert {one["hostname"] for one in results_of(answers["wide"])} == {"node1", "node2"}
    assert len({one["job"] for one in results_of(answers["wide"])}) == 1


def test_a_node_has_as_many_workers_as_cores_memory_and_the_limit_allow(slurm: Slurm) -> None:
    expected = {
        "cores": ({"CORES": 2}, 2),
        "memory is enough": ({"MEM": 0.25}, 4),
        "memory is short": ({"MEM": 0.5}, 2),
        "most": ({"MAX_WORKERS": 3}, 3),
    }
    cases = {
        name: {"options": {**options, "EXCLUSIVE": 1, "IDLETIME": 1}, "arguments": [0.3] * 12}
        for name, (options, _) in expected.items()
    }
    answers = slurm.ask(cases)
    found = {name: {one["pid"] for one in results_of(answers[name])} for name in expected}
    assert {name: len(pids) for name, pids in found.items()} == {
        name: workers for name, (_, workers) in expected.items()
    }


def test_blocks_that_are_to_stay_stay_and_the_others_go(slurm: Slurm) -> None:
    options = {"MIN": 1, "MAX": 2, "EXCLUSIVE": 1, "MAX_WORKERS": 1, "IDLETIME": 2}
    results_of(slurm.ask({"two": {"options": options, "arguments": [1.0] * 6}})["two"])
    assert wait_until(lambda: len(slurm.jobs(live=True)) == 1, GONE_S)
    [job] = slurm.jobs(live=True)
    until = time.monotonic() + 6.0
    assert not wait_until(
        lambda: [one.id for one in slurm.jobs(live=True)] != [job.id], until - time.monotonic()
    )


def test_a_stopped_user_endpoint_leaves_no_job(slurm: Slurm) -> None:
    results_of(slurm.ask({"one": {}})["one"])
    [job] = slurm.jobs(live=True)
    stop = ("user-endpoints", "stop", ENDPOINT, job.user_endpoint)
    slurm.run(PROGRAM, *stop, host=LOGIN)
    slurm.wait_empty()


def test_a_job_that_waits_for_nodes_is_shown_with_its_reason(slurm: Slurm) -> None:
    # Somebody else has both nodes.
    words = ["sbatch", "--parsable", "-N2", "--exclusive", "-o", "/dev/null", "--chdir=/tmp"]
    other = slurm.run(*words, "--wrap", "sleep 600", host=LOGIN, user="bob").strip()
    try:
        begun = slurm.begin({"waits": {"options": {"WALLTIME": "00:17:00"}}}, limit_s=250.0)
        job = slurm.live("17:00", "PENDING")
        assert wait_until(lambda: bool(block_of(slurm, job).get("reason")), HEARD_S)
        shown = block_of(slurm, job)
    finally:
        slurm.run("scancel", other)
    assert (shown["state"], shown["reason"]) == ("queued", "Resources")
    assert shown["meaning"] == "waits for free nodes"
    assert shown["seconds"] >= 0
    results_of(begun.result()["waits"])
