"""What the demo says of itself before it begins."""

from __future__ import annotations

import socket
from pathlib import Path

from devtools.demo import why_processes


def test_it_says_in_one_line_why_it_uses_no_containers(tmp_path: Path) -> None:
    engine = tmp_path / "engine.sock"
    said = [why_processes(is_root=False, socket=engine), why_processes(is_root=True, socket=engine)]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(engine))
        said.append(why_processes(is_root=True, socket=engine))
    assert "root" in said[0]
    assert str(engine) in said[1]
    assert "no image" in said[2]
    assert not any("\n" in one for one in said)
