"""Runs user endpoints in containers, each in a user namespace of its own.

The clerk speaks to the engine; this class keeps what comes of it: for each container a
stream (its standard input and output) and a process descriptor, which tells of its end and
takes signals without the engine. Containers outlive the launcher that started them, for as
long as their lease lasts: the next one finds them by their labels and goes on.
"""

from __future__ import annotations

import logging
import resource
import secrets
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime import (
    container_plan,
    container_records,
    faults,
    folders,
    held_session,
    names,
)
from chamberlain_endpoint.launcher.runtime.clerk_link import ClerkLink
from chamberlain_endpoint.launcher.runtime.container_records import ContainerRecords, Record
from chamberlain_endpoint.launcher.runtime.faults import EngineDownError, EngineError
from chamberlain_endpoint.launcher.runtime.held_container import HeldContainer, Means
from chamberlain_endpoint.launcher.runtime.held_session import HeldSession, Listener, Opened
from chamberlain_endpoint.launcher.runtime.image_shelf import ImageShelf
from chamberlain_endpoint.launcher.runtime.lease_files import LeaseFiles
from chamberlain_endpoint.launcher.runtime.port import (
    Exit,
    News,
    SessionOpened,
    StartFailedError,
    did_not_begin,
    unheard,
)
from chamberlain_endpoint.launcher.runtime.subordinate import SubordinateIds
from chamberlain_endpoint.launcher.settings import LEASE_S, EngineKind, LauncherSettings
from chamberlain_endpoint.launcher.spec import LaunchSpec

_log: Final = logging.getLogger(__name__)

_START_S: Final = 60.0
_ASK_S: Final = 30.0
_AGAIN_S: Final = 1.0
_CLOSE_S: Final = 10.0
_SETTLES_S: Final = 10.0
_NOT_KNOWN_YET: Final = "the engine was not asked yet what runs of an earlier launcher"


