"""Whether workers are of the versions that their user endpoint is of, and a sentence if not.

Python's minor and Parsl's version are compared by Parsl when a node registers, ours by the first
worker's answer. Others would fail as well, but later and in words that nobody understands.
"""

from __future__ import annotations

import platform
import re
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any, Final

from chamberlain_endpoint.engine.port import EngineStartError

_OURS: Final = "chamberlain"
_TOLD: Final = re.compile(r"py\.v=(\S+) parsl\.v=(\S+)")
"""In the text of Parsl's VersionMismatch, which comes wrapped: the node's first, then ours."""

_REMEDY: Final = (
    "Workers need the same versions: let worker_init choose such an environment, or install them "
    "on the nodes."
)


class OtherVersionsError(EngineStartError):
    """Workers of other versions than ours connected. More of them are of no use."""


def judged(answer: Future[Any]) -> Future[Any]:
    """Return `answer`, the end of a knock, with an error when versions differ."""
    error = answer.exception()
    text = _strange(answer.result()) if error is None else _mismatch(str(error))
    if not text:
        return answer
    judgement: Future[Any] = Future()
    judgement.set_exception(OtherVersionsError(text, public=text))
    return judgement


def _strange(told: Any) -> str:
    node, *_, theirs = told
    ours = version(_OURS)
    # An older one told only its process id there.
    if theirs == ours:
        return ""
    named = theirs if isinstance(theirs, str) else "an older version"
    python = f"Python {platform.python_version()}"
    return _met(f"Chamberlain {named}", f"Chamberlain {ours} ({python})", f"node {node}")


def _met(theirs: str, ours: str, where: str) -> str:
    return f"{where} has {theirs}, the user endpoint has {ours}. {_REMEDY}"


def _mismatch(error: str) -> str:
    met = [f"Python {python} with Parsl {parsl}" for python, parsl in _TOLD.findall(error)]
    return _met(met[0], met[1], "a node") if len(met) == 2 else ""
