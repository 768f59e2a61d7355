"""What ends the manager, and with which exit code.

The codes are those of the public agent, so that a site's supervision rules go on working;
here each has one meaning only.
"""

from __future__ import annotations

from enum import IntEnum

from chamberlain_wire.errors import ChamberlainError


class Exit(IntEnum):
    """Exit codes of the manager."""

    STOPPED = 0
    REGISTRATION_INVALID = 65
    ENDPOINT_UNAVAILABLE = 69
    UNEXPECTED_ANSWER = 70
    HELD = 73
    NOT_AUTHORIZED = 77
    CONFIG = 78


class FatalError(ChamberlainError):
    """The manager cannot go on until somebody changes something. Say why, and end.

    Attributes:
        exit_code: what the process ends with.
    """

    def __init__(self, exit_code: Exit, public: str) -> None:
        super().__init__(public, public=public)
        self.exit_code = exit_code
