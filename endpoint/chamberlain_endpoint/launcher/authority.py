"""Carries out the requests with root's power. It has a closed table of them.

Evidence first: the signed statement is verified, mapped and held against the policy here,
for an admission as for the launch after it; what the manager believes counts for nothing.
Every decision is in the audit log before anything follows from it.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Final, assert_never

from chamberlain_endpoint.identity.assertion import AssertionDesk
from chamberlain_endpoint.launcher import ending, policy, protocol, spec
from chamberlain_endpoint.launcher.audit import AuditError, AuditLog, Entry
from chamberlain_endpoint.launcher.decision import Decider, Rules, Verdict
from chamberlain_endpoint.launcher.runtime.port import (
    Adopted,
    Exit,
    News,
    Runtime,
    SessionOpened,
    TasksSilenced,
    TasksTold,
)
from chamberlain_endpoint.launcher.settings import LauncherSettings
from chamberlain_wire.assertion import Assertion, AssertionRefusedError
from chamberlain_wire.claims import Claim
from chamberlain_wire.errors import ChamberlainError, ErrorCode

_log: Final = logging.getLogger(__name__)

_KEPT_ENDS: Final = 200
_MAX_GRACE_S: Final = 3600.0

Reply = Callable[[protocol.Answer | ChamberlainError], None]
"""Takes the answer to one request; called once, now or later."""

Notify = Callable[[protocol.Ended], bool]
"""Takes a notice; returns False when nobody listens any more."""

_Finish = Callable[[Assertion, protocol.Admitted, Entry], protocol.Answer]


class StillEndingError(ChamberlainError):
    """The user endpoint is being stopped. Ask again when its end was told."""

    code = ErrorCode.UNAVAILABLE
    public = "Your user endpoint is just ending; try again in a moment."


class LeavingError(ChamberlainError):
    """The launcher itself is being stopped. Ask the next one."""

    code = ErrorCode.UNAVAILABLE
    public = "The endpoint is being stopped; try again later."


class OtherAccountError(ChamberlainError):
    """The user endpoint runs as another account than the one that the caller maps to now."""

    code = ErrorCode.CONFLICT
    public = "Your user endpoint still runs as another account; try again when it has ended."


@dataclass(frozen=True, slots=True)
class Means:
    """What the authority works with.

    Attributes:
        rules: returns by what decisions are taken now.
        mapping_state: tells whether the newest mapping file is in force (see `MappingFile`).
        note_tasks: takes what a user endpoint says of its tasks, with the entry of its launch.
    """

    desk: AssertionDesk
    rules: Callable[[], Rules]
    decider: Decider
    runtime: Runtime
    audit: AuditLog
    mapping_state: Callable[[], str] = lambda: "in force"
    note_tasks: Callable[[Entry, tuple[Claim, ...]], None] = lambda _, __: None


class Authority:
    """Answers requests. Call it from the loop's thread."""

    def __init__(self, settings: LauncherSettings, version: str, means: Means) -> None:
        self._settings = settings
        self._version = version
        self._means = means
        self._running: dict[str, protocol.Running] = {}
        self._granted: dict[str, Entry] = {}
        self._ended: deque[protocol.Ended] = deque(maxlen=_KEPT_ENDS)
        self._stopping: dict[str, list[Callable[[], None]]] = {}
        self._watchers: list[Notify] = []
        self._on_left: Callable[[], None] | None = None
        self._routes: Mapping[type[protocol.Request], Callable[[Any, Reply], None]] = (
            MappingProxyType(
                {
                    protocol.Hello: self._hello,
                    protocol.Admit: self._admit,
                    protocol.Launch: self._launch,
                    protocol.Stop: self._stop,
                    protocol.ListRunning: self._list,
                }
            )
        )

    def open(self) -> None:
        """Get the runtime ready, and write down that we serve."""
        self._means.audit.note(
            Entry("start", "noted", endpoint=self._settings.endpoint_id, reason=self._version)
        )
        self._means.runtime.open(self._note_exit, self._note_news)

    def answer(self, request: protocol.Request, reply: Reply, notify: Notify) -> None:
        """Carry out `request`; `reply` gets the answer, `notify` the notices it asks for."""
        if type(request) is protocol.Watch:
            self._watchers.append(notify)
            reply(None)
            return
        handler = self._routes.get(type(request))
        if handler is None:
            reply(protocol.RequestRefusedError(type(request).__name__))
            return
        try:
            handler(request, reply)
        except ChamberlainError as error:
            reply(error)

    def leave(self, grace_s: float, on_left: Callable[[], None]) -> None:
        """Stop all that does not stay, and call `on_left` then. Again: a shorter grace."""
        self._on_left = on_left
        for user_endpoint in self._leaving():
            self._stopping.setdefault(user_endpoint, [])
            self._means.runtime.stop(user_endpoint, grace_s)
        self._leave_when_empty()

    def _hello(self, request: protocol.Hello, reply: Reply) -> None:
        settings = self._settings
        reply(
            protocol.Greeting(
                endpoint=settings.endpoint_id,
                mode=str(settings.mode),
                version=self._version,
                owner_identity=settings.owner_identity,
                mapping_state=self._means.mapping_state(),
            )
        )

    def _list(self, request: protocol.ListRunning, reply: Reply) -> None:
        # A container's process is there only a moment after its start was answered.
        pid_of = self._means.runtime.pid_of
        running = [replace(each, pid=pid_of(each.user_endpoint)) for each in self._running.values()]
        reply(protocol.Listing(running=tuple(running), ended=tuple(self._ended)))

    def _admit(self, request: protocol.Admit, reply: Reply) -> None:
        def finish(
            assertion: Assertion, admitted: protocol.Admitted, entry: Entry
        ) -> protocol.Answer:
            self._check_room(assertion, admitted)
            self._means.audit.note(entry)
            return admitted

        self._judge("admit", request.assertion, "", finish, reply)

    def _launch(self, request: protocol.Launch, reply: Reply) -> None:
        def finish(
            assertion: Assertion, admitted: protocol.Admitted, entry: Entry
        ) -> protocol.Answer:
            return self._start(request, assertion, admitted, entry)

        self._judge("launch", request.assertion, request.user_endpoint, finish, reply)

    def _judge(
        self, action: str, token: str, user_endpoint: str, finish: _Finish, reply: Reply
    ) -> None:
        """Verify the statement in `token`, decide on its account, then `finish`."""
        entry = Entry(action, "granted", endpoint=self._settings.endpoint_id)
        try:
            assertion = self._means.desk.verify(token)
            entry = _told_by(assertion, entry)
            if user_endpoint not in ("", assertion.user_endpoint):
                raise AssertionRefusedError(f"launch asks for {user_endpoint[:80]!r}")
        except ChamberlainError as error:
            self._refuse(entry, error, reply)
            return

        def conclude(verdict: Verdict) -> None:
            self._conclude(assertion, verdict, entry, finish, reply)

        self._means.decider.decide(self._means.rules(), assertion, conclude)

    def _conclude(
        self, assertion: Assertion, verdict: Verdict, entry: Entry, finish: _Finish, reply: Reply
    ) -> None:
        if isinstance(verdict, ChamberlainError):
            self._refuse(entry, verdict, reply)
            return
        account = verdict.account
        entry = replace(entry, account=account.uname, uid=account.uid, reason=verdict.rule)
        try:
            answer = finish(assertion, verdict, entry)
        except ChamberlainError as error:
            self._refuse(entry, error, reply)
            return
        reply(answer)

    def _start(
        self,
        request: protocol.Launch,
        assertion: Assertion,
        admitted: protocol.Admitted,
        entry: Entry,
    ) -> protocol.Launched:
        """Start what was granted. The statement is used up on disk before anything runs."""
        self._check_room(assertion, admitted)
        built = spec.build(self._settings, request, assertion, admitted)
        self._means.audit.note(entry)
        self._means.desk.consume(assertion)
        present = self._running.get(request.user_endpoint)
        if present is not None:
            return protocol.Launched(already=True, pid=present.pid)
        self._means.runtime.start(built)
        pid = self._means.runtime.pid_of(request.user_endpoint)
        self._running[request.user_endpoint] = protocol.Running(
            user_endpoint=request.user_endpoint,
            command=assertion.id,
            account=admitted.account.uname,
            uid=admitted.account.uid,
            pid=pid,
            started_at=time.time(),
        )
        self._granted[request.user_endpoint] = entry
        _log.info(
            "user endpoint started",
            extra={
                "event": "user_endpoint.started",
                "user_endpoint": request.user_endpoint,
                "command": assertion.id,
                "account": admitted.account.uname,
                "uid": admitted.account.uid,
            },
        )
        return protocol.Launched(already=False, pid=pid)

    def _check_room(self, assertion: Assertion, admitted: protocol.Admitted) -> None:
        if self._on_left is not None:
            raise LeavingError
        present = self._running.get(assertion.user_endpoint)
        if present is None:
            uids = (running.uid for running in self._running.values())
            policy.check_room(uids, admitted.account, self._settings.policy)
        elif present.uid != admitted.account.uid:
            raise OtherAccountError(f"{present.user_endpoint} runs as {present.account}")
        elif assertion.user_endpoint in self._stopping:
            raise StillEndingError(f"{present.user_endpoint} is being stopped")

    def _stop(self, request: protocol.Stop, reply: Reply) -> None:
        if not 0 <= request.grace_s <= _MAX_GRACE_S:
            raise protocol.RequestRefusedError(f"grace_s must be 0 to {_MAX_GRACE_S:g}")
        running = self._running.get(request.user_endpoint)
        if running is None:
            reply(None)
            return
        self._means.audit.note(
            replace(self._granted[request.user_endpoint], action="stop", reason=request.why[:500])
        )
        waiting = self._stopping.setdefault(request.user_endpoint, [])
        waiting.append(lambda: reply(None))
        self._means.runtime.stop(request.user_endpoint, request.grace_s)

    def _refuse(self, entry: Entry, error: ChamberlainError, reply: Reply) -> None:
        code = str(protocol.word_of(error))
        _log.warning(
            "%s refused",
            entry.action,
            extra={
                "event": f"{entry.action}.refused",
                "command": entry.command,
                "user_endpoint": entry.user_endpoint,
                "account": entry.account,
                "code": code,
                "reason": str(error),
            },
        )
        self._note_anyway(replace(entry, decision="refused", code=code, reason=str(error)))
        reply(error)

    def _note_adopted(self, adopted: Adopted) -> None:
        """Go on with what a launcher before this one had started."""
        name = adopted.user_endpoint
        seen = asdict(adopted)
        who = {key: seen.pop(key) for key in ("identity", "username")}
        self._running[name] = protocol.Running(**seen)
        entry = Entry("adopt", "noted", endpoint=self._settings.endpoint_id, user_endpoint=name)
        self._granted[name] = replace(
            entry, command=adopted.command, account=adopted.account, uid=adopted.uid, **who
        )
        self._note_anyway(self._granted[name])

    def _note_news(self, news: News) -> None:
        """Write down what is told of a user endpoint that runs."""
        if isinstance(news, Adopted):
            self._note_adopted(news)
            return
        entry = replace(self._granted[news.user_endpoint], decision="noted")
        match news:
            case TasksTold(claims=claims):
                self._means.note_tasks(entry, claims)
            case SessionOpened():
                reason = f"PAM service {self._settings.pam.service}"
                self._note_anyway(replace(entry, action="session", outcome="opened", reason=reason))
            case TasksSilenced(reason=reason):
                _log.warning(
                    "no more is taken of its tasks",
                    extra={
                        "event": "user_endpoint.silenced",
                        "user_endpoint": news.user_endpoint,
                        "account": entry.account,
                        "reason": reason,
                    },
                )
                self._note_anyway(
                    replace(entry, action="silence", outcome="silenced", reason=reason)
                )
            case _:
                assert_never(news)

    def _note_exit(self, exit_: Exit) -> None:
        """Tell everybody who waits that a user endpoint is gone."""
        running = self._running.pop(exit_.user_endpoint)
        entry = self._granted.pop(exit_.user_endpoint)
        ended = protocol.Ended(
            user_endpoint=exit_.user_endpoint,
            command=running.command,
            exit_code=exit_.exit_code,
            signal=exit_.signal,
            tail=ending.tail(exit_),
            at=time.time(),
        )
        self._ended.append(ended)
        reason = ending.reason(exit_)
        _log.log(
            logging.ERROR if exit_.failure or exit_.left else logging.INFO,
            "user endpoint ended",
            extra={
                "event": "user_endpoint.ended",
                "user_endpoint": exit_.user_endpoint,
                "command": running.command,
                "account": running.account,
                "reason": reason,
            },
        )
        self._note_anyway(
            replace(
                entry,
                action="ended",
                decision="noted",
                outcome=ending.outcome(exit_),
                code=str(exit_.code) if exit_.failure else "",
                reason=reason,
            )
        )
        self._watchers = [notify for notify in self._watchers if notify(ended)]
        for tell in self._stopping.pop(exit_.user_endpoint, ()):
            tell()
        self._leave_when_empty()

    def _note_anyway(self, entry: Entry) -> None:
        """Note what happened, or was refused, whether or not it can be noted."""
        with contextlib.suppress(AuditError):  # the log has told of it
            self._means.audit.note(entry)

    def _leaving(self) -> list[str]:
        return [name for name in self._running if not self._means.runtime.stays(name)]

    def _leave_when_empty(self) -> None:
        if self._on_left is not None and not self._leaving():
            self._note_anyway(Entry("leave", "noted", endpoint=self._settings.endpoint_id))
            self._on_left()


def _told_by(assertion: Assertion, entry: Entry) -> Entry:
    return replace(
        entry,
        command=assertion.id,
        identity=assertion.identity,
        username=assertion.username,
        source=str(assertion.source),
        user_endpoint=assertion.user_endpoint,
    )
