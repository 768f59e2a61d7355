"""What an engine asks of whoever gives it nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from chamberlain_wire.errors import ChamberlainError, ErrorCode


class BlockRefusedError(ChamberlainError):
    """The block could not be started. Tell the caller `public`; a repeat may fail alike."""

    code = ErrorCode.START_FAILED
    public = "The scheduler did not take the job of the workers."


@dataclass(frozen=True, slots=True)
class BlockEnded:
    """A block is gone, on purpose or not.

    Attributes:
        how: such as `ended with exit code 1`.
        tail: the end of what it printed.
    """

    block: str
    how: str
    tail: str


OnEnded = Callable[[BlockEnded], None]


class Blocks(Protocol):
    """Starts and ends blocks of nodes. One thread, which lives as long as the blocks."""

    def launch(self, block: str, command: str, on_ended: OnEnded) -> None:
        """Start the shell command `command` on the nodes of a new block named `block`.

        `on_ended` is called once, from any thread, when it has ended.

        Raises:
            BlockRefusedError: nothing was started.
        """

    def cancel(self, block: str) -> None:
        """End a block and all that it started; no effect when it is gone."""

    def stop(self) -> None:
        """End all blocks and return when they are gone. Nobody is told any more."""
