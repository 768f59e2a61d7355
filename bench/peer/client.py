"""A laptop with a stopwatch and one of the two SDKs. A program of its own: needs nothing else.

Reads one JSON object on standard input: `sdk` (`ours` or `public`), `endpoint`, `hub_url`,
`token`, `options` (of the user endpoint), `limit_s`, and `jobs`, a list of `[name, argument]`.
Writes a line of JSON for each job: what it found, times in seconds. Jobs: `cold`, `trips`
(how many), `rate` (how many tasks), `together` (a list of options), `where`.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any


def pause_s(number: int) -> float:
    """Return how long to wait before round trip `number`: evenly spread over half a second.

    The public packages work in ticks of half a second. One trip right after another would
    always begin at the start of a tick, and always wait for the whole of it.
    """
    return 0.5 * (number * 0.6180339887 % 1)


# It stands in the script itself, so that both SDKs send it by value.
def nothing(value=0):  # type: ignore[no-untyped-def]
    """Return the argument: what is measured is the way, not the work."""
    return value


class Laptop:
    """One SDK at one user endpoint."""

    def __init__(self, asked: dict[str, Any]) -> None:
        self._asked = asked
        self._limit_s = float(asked["limit_s"])
        self._executor = self._ours() if asked["sdk"] == "ours" else self._public()

    def close(self) -> None:
        """Let go of the SDK."""
        self._executor.shutdown()

    def cold(self, _: Any) -> list[float]:
        """Time the first task; nothing ran with these options before."""
        return [self._trip_s()]

    def trips(self, count: int) -> list[float]:
        """Time tasks, none before the one before has come back; the first does not count."""
        self._trip_s()
        times = []
        for number in range(count):
            time.sleep(pause_s(number))
            times.append(self._trip_s())
        return times

    def rate(self, count: int) -> list[float]:
        """Return tasks a second, from the first submit to the last result."""
        started = time.perf_counter()
        futures = [self._executor.submit(nothing, number) for number in range(count)]
        for number, future in enumerate(futures):
            if future.result(timeout=self._limit_s) != number:
                raise AssertionError(f"task {number} came back with another value")
        return [count / (time.perf_counter() - started)]

    def together(self, many: list[dict[str, Any]]) -> list[float]:
        """Time until the last of these user endpoints has given its first result."""
        started = time.perf_counter()
        futures = []
        for options in many:
            self._executor.user_endpoint_config = options
            futures.append(self._executor.submit(nothing))
        for future in futures:
            future.result(timeout=self._limit_s)
        return [time.perf_counter() - started]

    def where(self, _: Any) -> str:
        """Return the id of the user endpoint. Only with our SDK."""
        client = self._executor.client
        batch = client.create_batch(user_endpoint_config=self._asked["options"])
        batch.add(client.register_function(nothing))
        return str(client.batch_run(self._asked["endpoint"], batch)["endpoint_id"])

    def _trip_s(self) -> float:
        started = time.perf_counter()
        self._executor.submit(nothing, 1).result(timeout=self._limit_s)
        return time.perf_counter() - started

    def _ours(self) -> Any:
        from chamberlain import Client, Executor

        client = Client(self._asked["hub_url"], self._asked["token"])
        options = self._asked["options"]
        return Executor(self._asked["endpoint"], client, user_endpoint_config=options)

    def _public(self) -> Any:
        # It stands in an environment of its own, never in ours.
        import globus_sdk  # type: ignore[import-not-found]
        from globus_compute_sdk import Client, Executor  # type: ignore[import-not-found]

        login = globus_sdk.AccessTokenAuthorizer(self._asked["token"])
        return Executor(
            endpoint_id=self._asked["endpoint"],
            client=Client(local_compute_services=True, authorizer=login),
            user_endpoint_config=self._asked["options"],
            # The most that it takes: by default each call after the fourth waits for seconds.
            api_burst_limit=8,
            api_burst_window_s=1,
        )


def main() -> None:
    """Do the jobs, each with its line."""
    asked = json.load(sys.stdin)
    laptop = Laptop(asked)
    for name, argument in asked["jobs"]:
        print(json.dumps(getattr(laptop, name)(argument)), flush=True)
    laptop.close()


if __name__ == "__main__":
    main()
