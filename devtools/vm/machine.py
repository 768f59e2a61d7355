"""The virtual machine while it runs: qemu without acceleration, and commands over SSH.

Nothing of it outlives its owner: the kernel ends qemu with the process that started it.
"""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from devtools.lab import furnish, inside
from devtools.lab.plan import LOGIN
from devtools.processes import wait_until
from devtools.say import CannotGoOnError, Reporter
from devtools.vm.root import DEVICE, Disk

SLOWNESS: Final = 5.0
"""How many times longer than a host of the lab it may take for anything."""

_BOOT_S: Final = 900.0
_LOOK_S: Final = 120.0
"""A greeting alone takes half a minute there when this machine is busy."""
_SSH_BAD: Final = 255
_MEMORY_MIB: Final = 3072


class MachineError(CannotGoOnError):
    """It did not boot, or is gone; the message holds the last that its console said."""


class Machine:
    """One machine, from `start` to `end`. It is a site's login node.

    Args:
        folder: for its console, and what SSH needs.
        seen: ports of our own 127.0.0.1 that it sees at its own.
    """

    def __init__(
        self, disk: Disk, folder: Path, report: Reporter, seen: Sequence[int] = ()
    ) -> None:
        self._disk = disk
        self._seen = seen
        self._folder = folder
        self._report = report
        self._console = folder / "console.log"

    def start(self) -> None:
        """Boot it; return when all its units are up.

        Raises:
            MachineError: it did not boot, and nothing of it is left.
        """
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        command = ["setpriv", "--pdeathsig", "KILL", *_qemu(self._disk, self._port, self._console)]
        said = (self._folder / "qemu.log").open("wb")
        with said:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, cwd="/"
            )
        try:
            with self._report.step("Booting a virtual machine without acceleration"):
                self._wait_for_boot()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Take its power away: its disk is thrown away as well."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            leave = self._client("-O", "exit")
            subprocess.run(leave, capture_output=True, timeout=_LOOK_S, check=False)
        self._process.kill()
        self._process.wait()

    @property
    def is_running(self) -> bool:
        """Whether qemu runs."""
        return self._process.poll() is None

    def run(
        self,
        words: Sequence[str],
        *,
        user: str = "root",
        given: str = "",
        limit_s: float = inside.LIMIT_S,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `words`; see `devtools.lab.inside.run`, whose limit is for a host of the lab.

        Raises:
            InsideError: it took too long, or ended badly and `check` is set.
            MachineError: the machine is gone.
        """
        limit_s *= SLOWNESS
        inner = inside.as_account(["timeout", "--signal=KILL", f"{limit_s:g}", *words], user)
        shown = " ".join(words)[:200]
        try:
            done = self._ssh(inner, given, limit_s + _LOOK_S)
        except subprocess.TimeoutExpired as error:
            raise inside.InsideError(f"{shown}: not done within {limit_s:g} s") from error
        if check and done.returncode != 0:
            if self._process.poll() is not None:
                raise MachineError(f"The virtual machine is gone.\n{self.last_words}")
            said = f"{done.stdout[-2000:]}{done.stderr[-2000:]}"
            raise inside.InsideError(f"{shown} ended with {done.returncode}:\n{said}")
        return done

    @property
    def last_words(self) -> str:
        """The end of what qemu and the console said."""
        files = (self._folder / "qemu.log", self._console)
        return "\n".join(one.read_text(errors="replace")[-2000:] for one in files if one.exists())

    def _ssh(
        self, words: Sequence[str], given: str, limit_s: float
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self._client(), shlex.join(words)],
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
            check=False,
        )

    def _client(self, *more: str) -> list[str]:
        keys: furnish.Secrets = self._disk.keys
        options = {
            "IdentityFile": keys.identity,
            "IdentitiesOnly": "yes",
            "UserKnownHostsFile": keys.known_hosts,
            "HostKeyAlias": LOGIN,
            "StrictHostKeyChecking": "yes",
            "LogLevel": "ERROR",
            # The usual one, safe from computers of the future, costs seconds there.
            "KexAlgorithms": "curve25519-sha256",
            "ConnectTimeout": f"{_LOOK_S:g}",
            "ServerAliveInterval": f"{_LOOK_S:g}",
            # One greeting for all commands: it costs a second of this machine's time.
            "ControlMaster": "auto",
            "ControlPath": self._folder / "ssh",
            "ControlPersist": "yes",
        }
        given = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        # The first of all commands opens these, and keeps them open.
        given += [word for one in self._seen for word in ("-R", f"{one}:127.0.0.1:{one}")]
        return ["ssh", "-F", "none", *given, "-p", str(self._port), *more, "root@127.0.0.1"]

    def _wait_for_boot(self) -> None:
        begun = time.monotonic()

        def greets() -> bool:
            if self._process.poll() is not None:
                raise MachineError(f"qemu ended at boot.\n{self.last_words}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self._ssh(["true"], "", _LOOK_S).returncode == 0
            return False

        if not wait_until(greets, _BOOT_S):
            raise MachineError(f"No SSH after {_BOOT_S:g} s.\n{self.last_words}")
        left = max(_LOOK_S, _BOOT_S - (time.monotonic() - begun))
        words = ["systemctl", "is-system-running", "--wait"]
        state = self.run(words, limit_s=left / SLOWNESS, check=False).stdout.strip()
        if state != "running":
            failed = self.run(["systemctl", "--failed", "--no-legend", "--plain"]).stdout
            raise MachineError(f"It is {state or 'not up'} after its boot. Failed:\n{failed}")


def _qemu(disk: Disk, port: int, console: Path) -> list[str]:
    words = "root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off panic=-1"
    words += " systemd.default_timeout_start_sec=900 systemd.mask=systemd-binfmt.service"
    return [
        *("qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot"),
        *("-display", "none", "-serial", f"file:{console}"),
        # Without -cx16 the guest panics; a small buffer of translated code is emptied all the time.
        *("-accel", "tcg,thread=multi,tb-size=512", "-cpu", "max,-cx16"),
        *("-smp", "2", "-m", str(_MEMORY_MIB)),
        *("-kernel", str(disk.kernel), "-initrd", str(disk.initrd), "-append", words),
        *("-drive", f"file={disk.file},if=virtio,format=raw,cache=unsafe"),
        *("-netdev", f"user,id={DEVICE},restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        # No firmware of a network card: it would be of another package.
        *("-device", f"virtio-net-pci,netdev={DEVICE},romfile="),
        *("-device", "virtio-rng-pci"),
    ]
