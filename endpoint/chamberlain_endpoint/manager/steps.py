"""One step of one wish: look, ask `life.move`, do it, save it with what the hub is told."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from chamberlain_endpoint.launcher.client import LauncherRefusedError, LauncherUnreachableError
from chamberlain_endpoint.launcher.protocol import (
    Ended,
    FrameRefusedError,
    Launch,
    Launched,
    Running,
)
from chamberlain_endpoint.manager.ends import explain_end, unknown_end
from chamberlain_endpoint.manager.launcher_port import Launcher
from chamberlain_endpoint.manager.life import KEPT, Seen, State, judge_end, move
from chamberlain_endpoint.manager.metrics import ManagerMetrics
from chamberlain_endpoint.manager.prepare import Prepared, Preparer
from chamberlain_endpoint.manager.records import Records, Wish
from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.ids import CommandId, EndpointId
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import EndpointEvent

log = logging.getLogger(__name__)


class Steps:
    """Carries wishes forward. Steps of one user endpoint must not overlap.

    Args:
        on_event: told that there is an event for the hub.
        clock: UTC seconds.
    """

    def __init__(
        self,
        records: Records,
        launcher: Launcher,
        preparer: Preparer,
        *,
        on_event: Callable[[], None],
        clock: Callable[[], float] = time.time,
        metrics: ManagerMetrics | None = None,
    ) -> None:
        self._records = records
        self._metrics = metrics or ManagerMetrics()
        self._began: dict[CommandId, float] = {}
        self._launcher = launcher
        self._preparer = preparer
        self._on_event = on_event
        self._clock = clock
        # Admitted wishes that certainly were not launched. One that is missing here may have
        # been: by an earlier life of this process, or by a launch whose answer was lost.
        self._prepared: dict[CommandId, Prepared] = {}

    def step(self, wish: Wish) -> Wish | None:
        """Carry `wish` one step forward; return it while there is more to do.

        Raises:
            LauncherUnreachableError: nothing was decided; call again later.
        """
        match wish.state:
            case State.WISHED:
                return self._judge(wish)
            case State.ADMITTED:
                return self._launch(wish)
        return None

    def note_end(self, ended: Ended) -> None:
        """Note that a user endpoint is gone. A repeat changes nothing."""
        for wish in self._records.of(EndpointId(ended.user_endpoint)):
            if wish.command == ended.command and wish.state is not State.WISHED:
                self._note_end(wish, ended)

    def missing(self) -> list[Ended]:
        """Compare the records with the launcher's list; return the ends that nobody noted.

        What runs and is not known here is taken into the records.

        Raises:
            LauncherUnreachableError: try again later.
        """
        # Before the list: what starts after it must not be taken for gone.
        started = [wish for wish in self._records.all() if wish.state is State.STARTED]
        listing = self._launcher.list()
        running = {entry.command for entry in listing.running}
        ends = {entry.command: entry for entry in listing.ended}
        for entry in listing.running:
            self._adopt(entry)
        now = self._clock()
        return [
            ends.get(wish.command) or unknown_end(wish.user_endpoint, wish.command, now)
            for wish in started
            if wish.command not in running
        ]

    def _judge(self, wish: Wish) -> Wish | None:
        self._began.setdefault(wish.command, time.monotonic())
        if self._clock() > wish.expires_at:
            return self._out_of_time(wish)
        try:
            prepared = self._preparer.prepare(wish)
        except (LauncherRefusedError, RenderRefusedError) as error:
            return self._settle(wish, Seen.VERDICT_NO, error=_final(error))
        self._prepared[wish.command] = prepared
        return self._settle(wish, Seen.VERDICT_YES)

    def _launch(self, wish: Wish) -> Wish | None:
        prepared = self._prepared.get(wish.command)
        uncertain = prepared is None
        if uncertain and self._found(wish):
            return None
        if self._clock() > wish.expires_at:
            return self._out_of_time(wish)
        try:
            launched = self._ask_launch(wish, prepared or self._preparer.prepare(wish))
        except (LauncherRefusedError, RenderRefusedError, FrameRefusedError) as error:
            word = _word(_final(error))
            if uncertain and word is ErrorCode.COMMAND_REFUSED:
                # Used up by the launch whose answer was lost, and not running now.
                self._note_end(wish, unknown_end(wish.user_endpoint, wish.command, self._clock()))
                return None
            return self._settle(wish, Seen.LAUNCH_REFUSED, error=error)
        seen = Seen.RAN_ALREADY if launched.already else Seen.LAUNCHED
        return self._settle(wish, seen, started_at=self._clock())

    def _ask_launch(self, wish: Wish, prepared: Prepared) -> Launched:
        request = Launch(
            assertion=wish.assertion,
            user_endpoint=wish.user_endpoint,
            config=prepared.config,
            credentials=wish.credentials.reveal(),
            environment=prepared.environment,
        )
        began = time.monotonic()
        try:
            launched = self._launcher.launch(request)
        except LauncherUnreachableError:
            self._prepared.pop(wish.command, None)
            raise
        log.info(
            "launcher started it",
            extra={
                "event": "endpoint.launched",
                "user_endpoint": wish.user_endpoint,
                "command": wish.command,
                "account": prepared.account.uname,
                "uid": prepared.account.uid,
                "took_ms": round((time.monotonic() - began) * 1000, 1),
            },
        )
        return launched

    def _found(self, wish: Wish) -> bool:
        """Tell whether the launcher knows `wish` already; settle it if so."""
        listing = self._launcher.list()
        for running in listing.running:
            if running.command == wish.command:
                self._settle(wish, Seen.LAUNCHED, started_at=running.started_at)
                return True
        for ended in listing.ended:
            if ended.command == wish.command:
                self._note_end(wish, ended)
                return True
        return False

    def _adopt(self, running: Running) -> None:
        wish = Wish(
            command=CommandId(running.command),
            user_endpoint=EndpointId(running.user_endpoint),
            assertion="",
            options={},
            runtime={},
            credentials=Secret(""),
            expires_at=0.0,
            state=State.STARTED,
            started_at=running.started_at,
        )
        if self._records.adopt(wish):
            log.warning(
                "found running and not known here",
                extra={
                    "event": "endpoint.adopted",
                    "user_endpoint": running.user_endpoint,
                    "account": running.account,
                    "uid": running.uid,
                },
            )

    def _note_end(self, wish: Wish, ended: Ended) -> None:
        ran_s = ended.at - (wish.started_at or ended.at)
        end = judge_end(exit_code=ended.exit_code, ran_s=ran_s)
        code, message = explain_end(ended)
        self._settle(wish, end.seen, code=code, message=message, clean=end.clean)

    def _out_of_time(self, wish: Wish) -> Wish | None:
        return self._settle(
            wish,
            Seen.OUT_OF_TIME,
            code=ErrorCode.UNAVAILABLE,
            message="The endpoint's launcher did not answer before the request expired.",
            clean=False,
        )

    def _settle(
        self,
        wish: Wish,
        seen: Seen,
        *,
        error: ChamberlainError | None = None,
        started_at: float | None = None,
        **told: str | bool,
    ) -> Wish | None:
        after = move(wish.state, seen)
        if error is not None:
            told = {"code": _word(error), "message": error.public}
        prepared = self._prepared.get(wish.command)
        event = EndpointEvent(
            kind=after.tell,
            user_endpoint=wish.user_endpoint,
            command=wish.command,
            account="" if prepared is None else prepared.account.uname,
            **told,  # type: ignore[arg-type]
        )
        settled = self._records.settle(wish, after.state, event, started_at=started_at)
        if after.state is not State.ADMITTED:
            self._prepared.pop(wish.command, None)
            self._count(event)
        log.info(
            "endpoint %s",
            after.tell,
            extra={
                "event": f"endpoint.{after.tell}",
                "user_endpoint": wish.user_endpoint,
                "command": wish.command,
                "state_from": wish.state,
                "state_to": after.state,
                "code": event.code,
                "reason": "" if error is None else str(error),
            },
        )
        self._on_event()
        return settled if settled.state in KEPT and settled.state is not State.STARTED else None

    def _count(self, event: EndpointEvent) -> None:
        began = self._began.pop(CommandId(event.command), None)
        match event.kind:
            case "started":
                self._metrics.started(None if began is None else time.monotonic() - began)
            case "refused" | "failed":
                self._metrics.refused(event.code)
            case "ended":
                self._metrics.ended(clean=event.clean)
            case "admitted":
                pass


def _final(error: ChamberlainError) -> ChamberlainError:
    """Return `error`, unless the launcher says that it could not decide: that is raised."""
    if isinstance(error, LauncherRefusedError) and error.word is ErrorCode.UNAVAILABLE:
        raise LauncherUnreachableError(str(error)) from error
    return error


def _word(error: ChamberlainError) -> ErrorCode:
    if isinstance(error, LauncherRefusedError | RenderRefusedError):
        return error.word
    return ErrorCode.START_FAILED
