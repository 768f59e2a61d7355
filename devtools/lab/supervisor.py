"""The process that has a lab: its mounts, its network and its hosts, and nothing outlives it.

Started by the keeper in a mount and a network namespace of its own. Every host is a child that
the kernel ends when this process ends, so even SIGKILL leaves neither a mount nor a process;
folders and control groups are the keeper's to remove.

Standard input is the owner's lifeline: its end ends the lab, unless the owner said `keep`.
Standard output tells the owner how far we are: `step TEXT`, `ready`, `failed TEXT`.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any, Final

from devtools.lab import cgroups, furnish, inside, network, recipe, state
from devtools.lab.plan import Host, Plan
from devtools.lab.state import Facts, Running
from devtools.processes import wait_until

_BOOT_S: Final = 120.0
_POLL_S: Final = 0.1
_WITHOUT_SYSTEMD: Final = (
    # What a container without systemd has: something small as its first process, and one daemon.
    "--as-pid2",
    *("/bin/sh", "-ec"),
    "mkdir -p /run/sshd; exec /usr/sbin/sshd -D -e",
)
_SSH_ANSWERS: Final = ("bash", "-c", ": </dev/tcp/127.0.0.1/22")
_WANTS_REBOOT: Final = 133
"""nspawn's exit code then; only a unit of systemd's, it thinks, could start it again."""

BOOT_OFF: Final = signal.SIGUSR1
"""Tells a supervisor whose lab is up to boot the hosts that are off."""


class Supervisor:
    """One lab below `folder`.

    Args:
        base: the hosts' common root, unchanged by us.
        software: what all hosts see below /opt, unchanged by us; None: nothing.
    """

    def __init__(self, name: str, plan: Plan, base: Path, software: Path | None) -> None:
        self._name = name
        self._plan = plan
        self._base = base
        self._software = software
        self._folder = state.folder(name)
        self._running: dict[str, Running] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._broker_password = ""

    def bring_up(self) -> None:
        """Boot all hosts and write down that the lab is up.

        Raises:
            OSError, InsideError, CalledProcessError: what did not work.
        """
        _tell(f"step Making {len(self._plan.hosts)} hosts and their network")
        # nspawn keeps notes below /run, and would leave folders there.
        _run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"])
        keys = furnish.make_secrets(self._folder / "keys", self._plan)
        self._broker_password = keys.broker_password
        network.make_bridge()
        furnish.make_homes(self._folder / "home", self._plan)
        (self._folder / "share").mkdir(mode=0o755)
        self._mount_opt()
        for host in self._plan.hosts:
            self._prepare(host, keys)
        _tell(f"step Booting {', '.join(host.name for host in self._plan.hosts)}")
        for host in self._plan.hosts:
            self._boot(host)
        for running in self._running.values():
            if self._plan.systemd:
                _wait_for_boot(running)
            else:
                _wait_for_ssh(running)
        self._write_down()

    def boot_again(self) -> None:
        """Boot the hosts that ended because they wanted to reboot. One that ended stays off."""
        for host in self._plan.hosts:
            if self._processes[host.name].poll() == _WANTS_REBOOT:
                cgroups.empty(self._name, host.name)
                self._boot(host)
                self._write_down()

    def boot_off(self) -> None:
        """Boot the hosts that are off."""
        for host in self._plan.hosts:
            if self._processes[host.name].poll() is not None:
                cgroups.empty(self._name, host.name)
                self._boot(host)
        self._write_down()

    def end(self) -> None:
        """End all hosts at once; what they would still write is thrown away with them."""
        cgroups.remove(self._name)
        for process in self._processes.values():
            process.wait()  # or it stays a zombie, of whoever inherits it
        for target in _mounts_below(self._folder):
            subprocess.run(["umount", "-l", target], capture_output=True, check=False)

    def _mount_opt(self) -> None:
        # Without our programs each host has an /opt of its own: packages are installed there.
        if self._software is not None:
            opt = self._folder / "opt"
            opt.mkdir(mode=0o755)
            self._overlay(self._software, opt, self._folder / "opt-layer")

    def _prepare(self, host: Host, keys: furnish.Secrets) -> None:
        place = self._folder / "hosts" / host.name
        root = place / "root"
        for one in (root, place / "containers"):
            one.mkdir(mode=0o755, parents=True)
        self._overlay(self._base, root, place / "layer")
        recipe.apply(root)
        furnish.furnish(root, host, self._plan, keys)
        network.connect(host, place / "net")

    def _overlay(self, lower: Path, target: Path, layer: Path) -> None:
        upper, work = layer / "upper", layer / "work"
        for one in (upper, work):
            one.mkdir(mode=0o755, parents=True)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        _run(["mount", "-t", "overlay", "overlay", "-o", options, str(target)])

    def _boot(self, host: Host) -> None:
        folders = [str(one) for one in cgroups.make(self._name, host.name)]
        place = self._folder / "hosts" / host.name
        with (place / "console.log").open("ab") as console:
            process = subprocess.Popen(
                cgroups.entering(
                    folders, ["setpriv", "--pdeathsig", "KILL", *self._nspawn(host, place)]
                ),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SYSTEMD_SECCOMP": "0"},
                cwd="/",
                start_new_session=True,
            )
        self._processes[host.name] = process
        self._running[host.name] = Running(host.name, host.address, process.pid, tuple(folders))

    def _write_down(self) -> None:
        state.write(
            Facts(
                name=self._name,
                supervisor=os.getpid(),
                hosts=self._running,
                accounts=self._plan.accounts,
                broker_password=self._broker_password,
                software=self._software.name if self._software else "",
            )
        )

    def _nspawn(self, host: Host, place: Path) -> list[str]:
        shared = {"home": "/home", "share": "/srv/lab"}
        if self._software is not None:
            shared["opt"] = "/opt"
        return [
            "systemd-nspawn",
            "--quiet",
            f"--directory={place / 'root'}",
            f"--machine=lab-{self._name}-{host.name}",
            f"--hostname={host.name}",
            "--register=no",
            "--keep-unit",
            "--capability=all",
            "--console=read-only",
            "--resolv-conf=off",
            "--timezone=off",
            "--link-journal=no",
            # An overlay cannot be the upper layer of an overlay: images need a real folder.
            f"--bind={place / 'containers'}:/var/lib/containers",
            "--bind=/dev/fuse",
            "--bind=/dev/net/tun",
            *(f"--bind={self._folder / name}:{where}" for name, where in shared.items()),
            f"--network-namespace-path={place / 'net'}",
            *(("--boot",) if self._plan.systemd else _WITHOUT_SYSTEMD),
        ]


def _wait_for_boot(host: Running) -> None:
    deadline = time.monotonic() + _BOOT_S
    words = ["systemctl", "is-system-running", "--wait"]
    while True:
        left = deadline - time.monotonic()
        with contextlib.suppress(inside.HostDownError):
            said = inside.run(host, words, limit_s=max(left, 1.0), check=False).stdout.strip()
            if said == "running":
                return
            if said == "degraded":
                failed = inside.run(host, ["systemctl", "--failed", "--no-legend", "--plain"])
                raise inside.InsideError(f"{host.name}: failed at boot:\n{failed.stdout}")
        if left < 0:
            raise inside.InsideError(f"{host.name} did not boot within {_BOOT_S:g} s")
        time.sleep(_POLL_S)


def _wait_for_ssh(host: Running) -> None:
    def answers() -> bool:
        try:
            return inside.run(host, _SSH_ANSWERS, check=False).returncode == 0
        except inside.HostDownError:
            return False

    if not wait_until(answers, _BOOT_S):
        raise inside.InsideError(f"{host.name}: no SSH server answers within {_BOOT_S:g} s")


def _mounts_below(folder: Path) -> list[str]:
    """Return the mounts below `folder` that this process sees, the innermost first."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4] for line in lines]
    return [one for one in reversed(targets) if Path(one).is_relative_to(folder)]


