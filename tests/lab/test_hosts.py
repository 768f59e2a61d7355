"""The hosts of a lab: booted, of one cluster, and gone without a trace when they go."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.lab import cgroups, inside, looks, state
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.paths import ROOT
from devtools.processes import started_at, wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    # The first test of a machine builds the hosts' Debian.
    pytest.mark.timeout(1500),
]
GONE_S = 60.0

OWNER = """\
import sys, time
from devtools.lab.lab import Lab
from devtools.lab.plan import Plan
from devtools.say import Reporter
Lab(sys.argv[1]).up(Plan(only=("login",)), Reporter(), bare=True)
print("up", flush=True)
sys.stdin.read()
"""


def test_every_host_booted_without_a_failed_unit(lab: Lab) -> None:
    seen = looks.look(lab)
    assert {host.name: (host.state, host.failed) for host in seen.hosts} == dict.fromkeys(
        ("hub", "login", "node1", "node2"), ("running", ())
    )
    assert "idle" in seen.scheduler


def test_a_job_runs_on_the_node_as_the_account_that_sent_it(lab: Lab) -> None:
    words = ["timeout", "60", "srun", "sh", "-c", "hostname; id -un; pwd; touch ~/was-here"]
    done = lab.run(LOGIN, ["sh", "-c", 'cd && exec "$@"', "sh", *words], user="alice")
    assert done.stdout.split() == ["node1", "alice", "/home/alice"]
    assert lab.run(LOGIN, ["stat", "-c", "%U", "/home/alice/was-here"]).stdout == "alice\n"


def test_munge_says_on_another_host_who_asked(lab: Lab) -> None:
    sealed = lab.run(LOGIN, ["munge", "-n"], user="bob").stdout
    opened = lab.run("node1", ["unmunge"], given=sealed).stdout
    assert "bob (1002)" in opened


def test_podman_answers_on_its_socket_for_root_alone(lab: Lab) -> None:
    ask = ["curl", "-s", "--unix-socket", "/run/podman/podman.sock", "http://lab/_ping"]
    assert lab.run(LOGIN, ask).stdout == "OK"
    assert lab.run(LOGIN, ask, user="alice", check=False).returncode != 0


def test_ssh_opens_a_session_with_the_key_of_this_lab(lab: Lab) -> None:
    done = subprocess.run(
        lab.ssh("node1", ["hostname"]), capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "node1\n"), done.stderr


def test_hosts_reach_one_another_and_nothing_else(lab: Lab) -> None:
    lab.run(LOGIN, ["ping", "-c", "1", "-W", "10", "node1"])
    assert lab.run(LOGIN, ["ip", "route"]).stdout.split()[0] == "10.77.0.0/24"
    assert "default" not in lab.run(LOGIN, ["ip", "route"]).stdout


def test_what_goes_on_holds_no_output_of_whoever_brought_the_lab_up(lab: Lab) -> None:
    supervisor = lab.facts.supervisor
    for pid in (supervisor, parent_of(supervisor)):
        error = Path(f"/proc/{pid}/fd/2").readlink()
        assert error.is_relative_to(state.folder(lab.name))


def test_a_command_that_takes_too_long_is_ended_and_told(lab: Lab) -> None:
    with pytest.raises(inside.InsideError, match="login: sleep 600: not done within 1 s"):
        lab.run(LOGIN, ["sleep", "600"], limit_s=1.0)
    assert wait_until(
        lambda: not lab.run(LOGIN, ["pgrep", "-f", "^sleep 600"], check=False).stdout, GONE_S
    )


@pytest.fixture
def second() -> Iterator[subprocess.Popen[str]]:
    """A process that owns a second lab, beside the first, with the same addresses."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, f"second-{os.getpid()}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        text=True,
    )
    try:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "up\n"
        yield owner
    finally:
        owner.kill()
        owner.communicate()
        Lab(f"second-{os.getpid()}").down()


@pytest.mark.parametrize("victim", ["owner", "keeper", "supervisor"])
def test_whoever_is_killed_a_lab_leaves_nothing_behind(
    lab: Lab, second: subprocess.Popen[str], victim: str
) -> None:
    name = f"second-{os.getpid()}"
    facts = Lab(name).facts
    keeper = parent_of(facts.supervisor)
    hosts = [host.nspawn for host in facts.hosts.values()]
    everybody = [keeper, facts.supervisor, *hosts, *(one.leader for one in facts.hosts.values())]
    pids = [pid for pid in everybody if pid is not None]
    assert len(pids) == 2 + 2 * len(facts.hosts)
    assert cgroups.left(name)

    os.kill({"owner": second.pid, "keeper": keeper, "supervisor": facts.supervisor}[victim], 9)

    assert wait_until(lambda: not state.folder(name).exists(), GONE_S)
    assert wait_until(lambda: not any(map(started_at, pids)), GONE_S)
    assert cgroups.left(name) == []
    assert name not in Path("/proc/mounts").read_text()
    assert lab.run(HUB, ["hostname"]).stdout == "hub\n"


def test_what_a_wholly_killed_lab_leaves_goes_with_the_next_one(
    second: subprocess.Popen[str],
) -> None:
    name = f"second-{os.getpid()}"
    facts = Lab(name).facts
    keeper = parent_of(facts.supervisor)
    for pid in (keeper, facts.supervisor, second.pid):
        os.kill(pid, signal.SIGSTOP)  # so that nobody clears up after another
    for pid in (keeper, facts.supervisor, second.pid):
        os.kill(pid, signal.SIGKILL)
    assert wait_until(lambda: not state.is_held(name), GONE_S)
    assert name in state.sweep()
    assert not state.folder(name).exists()
    assert cgroups.left(name) == []


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
