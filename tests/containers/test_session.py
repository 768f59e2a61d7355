"""A session of the host's PAM around a container: before its first process, after its last."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests import container_host as containers
from tests.containers.test_container_life import next_launcher
from tests.containers.test_isolation import Box
from tests.launcher_builders import ENDPOINT, UEP
from tests.privilege.pam_service import PERMIT, SESSION, Witness, service

from chamberlain_endpoint.launcher.runtime.port import Exit, SessionOpened
from chamberlain_endpoint.launcher.settings import EngineKind, Mount
from chamberlain_wire.errors import ErrorCode
from devtools.processes import wait_until

pytestmark = [pytest.mark.needs_podman, pytest.mark.needs_root, pytest.mark.slow]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.runtime.close()
    made.loop.close()
    assert containers.of_endpoint(ENDPOINT) == []
    assert kept(made) == []


@pytest.fixture
def witness(box: Box) -> Witness:
    return Witness(box.folder, box.account.uid)


def kept(box: Box) -> list[str]:
    """Return what the launcher keeps of containers and sessions on disk."""
    folder = box.folder / "state" / "containers"
    return [file.name for name in ("leases", "sessions") for file in (folder / name).glob("*")]


def holder() -> int:
    name = "chamberlain_endpoint.launcher.runtime.holder"
    (found,) = [
        one.pid
        for one in psutil.Process().children()
        if one.status() != psutil.STATUS_ZOMBIE and name in one.cmdline()
    ]
    return found


def ended(box: Box) -> Exit:
    box.until(lambda: bool(box.exits))
    (exit_,) = box.exits
    return exit_


def test_it_spans_the_containers_life(box: Box, witness: Witness) -> None:
    with service(PERMIT, witness.line) as pam:
        box.start("serve", pam=pam)
        box.until_serving()
        assert box.news == [SessionOpened(UEP)]
        opened = ["open_session", box.account.uname, pam.service, "chamberlain", "0"]
        # No process of the account's ran when it was opened.
        assert witness.seen() == [opened]
        box.runtime.stop(UEP, 10.0)
        exit_ = ended(box)
    assert (exit_.exit_code, exit_.session) == (0, "closed")
    # Nor when it was closed.
    assert witness.seen() == [opened, ["close_session", *opened[1:]]]
    assert kept(box) == []


def test_its_limits_and_variables_hold_inside_and_widen_nothing(box: Box) -> None:
    conf, env = box.folder / "limits.conf", box.folder / "pam_env.conf"
    name = box.account.uname
    conf.write_text(
        f"{name} soft nofile 301\n{name} hard nofile 402\n{name} - core unlimited\n"
        f"{name} hard stack 16384\n{name} soft stack 4096\n{name} hard cpu 60\n"
    )
    wanted = ("SCRATCH", "HOME", "PATH", "LD_PRELOAD", "PYTHONPATH")
    env.write_text("".join(f"{one} DEFAULT=/from/pam\n" for one in wanted))
    lines = (
        f"session required pam_limits.so conf={conf}",
        f"session required pam_env.so conffile={env} readenv=0",
    )
    with service(PERMIT, *lines) as pam:
        seen = box.look(pam=pam)
        limits = Path(f"/proc/{box.pid()}/limits").read_text()
    assert (seen["files"], seen["core"]) == (301, 0)
    for line in ("open files 301 402", "stack size 4194304 16777216", "cpu time 3600 3600"):
        assert line in " ".join(limits.split()), limits
    assert "SCRATCH" in seen["environment"]
    assert not {"LD_PRELOAD", "PYTHONPATH"} & set(seen["environment"])
    assert "/from/pam" not in box.document().replace("SCRATCH=/from/pam", "")


def test_who_is_refused_gets_no_container(box: Box) -> None:
    notice = box.folder / "nologin"
    notice.write_text("Maintenance until noon.\n")
    with service(f"account required pam_nologin.so file={notice}", SESSION) as pam:
        box.start("serve", pam=pam)
        assert box.runtime.is_running(UEP)
        exit_ = ended(box)
    assert exit_.code is ErrorCode.ACCOUNT_REFUSED
    assert exit_.public.endswith("Maintenance until noon.")
    assert "pam_acct_mgmt: PAM_AUTH_ERR" in exit_.failure
    assert box.news == []
    assert containers.of_endpoint(ENDPOINT) == []
    # It is no matter of the engine's, so nothing else is tried in its place.
    assert not box.runtime.is_running(UEP)
    box.until(lambda: kept(box) == [])


def test_a_stop_that_comes_before_the_container_leaves_nothing(box: Box) -> None:
    with service("account required pam_exec.so /bin/sleep 2", SESSION) as pam:
        box.start("serve", pam=pam)
        box.runtime.stop(UEP, 10.0)
        exit_ = ended(box)
    assert "asked to stop" in exit_.failure
    assert containers.of_endpoint(ENDPOINT) == []
    box.until(lambda: kept(box) == [])


def test_where_the_container_fails_it_is_closed_again(box: Box, witness: Witness) -> None:
    absent = box.folder / "absent"
    absent.mkdir()
    box.use(extra_mounts=(Mount(absent, absent),))
    absent.rmdir()
    with service(PERMIT, witness.line) as pam:
        box.start("serve", pam=pam)
        exit_ = ended(box)
    assert str(absent) in exit_.failure
    assert exit_.session == "closed"
    assert [line[0] for line in witness.seen()] == ["open_session", "close_session"]


def test_the_next_launcher_goes_on_with_it(box: Box, witness: Witness) -> None:
    with service(PERMIT, witness.line) as pam:
        box.start("serve", pam=pam)
        box.until_serving()
        adopted = next_launcher(box)
        box.until(lambda: bool(adopted))
        assert [line[0] for line in witness.seen()] == ["open_session"]
        box.runtime.stop(UEP, 10.0)
        exit_ = ended(box)
    assert (exit_.exit_code, exit_.session) == (0, "closed")
    assert [line[0] for line in witness.seen()] == ["open_session", "close_session"]


def test_an_end_that_no_launcher_saw_closes_it(box: Box, witness: Witness) -> None:
    with service(PERMIT, witness.line) as pam:
        box.start("serve", pam=pam)
        box.until_serving()
        os.kill(box.pid(), signal.SIGKILL)
        # Not a turn of the loop: as if nobody were there.
        assert wait_until(lambda: len(witness.seen()) == 2, 10.0)
        assert witness.seen()[1][0] == "close_session"
        box.runtime.stop(UEP, 0.0)
        assert ended(box).session == "closed"


@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_container_does_not_outlive_its_session(
    box: Box, witness: Witness, is_adopted: bool
) -> None:
    box.use(lease_s=3.0)
    with service(PERMIT, witness.line) as pam:
        box.start("serve", pam=pam)
        box.until_serving()
        pid, keeper = box.pid(), holder()
        if is_adopted:
            next_launcher(box, containers.settings(box.folder, lease_s=3.0))
        os.kill(keeper, signal.SIGKILL)
        exit_ = ended(box)
    assert (exit_.signal, exit_.session) == (9, "not closed: its holder was killed")
    assert not Path(f"/proc/{pid}").exists()
    assert [line[0] for line in witness.seen()] == ["open_session"]


def test_a_limit_that_an_engine_does_not_know_is_said_and_not_dropped(box: Box) -> None:
    conf = box.folder / "limits.conf"
    conf.write_text(f"{box.account.uname} - as 67108864\n")
    with service(PERMIT, f"session required pam_limits.so conf={conf}") as pam:
        box.start("serve", pam=pam)
        if containers.ENGINE is EngineKind.PODMAN:
            box.until_serving()
            limits = Path(f"/proc/{box.pid()}/limits").read_text()
            assert "address space 68719476736 68719476736" in " ".join(limits.split())
            return
        exit_ = ended(box)
    assert "no_such_limit" in exit_.failure
    assert exit_.session == "closed"
