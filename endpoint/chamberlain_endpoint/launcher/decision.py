"""Maps a caller to an account that the policy allows, within a limit of time.

A pattern of the mapping file can keep a matcher busy for years, and a name service whose
directory server is down can keep a look-up waiting for minutes. Neither may hold up the
others, so each decision is taken in a forked child with a limit of processor time (for the
pattern) and of elapsed time (for the name service). It also keeps what the name service's
libraries open, which can be network connections, out of the launcher's own process.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

from chamberlain_endpoint.identity.mapper import IdentityNotMappedError, Mapper
from chamberlain_endpoint.launcher import accounts, privileges, protocol
from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.policy import Denied, check_account
from chamberlain_endpoint.launcher.settings import PolicySettings
from chamberlain_wire.assertion import Assertion
from chamberlain_wire.errors import ChamberlainError, ErrorCode

_log: Final = logging.getLogger(__name__)

_PROCESSOR_S: Final = 2
_ELAPSED_S: Final = 10.0
_MOST_AT_ONCE: Final = 8
_MOST_FILES: Final = 1 << 20
_READ_BYTES: Final = 64 * 1024
_REAP_S: Final = 0.001

Verdict = protocol.Admitted | ChamberlainError
"""The account, or why there is none."""


class DecisionTimeoutError(ChamberlainError):
    """The mapping or the name service took too long. Asking again may help."""

    code = ErrorCode.UNAVAILABLE
    public = "The endpoint could not look up your account in time; try again later."


class PatternTooSlowError(ChamberlainError):
    """A pattern of the mapping file backtracks without end. The administrator must change it."""

    code = ErrorCode.IDENTITY_NOT_MAPPED
    public = "The endpoint could not evaluate its identity mapping for you."


@dataclass(frozen=True, slots=True)
class Rules:
    """By what a decision is taken."""

    mapper: Mapper
    policy: PolicySettings
    denied: Denied


class Decider(Protocol):
    """Takes decisions, soon."""

    def decide(self, rules: Rules, assertion: Assertion, then: Callable[[Verdict], None]) -> None:
        """Call `then` with the verdict, once, now or later, in this thread."""
        ...


def decide(rules: Rules, assertion: Assertion) -> protocol.Admitted:
    """Return the account that `assertion` gives its caller.

    Raises:
        ChamberlainError: nobody may come in with it; the kind says why.
    """
    mapped = rules.mapper.map(assertion)
    try:
        account = accounts.look_up(mapped.user_name)
    except accounts.NoSuchAccountError as error:
        raise IdentityNotMappedError(
            assertion,
            f"{mapped.rule}: {error}",
            ": the local account does not exist",
        ) from None
    check_account(account, rules.policy, rules.denied)
    return protocol.Admitted(
        account=account,
        identity=mapped.identity.id,
        username=mapped.identity.username,
        rule=mapped.rule,
    )


class InlineDecider:
    """Decides at once, in this process, without a limit: for tests, and for one's own file."""

    def decide(self, rules: Rules, assertion: Assertion, then: Callable[[Verdict], None]) -> None:
        """Call `then` with the verdict, now."""
        try:
            verdict: Verdict = decide(rules, assertion)
        except ChamberlainError as error:
            verdict = error
        then(verdict)


class ForkingDecider:
    """Decides in forked children, a few at a time; the others wait in line."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._running = 0
        self._line: deque[Callable[[], None]] = deque()

    def decide(self, rules: Rules, assertion: Assertion, then: Callable[[Verdict], None]) -> None:
        """Call `then` with the verdict, later."""
        self._line.append(lambda: _Child(self._loop, then, self._next).start(rules, assertion))
        self._begin()

    def _begin(self) -> None:
        while self._line and self._running < _MOST_AT_ONCE:
            self._running += 1
            self._line.popleft()()

    def _next(self) -> None:
        self._running -= 1
        self._begin()


class _Child:
    """One forked child and the pipe that its verdict comes through."""

    def __init__(
        self, loop: Loop, then: Callable[[Verdict], None], after: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._then = then
        self._after = after
        self._told = bytearray()
        self._pid = -1
        self._pipe = -1
        self._is_late = False

    def start(self, rules: Rules, assertion: Assertion) -> None:
        self._pipe, end = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _decide_and_leave(rules, assertion, end)
        os.close(end)
        os.set_blocking(self._pipe, False)
        self._timer = self._loop.call_later(_ELAPSED_S, self._give_up)
        self._loop.on_readable(self._pipe, self._listen)

    def _listen(self) -> None:
        data = os.read(self._pipe, _READ_BYTES)
        self._told += data
        if data and len(self._told) <= protocol.MAX_ANSWER_BYTES:
            return
        self._timer.cancel()
        self._loop.forget(self._pipe)
        os.close(self._pipe)
        self._collect()

    def _give_up(self) -> None:
        self._is_late = True
        os.kill(self._pid, signal.SIGKILL)

    def _collect(self) -> None:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            self._loop.call_later(_REAP_S, self._collect)
            return
        try:
            self._then(self._verdict(os.waitstatus_to_exitcode(status)))
        finally:
            self._after()

    def _verdict(self, code: int) -> Verdict:
        if self._is_late:
            return DecisionTimeoutError(f"no decision within {_ELAPSED_S:g} s")
        if -code == signal.SIGXCPU:
            return PatternTooSlowError(
                f"mapping took more than {_PROCESSOR_S} s of processor time: "
                "a match with nested repetition?"
            )
        if code != 0:
            return DecisionTimeoutError(f"the deciding child ended with {code}")
        return _parse_verdict(json.loads(self._told))


def _decide_and_leave(rules: Rules, assertion: Assertion, end: int) -> None:
    """The child's whole life. Never returns."""
    try:
        # Nobody's pipe and socket may stay open because this child still thinks.
        os.dup2(end, 3)
        os.closerange(4, _MOST_FILES)
        privileges.end_with_parent(signal.SIGKILL)
        resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_S, _PROCESSOR_S + 1))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            told = protocol.answer_document(0, decide(rules, assertion))
        except ChamberlainError as error:
            told = protocol.refusal_document(0, error)
        with os.fdopen(3, "wb") as file:
            file.write(json.dumps(told).encode())
        os._exit(0)
    except Exception:  # noqa: BLE001 (the edge of a process)
        _log.exception("a decision failed", extra={"event": "decision.fault"})
    finally:
        os._exit(70)


def _parse_verdict(told: dict[str, Any]) -> Verdict:
    if not told.pop("ok"):
        return protocol.RelayedError(ErrorCode(told["code"]), told["public"], told["detail"])
    del told["id"]
    return protocol.Admitted(account=protocol.parse_account(told.pop("account")), **told)
