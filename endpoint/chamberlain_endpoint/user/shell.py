"""Runs the shell texts of a site's template: before the first task, and after the last."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from pathlib import Path
from typing import Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode

_MOST_S: Final = 600.0
_TAIL_BYTES: Final = 1000


class ShellFailedError(ChamberlainError):
    """The text did not end with 0 in time. End; the template's author must look."""

    code = ErrorCode.START_FAILED


class Shell:
    """Runs texts one after the other in `folder`; `interrupt` may come from any thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = False

    def run(self, what: str, text: str | None) -> None:
        """Run `text` and return when it has ended, or was interrupted; None is nothing to do.

        Args:
            what: its name in the configuration.

        Raises:
            ShellFailedError: it failed, or takes too long; the end of its output is told.
        """
        if not text or not text.strip():
            return
        # A file, not a pipe: what it leaves running would keep a pipe open.
        output = self._folder / f"{what}.out"
        with output.open("wb") as out, self._lock:
            if self._interrupted:
                return
            process = self._process = subprocess.Popen(
                ["/bin/bash", "-c", text],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            code = process.wait(_MOST_S)
        except subprocess.TimeoutExpired:
            self._kill()
            process.wait()
            raise ShellFailedError(public=f"{what} did not end within {_MOST_S:.0f} s.") from None
        with self._lock:
            self._process = None
            if self._interrupted:
                return
        if code != 0:
            tail = output.read_bytes()[-_TAIL_BYTES:].decode(errors="replace").strip()
            raise ShellFailedError(public=f"{what} ended with exit code {code}: {tail}")

    def interrupt(self) -> None:
        """End what runs, and run nothing more."""
        with self._lock:
            self._interrupted = True
            self._kill()

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
