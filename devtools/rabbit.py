"""A private RabbitMQ node: own ports, own folder, own Erlang port mapper, ended by its pid.

For the demo, the tests and the benchmarks; it disturbs no RabbitMQ that the machine runs.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from devtools.processes import started_at
from devtools.say import CannotGoOnError

_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_S = 120.0
_STOP_S = 30.0


class RabbitNotStartedError(CannotGoOnError):
    """The node did not come up; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports on 127.0.0.1."""

    amqp: int
    management: int
    distribution: int
    epmd: int


def free_ports(count: int) -> list[int]:
    """Return `count` TCP ports on 127.0.0.1 that nobody uses at this moment."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


class PrivateRabbit:
    """One RabbitMQ node below `folder`.

    Args:
        folder: made if absent; holds configuration, data, log, password and pid.
        ports: which ports to use; free ones when None (kept in `folder` for later starts).
    """

    def __init__(self, folder: Path, ports: Ports | None = None) -> None:
        self.folder = folder
        self._state = folder / "node.json"
        if self._state.exists():
            saved = json.loads(self._state.read_text())
            self.ports = Ports(**saved["ports"])
            self.password = str(saved["password"])
        else:
            self.ports = ports or Ports(*free_ports(4))
            self.password = secrets.token_urlsafe(24)
        self.user = "chamberlain-hub"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def amqp_url(self) -> str:
        """Address for the hub's own (administrator's) connection, default vhost."""
        return f"amqp://{self.user}:{self.password}@127.0.0.1:{self.ports.amqp}/%2F"

    @property
    def management_url(self) -> str:
        """Address of the management API, with user and password."""
        return f"http://{self.user}:{self.password}@127.0.0.1:{self.ports.management}"

    def start(self) -> None:
        """Start the node, if it does not run, and return when it answers.

        Raises:
            RabbitNotStartedError: not installed, or not up within two minutes.
        """
        if self.answers():
            return
        if not _SERVER.exists():
            raise RabbitNotStartedError("RabbitMQ is not installed: apt install rabbitmq-server")
        self._reap()
        self._write_files()
        with (self.folder / "out.log").open("ab") as out:
            process = self._process = subprocess.Popen(
                [str(_SERVER)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )
        (self.folder / "server.pid").write_text(str(process.pid))
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if process.poll() is not None or time.monotonic() > deadline:
                tail = (self.folder / "out.log").read_text(errors="replace")[-2000:]
                raise RabbitNotStartedError(f"RabbitMQ did not start:\n{tail}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop the node and its port mapper, and wait until they are gone."""
        self._end(self._pid("server.pid"), group=True)
        # epmd puts itself into a session of its own: find it by its port in its command line.
        for pid in _pids_with(f"-port {self.ports.epmd}") + _pids_named_epmd(self.folder):
            self._end(pid, group=False)

    def kill(self) -> None:
        """End the node at once, as a crash would."""
        pid = self._pid("server.pid")
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
            self._gone(pid, _STOP_S)

    def answers(self) -> bool:
        """Tell whether the node takes AMQP connections and management requests."""
        try:
            self.api("GET", "/api/health/checks/port-listener/" + str(self.ports.amqp))
        except (OSError, urllib.error.URLError):
            return False
        return True

    def api(self, method: str, path: str, body: object = None) -> object:
        """Ask the management API; return the parsed JSON answer, or None."""
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports.management}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def _reap(self) -> None:
        # A child of ours stays a zombie until we ask for its status.
        if self._process is not None and self._process.poll() is not None:
            self._process = None

    def _pid(self, name: str) -> int | None:
        try:
            pid = int((self.folder / name).read_text())
            # The number may belong to another process by now: ours has our folder.
            ours = f"RABBITMQ_BASE={self.folder}".encode()
            return pid if ours in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") else None
        except (OSError, ValueError):
            return None

    def _end(self, pid: int | None, *, group: bool) -> None:
        if pid is None:
            return
        send = os.killpg if group else os.kill
        for sign, grace_s in ((signal.SIGTERM, _STOP_S), (signal.SIGKILL, _STOP_S)):
            try:
                send(pid, sign)
            except ProcessLookupError:
                return
            if self._gone(pid, grace_s):
                return

    def _gone(self, pid: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            self._reap()
            if started_at(pid) is None:
                self._reap()  # it may have ended after the look above
                return True
            time.sleep(0.05)
        return False

    def _environment(self) -> dict[str, str]:
        base = str(self.folder)
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": base,
            "LANG": "C.UTF-8",
            "RABBITMQ_BASE": base,
            "RABBITMQ_MNESIA_BASE": f"{base}/data",
            "RABBITMQ_LOG_BASE": f"{base}/log",
            "RABBITMQ_CONFIG_FILE": f"{base}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{base}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{base}/enabled_plugins",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_NODENAME": f"chamberlain{self.ports.amqp}@localhost",
            "RABBITMQ_DIST_PORT": str(self.ports.distribution),
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none +sbwtdcpu none"
            ),
        }

    def _write_files(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ports = {name: getattr(self.ports, name) for name in Ports.__slots__}
        self._state.touch(mode=0o600)
        self._state.write_text(json.dumps({"ports": ports, "password": self.password}))
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management].\n")
        # A task is acknowledged when its result is out, which may take days.
        (self.folder / "advanced.config").write_text(
            "[{rabbit, [{consumer_timeout, undefined}]}].\n"
        )
        conf = self.folder / "rabbitmq.conf"
        conf.touch(mode=0o600)
        conf.write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.ports.amqp}\n"
            "management.tcp.ip = 127.0.0.1\n"
            f"management.tcp.port = {self.ports.management}\n"
            f"default_user = {self.user}\n"
            f"default_pass = {self.password}\n"
            "disk_free_limit.absolute = 50MB\n"
            "management_agent.disable_metrics_collector = false\n"
            "log.file.level = warning\n"
        )


def _pids_with(words: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words in entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"):
                found.append(int(entry.parent.name))
    return found


def _pids_named_epmd(folder: Path) -> list[int]:
    """Port mappers whose environment says that they are ours."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            comm = (entry.parent / "comm").read_text().strip()
            if comm == "epmd" and f"RABBITMQ_BASE={folder}".encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found
