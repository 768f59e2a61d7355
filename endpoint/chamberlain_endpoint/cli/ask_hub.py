"""A child without privilege that asks the hub one thing: `configure` runs as root and must
not speak to the network itself.

Reads one JSON object on standard input, writes one on standard output.
"""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any, Final

_TIMEOUT_S: Final = 15.0
# The largest answer is a function with its code.
_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Follows nothing: a redirect would carry the token to another host."""

    def redirect_request(self, *_: object) -> None:
        """Return None: the answer becomes an error."""


def ask(url: str, token: str | None, method: str = "GET") -> dict[str, Any]:
    """Return the JSON object at `url`, or `{"error": sentence}`; both with the hub's `date`."""
    headers = {"Accept": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        # The command line let through http and https only.
        data = b"" if method == "POST" else None
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=_TIMEOUT_S) as answer:
            document = json.loads(answer.read(_MAX_ANSWER_BYTES))
            date = answer.headers.get("Date", "")
    except urllib.error.HTTPError as error:
        date = error.headers.get("Date", "")
        said = f"it answered {error.code} {error.reason}"
        return {"error": said, "status": error.code, "date": date}
    except (OSError, ValueError) as error:
        return {"error": str(getattr(error, "reason", error))}
    if not isinstance(document, dict):
        document = {} if method == "DELETE" else {"error": "it answered no JSON object"}
    return document | {"date": date}


def main() -> None:
    """Answer the question on standard input."""
    question = json.load(sys.stdin)
    method = question.get("method", "GET")
    json.dump(ask(question["url"], question.get("token"), method), sys.stdout)


if __name__ == "__main__":
    main()
