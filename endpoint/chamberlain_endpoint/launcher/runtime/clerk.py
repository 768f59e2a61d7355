"""The process that speaks to the container engine for the launcher.

Started as `python -I -m chamberlain_endpoint.launcher.runtime.clerk FD ENGINE SOCKET ENDPOINT
LEASES`, where FD is a packet socket: one JSON object a packet, descriptors beside it. A process
of its own, so that the launcher neither loads an HTTP client nor has threads (it forks), and so
that a slow engine holds up nobody: each request has its own thread. It knows nothing of commands,
identities or credentials. When the launcher hangs up, it removes what ends until another
launcher is there (see `tending`).
"""

from __future__ import annotations

import array
import contextlib
import json
import logging
import os
import queue
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher.runtime import container_plan, faults, idmap, mount_points
from chamberlain_endpoint.launcher.runtime.docker_api import DockerEngine
from chamberlain_endpoint.launcher.runtime.faults import (
    EngineError,
    NoMountError,
    NotIsolatedError,
)
from chamberlain_endpoint.launcher.runtime.tending import LONGEST_S, Tending
from chamberlain_endpoint.launcher.settings import EngineKind
from chamberlain_wire import logs

_log: Final = logging.getLogger(__name__)

PACKET_BYTES: Final = 128 * 1024
_THREADS: Final = 8
"""Two cores start no more containers a second with more; a slow one must not hold up others."""

_NOTICES_S: Final = 5.0
_AGAIN_S: Final = 0.05

Answer = tuple[dict[str, Any], tuple[int, ...]]
"""What is said, and descriptors that go with it and are closed here afterwards."""


class Clerk:
    """Carries out requests on one engine."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self._routes: dict[str, Callable[[dict[str, Any]], Answer]] = {
            "facts": self._facts,
            "start": self._start,
            "look": self._look,
            "attach": self._attach,
            "signal": self._signal,
            "remove": self._remove,
            "kill": self._kill,
            "list": self._list,
        }

    def answer(self, request: dict[str, Any]) -> Answer:
        """Return the answer to `request`, and a descriptor where one belongs to it."""
        try:
            return self._routes[request["do"]](request)
        except EngineError as error:
            return {"fault": error.word, "detail": str(error)}, ()
        except OSError as error:
            fault = faults.of_os_error(request["do"], error)
            return {"fault": fault.word, "detail": str(fault)}, ()

    def _facts(self, request: dict[str, Any]) -> Answer:
        return {"version": self._engine.version()}, ()

    def _start(self, request: dict[str, Any]) -> Answer:
        _make_state_dir(request)
        if not _is_own_home(request):
            container_plan.without_mount(request["document"], request["home"])
        _check_sources(request["document"])
        _make_mount_points(request["document"])
        container = self._engine.create(request["name"], request["document"])
        try:
            # Attached before the start: not a byte of its output is missed.
            stream = self._engine.attach(container)
            try:
                pid = self._engine.start(container)
                return {"container": container, "pid": pid}, self._held(
                    request, container, pid, stream
                )
            except BaseException:
                os.close(stream)
                raise
        except BaseException:
            with contextlib.suppress(EngineError):
                self._engine.remove(container)
            raise

    def _held(
        self, request: dict[str, Any], container: str, pid: int, stream: int
    ) -> tuple[int, ...]:
        """Return the descriptors of a container that is as it should be."""
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            # Ended already (which the stream tells), or a kernel without them.
            self._check(request, container, pid)
            return (stream,)
        try:
            # After the descriptor: it is this process whose map is read, or none.
            self._check(request, container, pid)
        except BaseException:
            os.close(pidfd)
            raise
        return (stream, pidfd)

    def _check(self, request: dict[str, Any], container: str, pid: int) -> None:
        """Look at the kernel, not at the engine's answer: engines dropped maps in silence."""
        for file, own, wanted in (("uid_map", "own_uids", "uids"), ("gid_map", "own_gids", "gids")):
            try:
                seen = idmap.parse(Path(f"/proc/{pid}/{file}").read_text())
            except (OSError, ValueError):
                if self._has_ended(container, pid):
                    return  # that is told as an end
                raise NotIsolatedError(f"{file} of process {pid} cannot be read") from None
            extents = request[wanted]
            asked = None if extents is None else tuple(idmap.Extent(*each) for each in extents)
            fault = idmap.fault_of(seen, request[own], asked)
            if fault:
                raise NotIsolatedError(f"{container}: {file}: {fault}")

    def _has_ended(self, container: str, pid: int) -> bool:
        """Tell whether the engine, too, says of a container whose map cannot be read that it ended.

        It may notice the end of a process a little after the kernel.
        """
        until = time.monotonic() + _NOTICES_S
        while True:
            state = self._engine.look(container)
            if state is not None and not state["running"]:
                return True
            if Path(f"/proc/{pid}").exists() or time.monotonic() > until:
                return False
            time.sleep(_AGAIN_S)

    def _look(self, request: dict[str, Any]) -> Answer:
        state = self._engine.look(request["container"])
        return {"state": state}, ()

    def _attach(self, request: dict[str, Any]) -> Answer:
        container = request["container"]
        state = self._engine.look(container)
        if state is None or not state["running"]:
            return {"state": state}, ()
        stream = self._engine.attach(container)
        try:
            fds = self._held(request, container, state["pid"], stream)
        except BaseException:
            os.close(stream)
            raise
        return {"container": container, "pid": state["pid"]}, fds

    def _signal(self, request: dict[str, Any]) -> Answer:
        self._engine.signal(request["container"], request["signal"])
        return {}, ()

    def _remove(self, request: dict[str, Any]) -> Answer:
        """Wait for the end, tell of it, and leave nothing behind."""
        self._engine.wait(request["container"])
        state = self._engine.look(request["container"])
        self._engine.remove(request["container"])
        return {"state": state}, ()

    def _kill(self, request: dict[str, Any]) -> Answer:
        self._engine.remove(request["container"])
        return {}, ()

    def _list(self, request: dict[str, Any]) -> Answer:
        return {"containers": self._engine.list(request["endpoint"])}, ()


