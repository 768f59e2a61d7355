"""What the command line tells the administrator when it cannot do its work."""

from __future__ import annotations

from chamberlain_wire.errors import ChamberlainError


class CommandFailedError(ChamberlainError):
    """The command was understood and could not be carried out; `public` says why, and what
    to do. Ends the program with 1."""

    def __init__(self, sentence: str) -> None:
        super().__init__(public=sentence)
