"""One researcher's laptop with a stopwatch, for blocks that are Slurm's jobs; see `bench.slurm`.

Reads one JSON object on standard input: `endpoint`, `cold` (one `user_endpoint_config` for each
cold start), `warm` (round trips), `limit_s`. Writes one: times in seconds.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from chamberlain import Executor


def job() -> tuple[float, float]:
    """Return when this job was submitted, and when its script began."""
    import os

    # The provider puts the time of submission behind the name.
    name = os.environ["SLURM_JOB_NAME"]
    return float(".".join(name.split(".")[-2:])), float(os.environ["BENCH_BEGAN"])


def nothing(value: int = 0) -> int:
    """Return the argument: what is measured is the way, not the work."""
    return value


def main() -> None:
    """Answer the question on standard input."""
    question = json.load(sys.stdin)
    limit_s = float(question["limit_s"])
    cold: list[dict[str, float]] = []
    trips: list[float] = []
    for options in question["cold"]:
        with Executor(question["endpoint"], user_endpoint_config=options) as executor:
            started = time.perf_counter()
            submitted, began = executor.submit(job).result(timeout=limit_s)
            all_s = time.perf_counter() - started
            cold.append({"all_s": all_s, "pending_s": began - submitted})
            if options is question["cold"][-1]:
                trips = [_round_trip_s(executor, limit_s) for _ in range(question["warm"])]
    answer: dict[str, Any] = {"cold": cold, "warm_s": sorted(trips)}
    json.dump(answer, sys.stdout)


def _round_trip_s(executor: Executor, limit_s: float) -> float:
    started = time.perf_counter()
    executor.submit(nothing, 1).result(timeout=limit_s)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
