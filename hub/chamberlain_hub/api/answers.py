"""JSON out.

Not FastAPI's own: tracebacks of the public workers may hold lone surrogates, which are JSON
only when they are escaped.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.responses import Response


def json_answer(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return `document` as an answer."""
    return Response(
        json.dumps(document, separators=(",", ":")).encode("ascii"),
        status,
        headers=dict(headers or {}),
        media_type="application/json",
    )
