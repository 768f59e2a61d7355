"""Shell commands as functions: `ShellFunction`, `MPIFunction`, and the `ShellResult` of both.

This module's own text travels with each of them, so it runs on any worker, Chamberlain's or a
public one, of any Python from 3.9 on. Hence: standard library only, nothing of ours imported,
plain classes (dataclasses look for their module in `sys.modules`, where the copy is not).
"""

from __future__ import annotations

import contextlib
import keyword
import os
import signal
import string
import subprocess
import tempfile
import time
import uuid
from collections import deque
from pathlib import Path
from typing import IO, Any

_SNIPPET_BYTES = 1024 * 1024
_TERM_S = 3.0
_KILL_S = 5.0
_LOOK_S = 0.05
_TIMED_OUT = 124
_REVIVE = "exec(compile(source, 'chamberlain/shell.py', 'exec'), globals()) or revive(kind, state)"


class ShellResult:
    """What a command did.

    Attributes:
        cmd: the command line that ran.
        stdout: its last lines of output: `snippet_lines` of them, and 1 MiB, at most.
        stderr: the same for standard error.
        returncode: exit code; negative for a signal; 124 when `walltime` was over.
        exception_name: `subprocess.TimeoutExpired`, `subprocess.CalledProcessError` or None.
    """

    def __init__(
        self,
        cmd: str,
        stdout: str,
        stderr: str,
        returncode: int,
        exception_name: str | None = None,
    ) -> None:
        self.cmd = cmd
        self.stdout = stdout
        self.stderr = stderr
        self.returncode = returncode
        self.exception_name = exception_name

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in vars(self).items())
        return f"ShellResult({told})"

    def __str__(self) -> str:
        shown = [f"exit code {self.returncode} of: {self.cmd.strip()}"]
        if self.exception_name == "subprocess.TimeoutExpired":
            shown.append("walltime was over")
        for name in ("stdout", "stderr"):
            lines = getattr(self, name).rstrip().splitlines()
            left_out = len(lines) - 10
            if lines:
                shown.append(f"{name}:")
            if left_out > 0:
                shown.append(f"  [... {left_out} lines more in .{name}]")
            shown.extend(f"  {line}" for line in lines[-10:])
        return "\n".join(shown)

    def __reduce__(self) -> tuple[Any, ...]:
        # The worker's class is a copy of the caller's: name the caller's.
        fields = (self.cmd, self.stdout, self.stderr, self.returncode, self.exception_name)
        return eval, (
            "__import__('chamberlain.shell').shell.ShellResult(*fields)",
            {"fields": fields},
        )


