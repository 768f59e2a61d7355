"""What a task printed, as its owner gets it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chamberlain_wire.details import Output, output_of
from chamberlain_wire.messages import Result


@dataclass(frozen=True, slots=True)
class TaskLogs:
    """The end of what a task printed.

    Attributes:
        captured: False: there is nothing, and `reason` says why.
        reason: a sentence; empty when it was captured.
        stdout: text; what is no UTF-8 is replaced.
        stderr: the same of standard error.
        stdout_cut_bytes: how much more there was before `stdout`; 0: it is all of it.
        stderr_cut_bytes: the same of standard error.
    """

    task_id: str
    captured: bool = True
    reason: str = ""
    stdout: str = ""
    stderr: str = ""
    stdout_cut_bytes: int = 0
    stderr_cut_bytes: int = 0

    def __str__(self) -> str:
        """All of it for a terminal: standard output, then standard error, with notes."""
        parts = [
            _shown("standard output", self.stdout, self.stdout_cut_bytes),
            _shown("standard error", self.stderr, self.stderr_cut_bytes),
        ]
        return "".join(parts) if self.captured else f"({self.reason})\n"


def from_result(result: Result) -> TaskLogs | None:
    """Return the logs that came with `result`; None when the hub knows more than it says."""
    output = output_of(result)
    if output is None or not output.captured:
        return None
    return _of_output(result.task_id, output)


def from_document(document: Mapping[str, Any]) -> TaskLogs:
    """Return the logs in an answer of the hub."""
    out, err = document["stdout"], document["stderr"]
    return TaskLogs(
        task_id=str(document["task_id"]),
        captured=bool(document["captured"]),
        reason=str(document["reason"]),
        stdout=str(out["text"]),
        stderr=str(err["text"]),
        stdout_cut_bytes=int(out["cut_bytes"]),
        stderr_cut_bytes=int(err["cut_bytes"]),
    )


def _of_output(task_id: str, output: Output) -> TaskLogs:
    return TaskLogs(
        task_id=task_id,
        stdout=output.stdout.text,
        stderr=output.stderr.text,
        stdout_cut_bytes=output.stdout.cut_bytes,
        stderr_cut_bytes=output.stderr.cut_bytes,
    )


def _shown(name: str, text: str, cut_bytes: int) -> str:
    note = f"[{name}: {cut_bytes} bytes before this were cut off]\n" if cut_bytes else ""
    newline = "" if not text or text.endswith("\n") else "\n"
    return f"{note}{text}{newline}"
