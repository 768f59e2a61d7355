"""How long tasks may take here: what the site says at the start, what a caller says of a task."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from chamberlain_endpoint.engine import time_limit
from chamberlain_endpoint.rendered.task_timeout import from_environment
from chamberlain_wire.errors import InvalidMessageError


def of_site(
    configured_s: float | None, environment: Mapping[str, str] = os.environ
) -> float | None:
    """Return the limit of all tasks in seconds: the shorter of the configuration's and
    GC_TASK_TIMEOUT's; None is no limit.

    Raises:
        BadLimitError: GC_TASK_TIMEOUT is no number of seconds. Do not serve.
    """
    limits = (configured_s, from_environment(environment))
    return min((one for one in limits if one is not None), default=None)


def split(resources: dict[str, object] | None) -> tuple[dict[str, object] | None, float | None]:
    """Return a resource specification without its time limit, and the limit in seconds.

    Raises:
        InvalidMessageError: the limit is no positive number. End the task with `public`.
    """
    if not resources or time_limit.KEY not in resources:
        return resources, None
    rest = {key: value for key, value in resources.items() if key != time_limit.KEY}
    given = resources[time_limit.KEY]
    if isinstance(given, bool) or not isinstance(given, int | float):
        given = math.nan
    if not (math.isfinite(given) and given > 0):
        raise InvalidMessageError(
            public=f"{time_limit.KEY} in the resource specification must be a number of seconds "
            "above 0."
        )
    return rest or None, float(given)
