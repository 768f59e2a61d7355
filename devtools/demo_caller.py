"""One researcher's laptop: runs the function of `examples/hello.py` once, through the SDK.

Started by the demo with the SDK's own Python and the researcher's environment. Reads one JSON
object on standard input and writes one on standard output; what went wrong is in `error`.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from typing import Any

from chamberlain import Executor

_LIMIT_S = 120.0


def call(question: dict[str, Any]) -> dict[str, Any]:
    """Return what became of one call.

    Args:
        question: `example` (path of the file), `endpoint`, `options`, and `limit_s` if the result
            may take longer than usual.
    """
    spec = importlib.util.spec_from_file_location("hello", question["example"])
    if spec is None or spec.loader is None:
        raise FileNotFoundError(question["example"])
    example = importlib.util.module_from_spec(spec)
    sys.modules["hello"] = example
    spec.loader.exec_module(example)
    answer: dict[str, Any] = {"task_id": None, "result": None, "error": None}
    started = time.monotonic()
    with Executor(question["endpoint"], user_endpoint_config=question["options"]) as executor:
        future = executor.submit(example.hello)
        answer["task_id"] = future.task_id
        try:
            answer["result"] = future.result(timeout=question.get("limit_s", _LIMIT_S))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the demo's answer
            answer["error"] = getattr(error, "public", None) or str(error) or repr(error)
        answer["seconds"] = round(time.monotonic() - started, 3)
    return answer


def main() -> None:
    """Answer the question on standard input."""
    json.dump(call(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
