"""`chamberlain tasks --usage`, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from chamberlain.cli.show import when

HEADS: Final = (*("TASK", "STATE", "FUNCTION", "STARTED", "TOOK", "CPU", "MEMORY", "NODE", "JOB"),)
_MIB: Final = 1024 * 1024


def row(task: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a task as a line of the table; what is not known is empty."""
    head = (
        task["task_id"],
        task.get("state", ""),
        task.get("function_name") or task.get("function_id", ""),
    )
    used = task.get("usage")
    if not used:
        return (*head, "", "", "", "", "", "")
    began, ended = used.get("started_at") or 0.0, used.get("ended_at") or 0.0
    peak = used.get("max_rss_bytes") or 0
    return (
        *head,
        when(began or None),
        f"{max(0.0, ended - began):.2f} s",
        f"{used.get('cpu_s') or 0.0:.2f} s",
        f"{peak / _MIB:.0f} MiB" if peak else "",
        used.get("hostname", ""),
        used.get("job_id", ""),
    )
