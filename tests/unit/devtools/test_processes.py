from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from devtools.processes import Daemon, NotUpError, started_at, wait_until

_SLEEP = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


def test_a_daemon_is_found_and_ended_by_its_pid_file(tmp_path: Path) -> None:
    first = Daemon("sleeper", tmp_path)
    first.start(_SLEEP)
    # Another object, as another process would make it.
    second = Daemon("sleeper", tmp_path)
    assert second.pid == first.pid is not None
    first.stop()
    assert second.pid is None
    assert not (tmp_path / "sleeper.pid").exists()


def test_a_process_that_does_not_hear_is_killed(tmp_path: Path) -> None:
    deaf = (
        "import signal; signal.signal(15, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    )
    daemon = Daemon("deaf", tmp_path)
    daemon.start([sys.executable, "-c", deaf])
    daemon.expect(lambda: "up" in daemon.log.read_text(), 10)
    daemon.stop(grace_s=0.2)
    assert daemon.pid is None


def test_a_number_that_went_to_another_process_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "other.pid").write_text(json.dumps({"pid": os.getpid(), "started_at": "1"}))
    daemon = Daemon("other", tmp_path)
    assert daemon.pid is None
    daemon.stop()  # would end this very test


def test_one_that_ends_at_once_is_told_with_its_log(tmp_path: Path) -> None:
    daemon = Daemon("broken", tmp_path)
    daemon.start([sys.executable, "-c", "raise SystemExit('no such setting')"])
    with pytest.raises(NotUpError, match="no such setting"):
        daemon.expect(lambda: False, 10)


def test_a_process_that_ended_unasked_does_not_run() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    assert wait_until(lambda: started_at(child) is None, 5)
    os.waitpid(child, 0)


def test_waiting_gives_up_at_its_limit() -> None:
    assert not wait_until(lambda: False, 0.01)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
