"""Time limits of tasks in a real user endpoint: from its environment, and from callers."""

from __future__ import annotations

import time
from typing import Any

import pytest
from tests.integration.user.conftest import HTEX, PROCESSES, THREADS, Start

from chamberlain_wire import topology
from chamberlain_wire.details import output_of
from chamberlain_wire.messages import Result
from devtools.user_endpoint import HubSide

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]


def code_of(result: Result) -> str | None:
    return None if result.error_details is None else result.error_details.code


def test_a_time_limit_that_is_none_ends_it_with_78(start: Start) -> None:
    process = start(THREADS, environment={"GC_TASK_TIMEOUT": "5 minutes"})
    assert process.wait() == 78
    fatal = process.fatal()
    assert fatal["code"] == "CONFIG_INVALID"
    assert "GC_TASK_TIMEOUT is '5 minutes'" in fatal["message"]
    assert "user_environment.yaml" in fatal["message"]


def nap(seconds: float) -> None:
    print("good night", flush=True)
    while seconds > 0:
        time.sleep(0.01)
        seconds -= 0.01


@pytest.mark.parametrize("config", [THREADS, PROCESSES, HTEX], ids=["threads", "processes", "htex"])
def test_the_time_limits_of_site_and_caller_hold_and_output_comes_along(
    hub: HubSide, start: Start, config: dict[str, Any]
) -> None:
    start(config, environment={"GC_TASK_TIMEOUT": "1.5"})

    def ended(seconds: float, resources: str = "null") -> Result:
        task = hub.submit(nap, seconds, **{topology.HEADER_RESOURCES: resources})
        return hub.await_results([task])[task][0]

    by_site = ended(3600.0)
    assert (code_of(by_site), "longer than 1.5 s" in by_site.data) == ("TASK_TIMEOUT", True)
    output = output_of(by_site)
    assert output is not None
    assert output.stdout.text == "good night\n"
    by_caller = ended(3600.0, '{"task_timeout_s": 0.4}')
    assert (code_of(by_caller), "its caller set" in by_caller.data) == ("TASK_TIMEOUT", True)
    assert code_of(ended(0.05)) is None
    assert "above 0" in ended(0.05, '{"task_timeout_s": "long"}').data