class ShellFunction:
    """A shell command that an endpoint runs, to be submitted like a function.

        greet = ShellFunction("echo hello {name}", walltime=60)
        result = executor.submit(greet, name="world").result()

    The named arguments of the call are put into the command as they are, unquoted, and
    /bin/bash runs it: in the task's own folder where the endpoint gives it one
    (GC_TASK_SANDBOX_DIR), else where the worker stands. A command that fails is a result with
    a `returncode`, not an exception.

    Args:
        cmd: the command; `{name}` stands for an argument, `{{` and `}}` for braces.
        stdout: file over there that output is appended to; by default it is kept only until
            the result is made.
        stderr: the same for standard error.
        walltime: seconds until the command is ended, with all processes that it started
            (those too that made a session of their own); the return code is 124 then.
        snippet_lines: the result has so many of the last lines of each.
        name: what the function is called at the hub.
        return_dict: return a dictionary, for callers without Chamberlain.

    Raises:
        ValueError: an argument is not possible; the text says which and why.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - the arguments that users of the public clients know
        self,
        cmd: str,
        stdout: str | None = None,
        stderr: str | None = None,
        walltime: float | None = None,
        snippet_lines: int = 1000,
        name: str | None = None,
        return_dict: bool = False,
    ) -> None:
        if walltime is not None and not walltime > 0:
            raise ValueError(f"walltime is {walltime!r}; it must be more than 0 seconds, or None")
        if snippet_lines < 0:
            raise ValueError(f"snippet_lines is {snippet_lines!r}; it must be 0 or more")
        self.cmd = cmd
        self.stdout = stdout
        self.stderr = stderr
        self.walltime = walltime
        self.snippet_lines = snippet_lines
        self.return_dict = return_dict
        self.__name__ = name or type(self).__name__
        if not self.__name__.isidentifier() or keyword.iskeyword(self.__name__):
            raise ValueError(f"name is {name!r}; it must be a name that Python code can define")

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value)
        return f"{type(self).__name__}({told})"

    def __call__(self, **values: Any) -> ShellResult | dict[str, Any]:
        """Run the command here and now, with `values` in it."""
        done = _run(self._command(values), self)
        return done if self.return_dict else ShellResult(**done)

    def __reduce__(self) -> tuple[Any, ...]:
        kind = type(self).__name__
        if globals().get(kind) is not type(self):
            # A subclass of the user's travels as any class does, and needs us over there.
            return _empty, (type(self),), dict(vars(self))
        parts = {"__name__": __name__, "source": _source(), "kind": kind, "state": vars(self)}
        return eval, (_REVIVE, parts)

    def _command(self, values: dict[str, Any]) -> str:
        try:
            return self.cmd.format(**values)
        except (KeyError, IndexError):
            wanted = sorted(
                {
                    field or "{}"
                    for _, field, *_ in string.Formatter().parse(self.cmd)
                    if field is not None
                }
            )
            raise ValueError(
                f"the command has the fields {', '.join(wanted)} and the call gave "
                f"{', '.join(sorted(values)) or 'none'}; write {{{{ and }}}} for plain braces"
            ) from None


class MPIFunction(ShellFunction):
    """A `ShellFunction` that the endpoint's MPI launcher starts on several nodes.

    The executor needs a `resource_specification` with `num_nodes`, `ranks_per_node` or
    `num_ranks`, and the endpoint an engine for MPI.
    """

    def _command(self, values: dict[str, Any]) -> str:
        if not os.environ.get("PARSL_MPI_PREFIX"):
            raise RuntimeError(
                "the worker has no MPI launcher (PARSL_MPI_PREFIX is not set): this endpoint's "
                "engine is not one for MPI"
            )
        return "$PARSL_MPI_PREFIX " + super()._command(values)


def revive(kind: str, state: dict[str, Any]) -> Any:
    """Return the function that was sent as `state`, in this copy of the module."""
    made = _empty(globals()[kind])
    vars(made).update(state)
    return made


def _empty(cls: type) -> Any:
    return object.__new__(cls)


def _source() -> str:
    # A copy of this module has its own text as a global, and no file.
    return str(globals().get("source") or Path(__file__).read_text(encoding="utf-8"))


def _run(cmd: str, how: ShellFunction) -> dict[str, Any]:
    folder = os.environ.get("GC_TASK_SANDBOX_DIR") or os.getcwd()  # noqa: PTH109
    Path(folder).mkdir(parents=True, exist_ok=True)
    with _opened(how.stdout, folder) as stdout, _opened(how.stderr, folder) as stderr:
        begins = stdout.tell(), stderr.tell()
        returncode = _wait(cmd, folder, (stdout, stderr), how.walltime)
        snippets = [
            _snippet(file, begin, how.snippet_lines)
            for file, begin in zip((stdout, stderr), begins)  # noqa: B905 - Python 3.9
        ]
    failure = "subprocess.CalledProcessError" if returncode else None
    return {
        "cmd": cmd,
        "stdout": snippets[0],
        "stderr": snippets[1],
        "returncode": _TIMED_OUT if returncode is None else returncode,
        "exception_name": "subprocess.TimeoutExpired" if returncode is None else failure,
    }


def _wait(
    cmd: str, folder: str, files: tuple[IO[bytes], IO[bytes]], walltime: float | None
) -> int | None:
    """Return the exit code of `cmd`, or None when its time was over and it was ended."""
    mark = f"CHAMBERLAIN_SHELL={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    process = subprocess.Popen(
        ["/bin/bash", "-c", cmd],
        cwd=folder,
        env={**os.environ, name: value},
        stdin=subprocess.DEVNULL,
        stdout=files[0],
        stderr=files[1],
        start_new_session=True,
    )
    try:
        return process.wait(walltime)
    except subprocess.TimeoutExpired:
        _end_all(process, mark.encode())
        return None
    except BaseException:
        # Whoever interrupts the worker does not want the command to go on without it.
        _end_all(process, mark.encode())
        raise


def _end_all(process: subprocess.Popen[bytes], mark: bytes) -> None:
    """End the command and all that it started: first asked, then killed.

    The shell is not waited for before the end: as long as it is not, its number, and that of
    its group and session, belong to nobody else.
    """
    for sign, patience_s in ((signal.SIGTERM, _TERM_S), (signal.SIGKILL, _KILL_S)):
        deadline = time.monotonic() + patience_s
        told: set[int] = set()
        with contextlib.suppress(OSError):
            os.killpg(process.pid, sign)
        while (alive := _family(process.pid, mark)) and time.monotonic() < deadline:
            # MPI launchers take a second SIGTERM for impatience.
            for pid in alive if sign == signal.SIGKILL else alive - told:
                with contextlib.suppress(OSError):
                    os.kill(pid, sign)
            told |= alive
            time.sleep(_LOOK_S)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_LOOK_S)


def _family(root: int, mark: bytes) -> set[int]:
    """Return who lives of those that `root` started.

    That is: its group, its session, their children and children's children, and whoever has
    `mark` in the environment it began with, such as a daemon that left its parents.
    """
    parents: dict[int, int] = {}
    found: set[int] = set()
    try:
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
    except OSError:
        return set()  # no /proc: the group was told, and that is all there is
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        parents[pid] = int(stat[1])
        if stat[0] in (b"Z", b"X"):
            continue
        if root in (pid, int(stat[2]), int(stat[3])) or _is_marked(pid, mark):
            found.add(pid)
    grown = True
    while grown:
        children = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(children)
        found |= children
    return found


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # another account's, or gone


def _opened(path: str | None, folder: str) -> IO[bytes]:
    if path is not None:
        file = Path(folder, path)
        file.parent.mkdir(parents=True, exist_ok=True)
        opened = file.open("ab+")
        opened.seek(0, os.SEEK_END)
        return opened
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError:
        return tempfile.TemporaryFile()


def _snippet(file: IO[bytes], begin: int, lines: int) -> str:
    """Return the last `lines` that were written from `begin` on."""
    end = file.seek(0, os.SEEK_END)
    file.seek(max(begin, end - _SNIPPET_BYTES))
    return b"".join(deque(file, maxlen=lines)).decode(errors="replace")
