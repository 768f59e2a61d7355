"""The manager as a process: its exit codes, and that SIGTERM leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.integration.manager.conftest import WAIT_S, StandInHub
from tests.manager_builders import endpoint_folder

from chamberlain_wire.ids import new_id


def start(config: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "chamberlain_endpoint.manager.main", "--config-file", config],
        stderr=subprocess.PIPE,
        text=True,
    )


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_faulty_settings_end_it_with_78_and_all_faults(tmp_path: Path) -> None:
    config = endpoint_folder(tmp_path, heartbeat_perod=1, amqp_port=0)
    process = start(config)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 78
    (line,) = lines(errors)
    assert line["event"] == "manager.ended"
    assert "heartbeat_perod" in str(line["message"])
    assert "amqp_port" in str(line["message"])


def test_a_missing_token_ends_it_with_77(tmp_path: Path) -> None:
    config = endpoint_folder(tmp_path, endpoint_id=new_id())
    (tmp_path / "token").unlink()
    process = start(config)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 77
    assert "token" in str(lines(errors)[-1]["message"])


@pytest.mark.needs_rabbit
@pytest.mark.slow
def test_sigterm_says_good_bye_and_leaves_nothing_behind(hub: StandInHub, config: Path) -> None:
    settings = json.loads(config.read_text())
    settings["launcher_socket"] = str(config.parent / "nobody.sock")
    config.write_text(json.dumps(settings))
    process = start(config)
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    hub.wait(lambda hub: hub.reports[-1].global_state["heartbeat_period"] == 0.0, "good-bye")
    assert not Path(f"/proc/{children[0]}").exists()
    events = [line.get("event") for line in lines(errors)]
    assert "launcher.away" in events
    assert events[-1] == "manager.stopped"
    assert "secret" not in errors
    assert (config.parent / "state").stat().st_mode & 0o777 == 0o700


@pytest.mark.needs_rabbit
@pytest.mark.slow
def test_a_kill_loses_no_wish(hub: StandInHub, config: Path) -> None:
    settings = json.loads(config.read_text())
    settings["launcher_socket"] = str(config.parent / "nobody.sock")
    config.write_text(json.dumps(settings))
    process = start(config)
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    user_endpoint = new_id()
    hub.ask(user_endpoint)
    # Wished, and waiting for a launcher that is not there.
    assert process.stderr is not None
    for line in process.stderr:
        if '"endpoint.wished"' in line:
            break
    process.kill()
    process.communicate(timeout=WAIT_S)
    again = start(config)
    assert again.stderr is not None
    for line in again.stderr:
        if '"launcher.unreachable"' in line:
            assert user_endpoint in line
            break
    again.terminate()
    again.communicate(timeout=WAIT_S)
    assert again.returncode == 0
