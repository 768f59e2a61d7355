"""`chamberlain-endpoint` as an administrator types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.system.conftest import ALICE, Open

from chamberlain_endpoint.cli import processes
from devtools.processes import wait_until
from devtools.programs import Programs
from devtools.site import Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow, pytest.mark.timeout(300)]
WAIT_S = 60.0


class Typed:
    """Runs the command line against a configuration folder of its own."""

    def __init__(self, programs: Programs, folder: Path, site: Site) -> None:
        self._programs = programs
        self.folder = folder
        self._site = site

    def __call__(
        self, command: str, *arguments: str, given: str = ""
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._programs.endpoint, command, "-c", self.folder, *arguments],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

    def configure(self, name: str, *more: str) -> subprocess.CompletedProcess[str]:
        multi = os.geteuid() == 0
        form = ["--contact-email", "hpc@example.edu"] if multi else []
        hub = ["--hub", self._site.hub_url, "--token-file", "-"]
        return self("configure", name, *hub, *form, *more, given=self._site.tokens[ALICE])

    def json(self, command: str, *arguments: str) -> Any:
        done = self(command, *arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def typed(programs: Programs, public_folder: Path, site: Site) -> Iterator[Typed]:
    folder = public_folder / "typed"
    folder.mkdir(exist_ok=True)
    cli = Typed(programs, folder, site)
    yield cli
    for row in cli.json("list")["endpoints"]:
        cli("stop", row["name"])


def test_configure_names_each_file_and_the_next_command(typed: Typed) -> None:
    done = typed.configure("spoken")
    assert done.returncode == 0, done.stderr
    written = {path.name for path in (typed.folder / "spoken").iterdir() if path.is_file()}
    assert len(written) >= 6
    assert all(name in done.stdout for name in written)
    assert "SHA256:" in done.stdout
    assert "Next: chamberlain-endpoint start spoken" in done.stdout


def test_configure_twice_is_refused_and_changes_nothing(typed: Typed) -> None:
    assert typed.configure("twice").returncode == 0
    before = (typed.folder / "twice" / "launcher.toml").read_bytes()
    done = typed.configure("twice")
    assert done.returncode == 1
    assert "exists already" in done.stderr
    assert (typed.folder / "twice" / "launcher.toml").read_bytes() == before


@pytest.mark.parametrize("name", ["../up", ".hidden", "two words", "a" * 129, "it's", "a/b"])
def test_a_name_that_cannot_be_is_a_wrong_command(typed: Typed, name: str) -> None:
    before = sorted(typed.folder.iterdir())
    done = typed.configure(name)
    assert done.returncode == 2
    assert sorted(typed.folder.iterdir()) == before


def test_the_longest_name_works_to_the_end(typed: Typed) -> None:
    name = "n" * 128
    assert typed.configure(name).returncode == 0
    assert typed("start", name, "--detach").returncode == 0
    assert typed("stop", name).returncode == 0


@pytest.mark.needs_root
@pytest.mark.parametrize(
    ("option", "text", "cause"),
    [
        ("--id-mapping-config", "not JSON", "JSON"),
        ("--schema-config", "{not JSON", "JSON"),
    ],
)
def test_a_brought_file_with_faults_leaves_nothing_behind(
    typed: Typed, tmp_path: Path, option: str, text: str, cause: str
) -> None:
    brought = tmp_path / "brought"
    brought.write_text(text)
    done = typed.configure("faulty", option, str(brought))
    assert done.returncode == 1
    assert cause in done.stderr
    assert not (typed.folder / "faulty").exists()


def test_a_hub_that_does_not_answer_leaves_nothing_behind(typed: Typed) -> None:
    done = typed.configure("nohub", "--hub", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "--hub-key-file" in done.stderr
    assert not (typed.folder / "nohub").exists()


@pytest.mark.needs_root
def test_root_must_name_a_contact_and_cannot_take_the_single_form(typed: Typed) -> None:
    hub = ["--hub", "http://127.0.0.1:9", "--token-file", "-"]
    done = typed("configure", "x", *hub)
    assert (done.returncode, "--contact-email" in done.stderr) == (2, True)
    done = typed("configure", "x", *hub, "--multi-user", "false")
    assert (done.returncode, "as root" in done.stderr) == (2, True)


def test_start_stop_and_list_tell_the_same_story(typed: Typed) -> None:
    assert typed.configure("story").returncode == 0

    def state() -> str:
        rows = {row["name"]: row for row in typed.json("list")["endpoints"]}
        return str(rows["story"]["state"])

    assert state() == "stopped"
    assert typed.json("stop", "story")["was_running"] is False
    started = typed.json("start", "story", "--detach")
    assert state() == "running"
    again = typed("start", "story", "--detach")
    assert again.returncode == 1
    assert "runs already" in again.stderr
    assert typed.json("stop", "story")["was_running"] is True
    assert state() == "stopped"
    assert not processes.lives(started["pid"])


def test_an_unknown_endpoint_is_told_with_the_way_to_make_it(typed: Typed) -> None:
    done = typed("start", "nowhere")
    assert done.returncode == 1
    assert "chamberlain-endpoint configure nowhere" in done.stderr


def test_a_killed_supervisor_takes_its_programs_along(typed: Typed) -> None:
    assert typed.configure("orphans").returncode == 0
    os.kill(typed.json("start", "orphans", "--detach")["pid"], signal.SIGKILL)
    config = str(typed.folder / "orphans" / "config.yaml")
    assert wait_until(lambda: processes.with_words(config) == set(), WAIT_S)
    assert typed("start", "orphans", "--detach").returncode == 0
    assert typed.json("stop", "orphans")["was_running"] is True
    assert processes.with_words(config) == set()


def test_a_launcher_that_was_killed_comes_back_and_its_user_endpoints_are_gone(
    open_as: Open, site: Site
) -> None:
    assert open_as(ALICE).submit(abs, -3).result(WAIT_S) == 3
    accounts = site.config_dir / site.name / "accounts"
    served = {pid for pid, _ in processes.standing_below(accounts)}
    assert served
    words = (
        "chamberlain_endpoint.launcher.main",
        str(site.config_dir / site.name / "launcher.toml"),
    )
    (before,) = processes.with_words(*words)
    os.kill(before, signal.SIGKILL)
    assert wait_until(lambda: processes.with_words(*words) - {before} != set(), WAIT_S)
    assert wait_until(lambda: not any(processes.lives(pid) for pid in served), WAIT_S)
    assert open_as(ALICE, MAX_WORKERS=8).submit(abs, -4).result(WAIT_S) == 4
