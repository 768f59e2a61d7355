"""What the manager asks of the launcher, and a launcher in memory that ships for tests.

The real thing is `launcher.client.LauncherClient`; both keep the same promises, which
`tests/contract/test_launcher.py` holds them to.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable
from itertools import count
from typing import Protocol

from chamberlain_endpoint.launcher.client import LauncherRefusedError, LauncherUnreachableError
from chamberlain_endpoint.launcher.protocol import (
    Account,
    Admitted,
    Ended,
    Greeting,
    Launch,
    Launched,
    Listing,
    Running,
)
from chamberlain_wire.errors import ErrorCode


class Launcher(Protocol):
    """The launcher, as the manager sees it. Thread-safe.

    Every method raises `LauncherUnreachableError` when it is away.
    """

    def hello(self) -> Greeting:
        """Return who serves there."""

    def admit(self, assertion: bytes) -> Admitted:
        """Return the account that `assertion` maps to, or raise `LauncherRefusedError`."""

    def launch(self, launch: Launch) -> Launched:
        """Start a user endpoint, or raise `LauncherRefusedError`."""

    def list(self) -> Listing:
        """Return what runs and the last ends."""

    def watch(
        self,
        on_ended: Callable[[Ended], None],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """Call `on_ended` for every end, in this thread, until `close()`."""

    def close(self) -> None:
        """End a `watch`."""


class MemoryLauncher:
    """A launcher whose user endpoints are entries in a dictionary.

    Everything a test wants to see or to cause is an attribute or a method here. Assertions
    are read and not verified.

    Args:
        endpoint: the id that it says it serves.
        account: the account that everybody is mapped to.
    """

    def __init__(self, endpoint: str, account: Account) -> None:
        self.endpoint = endpoint
        self.account = account
        self.identity = "00000000-0000-4000-8000-000000000001"
        self.refuse_admit: LauncherRefusedError | None = None
        self.refuse_launch: LauncherRefusedError | None = None
        self.launches: list[Launch] = []
        self.clock: Callable[[], float] = lambda: 0.0
        self.on_launch: Callable[[Launch], None] = lambda launch: None
        self._changed = threading.Condition()
        self._running: dict[str, Running] = {}
        self._ended: list[Ended] = []
        self._used: set[str] = set()
        self._watchers: list[Callable[[Ended], None]] = []
        self._pids = count(1000)
        self._away = False
        self._closed = False
        self._generation = 0
        self._lost_answers = 0

    def hello(self) -> Greeting:
        """See `Launcher.hello`."""
        self._reach()
        return Greeting(endpoint=self.endpoint, mode="multi", version="0", owner_identity="")

    def admit(self, assertion: bytes) -> Admitted:
        """See `Launcher.admit`."""
        self._reach()
        if self.refuse_admit is not None:
            raise self.refuse_admit
        return Admitted(self.account, self.identity, "alice@example.edu", "rule 1")

    def launch(self, launch: Launch) -> Launched:
        """See `Launcher.launch`."""
        self._reach()
        if self.refuse_launch is not None:
            raise self.refuse_launch
        with self._changed:
            command = _command_of(launch.assertion)
            if command in self._used:
                raise LauncherRefusedError(
                    ErrorCode.COMMAND_REFUSED,
                    "The request could not be verified by the endpoint.",
                    f"assertion {command} was used before",
                )
            self._used.add(command)
            self.launches.append(launch)
            there = self._running.get(launch.user_endpoint)
            running = there or Running(
                user_endpoint=launch.user_endpoint,
                command=command,
                account=self.account.uname,
                uid=self.account.uid,
                pid=next(self._pids),
                started_at=self.clock(),
            )
            self._running[launch.user_endpoint] = running
            self._changed.notify_all()
        self.on_launch(launch)
        if self._lost_answers:
            self._lost_answers -= 1
            raise LauncherUnreachableError("the launcher hung up")
        return Launched(already=there is not None, pid=running.pid)

    def list(self) -> Listing:
        """See `Launcher.list`."""
        self._reach()
        with self._changed:
            return Listing(tuple(self._running.values()), tuple(self._ended))

    def watch(
        self,
        on_ended: Callable[[Ended], None],
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        """See `Launcher.watch`."""
        self._reach()
        with self._changed:
            generation = self._generation
            self._watchers.append(on_ended)
        on_ready()
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._generation != generation)
            if on_ended in self._watchers:
                self._watchers.remove(on_ended)
        if not self._closed:
            raise LauncherUnreachableError("the launcher hung up")

    def open(self) -> None:
        """Let it be watched again, as by the client of a manager's next life."""
        self._closed = False

    def close(self) -> None:
        """See `Launcher.close`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def end(self, user_endpoint: str, *, exit_code: int | None = 0, tail: str = "") -> None:
        """Let a user endpoint end; without an exit code, by signal 9."""
        with self._changed:
            running = self._running.pop(user_endpoint)
            ended = Ended(
                user_endpoint=user_endpoint,
                command=running.command,
                exit_code=exit_code,
                signal=9 if exit_code is None else None,
                tail=tail,
                at=self.clock(),
            )
            self._ended.append(ended)
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher(ended)

    def leave(self) -> None:
        """Go away, as a crash would: connections break, what ran and was known is gone."""
        with self._changed:
            self._away = True
            self._generation += 1
            self._running.clear()
            self._ended.clear()
            self._changed.notify_all()

    def lose_next_answer(self) -> None:
        """Let the answer of the launch under way get lost, though it is carried out."""
        self._lost_answers += 1

    def come_back(self) -> None:
        """Answer again."""
        self._away = False

    def _reach(self) -> None:
        if self._away:
            raise LauncherUnreachableError("the launcher is away")


def _command_of(assertion: str) -> str:
    payload = assertion.partition(".")[0]
    fields = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return str(fields["id"])
