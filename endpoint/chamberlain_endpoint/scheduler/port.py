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


class SchedulerSilentError(ChamberlainError):
    """The scheduler does not answer: nothing is known, and nothing has ended. Ask again later."""

    code = ErrorCode.START_FAILED
    public = "The scheduler does not answer."


@dataclass(frozen=True, slots=True)
class BlockEnded:
    """A block is gone, on purpose or not.

    Attributes:
        how: such as `ended with exit code 1`; goes on after `The workers`.
        tail: the end of what it printed.
        todo: a sentence for the caller: what to do about it; may be empty.
        again: whether another one may fare better.
        never_began: `how` says that it never ran.
    """

    block: str
    how: str
    tail: str
    todo: str = ""
    again: bool = True
    never_began: bool = False


@dataclass(frozen=True, slots=True)
class BlockState:
    """One block as its scheduler sees it, for a status.

    Attributes:
        state: `asked`, `queued`, `running` or `ended`.
        reason: the scheduler's word for why it waits; may be empty.
        meaning: the same in a sentence; empty when there is none.
        for_s: since when it is so.
    """

    block: str
    job: str
    state: str
    reason: str
    meaning: str
    for_s: float


@dataclass(frozen=True, slots=True)
class BlocksState:
    """All blocks that live.

    Attributes:
        silent_s: how long the scheduler has not answered; 0: it does.
        silence: what was seen instead of an answer.
    """

    blocks: tuple[BlockState, ...] = ()
    silent_s: float = 0.0
    silence: str = ""


OnEnded = Callable[[BlockEnded], None]


class Blocks(Protocol):
    """Starts and ends blocks of nodes. One thread, which lives as long as the blocks."""

    def launch(self, block: str, command: str, on_ended: OnEnded) -> None:
        """Start the shell command `command` on the nodes of a new block named `block`.

        `on_ended` is called once, from any thread, when it has ended.

        Raises:
            BlockRefusedError: nothing was started.
            SchedulerSilentError: it may have been started, or not. Launch the same block again
                later: one that was started is found then.
        """

    def cancel(self, block: str) -> None:
        """End a block and all that it started; no effect when it is gone."""

    def state(self) -> BlocksState:
        """Return how the blocks are. From any thread; never waits."""

    def stop(self) -> None:
        """End all blocks and return when they are gone. Nobody is told any more."""
