"""What the launcher asks of whatever runs user endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from chamberlain_endpoint.launcher.spec import LaunchSpec
from chamberlain_wire.claims import Claim
from chamberlain_wire.errors import ChamberlainError, ErrorCode

TAIL_BYTES: Final = 4096
"""How much of what a user endpoint wrote last is kept."""

FAILED_CODE: Final = 70
"""The exit code of a user endpoint that did not begin."""


class StartFailedError(ChamberlainError):
    """The host would not start a process. The log has the cause; another try may succeed."""

    code = ErrorCode.START_FAILED
    public = "The endpoint could not start your user endpoint."


@dataclass(frozen=True, slots=True)
class Exit:
    """A user endpoint is gone, with every process that it had started (but see `left`).

    Attributes:
        exit_code: None when a signal ended it.
        signal: number of that signal, or None.
        tail: what it wrote last on standard error, at most `TAIL_BYTES`.
        failure: why it never ran; empty when it did.
        left: processes that would not be killed; only possible without a process space.
        public: what the caller may know of `failure`; empty: the usual sentence.
        code: the word that goes with `public`.
        session: what became of its PAM session; empty: it had none.
    """

    user_endpoint: str
    exit_code: int | None
    signal: int | None
    tail: bytes
    failure: str = ""
    public: str = ""
    left: int = 0
    code: ErrorCode = ErrorCode.START_FAILED
    session: str = ""


def did_not_begin(user_endpoint: str, told: Mapping[str, Any]) -> Exit:
    """Return the end of one that did not run, by what was told of its start."""
    return Exit(
        user_endpoint,
        FAILED_CODE,
        None,
        b"",
        failure=str(told["failed"]),
        public=str(told.get("public", "")),
        code=ErrorCode(told.get("code", ErrorCode.START_FAILED)),
    )


@dataclass(frozen=True, slots=True)
class SessionOpened:
    """PAM let the account in; its session lasts until the `Exit`."""

    user_endpoint: str


@dataclass(frozen=True, slots=True)
class TasksTold:
    """A user endpoint says what happened to its tasks, oldest first. Its own claim."""

    user_endpoint: str
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class TasksSilenced:
    """What a user endpoint said of its tasks is not listened to any more, and why."""

    user_endpoint: str
    reason: str


@dataclass(frozen=True, slots=True)
class Adopted:
    """A user endpoint that another launcher had started and this one goes on with.

    Attributes:
        command: id of the assertion that had started it.
        started_at: UTC, seconds since the epoch.
        identity: who had asked for it, as the hub names them; `username`: likewise.
    """

    user_endpoint: str
    command: str
    account: str
    uid: int
    pid: int
    started_at: float
    identity: str = ""
    username: str = ""


News = SessionOpened | TasksTold | TasksSilenced | Adopted


_LAST_WORDS_S: Final = 3.0
"""How long before it is killed a user endpoint hears that its time is over, to say what is lost."""


def asks_again_s(grace_s: float) -> float:
    """Return when somebody who has `grace_s` to end is told the second time to end."""
    return grace_s - min(_LAST_WORDS_S, 0.3 * grace_s)


def unheard(_: News) -> None:
    """Take news, and do nothing with it."""


class Runtime(Protocol):
    """Runs user endpoints. Call it from the loop's thread; it calls back in the same.

    No method waits: not for a start, not for an end, not for a process that reads nothing.
    """

    def open(
        self, on_exit: Callable[[Exit], None], on_news: Callable[[News], None] = unheard
    ) -> None:
        """Get ready, and call `on_exit` once for each user endpoint that is gone.

        `on_news` hears of what happens to one before that, and never after it; also of each
        that was found running.
        """
        ...

    def start(self, spec: LaunchSpec) -> None:
        """Begin to start a user endpoint. A start that fails later is told as an end.

        Raises:
            StartFailedError: it was not started; `on_exit` will not be called for it.
            ValueError: one with this id runs. Ask `is_running` first.
        """
        ...

    def pid_of(self, user_endpoint: str) -> int:
        """Return the process id of the top of its tree; 0: there is none, or none yet."""
        ...

    def is_running(self, user_endpoint: str) -> bool:
        """Tell whether something of `user_endpoint` still runs."""
        ...

    def stop(self, user_endpoint: str, grace_s: float) -> None:
        """Ask it to end, and kill all of it after `grace_s`. The answer is `on_exit`.

        Asked by SIGTERM it takes no more work; a second one, `asks_again_s` later, says that what
        still runs has to end. One that does not run is no error. A second call can only
        shorten the grace.
        """
        ...

    def stays(self, user_endpoint: str) -> bool:
        """Tell whether it goes on when this launcher leaves in order, for the next one."""
        ...

    def close(self) -> None:
        """Kill what still runs, without a callback."""
        ...
