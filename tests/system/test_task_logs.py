"""On a real site: what a task prints and uses reaches its owner, and logs can be followed."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from tests.system.conftest import ALICE, BOB, Open

from chamberlain import NotFoundError
from devtools.site import Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow, pytest.mark.timeout(300)]
WAIT_S = 60.0


def loud() -> str:
    import pathlib

    print("said on the cluster")
    return str(pathlib.Path.cwd())


def test_what_a_task_printed_and_used_reaches_its_owner_and_nobody_else(
    site: Site, open_as: Open
) -> None:
    executor, bobs = open_as(ALICE), open_as(BOB)
    future = executor.submit(loud)
    assert future.logs(WAIT_S).stdout == "said on the cluster\n"
    assert executor.client.get_task_logs(future.task_id) == future.logs()
    with pytest.raises(NotFoundError):
        bobs.client.get_task_logs(future.task_id)
    used = {one["task_id"]: one["usage"] for one in executor.client.tasks(limit=5)}[future.task_id]
    assert used["hostname"]
    assert used["started_at"] <= used["ended_at"]


def test_the_log_of_a_user_endpoint_can_be_followed(site: Site, open_as: Open) -> None:
    executor = open_as(ALICE, NUMBER=77)
    user_endpoint = Path(executor.submit(loud).result(WAIT_S)).parent.name
    command = [site.programs.endpoint, "user-endpoints", "logs", site.name, user_endpoint]
    follower = subprocess.Popen(
        [*command, "--follow", "--lines", "1000", "--config-dir", str(site.config_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd="/",
    )
    with follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        seen = ""
        while "endpoint.serving" not in seen:
            seen = follower.stdout.readline()
            assert seen, follower.stderr.read()
        # What is written from now on comes, too: it ends, and says so.
        site.endpoint_command("user-endpoints", "stop", site.name, user_endpoint)
        while "endpoint.left" not in seen:
            seen = follower.stdout.readline()
            assert seen, follower.stderr.read()
        follower.send_signal(signal.SIGINT)
        assert follower.wait(WAIT_S) == 0
    done = subprocess.run(
        [*command, "--follow", "--json", "--config-dir", str(site.config_dir)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    assert (done.returncode, "--follow" in done.stderr) == (2, True)
