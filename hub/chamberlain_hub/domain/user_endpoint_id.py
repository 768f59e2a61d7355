"""The id of a user endpoint follows from who asks, where, and for what. Pure.

The same request always reaches the same process; a change of the caller's Python or SDK
makes a new one, because the old one could not read what the caller now sends. So does a change
of the site's template, schema or environment, which the old one was not made with.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from chamberlain_wire.ids import EndpointId, IdentityId

# Fixed for ever: another prefix would give every user endpoint another id.
_PREFIX: Final = b"chamberlain-user-endpoint-v1\x00"

_MAX_DIGEST_CHARS: Final = 64


def derive(
    endpoint: EndpointId,
    identity: IdentityId,
    options: Mapping[str, Any] | None,
    runtime: Mapping[str, Any] | None,
    site: str = "",
) -> EndpointId:
    """Return the id of the user endpoint that serves this request.

    The order of keys does not matter; no options and empty options are the same.

    Args:
        site: the manager's digest of the site's files; empty: it tells none.
    """
    text = json.dumps(
        [endpoint, identity, options or {}, what_matters(runtime), *([site] if site else [])],
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=True,
    )
    digest = hashlib.sha256(_PREFIX + text.encode()).digest()
    # Version 5 is the name-based kind that Python 3.11 knows.
    return EndpointId(str(uuid.UUID(bytes=digest[:16], version=5)))


def site_digest(state: Mapping[str, Any]) -> str:
    """Return the digest in a manager's last heartbeat; empty when it sends none."""
    digest = state.get("site_digest")
    return digest[:_MAX_DIGEST_CHARS] if isinstance(digest, str) else ""


def what_matters(runtime: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what of `user_runtime` makes a difference: Python's and the SDK's versions.

    Python's counts as `major.minor.micro`; its build date and the caller's platform do not.
    """
    if not runtime:
        return {}
    sdk = {
        key: value
        for key, value in runtime.items()
        if key.endswith("_version") and key != "python_version" and isinstance(value, str)
    }
    return {"sdk": sdk, "python": _python_version(runtime)}


def _python_version(runtime: Mapping[str, Any]) -> str:
    """Return the version, whichever way the caller's SDK spelled it; empty if it did not."""
    python = runtime.get("python")
    if isinstance(python, Mapping):
        for field in ("version_tuple", "version_info"):
            parts = python.get(field)
            if isinstance(parts, (list, tuple)) and parts:
                return ".".join(str(part) for part in parts[:3])
    spelled = python.get("version") if isinstance(python, Mapping) else None
    for text in (spelled, runtime.get("python_version")):
        if isinstance(text, str) and text.split():
            return ".".join(text.split()[0].split(".")[:3])
    return ""