def _run(words: Sequence[str]) -> None:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")


def _tell(text: str) -> None:
    # Who asked may be gone; the lifeline decides what that means.
    with contextlib.suppress(OSError):
        os.write(1, f"{text}\n".encode())


def _wait_for_the_end(supervisor: Supervisor, keeper: int) -> None:
    """Return when the owner is gone without having said `keep`, or the keeper is gone."""
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    for sign in (signal.SIGCHLD, BOOT_OFF):
        signal.signal(sign, lambda *_: None)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    watched = [0, keeper, woken]
    while True:
        ready, _, _ = select.select(watched, [], [])
        if keeper in ready:
            return
        if woken in ready:
            if BOOT_OFF in os.read(woken, 1024):
                supervisor.boot_off()
            supervisor.boot_again()
        if 0 in ready:
            said = os.read(0, 1024)
            if b"keep" not in said:
                return
            watched.remove(0)


def _leave(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Have a lab until its owner or its keeper is gone, or SIGTERM arrives."""
    for sign in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, _leave)
    parent = os.getppid()
    order: dict[str, Any] = json.loads(sys.argv[1])
    software = order["software"]
    supervisor = Supervisor(
        order["name"],
        Plan(**{**order["plan"], "only": tuple(order["plan"]["only"])}),
        Path(order["base"]),
        Path(software) if software else None,
    )
    try:
        supervisor.bring_up()
        _tell("ready")
        _wait_for_the_end(supervisor, order["keeper"])
    except Exception as error:
        _tell(f"failed {json.dumps(str(error))}")
        raise
    finally:
        supervisor.end()
        if os.getppid() != parent:
            state.clear(order["name"])  # the keeper was killed, and we are the last


if __name__ == "__main__":
    main()
