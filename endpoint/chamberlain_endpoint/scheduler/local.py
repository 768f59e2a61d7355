"""Blocks as processes of this host.

Parsl's own LocalProvider was tried first: it looks every five seconds whether a block still
lives, ends it by a shell pipeline, and loses it when the user endpoint is killed. Here the
end of a block is known when it happens, and a block never outlives who started it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chamberlain_endpoint.rendered.settled import LocalProvider, WrappedLauncher
from chamberlain_endpoint.scheduler.ending import how_it_ended
from chamberlain_endpoint.scheduler.port import (
    BlockEnded,
    BlockRefusedError,
    BlocksState,
    OnEnded,
)

_END_S: Final = 5.0
_TAIL_BYTES: Final = 2_000


class LocalBlocks:
    """See `port.Blocks`.

    Args:
        run_dir: for scripts and what they print; made if absent.
        tie: makes a command line into one whose process, with all its descendants, ends with
            the calling thread.
    """

    def __init__(
        self, config: LocalProvider, *, run_dir: Path, tie: Callable[..., list[str]]
    ) -> None:
        self._config = config
        self._run_dir = run_dir
        self._tie = tie
        self._live: dict[str, subprocess.Popen[bytes]] = {}
        self._lock = threading.Lock()
        self._watchers: list[threading.Thread] = []

    def launch(self, block: str, command: str, on_ended: OnEnded) -> None:
        """See `port.Blocks.launch`."""
        script = self._run_dir / f"block-{block}.sh"
        try:
            self._run_dir.mkdir(parents=True, exist_ok=True)
            script.write_text(self._script(command))
            with self._printed(block).open("wb") as printed:
                process = subprocess.Popen(
                    self._tie("keep", "/bin/bash", str(script)),
                    cwd=self._run_dir,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except OSError as error:
            raise BlockRefusedError(f"cannot start block {block}: {error}") from error
        with self._lock:
            self._live[block] = process
        watcher = threading.Thread(
            target=self._watch, args=(block, process, on_ended), name=f"block-{block}", daemon=True
        )
        self._watchers.append(watcher)
        watcher.start()

    def cancel(self, block: str) -> None:
        """See `port.Blocks.cancel`."""
        with self._lock:
            process = self._live.get(block)
            if process is not None:
                process.send_signal(signal.SIGTERM)

    def state(self) -> BlocksState:
        """See `port.Blocks.state`. Processes wait for nobody."""
        return BlocksState()

    def stop(self) -> None:
        """See `port.Blocks.stop`."""
        with self._lock:
            live, self._live = self._live, {}
            for process in live.values():
                process.send_signal(signal.SIGTERM)
        for process in live.values():
            try:
                process.wait(_END_S)
            except subprocess.TimeoutExpired:
                # Stuck in the kernel, on a dead file system for example; its keeper goes.
                process.kill()
                process.wait()

    def _script(self, command: str) -> str:
        launcher = self._config.launcher
        prefix = f"{launcher.prepend} " if isinstance(launcher, WrappedLauncher) else "exec "
        return f"{self._config.worker_init}\n{prefix}{command}\n"

    def _printed(self, block: str) -> Path:
        return self._run_dir / f"block-{block}.out"

    def _watch(self, block: str, process: subprocess.Popen[bytes], on_ended: OnEnded) -> None:
        code = process.wait()
        with self._lock:
            known = self._live.pop(block, None) is not None
        if known:
            on_ended(BlockEnded(block, how_it_ended(code), self._tail(block)))

    def _tail(self, block: str) -> str:
        text = b""
        with contextlib.suppress(OSError), self._printed(block).open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            text = file.read()
        return text.decode(errors="replace").strip()