class ContainerRuntime:
    """Starts, feeds, watches, ends and adopts containers. See `port.Runtime`.

    Attributes:
        instead: asked when there is no container for a start, and why; takes it over and
            returns True, or returns False.
    """

    def __init__(self, loop: Loop, settings: LauncherSettings) -> None:
        self._loop = loop
        self._settings = settings
        self._runtime = settings.runtime
        self.instead: Callable[[LaunchSpec, EngineError], bool] = lambda *_: False
        folder = settings.state_dir / "containers"
        self._folder = folder
        leases = folder / "leases"
        self._link = ClerkLink(
            loop, self._runtime.engine, self._runtime.socket, settings.endpoint_id, leases
        )
        self._ids = SubordinateIds(
            folder / "subordinate.json",
            self._runtime.subordinate_first,
            self._runtime.subordinate_count,
        )
        self._records = ContainerRecords(container_records.path_in(settings.state_dir))
        self._leases = LeaseFiles(leases)
        self._sessions = folder / "sessions"
        self._renewal_s = min(LEASE_S, self._runtime.lease_s) / 3
        self._shelf = ImageShelf(self._runtime.images_dir)
        self._containers: dict[str, HeldContainer] = {}
        self._is_known = False
        self._is_answered = False
        self._adopting = 0
        self._on_exit: Callable[[Exit], None] = lambda _: None
        self._on_news: Callable[[News], None] = unheard

    def open(
        self, on_exit: Callable[[Exit], None], on_news: Callable[[News], None] = unheard
    ) -> None:
        """Start the clerk, and take up what runs of ours, before anybody can ask for it.

        Waits a few seconds for an engine that is slow; one that is down holds up nothing.

        Raises:
            RecordsBrokenError: accounts would share ids; restore the file.
        """
        self._on_exit, self._on_news = on_exit, on_news
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ids.open()
        self._records.open()
        self._link.open()
        self._ask_what_runs()
        self._loop.call_later(self._renewal_s, self._renew_leases)
        self._turn(lambda: self._is_answered and self._adopting == 0, _SETTLES_S)

    def _turn(self, is_so: Callable[[], bool], within_s: float) -> None:
        until = time.monotonic() + within_s
        while not is_so() and time.monotonic() < until:
            self._loop.call_later(0.05, lambda: None)
            self._loop.turn()

    @property
    def is_ready(self) -> bool:
        """Whether the engine answered, and what runs of an earlier launcher is known."""
        return self._is_known

    def start(self, spec: LaunchSpec) -> None:
        """Begin to start a container."""
        if self.is_running(spec.user_endpoint):
            raise ValueError(f"{spec.user_endpoint} runs already")
        try:
            self._begin(spec)
        except EngineError as error:
            if not self.instead(spec, error):
                raise
        except OSError as error:
            fault = faults.of_os_error(spec.user_endpoint, error)
            if not self.instead(spec, fault):
                raise fault from error

    def pid_of(self, user_endpoint: str) -> int:
        """Return the process id of the container's first process; 0: none yet."""
        container = self._containers.get(user_endpoint)
        return 0 if container is None else container.pid

    def is_running(self, user_endpoint: str) -> bool:
        """Tell whether something of `user_endpoint` still runs, or is just being started."""
        return user_endpoint in self._containers

    def stays(self, user_endpoint: str) -> bool:
        """Tell whether the site leaves it to the next launcher."""
        return user_endpoint in self._containers and not self._runtime.ends_with_launcher

    def stop(self, user_endpoint: str, grace_s: float) -> None:
        """Ask it to end, and kill all of it after `grace_s`."""
        container = self._containers.get(user_endpoint)
        if container is None:
            return
        container.stop(grace_s)

    def close(self) -> None:
        """Kill what still runs, without a callback; leave nothing with the engine."""
        self._on_exit = lambda _: None
        if self._runtime.ends_with_launcher:
            for container in tuple(self._containers.values()):
                self.stop(container.record.user_endpoint, 0.0)
            self._turn(lambda: not self._containers, _CLOSE_S)
        is_left = bool(self._containers)
        for container in tuple(self._containers.values()):
            container.leave()
        self._containers.clear()
        self._link.close(stays=is_left)

    def _begin(self, spec: LaunchSpec) -> None:
        if not self._is_known:
            raise EngineDownError(_NOT_KNOWN_YET)
        account = spec.account
        digest = self._runtime.digest_of(spec.image)
        if digest is None:
            allowed = ", ".join(name for name, _ in self._runtime.images)
            raise StartFailedError(
                f"image {spec.image!r} is not in runtime.images",
                public=f"The site has no image {spec.image!r}; it has: {allowed}.",
            )
        is_podman = self._runtime.engine is EngineKind.PODMAN
        root = str(self._shelf.root_of(digest)) if is_podman else ""
        names_dir = names.write(self._folder, account, self._runtime.known_accounts)
        account_dir = folders.make_account_dir(
            self._settings.accounts_dir, account.uid, account.gid
        )
        generation = secrets.token_hex(16)
        place = container_plan.Place(
            endpoint=self._settings.endpoint_id,
            generation=generation,
            root=root,
            digest=digest,
            base=self._ids.base_of(account.uid),
            names=names_dir,
            lease=self._leases.make(generation),
            most_open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
            most_processes=resource.getrlimit(resource.RLIMIT_NPROC)[1],
        )
        plan = container_plan.make(self._runtime, spec, place)
        record = container_records.of_start(spec, generation, plan.ids.own_gids)
        self._records.add(record)
        container = self._held(record, spec)
        self._containers[spec.user_endpoint] = container
        if container.session is None:
            self._ask_for(container, spec, plan, account_dir)
            return

        def opened(session: Opened) -> None:
            within = replace(spec, environment={**session.environment, **spec.environment})
            there = replace(place, session_limits=session.limits)
            self._on_news(SessionOpened(spec.user_endpoint))
            try:
                plan = container_plan.make(self._runtime, within, there)
            except EngineError as error:
                self._failed(container, error)
            else:
                self._ask_for(container, within, plan, account_dir)

        listener = Listener(opened, lambda told: self._refused(container, told))
        try:
            container.session.open(spec.pam, account.uname, place.lease, listener)
        except OSError:
            self._forget(container)
            raise

    def _ask_for(
        self,
        container: HeldContainer,
        spec: LaunchSpec,
        plan: container_plan.Plan,
        account_dir: Path,
    ) -> None:
        account = spec.account
        request = {
            **plan.ids.judged_by(),
            "document": plan.document,
            "name": plan.name,
            "account_dir": str(account_dir),
            "state_name": spec.state_dir.name,
            "uid": account.uid,
            "gid": account.gid,
            "home": account.dir if self._runtime.mounts_home else "",
        }
        self._link.ask(
            "start", request, lambda answer, fds: self._started(container, answer, fds), _START_S
        )

    def _started(
        self, container: HeldContainer, answer: dict[str, Any] | EngineError, fds: tuple[int, ...]
    ) -> None:
        if isinstance(answer, EngineError):
            self._failed(container, answer)
            return
        container.hold(answer, fds)

    def _refused(self, container: HeldContainer, told: dict[str, Any]) -> None:
        """The account's session was not opened: nothing of it has run."""
        self._forget(container)
        self._on_exit(did_not_begin(container.record.user_endpoint, told))

    def _failed(self, container: HeldContainer, error: EngineError) -> None:
        self._after_session(container, lambda said: self._not_started(container, error, said))

    def _not_started(self, container: HeldContainer, error: EngineError, session: str) -> None:
        record, spec = container.record, container.spec
        self._forget(container)
        _log.error(
            "no container: %s %s",
            error,
            error.remedy,
            extra={
                "event": "container.not_started",
                "user_endpoint": record.user_endpoint,
                "account": record.account,
                "code": error.word,
                "reason": str(error),
            },
        )
        failure, public = f"{error.word}: {error} {error.remedy}", error.public
        try:
            if spec is not None and not container.is_stopping and self.instead(spec, error):
                return
        except StartFailedError as another:
            failure, public = str(another), another.public
        exit_ = Exit(record.user_endpoint, None, None, b"", failure=failure, public=public)
        self._on_exit(replace(exit_, session=session))

    def _held(self, record: Record, spec: LaunchSpec | None) -> HeldContainer:
        means = Means(self._known, self._ended, self._on_news)
        session = None
        if record.has_session:
            session = HeldSession(self._loop, self._sessions, record.generation)
        return HeldContainer(self._loop, self._link, record, spec, means, session)

    def _known(self, container: HeldContainer) -> dict[str, Any]:
        """Return what the clerk needs to judge a container that runs already."""
        record = container.record
        is_podman = self._runtime.engine is EngineKind.PODMAN
        base = self._ids.base_of(record.uid) if is_podman else None
        ids = container_plan.Ids.of((record.uid,), record.groups, base)
        return {"container": container.id, **ids.judged_by()}

    def _ended(self, container: HeldContainer, exit_: Exit) -> None:
        def through(session: str) -> None:
            self._forget(container)
            self._on_exit(replace(exit_, session=session))

        self._after_session(container, through)

    def _after_session(self, container: HeldContainer, then: Callable[[str], None]) -> None:
        """Call `then` with what became of its session; nothing of the container runs."""
        self._leases.remove(container.record.generation)
        if container.session is None:
            then("")
        else:
            container.session.end(then)

    def _forget(self, container: HeldContainer) -> None:
        del self._containers[container.record.user_endpoint]
        self._records.remove(container.record.generation)
        self._leases.remove(container.record.generation)
        container.let_go()

    def _renew_leases(self) -> None:
        for container in tuple(self._containers.values()):
            self._leases.renew(container.record.generation)
            container.end_without_session()
        self._loop.call_later(self._renewal_s, self._renew_leases)

    def _ask_what_runs(self) -> None:
        request = {"endpoint": self._settings.endpoint_id}
        self._link.ask("list", request, self._take_list, _ASK_S)

    def _take_list(self, answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
        self._is_answered = True
        if isinstance(answer, EngineError):
            _log.error(
                "the container engine does not answer: %s %s",
                answer,
                answer.remedy,
                extra={"event": "engine.down", "code": answer.word, "reason": str(answer)},
            )
            self._loop.call_later(5 * _AGAIN_S, self._ask_what_runs)
            return
        ours = set()
        for row in answer["containers"]:
            record = self._records.of(row["labels"].get(f"{container_plan.LABEL}generation", ""))
            if record is None or row["labels"].get(f"{container_plan.LABEL}uid") != str(record.uid):
                _log.warning(
                    "a container with our labels is not ours; it is left alone",
                    extra={"event": "container.not_ours", "container": row["container"]},
                )
                continue
            ours.add(record.generation)
            self._adopt(record, row["container"])
        kept = ours | {each.record.generation for each in self._containers.values()}
        self._records.keep_only(kept)
        # By its lease file a holder knows that no container came, or comes, of its session.
        self._leases.keep_only(kept)
        held_session.clean(self._sessions, kept)
        self._is_known = True

    def _adopt(self, record: Record, container_id: str) -> None:
        container = self._held(record, None)
        container.id = container_id
        self._containers[record.user_endpoint] = container
        self._adopting += 1

        def take(answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
            self._adopting -= 1
            if isinstance(answer, EngineError) or not fds:
                # Not as it should be, or ended while nobody looked: nothing of it stays.
                _log.warning("not adopted: %s", answer, extra={"event": "container.not_adopted"})
                container.is_ending = True
                self._link.ask(
                    "kill",
                    {"container": container_id},
                    lambda *_: self._after_session(container, lambda _: self._forget(container)),
                    _ASK_S,
                )
                return
            container.hold(answer, fds)
            _log.info(
                "went on with a container of an earlier launcher",
                extra={
                    "event": "container.adopted",
                    "user_endpoint": record.user_endpoint,
                    "account": record.account,
                    "container": container_id,
                },
            )
            self._on_news(record.adopted(container.pid))
            self._leases.renew(record.generation)
            container.end_without_session()

        self._link.ask("attach", self._known(container), take, _ASK_S)
