"""A lab as its owner sees it: up, a command in a host, down."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from devtools import debian
from devtools.lab import cache, inside, network, recipe, software, state
from devtools.lab.plan import Plan
from devtools.lab.state import Facts, Running
from devtools.lab.supervisor import BOOT_OFF
from devtools.paths import ROOT
from devtools.processes import wait_until
from devtools.say import CannotGoOnError, Reporter

# A host that ran an engine leaves many files, and a busy machine is slow to remove them.
_GONE_S: Final = 180.0


class LabError(CannotGoOnError):
    """The lab did not come up, or is not there; the message says what to do."""


class Lab:
    """The lab `name`, whoever brought it up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lifeline: subprocess.Popen[bytes] | None = None

    @property
    def facts(self) -> Facts:
        """What is known of it.

        Raises:
            LabError: it is not up.
        """
        facts = state.read(self.name)
        if facts is None:
            raise LabError(f"The lab {self.name} is not up. Bring it up with: ./dev lab up")
        return facts

    @property
    def is_up(self) -> bool:
        """Whether it is up."""
        return state.read(self.name) is not None

    @property
    def share(self) -> Path:
        """The machine's end of what every host sees as /srv/lab."""
        return state.folder(self.name) / "share"

    def up(
        self, plan: Plan, report: Reporter, *, bare: bool = False, suite: str = recipe.SUITE
    ) -> None:
        """Bring it up: build what is not in the cache, boot the hosts, install our programs.

        It goes down when this process ends, however it ends, unless `keep` is called.

        Args:
            bare: hosts without our programs.
            suite: the hosts' Debian, by its name.

        Raises:
            CannotGoOnError: it did not come up, and nothing of it is left.
        """
        _refuse_without_power()
        debian.ensure(debian.LAB, report)
        for name in state.sweep():
            report.line(f"Removed what the killed lab {name} had left.")
        base = cache.base(report, suite)
        layer = None if bare else software.environment(base, report)
        try:
            self._start(plan, base, layer, report)
            if layer is not None:
                with report.step("Installing the checkout on the hosts"):
                    software.install(self, layer)
        except BaseException:
            self.down()
            raise

    def keep(self) -> None:
        """Let it stay up when this process ends, until somebody's `down`."""
        if self._lifeline is not None:
            self._let_go(keep=True)

    def down(self) -> bool:
        """End it, whoever brought it up; return whether there was one. Nothing of it stays."""
        if self._lifeline is not None:
            self._let_go(keep=False)
        folder = state.folder(self.name)
        there = folder.exists()
        if there and state.is_held(self.name):
            for pid in _holders(self.name):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            if not wait_until(lambda: not state.is_held(self.name), _GONE_S):
                raise LabError(f"The lab {self.name} does not end; see {folder}/supervisor.log")
        if folder.exists():
            state.clear(self.name)
        return there

    def host(self, name: str) -> Running:
        """Return the host `name`.

        Raises:
            LabError: the lab is not up, or has no such host.
        """
        hosts = self.facts.hosts
        if name not in hosts:
            raise LabError(f"There is no host {name}. There are: {', '.join(hosts)}.")
        return hosts[name]

    def power_off(self, name: str) -> None:
        """Take the host's power away: it ends at once, and says nothing to anybody."""
        running = self.host(name)
        leader = running.leader
        # First: the kernel would tell the others of each process that ends.
        self._plug(name, "down")
        # The host's own first process too: what it runs must not outlive this call.
        for pid in (leader, running.nspawn):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        if not wait_until(lambda: self.host(name).leader is None, _GONE_S):
            raise LabError(f"The host {name} does not end.")

    def power_on(self, name: str) -> None:
        """Boot the hosts that are off; return when `name` runs a command."""
        self._plug(name, "up")
        os.kill(self.facts.supervisor, BOOT_OFF)

        def runs() -> bool:
            try:
                return self.run(name, ["true"], check=False).returncode == 0
            except inside.HostDownError:
                return False

        if not wait_until(runs, _GONE_S):
            raise LabError(f"The host {name} does not boot.")

    def run(
        self,
        host: str,
        words: Sequence[str],
        *,
        user: str = "root",
        given: str = "",
        limit_s: float = inside.LIMIT_S,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `words` in `host`; see `inside.run`."""
        return inside.run(
            self.host(host),
            words,
            user=user,
            given=given,
            limit_s=limit_s,
            check=check,
        )

    def ssh(self, host: str, words: Sequence[str]) -> list[str]:
        """Return the command of this machine that opens a session on `host`, as root."""
        keys = state.folder(self.name) / "keys"
        options = {
            "IdentityFile": keys / "id",
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": keys / "known_hosts",
            "StrictHostKeyChecking": "yes",
            "LogLevel": "ERROR",
        }
        given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        client = ["ssh", "-F", "none", *given, f"root@{self.host(host).address}", *words]
        return inside.outside(self.facts, client)

    def _plug(self, host: str, word: str) -> None:
        words = ["ip", "link", "set", network.plug_of(host), word]
        subprocess.run(inside.outside(self.facts, words), check=True, capture_output=True)

    def _start(self, plan: Plan, base: Path, layer: Path | None, report: Reporter) -> None:
        folder = state.folder(self.name)
        with cache.locked():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = state.hold(self.name)
        if lock is None:
            raise LabError(f"The lab {self.name} is up. End it with: ./dev lab down")
        with contextlib.ExitStack() as held:
            held.callback(os.close, lock)
            used = [held.enter_context(cache.in_use(one)) for one in (base, layer) if one]
            order = {
                "name": self.name,
                "plan": asdict(plan),
                "base": str(base),
                "software": str(layer) if layer else None,
                "held": [lock, *used],
            }
            # Not our own standard error: whoever reads that to its end would wait for the lab's.
            log = held.enter_context((folder / "keeper.log").open("ab"))
            self._lifeline = subprocess.Popen(
                [sys.executable, "-m", "devtools.lab.keeper", json.dumps(order)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=(lock, *used),
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                cwd="/",
                start_new_session=True,
            )
        self._follow(report)

    def _follow(self, report: Reporter) -> None:
        """Tell what the supervisor tells, until the lab is up."""
        assert self._lifeline is not None
        with contextlib.ExitStack() as step:
            for word, rest in _words(self._lifeline):
                if word == "ready":
                    return
                if word == "failed":
                    raise LabError(f"The lab did not come up: {json.loads(rest)}")
                step.close()
                step.enter_context(report.step(rest))
            log = state.folder(self.name) / "supervisor.log"
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise LabError(f"The lab's supervisor ended before the lab was up.\n{tail}")

    def _let_go(self, *, keep: bool) -> None:
        process, self._lifeline = self._lifeline, None
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            if keep:
                process.stdin.write(b"keep\n")
            process.stdin.close()
        process.stdout.close()
        if not keep:
            process.wait(_GONE_S)


def _words(process: subprocess.Popen[bytes]) -> Iterator[tuple[str, str]]:
    assert process.stdout is not None
    for line in process.stdout:
        word, _, rest = line.decode().strip().partition(" ")
        yield word, rest


def _holders(name: str) -> list[int]:
    """Return the keeper and the supervisor of the lab `name`."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = file.read_bytes().decode(errors="replace")
            if "\0devtools.lab." in words and f'"name": "{name}"' in words:
                found.append(int(file.parent.name))
    return found


def _refuse_without_power() -> None:
    if os.geteuid() != 0:
        raise LabError("A lab boots hosts, which needs root: sudo ./dev lab up")
    for device in ("/dev/fuse", "/dev/net/tun"):
        if not Path(device).exists():
            raise LabError(f"{device} is missing: load the kernel's module for it (modprobe).")
