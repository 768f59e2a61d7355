"""`./dev test`: all test groups, on the real broker and database."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from devtools import debian, environment, public
from devtools.paths import COUNTS_VARIABLE, PYTHON, ROOT
from devtools.say import Reporter, last_line

# Unit tests need no service; every other group may.
_PLAIN = frozenset({"unit"})
ALIASES = {"containers": "lab", "scheduler": "lab/slurm"}
"""Tests of containers run inside the hosts of the lab (tests/lab), not on this machine; those of
schedulers are some of the lab's."""

_BESIDE: Final = frozenset({"lab"})
"""Groups on booted hosts, which run beside the others."""

_LAST: Final = "ansible"
"""The group that needs most of a core: it begins when others are done, in two halves."""

_AFTER_THE_LAB: Final = (
    "test_brokers.py",
    "test_debian12.py",
    "test_packages.py",
    "test_vagrant.py",
    "test_without_systemd.py",
)
"""Of `_LAST`, what follows the lab's tests; the rest follows the others."""

_ASKED_FOR: Final = frozenset({"vm"})
"""Groups that run only when they are named: minutes of both cores for what changes rarely."""

_NOTHING_CHOSEN: Final = 5
"""Exit code of pytest."""

_LOOK_S: Final = 1.0
_END_S: Final = 180.0


def groups() -> list[str]:
    """Return the test groups there are, quickest first; those of `_ASKED_FOR` are the last."""
    order = ["unit", "contract", "compat", "integration", "privilege", "system", "lab", "ansible"]
    order.extend(_ASKED_FOR)
    found = {path.parent.relative_to(ROOT / "tests").parts[0] for path in _test_files()}
    found -= ALIASES.keys()
    return sorted(found, key=lambda name: (order.index(name) if name in order else 9, name))


def usual() -> list[str]:
    """Return the groups that run when none is named."""
    return [name for name in groups() if name not in _ASKED_FOR]


def run(chosen: Sequence[str], without: Sequence[str], more: Sequence[str]) -> int:
    """Run the chosen groups, or the usual ones; print the last line; return the exit code.

    Args:
        without: markers of tests to leave out, openly.
        more: further arguments for pytest.
    """
    report = Reporter()
    wanted = [ALIASES.get(name, name) for name in chosen] or usual()
    environment.ensure(environment.EVERYTHING, report)
    if "ansible" in wanted:
        environment.ensure(f"{environment.EVERYTHING},ansible", report)
    if set(wanted) - _PLAIN:
        needed = debian.PACKAGES_OF_MARKS
        not_asked = {f"needs_{name}" for name in _ASKED_FOR.difference(wanted)}
        wanted_marks = [mark for mark in needed if mark not in {*without, *not_asked}]
        debian.ensure([name for mark in wanted_marks for name in needed[mark]], report)
    if "compat" in wanted:
        # Here, where it is shown: a test would be silent for a minute.
        public.prepare(report)
    if os.geteuid() != 0 and "needs_root" not in without:
        report.line(
            "Not root: tests marked needs_root cannot run and will count as failed. "
            "Run with sudo, or leave them out openly: ./dev test --without needs_root"
        )
    for mark in without:
        report.line(f"Left out, as asked: tests marked {mark}")
    folders = [f"tests/{group}" for group in wanted]
    marks = ["-m", " and ".join(f"not {mark}" for mark in without)] if without else []
    beside = [] if "-x" in more else [one for one in folders if one.split("/")[1] in _BESIDE]
    here = [one for one in folders if one not in beside]
    if not (here and beside):
        with _Session([*marks, *folders, *more]) as session:
            return _told([session.counts()])
    if f"tests/{_LAST}" in here:
        here.remove(f"tests/{_LAST}")
        files = sorted(path.name for path in (ROOT / "tests" / _LAST).glob("test_*.py"))
        for name in files:
            lane = beside if name in _AFTER_THE_LAB else here
            lane.append(f"tests/{_LAST}/{name}")
    report.line(
        f"Beside the others run: {', '.join(beside)}. They wait for hosts most of the time; "
        "what they say comes when the others are done."
    )
    with _Session([*marks, *beside, *more], quiet=True) as hosts:
        with _Session([*marks, *here, *more]) as session:
            counts = [session.counts()]
        hosts.tell()
        counts.append(hosts.counts())
    return _told(counts)


def _told(counts: Sequence[tuple[int, int]]) -> int:
    passed, failed = (sum(column) for column in zip(*counts, strict=True))
    return last_line(passed, failed or int(passed == 0))


class _Session:
    """One pytest process, from `with` to its end; it is ended when we are.

    Args:
        quiet: keep what it says until `tell`.
    """

    def __init__(self, arguments: Sequence[str], *, quiet: bool = False) -> None:
        self._arguments = arguments
        self._quiet = quiet
        self._is_told = False
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Session:
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        said = self._folder / "said.txt"
        self._said = self._stack.enter_context(said.open("w+b", buffering=0))
        self._process = subprocess.Popen(
            [PYTHON, "-m", "pytest", "-p", "devtools.pytest_strict", *self._arguments],
            cwd=ROOT,
            env={
                **os.environ,
                COUNTS_VARIABLE: str(self._folder / "counts.json"),
                "PYTHONPATH": str(ROOT),
            },
            stdin=subprocess.DEVNULL,
            stdout=self._said if self._quiet else None,
            stderr=subprocess.STDOUT if self._quiet else None,
        )
        self._stack.callback(self._end)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # Ctrl-C reached it as well, and a second one would cut its cleaning up short.
        self._is_told = kind is KeyboardInterrupt
        self._stack.close()

    def tell(self) -> None:
        """Print what it has said, and what it says until its end."""
        with (self._folder / "said.txt").open("rb") as said:
            running = True
            while running:
                running = self._process.poll() is None
                text = said.read()
                sys.stdout.write(text.decode(errors="replace"))
                sys.stdout.flush()
                if running:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(_LOOK_S)

    def counts(self) -> tuple[int, int]:
        """Wait for the end; return how many passed and failed."""
        code = self._process.wait()
        file = self._folder / "counts.json"
        seen = json.loads(file.read_text()) if file.exists() else {}
        # pytest itself may break (usage, internal error) without a failed test to count. Nothing
        # chosen is a fault only when no other session has anything either.
        broke = code not in (0, _NOTHING_CHOSEN)
        return int(seen.get("passed", 0)), max(int(seen.get("failed", 0)), int(broke))

    def _end(self) -> None:
        if self._process.poll() is None:
            if not self._is_told:
                self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def _test_files() -> list[Path]:
    return [path for path in (ROOT / "tests").rglob("test_*.py") if "__pycache__" not in path.parts]