def main() -> int:
    """Serve until the launcher hangs up."""
    logs.set_up()
    os.umask(0o022)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end = socket.socket(fileno=int(sys.argv[1]))
    end.setblocking(True)
    _, _, kind, path, endpoint, leases = sys.argv
    clerk = Clerk(DockerEngine(EngineKind(kind), Path(path)))
    waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    sending = threading.Lock()

    def work() -> None:
        while True:
            request = waiting.get()
            try:
                answer, fds = clerk.answer(request)
            except Exception as error:  # noqa: BLE001 (the edge: one request must not end it)
                _log.exception("a request failed", extra={"event": "clerk.fault"})
                answer, fds = {"fault": EngineError.word, "detail": repr(error)}, ()
            with sending:
                _send(end, {"id": request["id"], **answer}, fds)

    for number in range(_THREADS):
        threading.Thread(target=work, name=f"clerk-{number}", daemon=True).start()
    while packet := end.recv(PACKET_BYTES):
        waiting.put(json.loads(packet))
    # Another connection than the threads': one of them may be waiting for the engine.
    engine = DockerEngine(EngineKind(kind), Path(path))
    label = f"{container_plan.LABEL}generation"
    Tending(engine, endpoint, label, Path(leases)).run(time.monotonic() + LONGEST_S)
    return 0


def _send(end: socket.socket, answer: dict[str, Any], fds: tuple[int, ...]) -> None:
    packet = json.dumps(answer).encode()
    if len(packet) > PACKET_BYTES:
        fault = {"fault": EngineError.word, "detail": "the answer is too long"}
        packet = json.dumps({"id": answer["id"], **fault}).encode()
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    with contextlib.suppress(ConnectionError):
        end.sendmsg([packet], beside)
    for fd in fds:
        os.close(fd)


def _make_state_dir(request: dict[str, Any]) -> None:
    """Make the folder of the user endpoint below its account's, which the account may write.

    Step by step with descriptors: the account could put a link there at any moment, and root
    would follow it.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    account = os.open(request["account_dir"], flags)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(request["state_name"], 0o700, dir_fd=account)
        state = os.open(request["state_name"], flags, dir_fd=account)
    finally:
        os.close(account)
    try:
        seen = os.fstat(state)
        if seen.st_uid == 0:
            os.fchown(state, request["uid"], request["gid"])
        elif seen.st_uid != request["uid"]:
            raise faults.EngineError(f"{request['state_name']} belongs to uid {seen.st_uid}")
    finally:
        os.close(state)


def _check_sources(document: dict[str, Any]) -> None:
    """Refuse what is to be mounted and is not there: engines say it in many ways, and late."""
    for source in container_plan.sources_of(document):
        if not Path(source).exists():
            raise NoMountError(f"{source}, which containers are to see, is not there")


def _make_mount_points(document: dict[str, Any]) -> None:
    root = document.get("rootfs")
    if not root:
        return
    # The engine mounts one of its own there, whatever it is asked.
    mount_points.prepare(Path(root), Path("/etc/hostname"), is_folder=False)
    for mount in document["mounts"]:
        is_folder = mount["type"] == "tmpfs" or Path(mount["source"]).is_dir()
        mount_points.prepare(Path(root), Path(mount["destination"]), is_folder=is_folder)


def _is_own_home(request: dict[str, Any]) -> bool:
    """Tell whether the account's home may be mounted: a real folder that belongs to it.

    An entry of the account database that names `/`, another's home or a link must not hand
    that to a container.
    """
    home = request["home"]
    if not home:
        return False
    try:
        fd = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        seen = os.fstat(fd)
    finally:
        os.close(fd)
    return seen.st_uid == request["uid"] and stat.S_ISDIR(seen.st_mode)


if __name__ == "__main__":
    # The threads are daemons that may wait for the engine; nothing of theirs needs an end.
    code = main()
    os._exit(code)
