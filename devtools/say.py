"""Tells a person what is being done: a spinner on a terminal, plain lines elsewhere.

Everything goes to standard error, so that standard output stays what the command promised.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table


class CannotGoOnError(RuntimeError):
    """Something outside our code stops the work; the message says what, and what to do."""


class Reporter:
    """One line a step, with its time. Steps are not nested."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._fancy = self._console.is_terminal and not self._console.is_dumb_terminal

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Say that `text` begins, and how it went when the block ends."""
        started = time.monotonic()
        try:
            if self._fancy:
                with self._console.status(text, spinner="dots"):
                    yield
            else:
                self.line(f"{text} ...")
                yield
        except BaseException:
            self._mark("failed", "red", text, started)
            raise
        self._mark("done", "green", text, started)

    def line(self, text: str) -> None:
        """Say `text`, as it is."""
        self._console.print(text, markup=False)

    def _mark(self, word: str, colour: str, text: str, started: float) -> None:
        took = f"({time.monotonic() - started:.1f} s)"
        if self._fancy:
            self._console.print(f"[{colour}]{word:>6}[/] ", end="")
            self._console.print(f"{text} {took}", markup=False)
        else:
            self.line(f"{text}: {word} {took}")


def print_wide(table: Table) -> None:
    """Print a table on standard output; piped into a file it is not squeezed into 80 columns."""
    is_terminal = Console().is_terminal
    Console(width=None if is_terminal else 160).print(table)


def last_line(passed: int, failed: int, *, to_stderr: bool = False) -> int:
    """Print the closing line that people and machines read; return the exit code for it."""
    sys.stderr.flush()
    stream = sys.stderr if to_stderr else sys.stdout
    print(f"{passed} passed, {failed} failed", file=stream, flush=True)
    return 1 if failed or not passed else 0
