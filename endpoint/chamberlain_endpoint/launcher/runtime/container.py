"""Runs user endpoints in containers, each in a user namespace of its own.

The clerk speaks to the engine; this class keeps what comes of it: for each container a
stream (its standard input and output) and a process descriptor, which tells of its end and
takes signals without the engine. Containers outlive the launcher that started them, for as
long as their lease lasts: the next one finds them by their labels and goes on.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import secrets
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher.loop import Loop
from chamberlain_endpoint.launcher.runtime import container_plan, folders, idmap, names
from chamberlain_endpoint.launcher.runtime.clerk_link import ClerkLink
from chamberlain_endpoint.launcher.runtime.container_records import ContainerRecords, Record
from chamberlain_endpoint.launcher.runtime.container_stream import ContainerStream
from chamberlain_endpoint.launcher.runtime.faults import EngineDownError, EngineError
from chamberlain_endpoint.launcher.runtime.image_shelf import ImageShelf
from chamberlain_endpoint.launcher.runtime.port import (
    Adopted,
    Exit,
    Runtime,
    StartFailedError,
)
from chamberlain_endpoint.launcher.runtime.subordinate import SubordinateIds
from chamberlain_endpoint.launcher.settings import EngineKind, LauncherSettings
from chamberlain_endpoint.launcher.spec import LEASE_S, LaunchSpec

_log: Final = logging.getLogger(__name__)

_START_S: Final = 60.0
_ASK_S: Final = 30.0
_AGAIN_S: Final = 1.0
_CLOSE_S: Final = 10.0
_NOT_KNOWN_YET: Final = "the engine was not asked yet what runs of an earlier launcher"


class _Container:
    """One container, from the wish to its end."""

    def __init__(self, record: Record, spec: LaunchSpec | None) -> None:
        self.record = record
        self.spec = spec
        self.id = ""
        self.pid = 0
        self.pidfd = -1
        self.stream = ContainerStream(spec.first_line if spec is not None else b"")
        self.is_stopping = False
        self.kill_at = float("inf")
        self.is_ending = False


class ContainerRuntime:
    """Starts, feeds, watches, ends and adopts containers. See `port.Runtime`.

    Args:
        fallback: runs what the engine cannot, where the site allows it.
    """

    def __init__(
        self, loop: Loop, settings: LauncherSettings, fallback: Runtime | None = None
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._runtime = settings.runtime
        self._fallback = fallback
        self._fallen: set[str] = set()
        self._link = ClerkLink(loop, self._runtime.engine, self._runtime.socket)
        folder = settings.state_dir / "containers"
        self._folder = folder
        self._ids = SubordinateIds(
            folder / "subordinate.json",
            self._runtime.subordinate_first,
            self._runtime.subordinate_count,
        )
        self._records = ContainerRecords(folder / "containers.json")
        self._shelf = ImageShelf(self._runtime.images_dir)
        self._containers: dict[str, _Container] = {}
        self._is_known = False
        self._on_exit: Callable[[Exit], None] = lambda _: None
        self._on_adopted: Callable[[Adopted], None] = lambda _: None

    def open(
        self,
        on_exit: Callable[[Exit], None],
        on_adopted: Callable[[Adopted], None] = lambda _: None,
    ) -> None:
        """Start the clerk, and ask the engine what runs of ours.

        Raises:
            RecordsBrokenError: accounts would share ids; restore the file.
        """
        self._on_exit, self._on_adopted = on_exit, on_adopted
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._ids.open()
        self._records.open()
        self._link.open()
        if self._fallback is not None:
            self._fallback.open(self._note_fallen)
        self._ask_what_runs()
        self._loop.call_later(LEASE_S / 3, self._renew_leases)

    def start(self, spec: LaunchSpec) -> None:
        """Begin to start a container."""
        if self.is_running(spec.user_endpoint):
            raise ValueError(f"{spec.user_endpoint} runs already")
        try:
            self._begin(spec)
        except StartFailedError as error:
            if not self._fall_back(spec, error):
                raise
        except OSError as error:
            raise StartFailedError(f"{spec.user_endpoint}: {error}") from error

    def pid_of(self, user_endpoint: str) -> int:
        """Return the process id of the container's first process; 0: none yet."""
        if user_endpoint in self._fallen and self._fallback is not None:
            return self._fallback.pid_of(user_endpoint)
        container = self._containers.get(user_endpoint)
        return 0 if container is None else container.pid

    def is_running(self, user_endpoint: str) -> bool:
        """Tell whether something of `user_endpoint` still runs, or is just being started."""
        return user_endpoint in self._containers or user_endpoint in self._fallen

    def stop(self, user_endpoint: str, grace_s: float) -> None:
        """Ask it to end, and kill all of it after `grace_s`."""
        if user_endpoint in self._fallen and self._fallback is not None:
            self._fallback.stop(user_endpoint, grace_s)
            return
        container = self._containers.get(user_endpoint)
        if container is None:
            return
        if not container.is_stopping:
            container.is_stopping = True
            self._signal(container, signal.SIGTERM)
        kill_at = time.monotonic() + grace_s
        if kill_at < container.kill_at:
            container.kill_at = kill_at
            self._loop.call_later(grace_s, lambda: self._signal(container, signal.SIGKILL))

    def close(self) -> None:
        """Kill what still runs, without a callback; leave nothing with the engine."""
        if self._fallback is not None:
            self._fallback.close()
        self._on_exit = lambda _: None
        if self._runtime.ends_with_launcher:
            until = time.monotonic() + _CLOSE_S
            for container in tuple(self._containers.values()):
                self.stop(container.record.user_endpoint, 0.0)
            while self._containers and time.monotonic() < until:
                self._loop.call_later(0.05, lambda: None)
                self._loop.turn()
        for container in tuple(self._containers.values()):
            self._let_go(container)
        self._containers.clear()
        self._link.close()

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
        plan = container_plan.make(
            self._runtime,
            spec,
            container_plan.Place(
                endpoint=self._settings.endpoint_id,
                generation=secrets.token_hex(16),
                root=root,
                digest=digest,
                base=self._ids.base_of(account.uid),
                names=names_dir,
                most_open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
                most_processes=resource.getrlimit(resource.RLIMIT_NPROC)[1],
            ),
        )
        record = _record_of(spec, plan)
        self._records.add(record)
        container = _Container(record, spec)
        self._containers[spec.user_endpoint] = container
        request = {
            **_asked(plan),
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
        self, container: _Container, answer: dict[str, Any] | EngineError, fds: tuple[int, ...]
    ) -> None:
        if isinstance(answer, EngineError):
            self._failed(container, answer)
            return
        self._hold(container, answer, fds)
        if container.is_stopping:
            self._signal(container, signal.SIGTERM)
        if container.kill_at <= time.monotonic():
            self._signal(container, signal.SIGKILL)

    def _failed(self, container: _Container, error: EngineError) -> None:
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
        if spec is not None and not container.is_stopping and self._fall_back(spec, error):
            return
        self._on_exit(
            Exit(
                record.user_endpoint,
                None,
                None,
                b"",
                failure=f"{error.word}: {error} {error.remedy}",
                public=error.public,
            )
        )

    def _fall_back(self, spec: LaunchSpec, error: StartFailedError) -> bool:
        if self._fallback is None or not isinstance(error, EngineError):
            return False
        self._fallback.start(spec)
        self._fallen.add(spec.user_endpoint)
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

    def _note_fallen(self, exit_: Exit) -> None:
        self._fallen.discard(exit_.user_endpoint)
        self._on_exit(exit_)

    def _hold(
        self, container: _Container, answer: dict[str, Any], fds: tuple[int, ...]
    ) -> None:
        """Take the descriptors of a container that runs."""
        container.id, container.pid = answer["container"], answer["pid"]
        container.stream.open(self._loop, fds[0], lambda: self._stream_ended(container))
        if len(fds) > 1:
            container.pidfd = fds[1]
            self._loop.on_readable(container.pidfd, lambda: self._process_ended(container))

    def _signal(self, container: _Container, number: int) -> None:
        """Pass a signal to the container's first process; the engine is not needed for it."""
        if self._containers.get(container.record.user_endpoint) is not container:
            return
        if container.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(container.pidfd, number)
        elif container.id:
            request = {"container": container.id, "signal": number}
            self._link.ask("signal", request, lambda *_: None, _ASK_S)

    def _process_ended(self, container: _Container) -> None:
        self._loop.forget(container.pidfd)
        self._end(container)

    def _stream_ended(self, container: _Container) -> None:
        """Find out whether the container ended, or the engine only hung up."""
        if container.is_ending:
            return
        if container.pidfd < 0:
            self._end(container)
            return
        self._loop.call_later(_AGAIN_S, lambda: self._attach_again(container))

    def _attach_again(self, container: _Container) -> None:
        if container.is_ending:
            return

        def take(answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
            if isinstance(answer, EngineError) or not fds:
                self._stream_ended(container)
                return
            for fd in fds[1:]:
                os.close(fd)
            if container.is_ending:
                os.close(fds[0])
                return
            container.stream.open(self._loop, fds[0], lambda: self._stream_ended(container))

        self._link.ask("attach", self._known(container), take, _ASK_S)

    def _known(self, container: _Container) -> dict[str, Any]:
        record = container.record
        own_gids = list(record.groups)
        if self._runtime.engine is EngineKind.PODMAN:
            base = self._ids.base_of(record.uid)
            uids: Any = idmap.extents((record.uid,), base)
            gids: Any = idmap.extents(own_gids, base)
        else:
            uids = gids = None
        return {
            "container": container.id,
            "own_uids": [record.uid],
            "own_gids": own_gids,
            "uids": uids,
            "gids": gids,
        }

    def _end(self, container: _Container) -> None:
        """Have the engine tell how it ended and remove it; then tell of it."""
        if container.is_ending and container.pidfd < 0:
            return
        container.is_ending = True

        def take(answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
            if isinstance(answer, EngineError):
                # The process is gone whatever the engine says; it is asked until it answers.
                self._loop.call_later(_AGAIN_S, lambda: self._end_again(container))
                return
            container.stream.drain()
            exit_ = _exit_of(container, answer["state"])
            self._forget(container)
            self._on_exit(exit_)

        self._link.ask("remove", {"container": container.id}, take, 2 * _ASK_S)

    def _end_again(self, container: _Container) -> None:
        if self._containers.get(container.record.user_endpoint) is container:
            self._end(container)

    def _forget(self, container: _Container) -> None:
        del self._containers[container.record.user_endpoint]
        self._records.remove(container.record.generation)
        self._let_go(container)

    def _let_go(self, container: _Container) -> None:
        container.stream.close()
        if container.pidfd >= 0:
            self._loop.forget(container.pidfd)
            os.close(container.pidfd)
            container.pidfd = -1

    def _renew_leases(self) -> None:
        for container in self._containers.values():
            container.stream.renew_lease()
        self._loop.call_later(LEASE_S / 3, self._renew_leases)

    def _ask_what_runs(self) -> None:
        request = {"endpoint": self._settings.endpoint_id}
        self._link.ask("list", request, self._take_list, _ASK_S)

    def _take_list(self, answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
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
        self._records.keep_only(ours | {each.record.generation for each in self._containers.values()})
        self._is_known = True

    def _adopt(self, record: Record, container_id: str) -> None:
        container = _Container(record, None)
        container.id = container_id
        self._containers[record.user_endpoint] = container

        def take(answer: dict[str, Any] | EngineError, fds: tuple[int, ...]) -> None:
            if isinstance(answer, EngineError) or not fds:
                # Not as it should be, or ended while nobody looked: nothing of it stays.
                container.is_ending = True
                self._link.ask(
                    "kill",
                    {"container": container_id},
                    lambda *_: self._forget(container),
                    _ASK_S,
                )
                return
            self._hold(container, answer, fds)
            _log.info(
                "went on with a container of an earlier launcher",
                extra={
                    "event": "container.adopted",
                    "user_endpoint": record.user_endpoint,
                    "account": record.account,
                    "container": container_id,
                },
            )
            self._on_adopted(record.adopted(container.pid))
            container.stream.renew_lease()

        self._link.ask("attach", self._known(container), take, _ASK_S)


def _asked(plan: container_plan.Plan) -> dict[str, Any]:
    kept = asdict(plan)
    return {name: kept[name] for name in ("uids", "gids", "own_uids", "own_gids")}


def _record_of(spec: LaunchSpec, plan: container_plan.Plan) -> Record:
    labels = plan.document.get("labels") or plan.document["Labels"]
    return Record(
        generation=labels[f"{container_plan.LABEL}generation"],
        user_endpoint=spec.user_endpoint,
        command=spec.command,
        account=spec.account.uname,
        uid=spec.account.uid,
        gid=spec.account.gid,
        groups=plan.own_gids,
        started_at=time.time(),
    )


def _exit_of(container: _Container, state: dict[str, Any] | None) -> Exit:
    tail = container.stream.tail
    name = container.record.user_endpoint
    if state is None:
        return Exit(name, None, signal.SIGKILL, tail)
    if state["oom"]:
        tail += b"\nended: it used more memory than the site's limit allows\n"
    code = state["exit_code"]
    # As every shell and engine tells it: 128 and the number of the signal.
    if 128 < code < 128 + signal.NSIG:
        return Exit(name, None, code - 128, tail)
    return Exit(name, code, None, tail)
