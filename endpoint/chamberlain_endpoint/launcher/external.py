"""Runs the site's mapping programs, as an account that can do nothing else.

Never as root, whoever wrote the program: its input was written by people of the outside. It
gets an empty environment, no open file, limits of time, memory and output, and where the
kernel allows it a process space of its own, so that nothing of it is left when it ends.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import resource
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chamberlain_endpoint.identity.program import ProgramFailedError
from chamberlain_endpoint.launcher import privileges, trusted_file
from chamberlain_endpoint.launcher.protocol import Account

_log: Final = logging.getLogger(__name__)

MAX_OUTPUT_BYTES: Final = 64 * 1024

_ENVIRONMENT: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": "/"}
_MOST_MEMORY_BYTES: Final = 4 << 30
_MOST_OPEN_FILES: Final = 256
_SHOWN_BYTES: Final = 500
_READ_BYTES: Final = 16 * 1024
_LOOK_MS: Final = 10
_CANNOT_RUN: Final = 126
"""From this exit code on, shells tell that a program could not be run at all."""


@dataclass(frozen=True, slots=True)
class ProgramRunner:
    """Runs commands of a mapping file. Call it in a process of its own: it waits.

    Attributes:
        account: whom they run as; never root.
        endpoint_id: what they are told with -c and -s, as the format has it.
        timeout_s: how long one may take.
        owners: who alone may have written them.
    """

    account: Account
    endpoint_id: str
    timeout_s: float
    owners: frozenset[int]

    def check(self, command: tuple[str, ...]) -> None:
        """Check that only `owners` can have written the program and the files it is given.

        Raises:
            UntrustedPathError: others could have.
        """
        for number, word in enumerate(command):
            path = Path(word)
            if number == 0 or (path.is_absolute() and path.is_file()):
                trusted_file.stamp(path, self.owners)

    def __call__(self, command: tuple[str, ...], question: bytes) -> bytes:
        """Return what the command answers to `question`; empty when it has no answer.

        Raises:
            ProgramFailedError: it could not be run, took too long, said too much or crashed.
        """
        try:
            self.check(command)
            with _own_space():
                running = self._start(command)
        except (OSError, subprocess.SubprocessError, trusted_file.UntrustedPathError) as error:
            raise ProgramFailedError(f"cannot be run: {error}") from None
        try:
            output, complaint = _converse(running, question, time.monotonic() + self.timeout_s)
        finally:
            _end(running)
        code = running.returncode
        if code == 0:
            return output
        shown = complaint[-_SHOWN_BYTES:].decode(errors="replace")
        if code < 0 or code >= _CANNOT_RUN:
            raise ProgramFailedError(f"ended with {code}: {shown!r}")
        _log.warning(
            "a mapping program has no answer",
            extra={"event": "mapping.no_answer", "code": str(code), "reason": shown},
        )
        return b""

    def _start(self, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, "-c", self.endpoint_id, "-s", self.endpoint_id, "-a"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=_ENVIRONMENT,
            cwd="/",
            start_new_session=True,
            preexec_fn=self._become,  # noqa: PLW1509 - a process with one thread
        )

    def _become(self) -> None:
        processor_s = math.ceil(self.timeout_s)
        resource.setrlimit(resource.RLIMIT_CPU, (processor_s, processor_s + 1))
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_NOFILE, (_MOST_OPEN_FILES, _MOST_OPEN_FILES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.umask(0o077)
        groups = tuple(group.gid for group in self.account.groups)
        privileges.become(self.account.uid, self.account.gid, groups)
        privileges.end_with_parent(signal.SIGKILL)


@contextmanager
def _own_space() -> Iterator[None]:
    """Start what is started inside in a process space of its own, where that is allowed."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(privileges.new_process_space())
        yield


def _converse(
    running: subprocess.Popen[bytes], question: bytes, until: float
) -> tuple[bytes, bytes]:
    """Give it the question, take its output and the end of what it complains about."""
    assert running.stdin is not None
    assert running.stdout is not None
    assert running.stderr is not None
    waiting = memoryview(question)
    taken = {running.stdout.fileno(): bytearray(), running.stderr.fileno(): bytearray()}
    output, complaint = taken.values()
    poll = select.poll()
    for fd, what in (
        (running.stdin.fileno(), select.POLLOUT),
        *((fd, select.POLLIN) for fd in taken),
    ):
        os.set_blocking(fd, False)
        poll.register(fd, what)
    # Its end counts, not that of its pipes: what it started may hold them open.
    has_ended = False
    while True:
        if time.monotonic() > until:
            raise ProgramFailedError("did not answer in time")
        ready = poll.poll(0 if has_ended else _LOOK_MS)
        if has_ended and not any(fd in taken for fd, _ in ready):
            return bytes(output), bytes(complaint)
        for fd, _ in ready:
            if fd not in taken:
                waiting = waiting[_written(fd, waiting) :]
                if not waiting:
                    poll.unregister(fd)
                    running.stdin.close()
                continue
            data = os.read(fd, _READ_BYTES)
            taken[fd] += data
            if not data:
                poll.unregister(fd)
        if len(output) > MAX_OUTPUT_BYTES:
            raise ProgramFailedError(f"said more than {MAX_OUTPUT_BYTES} bytes")
        del complaint[:-_READ_BYTES]
        has_ended = has_ended or running.poll() is not None


def _written(fd: int, waiting: memoryview) -> int:
    """Return how much of `waiting` is out of the way: all of it when nobody reads."""
    try:
        return os.write(fd, waiting)
    except BlockingIOError:
        return 0
    except OSError:
        return len(waiting)


def _end(running: subprocess.Popen[bytes]) -> None:
    """Kill it with its whole process group, and wait for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    for stream in (running.stdin, running.stdout, running.stderr):
        assert stream is not None
        with contextlib.suppress(OSError):
            stream.close()
