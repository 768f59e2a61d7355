"""One researcher's laptop with a stopwatch: measures one engine through the SDK.

Started by `./dev bench` with the SDK's own Python and environment. Reads one JSON object on
standard input, writes one on standard output. Bounded: counts and limits are in the question.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from concurrent.futures import Future
from typing import Any

from chamberlain import Executor


def nothing(value: int = 0) -> int:
    """Return the argument: what is measured is the way, not the work."""
    return value


def measure(question: dict[str, Any]) -> dict[str, Any]:
    """Return the figures of one engine, times in seconds.

    Args:
        question: `endpoint`; `cold` (one `user_endpoint_config` for each cold start); `warm`
            (round trips); `tasks` (at once); `limit_s` (for each wait).
    """
    limit_s = float(question["limit_s"])
    cold = [_cold_start_s(question["endpoint"], options, limit_s) for options in question["cold"]]
    with Executor(question["endpoint"], user_endpoint_config=question["cold"][-1]) as executor:
        executor.submit(nothing).result(timeout=limit_s)
        trips = sorted(_round_trip_s(executor, limit_s) for _ in range(question["warm"]))
        rate, submit_s = _rate(executor, int(question["tasks"]), limit_s)
    return {
        "cold_start_s": round(statistics.median(cold), 3),
        "cold_starts_s": [round(each, 3) for each in cold],
        "warm_p50_s": round(_percentile(trips, 0.50), 4),
        "warm_p95_s": round(_percentile(trips, 0.95), 4),
        "tasks": question["tasks"],
        "tasks_per_s": round(rate, 1),
        "submit_s": round(submit_s, 3),
    }


def _cold_start_s(endpoint: str, options: dict[str, Any], limit_s: float) -> float:
    # Its options are new, so this is a user endpoint that never ran.
    with Executor(endpoint, user_endpoint_config=options) as executor:
        return _round_trip_s(executor, limit_s)


def _round_trip_s(executor: Executor, limit_s: float) -> float:
    started = time.perf_counter()
    executor.submit(nothing, 1).result(timeout=limit_s)
    return time.perf_counter() - started


def _rate(executor: Executor, count: int, limit_s: float) -> tuple[float, float]:
    """Return tasks per second from first submit to last result, and the seconds of submit."""
    started = time.perf_counter()
    futures: list[Future[Any]] = [executor.submit(nothing, number) for number in range(count)]
    submitted_s = time.perf_counter() - started
    deadline = started + limit_s
    for number, future in enumerate(futures):
        if future.result(timeout=max(0.0, deadline - time.perf_counter())) != number:
            raise AssertionError(f"task {number} came back with another value")
    return count / (time.perf_counter() - started), submitted_s


def _percentile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


if __name__ == "__main__":
    json.dump(measure(json.load(sys.stdin)), sys.stdout)
