"""A private PostgreSQL cluster: own data folder, own Unix socket, no TCP, ended by its pid.

For tests and benchmarks. PostgreSQL refuses to run as root, so root runs it as `postgres`.
Nothing is flushed to disk: a crash of the machine may take the data along.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

_BINARIES = "/usr/lib/postgresql/*/bin"
_START_S = 60.0
_STOP_S = 30.0
_SUPERUSER = "tester"
# Trust is enough: the socket lies in a folder that is closed to everybody else.
_INITDB_OPTIONS = ("--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C.UTF-8")


class PostgresNotStartedError(RuntimeError):
    """The cluster did not come up; the message holds the end of its log."""


class PrivatePostgres:
    """One PostgreSQL cluster in a folder of its own.

    The folder lies directly below the system's temporary folder: pytest's own folders are
    closed to the user `postgres`, and the path of a Unix socket may have 107 bytes only.
    """

    def __init__(self) -> None:
        self.folder = Path()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Make the cluster, start it, and return when it answers.

        Raises:
            PostgresNotStartedError: not installed, or not up within a minute.
        """
        binaries = _binaries()
        self.folder = Path(tempfile.mkdtemp(prefix="chamberlain-pg-"))
        account = _account()
        if account is not None:
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        data = self.folder / "data"
        made = self._run(
            [str(binaries / "initdb"), "-D", str(data), "-U", _SUPERUSER, *_INITDB_OPTIONS]
        )
        if made.returncode != 0:
            raise PostgresNotStartedError(made.stderr.decode(errors="replace"))
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "max_connections": "100",
        }
        arguments = [f"--{name}={value}" for name, value in settings.items()]
        log = self.folder / "postgres.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [str(binaries / "postgres"), "-D", str(data), *arguments],
                user=None if account is None else account.pw_uid,
                group=None if account is None else account.pw_gid,
                extra_groups=None if account is None else [],
                env={"LANG": "C.UTF-8", "HOME": str(self.folder)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _START_S
        while not self._answers(binaries):
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace")[-2000:]
                self.stop()
                raise PostgresNotStartedError(f"PostgreSQL did not start:\n{tail}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End the cluster, wait until it is gone, and remove its folder."""
        process = self._process
        if process is not None and process.poll() is None:
            # SIGINT: fast shutdown, which does not wait for its clients.
            process.send_signal(signal.SIGINT)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(_STOP_S)
        self._process = None
        if self.folder != Path():
            shutil.rmtree(self.folder, ignore_errors=True)

    def kill(self) -> None:
        """End the cluster at once, as a crash would."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(_STOP_S)

    def new_database(self) -> str:
        """Make an empty database and return its URL."""
        name = "db_" + secrets.token_hex(8)
        command = [str(_binaries() / "createdb"), "-h", str(self.folder), "-U", _SUPERUSER, name]
        done = self._run(command)
        if done.returncode != 0:
            raise PostgresNotStartedError(done.stderr.decode(errors="replace"))
        return f"postgresql://{_SUPERUSER}@/{name}?host={self.folder}"

    def _answers(self, binaries: Path) -> bool:
        asked = self._run(
            [str(binaries / "pg_isready"), "-q", "-h", str(self.folder), "-U", _SUPERUSER]
        )
        return asked.returncode == 0

    def _run(self, command: list[str]) -> subprocess.CompletedProcess[bytes]:
        account = _account()
        return subprocess.run(
            command,
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
            env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
            cwd=self.folder,
            capture_output=True,
            timeout=_START_S,
            check=False,
        )


def _account() -> pwd.struct_passwd | None:
    """Return whom to become; None: stay who we are."""
    return pwd.getpwnam("postgres") if os.geteuid() == 0 else None


def _binaries() -> Path:
    found = sorted(
        (path for path in Path("/").glob(_BINARIES[1:]) if (path / "initdb").exists()),
        key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0,
    )
    if not found:
        raise PostgresNotStartedError("PostgreSQL is not installed: apt install postgresql")
    return found[-1]
