"""GC_TASK_TIMEOUT, the public name of the limit that a site sets all its tasks."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode

VARIABLE: Final = "GC_TASK_TIMEOUT"


class BadLimitError(ChamberlainError):
    """A limit is no number of seconds. Correct it where `public` says."""

    code = ErrorCode.CONFIG_INVALID


def from_environment(environment: Mapping[str, str] = os.environ) -> float | None:
    """Return what GC_TASK_TIMEOUT says, in seconds; None is no limit, and so is 0.

    Raises:
        BadLimitError: it is no number of seconds.
    """
    text = environment.get(VARIABLE)
    if text is None or not text.strip():
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise BadLimitError(
            public=f"{VARIABLE} is {text[:40]!r} in the environment of the user endpoint or its "
            "workers; it must be a number of seconds, such as 600, or 0 for no limit. Correct it "
            "in the site's user_environment.yaml, or in worker_init."
        )
    return seconds or None
