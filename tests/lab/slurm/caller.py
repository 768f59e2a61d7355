"""A researcher's laptop with many questions at once; copied to the hosts, run by the SDK's Python.

Reads one JSON object on standard input: `endpoint`, `limit_s`, and `cases`: name -> `options`,
`function`, `arguments` (one task each). Writes name -> `results`, `error`, `seconds`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from chamberlain import Executor


def where(seconds: float = 0.0) -> dict[str, Any]:
    """Tell where this runs, after a sleep that others can see."""
    import os
    import socket
    import subprocess

    subprocess.run(["sleep", f"{seconds:g}"], check=True)
    return {
        "hostname": socket.gethostname(),
        "job": os.environ.get("SLURM_JOB_ID"),
        "uid": os.getuid(),
        "pid": os.getpid(),
    }


def hog(megabytes: float) -> int:
    """Hold so much memory for a while, and touch all of it."""
    import time

    held = bytearray(b"x" * (int(megabytes) * 1_000_000))
    time.sleep(60.0)
    return len(held)


FUNCTIONS = {"where": where, "hog": hog}


def one_case(endpoint: str, case: dict[str, Any], limit_s: float) -> dict[str, Any]:
    """Return what became of one case's tasks."""
    began = time.monotonic()
    answer: dict[str, Any] = {"results": [], "error": None}
    function = FUNCTIONS[case.get("function", "where")]
    with Executor(endpoint, user_endpoint_config=case["options"]) as executor:
        futures = [executor.submit(function, argument) for argument in case["arguments"]]
        for future in futures:
            try:
                left_s = limit_s - (time.monotonic() - began)
                answer["results"].append(future.result(timeout=max(0.0, left_s)))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the answer
                answer["error"] = getattr(error, "public", None) or str(error) or repr(error)
                for one in futures:
                    one.cancel()
                break
    answer["seconds"] = round(time.monotonic() - began, 2)
    return answer


def main() -> None:
    """Answer the question on standard input."""
    question = json.load(sys.stdin)
    answers: dict[str, Any] = {}

    def run(name: str) -> None:
        case = question["cases"][name]
        answers[name] = one_case(question["endpoint"], case, question["limit_s"])

    threads = [threading.Thread(target=run, args=(name,)) for name in question["cases"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
