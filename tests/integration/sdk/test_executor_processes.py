"""What `Executor` promises to a whole process: its end, a fork, modules of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.integration.sdk.stand_in import ENDPOINT, TOKEN, StandInHub

pytestmark = pytest.mark.needs_rabbit


def in_process(hub: StandInHub, tmp_path: Path, code: str) -> subprocess.CompletedProcess[str]:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(code))
    return subprocess.run(
        [sys.executable, str(script)],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "CHAMBERLAIN_HUB_URL": hub.url,
            "CHAMBERLAIN_TOKEN": TOKEN,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_end_of_the_interpreter_sends_all_and_waits_for_nothing(
    hub: StandInHub, tmp_path: Path
) -> None:
    hub.go.clear()
    ended = in_process(
        hub,
        tmp_path,
        f"""
        from chamberlain import Executor
        executor = Executor("{ENDPOINT}")
        futures = [executor.submit(len, [1]) for _ in range(300)]
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert len(hub.documents) == 300
    assert hub.ended_sessions == hub.sessions


def test_a_forked_child_goes_on_with_a_group_of_its_own(hub: StandInHub, tmp_path: Path) -> None:
    ended = in_process(
        hub,
        tmp_path,
        f"""
        import os, sys
        from chamberlain import Executor

        def twice(x):
            return 2 * x

        with Executor("{ENDPOINT}") as executor:
            print(executor.submit(twice, 1).result(20), flush=True)
            open_one = executor.submit(twice, 2)
            child = os.fork()
            print(executor.submit(twice, 3 if child else 30).result(20), flush=True)
            if child:
                assert os.waitpid(child, 0)[1] == 0
                print(open_one.result(20), flush=True)
        """,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert sorted(ended.stdout.split(), key=int) == ["2", "4", "6", "60"]
    assert len(hub.task_groups) == 2


def test_functions_of_the_users_own_modules_travel(hub: StandInHub, tmp_path: Path) -> None:
    (tmp_path / "physics.py").write_text("import math\nG = 9.81\ndef fall(t): return G * t**2 / 2")
    ended = in_process(
        hub,
        tmp_path,
        f"""
        import json
        import physics
        from chamberlain import Executor
        with Executor("{ENDPOINT}") as executor:
            print(json.dumps(executor.submit(physics.fall, 2).result(20)))
        """,
    )
    assert ended.stderr == ""
    assert json.loads(ended.stdout) == pytest.approx(19.62)
