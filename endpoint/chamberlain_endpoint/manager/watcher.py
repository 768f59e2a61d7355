"""Keeps an eye on the launcher: hears of ends, and compares after every reconnect."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from chamberlain_endpoint.launcher.client import LauncherUnreachableError
from chamberlain_endpoint.manager.fatal import Exit, FatalError
from chamberlain_endpoint.manager.launcher_port import Launcher
from chamberlain_endpoint.manager.life import retry_delay_s
from chamberlain_endpoint.manager.reconciler import Reconciler
from chamberlain_endpoint.manager.steps import Steps

log = logging.getLogger(__name__)


class Watcher:
    """Watches the launcher in a thread, from `open` to `close`.

    Args:
        endpoint: the id that the launcher must serve.
        on_fatal: told when it serves another, and of what nothing here can help.
    """

    def __init__(
        self,
        endpoint: str,
        launcher: Launcher,
        steps: Steps,
        reconciler: Reconciler,
        *,
        on_fatal: Callable[[BaseException], None],
    ) -> None:
        self._endpoint = endpoint
        self._launcher = launcher
        self._steps = steps
        self._reconciler = reconciler
        self._on_fatal = on_fatal
        self._failures = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin to watch; the launcher need not be there yet."""
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop watching."""
        self._stopping.set()
        self._launcher.close()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._watch()
        except Exception as error:  # noqa: BLE001 - the edge of a thread
            self._on_fatal(error)

    def _watch(self) -> None:
        try:
            self._launcher.watch(self._reconciler.note_end, self._on_ready)
        except LauncherUnreachableError as error:
            self._failures += 1
            log.warning(
                "launcher is away",
                extra={
                    "event": "launcher.away",
                    "attempt": self._failures,
                    "reason": str(error),
                },
            )
            self._stopping.wait(retry_delay_s(self._failures))

    def _on_ready(self) -> None:
        served = self._launcher.hello().endpoint
        if served != self._endpoint:
            raise FatalError(
                Exit.CONFIG,
                f"The launcher serves endpoint {served}, this manager is {self._endpoint}: "
                "endpoint_id must be the same in config.yaml and launcher.toml.",
            )
        for ended in self._steps.missing():
            self._reconciler.note_end(ended)
        log.info("watching the launcher", extra={"event": "launcher.watched"})
        self._failures = 0
        self._reconciler.poke_all()
