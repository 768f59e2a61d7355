"""The few names of the public SDK that its tasks need on a worker (ADR 0017).

A `ShellFunction` of `globus-compute-sdk` travels by the name of its class, and so does the result
that it returns: without that package the task could not even be read. Where the package is
installed, it is used; where it is not, these stand in for it.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import IO, Any, Final

_PACKAGE: Final = "globus_compute_sdk"
_SHELL: Final = f"{_PACKAGE}.sdk.shell_function"
_MPI: Final = f"{_PACKAGE}.sdk.mpi_function"
_HARDWARE: Final = f"{_PACKAGE}.sdk.hardware_report"

_TIMED_OUT: Final = 124
_GRACE_S: Final = 3.0
_REPORT_S: Final = 30.0
_LINES: Final = 1000
_SNIPPET_BYTES: Final = 1024 * 1024


class ShellResult:
    """What a command did, with the attributes of the public class."""

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


class ShellFunction:
    """Runs a command line; its state is what the public class packed, of whatever version."""

    _prefix = ""

    def __call__(self, **values: Any) -> ShellResult | dict[str, Any]:
        """Run the command with `values` in its braces.

        All that it started ends with it when its wall time is over.
        """
        state = vars(self)
        command = self._prefix + str(state["cmd"]).format(**values)
        told = _run(command, state)
        return told if state.get("return_dict") else ShellResult(**told)


class MPIFunction(ShellFunction):
    """Runs a command line behind the engine's MPI launcher."""

    _prefix = "$PARSL_MPI_PREFIX "


def run_hardware_report(env: str | None = None) -> str:
    """Return what this machine is made of, as text."""
    head = f"== {env} == " if env else ""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    disk = shutil.disk_usage("/")
    parts = [
        f"python: {sys.version}\n{sys.executable}",
        f"host: {platform.node()}\n{platform.platform()}",
        f"cpu: {os.cpu_count()} seen, {len(os.sched_getaffinity(0))} usable",
        f"memory: {memory_bytes} bytes",
        f"disk of /: {disk.total} bytes, {disk.free} free",
    ]
    for command in (["lscpu"], ["nvidia-smi"]):
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_REPORT_S, check=False
            )
            parts.append(f"{command[0]}:\n{done.stdout or done.stderr}")
    return "\n\n".join(f"{head}== {part}" for part in parts)


_NAMES: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        _PACKAGE: {},
        f"{_PACKAGE}.sdk": {},
        _SHELL: {"ShellFunction": ShellFunction, "ShellResult": ShellResult},
        _MPI: {"MPIFunction": MPIFunction},
        _HARDWARE: {"run_hardware_report": run_hardware_report},
    }
)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the names above after everybody else has found nothing."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        # A path is the real package's: what that one lacks is not ours to add.
        if fullname not in _NAMES or path:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, is_package=fullname in _PACKAGES)

    def exec_module(self, module: ModuleType) -> None:
        vars(module).update(_NAMES[module.__name__])
        if module.__name__ == _MPI:
            # Its result is of that module: dill, which would be the first to import it while it
            # packs, takes the class for one that nobody can import, and packs it whole.
            importlib.import_module(_SHELL)


_PACKAGES: Final = (_PACKAGE, f"{_PACKAGE}.sdk")


@cache
def offer() -> None:
    """Make the names importable in this process, from now on."""
    for module, names in _NAMES.items():
        for one in names.values():
            # They are packed by the name that the caller's side knows.
            one.__module__ = module
    sys.meta_path.append(_Finder())


def _run(command: str, state: dict[str, Any]) -> dict[str, Any]:
    lines = int(state.get("snippet_lines") or _LINES)
    with _opened(state.get("stdout")) as out, _opened(state.get("stderr")) as err:
        begin = out.tell(), err.tell()
        process = subprocess.Popen(
            ["/bin/bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        code, name = _waited(process, state.get("walltime"))
        return {
            "cmd": command,
            "stdout": _snippet(out, begin[0], lines),
            "stderr": _snippet(err, begin[1], lines),
            "returncode": code,
            "exception_name": name,
        }


def _waited(process: subprocess.Popen[bytes], walltime_s: float | None) -> tuple[int, str | None]:
    try:
        code = process.wait(walltime_s or None)
    except subprocess.TimeoutExpired:
        _end_group(process)
        return _TIMED_OUT, "subprocess.TimeoutExpired"
    except BaseException:
        # Whoever ends this task ends its command.
        _end_group(process)
        raise
    return code, "subprocess.CalledProcessError" if code else None


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)


def _opened(path: str | None) -> IO[bytes]:
    if not path:
        return tempfile.TemporaryFile()
    place = Path(path)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place.open("a+b")


def _snippet(file: IO[bytes], begin: int, lines: int) -> str:
    end = file.seek(0, os.SEEK_END)
    file.seek(max(begin, end - _SNIPPET_BYTES))
    return "".join(file.read().decode(errors="replace").splitlines(keepends=True)[-lines:])
