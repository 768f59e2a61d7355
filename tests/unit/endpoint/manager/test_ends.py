"""What the owner of a user endpoint reads when it ended."""

from __future__ import annotations

import pytest

from chamberlain_endpoint.launcher.protocol import Ended
from chamberlain_endpoint.manager.ends import explain_end, unknown_end
from chamberlain_wire.ids import new_id


def ended(exit_code: int | None, *, signal: int | None = None, tail: str = "") -> Ended:
    return Ended(new_id(), new_id(), exit_code, signal, tail, at=0.0)


FATAL = '{"fatal": {"code": "CONFIG_INVALID", "message": "no such queue"}}'


@pytest.mark.parametrize(
    ("end", "code", "words"),
    [
        (ended(0, tail=FATAL), "", ""),
        (ended(78, tail=f"noise\n{FATAL}\n\n"), "CONFIG_INVALID", "no such queue"),
        (ended(70, tail=f"{FATAL}\nnoise"), "START_FAILED", "exit code 70; the last that it wrote"),
        (ended(1, tail="Traceback\nImportError: x"), "START_FAILED", "ImportError: x"),
        (ended(1), "START_FAILED", "exit code 1 without a word"),
        (ended(None, signal=9), "START_FAILED", "signal 9 (SIGKILL)"),
        (ended(None, signal=99), "START_FAILED", "signal 99."),
        (ended(None, signal=9, tail="x\nended: no memory\n"), "START_FAILED", "KILL): no memory."),
        (ended(None, signal=9, tail="a word"), "START_FAILED", "signal 9 (SIGKILL)."),
        (ended(70, tail='{"fatal": {"code": "X", "message": "y"}}'), "START_FAILED", "exit code"),
        (ended(70, tail='{"fatal": 7}'), "START_FAILED", "exit code"),
        (ended(70, tail='{"fatal": {"code": "INTERNAL", "message": 7}}'), "START_FAILED", "exit"),
        (unknown_end(new_id(), new_id(), 0.0), "START_FAILED", "launcher was restarted"),
    ],
)
def test_the_end_is_explained(end: Ended, code: str, words: str) -> None:
    told_code, told = explain_end(end)
    assert told_code == code
    assert words in told


def test_a_long_last_line_is_cut() -> None:
    assert len(explain_end(ended(1, tail="x" * 4096))[1]) < 400
