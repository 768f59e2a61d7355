"""A runtime without processes: for tests, and for trying out the launcher's rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from chamberlain_endpoint.launcher.runtime.port import (
    TAIL_BYTES,
    Exit,
    News,
    StartFailedError,
    unheard,
)
from chamberlain_endpoint.launcher.spec import LaunchSpec


@dataclass(slots=True)
class _Process:
    spec: LaunchSpec
    written: bytearray = field(default_factory=bytearray)
    is_asked_to_stop: bool = False


class MemoryRuntime:
    """Keeps a table of what would run. The test plays the processes and the clock.

    Attributes:
        started: every spec that was started, oldest first.
        refuse_starts: while set, every start fails with this text.
        staying: those that go on when the launcher leaves.
        tell: plays that a running user endpoint, or its keeper, told something.
    """

    def __init__(self) -> None:
        self.started: list[LaunchSpec] = []
        self.refuse_starts = ""
        self.staying: set[str] = set()
        self._processes: dict[str, _Process] = {}
        self._on_exit: Callable[[Exit], None] | None = None
        self.tell: Callable[[News], None] = unheard

    def open(
        self, on_exit: Callable[[Exit], None], on_news: Callable[[News], None] = unheard
    ) -> None:
        """Call `on_exit` for each user endpoint that is gone, `on_news` for what is played."""
        self._on_exit = on_exit
        self.tell = on_news

    def start(self, spec: LaunchSpec) -> None:
        """Note that `spec` runs."""
        if self.refuse_starts:
            raise StartFailedError(self.refuse_starts)
        if spec.user_endpoint in self._processes:
            raise ValueError(f"{spec.user_endpoint} runs already")
        self._processes[spec.user_endpoint] = _Process(spec)
        self.started.append(spec)

    def pid_of(self, user_endpoint: str) -> int:
        """Return the number of its start."""
        names = [spec.user_endpoint for spec in self.started]
        return names.index(user_endpoint) + 1 if user_endpoint in self._processes else 0

    def is_running(self, user_endpoint: str) -> bool:
        """Tell whether it was started and has not ended."""
        return user_endpoint in self._processes

    def stop(self, user_endpoint: str, grace_s: float) -> None:
        """Note the wish; without grace, kill at once."""
        process = self._processes.get(user_endpoint)
        if process is None:
            return
        process.is_asked_to_stop = True
        if grace_s <= 0:
            self.end(user_endpoint, signal=9)

    def stays(self, user_endpoint: str) -> bool:
        """Tell whether it is among `staying`."""
        return user_endpoint in self.staying

    def close(self) -> None:
        """Forget all."""
        self._processes.clear()

    def is_asked_to_stop(self, user_endpoint: str) -> bool:
        """Tell whether somebody asked it to end."""
        return self._processes[user_endpoint].is_asked_to_stop

    def write(self, user_endpoint: str, data: bytes) -> None:
        """Play that it wrote `data` on standard error."""
        written = self._processes[user_endpoint].written
        written += data
        del written[:-TAIL_BYTES]

    def end(self, user_endpoint: str, *, exit_code: int = 0, signal: int | None = None) -> None:
        """Play its end; with `signal`, a violent one."""
        process = self._processes.pop(user_endpoint)
        assert self._on_exit is not None, "open() comes first"
        code = None if signal is not None else exit_code
        self._on_exit(Exit(user_endpoint, code, signal, bytes(process.written)))
