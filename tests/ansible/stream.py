"""A person who goes on submitting, from far away, until a file appears; then counts what came.

Usage: stream.py ENDPOINT_ID FOLDER. Makes the file `begun` in FOLDER when tasks come back, and ends
when there is a file `stop`. Prints one JSON object: how many tasks there were, and each fault. Most
tasks are short; some are longer than what a user endpoint that is merely stopped would wait for.
"""

import json
import sys
import time
from pathlib import Path

from chamberlain import Executor

_PACE_S = 0.25
_LONG_S = 12.0
_ANSWER_S = 600.0


def work(number: int, seconds: float) -> int:
    """Take `seconds`, and return `number`."""
    import time

    time.sleep(seconds)
    return number


def main(endpoint: str, folder: Path) -> dict[str, object]:
    """Submit until `stop` is there; return what became of all tasks."""
    futures = []
    with Executor(endpoint_id=endpoint) as executor:
        while not (folder / "stop").exists():
            if futures and futures[0].done():
                (folder / "begun").touch()
            number = len(futures)
            seconds = _LONG_S if number % 40 == 5 else 0.05
            futures.append(executor.submit(work, number, seconds))
            time.sleep(_PACE_S)
        faults = []
        for number, future in enumerate(futures):
            error = future.exception(timeout=_ANSWER_S)
            if error is not None or future.result() != number:
                faults.append(f"{number}: {error}")
    return {"tasks": len(futures), "faults": faults}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
