"""Ports at which workers will meet an interchange: nobody else's until it listens there."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint.engine.meeting import Meeting, arrange
from chamberlain_endpoint.engine.port import EngineStartError
from chamberlain_endpoint.rendered import parse, settled


def engine(**changes: Any) -> settled.HtexEngine:
    checked = parse({"engine": {"type": "GlobusComputeEngine", **changes}})
    read = settled.read(checked.model_dump(mode="json")).engine
    assert isinstance(read, settled.HtexEngine)
    return read


def ports(meeting: Meeting) -> set[int]:
    return {meeting.port, meeting.recall_port}


def four_free_ports() -> tuple[int, int]:
    """Return the first and the one behind the last of ports that nobody has now."""
    for first in range(57000, 58000, 4):
        probes = [socket.socket() for _ in range(4)]
        try:
            for number, probe in enumerate(probes):
                probe.bind(("127.0.0.1", first + number))
            return first, first + 4
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()
    raise AssertionError("no four free ports in a row")


def test_engines_that_start_at_the_same_time_get_different_ports(tmp_path: Path) -> None:
    span = four_free_ports()
    config = engine(worker_port_range=span)
    first, second = arrange(config, tmp_path / "1"), arrange(config, tmp_path / "2")
    assert ports(first) | ports(second) == set(range(*span))
    with pytest.raises(EngineStartError, match=f"between {span[0]} and {span[1]} is free"):
        arrange(config, tmp_path / "3")
    first.release()
    third = arrange(config, tmp_path / "4")
    assert ports(third) == ports(first)
    second.release()
    third.release()


def test_an_interchange_listens_on_a_port_that_is_held_for_it(tmp_path: Path) -> None:
    from chamberlain_endpoint.engine.parsl_engine import Interchange

    config = engine()
    meeting = arrange(config, tmp_path / "meeting")
    interchange = Interchange(config, meeting, lambda how: None)
    try:
        interchange.start()
        with socket.create_connection(("127.0.0.1", meeting.port), timeout=30):
            pass
    finally:
        interchange.stop()
        meeting.release()


def test_an_interchange_without_its_port_says_so_at_once(tmp_path: Path) -> None:
    from chamberlain_endpoint.engine.parsl_engine import Interchange

    with socket.create_server(("127.0.0.1", 0)) as other:
        config = engine(worker_port=other.getsockname()[1])
        meeting = arrange(config, tmp_path / "meeting")
        interchange = Interchange(config, meeting, lambda how: None)
        try:
            # Killed would be what happens to one that hangs.
            with pytest.raises(EngineStartError, match=r"exit code 1.*already in use") as caught:
                interchange.start()
        finally:
            interchange.stop()
            meeting.release()
        assert "Traceback" not in caught.value.public
