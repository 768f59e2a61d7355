"""`./dev demo` as a stranger types it: twice, then `--down`; and interrupted."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.privilege.conftest import until

from devtools import rules
from devtools.accounts import MadeAccounts, exists
from devtools.paths import ROOT

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow, pytest.mark.timeout(1500)]

_ACCOUNTS = ("demo-alice", "demo-bob", "chamberlain-hub", "chamberlain")


@pytest.fixture(scope="module")
def demo_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="chtest-demo-") as above:
        Path(above).chmod(0o755)
        folder = Path(above) / "demo"
        yield folder
        _demo(folder, "--down")


def _environment(folder: Path) -> dict[str, str]:
    # Our own PYTHONPATH is not a stranger's, and may name a folder that an account cannot enter.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**environment, "CHAMBERLAIN_DEMO_DIR": str(folder)}


def _demo(
    folder: Path, *arguments: str, checkout: Path = ROOT, account: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "dev", "demo", *arguments],
        env=_environment(folder) | ({"HOME": str(folder.parent)} if account else {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        user=account,
        group=account,
        extra_groups=[] if account else None,
    )


def _processes_of(folder: Path) -> list[str]:
    """Return the command lines of processes that have to do with `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
            below = (entry / "cwd").readlink().is_relative_to(folder)
        except OSError:
            continue
        if below or str(folder).encode() + b"/" in words:
            found.append((entry / "cmdline").read_text().replace("\0", " "))
    return found


def _check_table(runs: list[dict[str, Any]], *, multi: bool = os.geteuid() == 0) -> None:
    assert len(runs) == 5
    by_person: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        by_person.setdefault(run["identity"], []).append(run)
    alice, bob = by_person["alice@example.edu"], by_person["bob@example.edu"]
    (mallory,) = by_person["mallory@elsewhere.org"]
    good = [*alice, *bob] if multi else alice
    for run in good:
        assert run["error"] is None
        assert run["result"]
        assert run["uid"] >= (1000 if multi else 0)
        assert 0 < run["seconds"] < 60
    if multi:
        assert {run["account"] for run in alice}.isdisjoint(run["account"] for run in bob)
    # Another configuration is another user endpoint, another person too.
    assert len({run["user_endpoint"] for run in good}) == len(good)
    for refused in (mallory, *([] if multi else bob)):
        assert refused["account"] is refused["uid"] is refused["result"] is None
        assert "Request payload failed validation" in refused["error"]
        assert "Identity failed to map to a local user name" in refused["error"]
    assert "mallory@elsewhere.org" in mallory["error"]


def test_the_demo_works_twice_and_goes_without_a_trace(demo_folder: Path) -> None:
    before = {name for name in _ACCOUNTS if exists(name)}
    for _ in range(2):
        done = _demo(demo_folder, "--json")
        assert done.returncode == 0, done.stderr
        _check_table(json.loads(done.stdout)["runs"])
        assert done.stderr.splitlines()[-1] == "5 passed, 0 failed"
        assert _processes_of(demo_folder) == []
    done = _demo(demo_folder, "--down")
    assert done.returncode == 0, done.stderr
    assert not demo_folder.exists()
    assert list(demo_folder.parent.iterdir()) == []
    assert {name for name in _ACCOUNTS if exists(name)} == before


@pytest.mark.parametrize(
    ("sign", "begins"),
    [(signal.SIGINT, "Playing"), (signal.SIGTERM, "Calling")],
    ids=["ctrl-c", "terminated"],
)
def test_an_interrupted_demo_leaves_nothing_running(
    demo_folder: Path, sign: signal.Signals, begins: str
) -> None:
    with subprocess.Popen(
        [ROOT / "dev", "demo"],
        env=_environment(demo_folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if line.startswith(begins):
                break
        else:
            pytest.fail(f"the demo ended before it said {begins}")
        # It says what it begins before it begins it.
        until(lambda: bool(_processes_of(demo_folder)), 60)
        running.send_signal(sign)
        running.stderr.read()
    assert running.returncode != 0
    assert _processes_of(demo_folder) == []


def test_two_at_once_are_refused_in_words(demo_folder: Path) -> None:
    lock = demo_folder.with_name(f".{demo_folder.name}.lock")
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = _demo(demo_folder)
    assert done.returncode == 2
    assert "at work" in done.stderr


@pytest.mark.needs_root
def test_an_ordinary_account_gets_the_single_account_form(tmp_path: Path) -> None:
    made = MadeAccounts(tmp_path / "accounts.json")
    with tempfile.TemporaryDirectory(prefix="chtest-single-") as above:
        checkout, folder = Path(above) / "checkout", Path(above) / "demo"
        account = made.ensure("chtestsingle", Path(above) / "home")
        try:
            for path in rules.tracked_files(ROOT):
                copy = checkout / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
            for path in (Path(above), *Path(above).rglob("*")):
                os.chown(path, account.pw_uid, account.pw_gid)
            done = _demo(folder, "--json", checkout=checkout, account="chtestsingle")
            assert done.returncode == 0, done.stderr
            assert "single-account form" in done.stderr
            runs = json.loads(done.stdout)["runs"]
            _check_table(runs, multi=False)
            assert {run["uid"] for run in runs} == {account.pw_uid, None}
            _demo(folder, "--down", checkout=checkout, account="chtestsingle")
            assert not folder.exists()
            assert _processes_of(folder) == []
        finally:
            made.remove_all()
