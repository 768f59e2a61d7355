"""The question to the hub that cancels tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from chamberlain.rest import Rest

_AT_ONCE: Final = 1000


def cancel_tasks(
    rest: Rest, task_ids: Sequence[str], *, patience_s: float | None = None
) -> dict[str, str]:
    """Have the hub cancel tasks; return its word for each, see `CancelAnswer`.

    Raises:
        HubError: it refused, or was not there; see `Rest.call`.
    """
    answers: dict[str, str] = {}
    for first in range(0, len(task_ids), _AT_ONCE):
        body = {"task_ids": task_ids[first : first + _AT_ONCE]}
        answers |= rest.post("/v3/tasks/cancel", body, patience_s=patience_s)["tasks"]
    return answers
