"""What the demo says of itself before it begins."""

from __future__ import annotations

import socket
from pathlib import Path

from devtools.demo import why_processes
from devtools.demo_containers import first_fault, why_not


def test_it_says_in_one_line_why_it_uses_no_containers(tmp_path: Path) -> None:
    engine = tmp_path / "engine.sock"
    reasons = [why_not(is_root=False, socket=engine), why_not(is_root=True, socket=engine)]
    assert "root" in reasons[0]
    assert str(engine) in reasons[1]
    said = [why_processes(reason) for reason in reasons]
    assert all(reason in one for reason, one in zip(reasons, said, strict=True))
    assert not any("\n" in one for one in said)


def test_where_an_engine_answers_containers_are_tried(tmp_path: Path) -> None:
    engine = tmp_path / "engine.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(engine))
        assert why_not(is_root=True, socket=engine) == ""


def test_only_what_a_container_cannot_be_without_speaks_against_them() -> None:
    links = [
        {"link": "engine", "state": "good", "said": "answers"},
        {"link": "munge", "state": "bad", "said": "no munged"},
    ]
    assert first_fault(links) == ""
    broken = {"link": "container", "state": "bad", "said": "not_isolated"}
    assert first_fault([*links, broken]) == "container: not_isolated"
