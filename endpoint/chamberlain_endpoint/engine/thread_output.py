"""The end of what a task prints, caught in one thread of a process that has others.

Descriptors belong to the whole process. So only `sys.stdout` and `sys.stderr` are caught here,
by a stand-in that asks which thread writes: C code, child processes, and threads that the task
starts itself write where the user endpoint does. See `docs/adr/0015-output-of-tasks.md`.
"""

from __future__ import annotations

import io
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from chamberlain_wire.details import Output, Stream, tail

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_here: Final = threading.local()
_installing: Final = threading.Lock()


class _Tail(io.RawIOBase):
    """Keeps the last bytes that are written to it."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self._most = most_bytes
        self._parts: deque[bytes] = deque()
        self._kept = 0
        self._cut = 0

    def writable(self) -> bool:
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        part = bytes(data)
        self._parts.append(part[-self._most :])
        self._kept += len(self._parts[-1])
        self._cut += len(part) - len(self._parts[-1])
        while self._kept - len(self._parts[0]) >= self._most:
            gone = self._parts.popleft()
            self._kept -= len(gone)
            self._cut += len(gone)
        return len(part)

    def stream(self) -> Stream:
        """Return what was kept."""
        data = b"".join(self._parts)
        more = max(0, len(data) - self._most)
        return tail(data[more:], self._cut + more)


class _Text(io.TextIOWrapper):
    """What a task finds as its `sys.stdout`."""

    def __init__(self, kept: _Tail, name: str) -> None:
        super().__init__(
            io.BufferedWriter(kept), "utf-8", errors="backslashreplace", line_buffering=True
        )
        self.kept = kept
        self._name = name

    def fileno(self) -> int:
        # For `subprocess.run(stdout=sys.stdout)`, which must not fail because of us.
        return int(getattr(sys, f"__{self._name}__").fileno())


class _PerThread:
    """Stands in for `sys.stdout` or `sys.stderr`; what is not a task's goes on as before."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._others = getattr(sys, name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mine(), name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._mine())

    def _mine(self) -> Any:
        texts: dict[str, _Text] | None = getattr(_here, "texts", None)
        if texts is None:
            return self._others
        if self._name not in texts:
            # Most tasks print nothing; they need not pay for it.
            texts[self._name] = _Text(_Tail(_here.most_bytes), self._name)
        return texts[self._name]


@contextmanager
def caught(most_bytes: int) -> Iterator[list[Output]]:
    """Catch what this thread prints; the list has it afterwards."""
    _install()
    told: list[Output] = []
    texts: dict[str, _Text] = {}
    _here.texts, _here.most_bytes = texts, most_bytes
    try:
        yield told
    finally:
        _here.texts = None
        told.append(Output(stdout=_end(texts.get("stdout")), stderr=_end(texts.get("stderr"))))


def _end(text: _Text | None) -> Stream:
    if text is None:
        return Stream()
    # A task may have closed it.
    if not text.closed:
        text.flush()
    return text.kept.stream()


def _install() -> None:
    if isinstance(sys.stdout, _PerThread) and isinstance(sys.stderr, _PerThread):
        return
    with _installing:
        for name in ("stdout", "stderr"):
            if not isinstance(getattr(sys, name), _PerThread):
                setattr(sys, name, _PerThread(name))
