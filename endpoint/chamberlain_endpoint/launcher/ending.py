"""How the end of a user endpoint is told: to the audit log, and to its owner. Pure."""

from __future__ import annotations

import json

from chamberlain_endpoint.launcher.runtime.port import Exit, StartFailedError


def outcome(exit_: Exit) -> str:
    """Return the one word for it."""
    if exit_.failure:
        return "never ran"
    if exit_.signal:
        return "killed"
    return "failed" if exit_.exit_code else "clean"


def reason(exit_: Exit) -> str:
    """Return what the administrator shall know of it."""
    how = f"signal {exit_.signal}" if exit_.signal else f"exit code {exit_.exit_code}"
    if exit_.failure:
        how = f"{how}; {exit_.failure}"
    elif exit_.left:
        how = f"{how}; {exit_.left} of its processes would not be killed"
    return f"{how}; PAM session {exit_.session}" if exit_.session else how


def tail(exit_: Exit) -> str:
    """Return what the manager reads: its last words, and why it never ran."""
    text = exit_.tail.decode("utf-8", "replace")
    if not exit_.failure:
        return text
    # It never ran, so it could not say so itself in the way that the manager reads.
    message = exit_.public or StartFailedError.public
    return f"{text}\n{json.dumps({'fatal': {'code': str(exit_.code), 'message': message}})}\n"
