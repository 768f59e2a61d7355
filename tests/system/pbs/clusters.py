"""Where the tests of PBS run: a real OpenPBS that was named, or the lab with its stand-in."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from devtools import environment
from devtools.lab import cache, software
from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN
from devtools.lab.rollout import put
from devtools.paths import PYTHON, ROOT
from devtools.say import Reporter

HOST_VARIABLE: Final = "CHAMBERLAIN_PBS_HOST"
USER_VARIABLE: Final = "CHAMBERLAIN_PBS_USER"
QUEUE_VARIABLE: Final = "CHAMBERLAIN_PBS_QUEUE"
_PLAYER: Final = Path(__file__).with_name("pbs_player.py")
_SSH: Final = (
    *("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"),
    *("-o", "StrictHostKeyChecking=accept-new"),
)
_STAND_IN: Final = ROOT / "devtools/lab/pbs_stand_in.py"
_SHELL_LIMIT_S: Final = 600.0


class Cluster(Protocol):
    """A host with `qsub`, on which an account may run programs."""

    user: str
    queue: str | None
    python: str

    def run(self, words: Sequence[str], *, given: str = "", limit_s: float = 60.0) -> str:
        """Return what a command prints that the account runs as after a login."""


def play(cluster: Cluster, engine: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what became of one task; see `pbs_player`."""
    question = {"engine": engine, "seconds": 0.0, "delete": False, "limit_s": 180.0, **more}
    words = [cluster.python, "-I", f"{cluster.python.rpartition('/bin/')[0]}/pbs_player.py"]
    done = cluster.run(words, given=json.dumps(question), limit_s=question["limit_s"] + 60.0)
    answer: dict[str, Any] = json.loads(done)
    return answer


class LabCluster:
    """The lab's login node, with Debian's Torque commands over Slurm and our stand-in before."""

    user = "alice"
    queue = None
    python = str(software.WHERE / "bin/python")

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def prepare(self) -> None:
        """Put the stand-in in front, and the player where its Python is."""
        for name in ("qstat", "qselect"):
            put(self._lab, LOGIN, f"/usr/local/bin/{name}", _STAND_IN.read_text(), mode="0755")
        player = f"{software.WHERE}/pbs_player.py"
        put(self._lab, LOGIN, player, _PLAYER.read_text(), mode="0644")

    def run(self, words: Sequence[str], *, given: str = "", limit_s: float = 60.0) -> str:
        """See `Cluster.run`."""
        inner = ["bash", "-lc", f"cd; exec {shlex.join(words)}"]
        return self._lab.run(LOGIN, inner, user=self.user, given=given, limit_s=limit_s).stdout


class PbsCluster:
    """A real one, as root over SSH."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.user = os.environ.get(USER_VARIABLE, "alice")
        self.queue = os.environ.get(QUEUE_VARIABLE)
        self._made_user = False
        self.python = ""

    def prepare(self) -> None:
        """Give the account a Python with the checkout, below its home; no network is needed."""
        found = self._root(f"id -u {self.user} || true").strip()
        if not found:
            self._root(f"useradd --create-home --shell /bin/bash {self.user}")
            self._made_user = True
        home = self.run(["pwd"]).strip()
        folder = f"{home}/chamberlain-pbs-test"
        version = self.run(
            ["python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        ).strip()
        with tempfile.TemporaryDirectory() as scratch:
            wheels = Path(scratch)
            software.fetch(software.requirements(("endpoint",)), wheels, version)
            self._build(wheels)
            (wheels / _PLAYER.name).write_bytes(_PLAYER.read_bytes())
            packed = subprocess.run(
                ["tar", "-C", scratch, "-c", "."], capture_output=True, check=True
            ).stdout
        self._root(f"rm -rf {folder}; install -d -o {self.user} {folder}")
        self._root(f"tar -C {folder} --no-same-owner -x && chmod -R a+rX {folder}", given=packed)
        pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index")
        self.run(["python3", "-m", "venv", f"{folder}/venv"], limit_s=_SHELL_LIMIT_S)
        self.python = f"{folder}/venv/bin/python"
        self.run(
            [self.python, *pip, "--find-links", folder, "chamberlain[endpoint]"],
            limit_s=_SHELL_LIMIT_S,
        )
        self._root(f"cp {folder}/{_PLAYER.name} {folder}/venv/")
        self._folder = folder

    def close(self) -> None:
        """Remove what `prepare` made."""
        home = self._folder.rpartition("/")[0]
        self._root(f"rm -rf {self._folder} {home}/.chamberlain-pbs-test")
        if self._made_user:
            self._root(f"userdel --remove {self.user}")

    def run(self, words: Sequence[str], *, given: str = "", limit_s: float = 60.0) -> str:
        """See `Cluster.run`."""
        inner = shlex.quote(f"cd; exec timeout {limit_s:g} {shlex.join(words)}")
        command = f"runuser -u {self.user} -- env HOME=$(getent passwd {self.user} | cut -d: -f6) "
        return self._root(f"{command} bash -lc {inner}", given=given.encode(), limit_s=limit_s)

    def _root(self, command: str, *, given: bytes = b"", limit_s: float = _SHELL_LIMIT_S) -> str:
        done = subprocess.run(
            [*_SSH, f"root@{self._host}", command],
            input=given,
            capture_output=True,
            timeout=limit_s + 60.0,
            check=False,
        )
        said = done.stdout.decode(errors="replace")
        assert done.returncode == 0, f"{command}\n{said}{done.stderr.decode(errors='replace')}"
        return said

    @staticmethod
    def _build(target: Path) -> None:
        environment.ensure(environment.EVERYTHING, Reporter())
        pip = ("-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps")
        with tempfile.TemporaryDirectory() as scratch:
            cache.run([PYTHON, *pip, "-w", scratch, ROOT])
            (made,) = Path(scratch).glob("chamberlain-*.whl")
            (target / made.name).write_bytes(made.read_bytes())
