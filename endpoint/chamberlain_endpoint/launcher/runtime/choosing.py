"""A runtime that runs each user endpoint in what was chosen for it: a process, or a container.

Around the two. Which of them has a user endpoint is asked of them and kept nowhere: one that
fell back, or was adopted under other settings, is found where it is.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from chamberlain_endpoint.launcher import choice
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime import container_records
from chamberlain_endpoint.launcher.runtime.faults import EngineError
from chamberlain_endpoint.launcher.runtime.port import Exit, News, Runtime, unheard
from chamberlain_endpoint.launcher.runtime.process import ProcessRuntime
from chamberlain_endpoint.launcher.settings import (
    LauncherSettings,
    Mode,
    RuntimeKind,
    RuntimeSettings,
)
from chamberlain_endpoint.launcher.spec import LaunchSpec

_log: Final = logging.getLogger(__name__)


class Containers(Runtime, Protocol):
    """A runtime whose starts can be taken over. See `container.ContainerRuntime`."""

    instead: Callable[[LaunchSpec, EngineError], bool]


def usual(loop: Loop, settings: LauncherSettings, stand_in: tuple[str, ...] = ()) -> Runtime:
    """Return the runtime that the settings ask for.

    Args:
        stand_in: program and arguments to run in place of every process, for tests.
    """
    processes = ProcessRuntime(
        loop,
        settings.accounts_dir,
        is_multi=settings.mode is Mode.MULTI,
        stand_in=stand_in,
        lease_s=settings.runtime.lease_s,
    )
    # What an earlier launcher runs in containers is gone on with, whatever holds now.
    is_left = container_records.has_some(settings.state_dir)
    if RuntimeKind.CONTAINER not in settings.runtime.kinds and not is_left:
        return processes
    # Loaded only where it is used: most sites' root processes need none of it.
    from chamberlain_endpoint.launcher.runtime.container import ContainerRuntime

    has_processes = settings.runtime.has_processes
    return ChoosingRuntime(
        settings.runtime,
        processes if has_processes else None,
        ContainerRuntime(loop, settings),
    )


class ChoosingRuntime:
    """See `port.Runtime`.

    Args:
        processes: None: nobody may have one.
    """

    def __init__(
        self, settings: RuntimeSettings, processes: Runtime | None, containers: Containers
    ) -> None:
        self._settings = settings
        self._processes = processes
        self._containers = containers
        self._both: tuple[Runtime, ...] = (
            (containers,) if processes is None else (processes, containers)
        )
        containers.instead = self._run_as_process

    def open(
        self, on_exit: Callable[[Exit], None], on_news: Callable[[News], None] = unheard
    ) -> None:
        """Open both."""
        for runtime in self._both:
            runtime.open(on_exit, on_news)

    def start(self, spec: LaunchSpec) -> None:
        """Begin to start it in its kind of runtime."""
        if self.is_running(spec.user_endpoint):
            raise ValueError(f"{spec.user_endpoint} runs already")
        if spec.runtime is RuntimeKind.PROCESS and self._processes is not None:
            self._processes.start(spec)
        else:
            # Also a sweep from a time in which there were processes here.
            self._containers.start(spec)

    def pid_of(self, user_endpoint: str) -> int:
        """Return the process id of the top of its tree; 0: there is none, or none yet."""
        return self._of(user_endpoint).pid_of(user_endpoint)

    def is_running(self, user_endpoint: str) -> bool:
        """Tell whether something of `user_endpoint` still runs in either."""
        return any(runtime.is_running(user_endpoint) for runtime in self._both)

    def stop(self, user_endpoint: str, grace_s: float) -> None:
        """Ask it to end, and kill all of it after `grace_s`."""
        self._of(user_endpoint).stop(user_endpoint, grace_s)

    def stays(self, user_endpoint: str) -> bool:
        """Tell whether it goes on when this launcher leaves in order."""
        return self._of(user_endpoint).stays(user_endpoint)

    def close(self) -> None:
        """Close both."""
        for runtime in self._both:
            runtime.close()

    def _of(self, user_endpoint: str) -> Runtime:
        for runtime in self._both:
            if runtime.is_running(user_endpoint):
                return runtime
        return self._containers

    def _run_as_process(self, spec: LaunchSpec, error: EngineError) -> bool:
        if self._processes is None or not choice.may_fall_back(self._settings, spec.account):
            return False
        self._processes.start(spec)
        _log.warning(
            "runs as a process, because there is no container",
            extra={
                "event": "container.fallen_back",
                "user_endpoint": spec.user_endpoint,
                "account": spec.account.uname,
                "code": error.word,
            },
        )
        return True
