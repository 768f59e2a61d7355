"""The manager as a process: its exit codes, and that SIGTERM leaves nothing behind."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import urllib3
from tests.integration.manager.conftest import WAIT_S, StandInHub
from tests.manager_builders import endpoint_folder

from chamberlain_wire.ids import new_id
from devtools.processes import wait_until
from devtools.rabbit import free_ports


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
    assert not psutil.Process(process.pid).children()
    # What renders comes with the first wish.
    hub.ask(new_id())
    assert wait_until(psutil.Process(process.pid).children, WAIT_S)
    (child,) = psutil.Process(process.pid).children()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    hub.wait(lambda hub: hub.reports[-1].global_state["heartbeat_period"] == 0.0, "good-bye")
    assert not child.is_running()
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


@pytest.mark.needs_rabbit
@pytest.mark.slow
def test_prometheus_reads_what_it_sees(hub: StandInHub, config: Path) -> None:
    (port,) = free_ports(1)
    settings = json.loads(config.read_text())
    settings["launcher_socket"] = str(config.parent / "nobody.sock")
    settings["metrics_listen"] = f"127.0.0.1:{port}"
    config.write_text(json.dumps(settings))
    process = start(config)
    hub.wait(lambda hub: hub.reports, "a heartbeat")
    text = urllib3.request("GET", f"http://127.0.0.1:{port}/metrics").data.decode()
    found = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    told = {name.removeprefix("chamberlain_manager_"): float(found[name]) for name in found}
    assert (told["broker_connected"], told["hub_registered"]) == (1, 1)
    assert (told["launcher_up"], told["mapping_in_force"]) == (0, 0)
    assert told['user_endpoints{state="wished"}'] == 0
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0


def test_where_nobody_can_listen_it_ends_with_78(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        config = endpoint_folder(tmp_path, endpoint_id=new_id(), metrics_listen=address)
        process = start(config)
        _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 78
    assert f"metrics_listen: {address}" in str(lines(errors)[-1]["message"])
