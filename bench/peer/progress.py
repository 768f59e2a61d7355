"""A bar on a terminal, plain lines elsewhere; on standard error."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


class Bar:
    """How much of the measuring is done, and what is being measured."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._done = 0
        self._began = time.monotonic()
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._fancy = self._console.is_terminal and not self._console.is_dumb_terminal
        self._progress = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            transient=True,
        )
        self._task = self._progress.add_task("", total=total)

    def __enter__(self) -> Bar:
        if self._fancy:
            self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fancy:
            self._progress.stop()

    def step(self, text: str) -> None:
        """Say that the next measurement begins."""
        if self._fancy:
            self._progress.update(self._task, completed=self._done, description=text)
        else:
            passed = f"{time.monotonic() - self._began:.0f} s"
            self._console.print(f"({self._done + 1}/{self._total}, {passed}) {text}", markup=False)
        self._done += 1
