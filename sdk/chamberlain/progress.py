"""Futures in the order in which they end, with a bar for who waits at a terminal."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, cast

F = TypeVar("F", bound="concurrent.futures.Future[Any]")


def as_completed(
    futures: Iterable[F], timeout: float | None = None, *, progress: bool = False
) -> Iterator[F]:
    """Yield `futures` as they end, like `concurrent.futures.as_completed`.

    Args:
        timeout: seconds from now on; then the iterator raises `TimeoutError`.
        progress: show a bar on standard error, with how many are done and how many failed.
            There is none when standard error is no terminal.
    """
    wanted = set(futures)
    ended = cast("Iterator[F]", concurrent.futures.as_completed(wanted, timeout))
    return _with_bar(ended, len(wanted)) if progress else ended


def _with_bar(ended: Iterator[F], total: int) -> Iterator[F]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[failures]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task, failed = bar.add_task("", total=total, failures=""), 0
        for future in ended:
            failed += future.cancelled() or future.exception() is not None
            bar.update(task, advance=1, failures=f"{failed} failed" if failed else "")
            yield future
