"""Starts the real launcher as root, with a stand-in for user endpoints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.launcher_builders import ENDPOINT, STAND_IN, SYSTEM_PYTHON, UEP, Hub
from tests.privilege.conftest import until

from chamberlain_endpoint.launcher.client import (
    LauncherClient,
    LauncherRefusedError,
    LauncherUnreachableError,
)
from chamberlain_endpoint.launcher.protocol import Account, Launch

# All that differs from the real program: what runs in place of a user endpoint, and that the
# names of all modules that were loaded in its life are written down at its end.
PROGRAM = """
import json, sys
from pathlib import Path
from chamberlain_endpoint.launcher import main
from chamberlain_endpoint.launcher.runtime import choosing
stand_in, modules = tuple(json.loads(sys.argv[1])), Path(sys.argv[2])
def make_runtime(loop, settings):
    return choosing.usual(loop, settings, stand_in)
code = main.main(sys.argv[3:], make_runtime)
modules.write_text(json.dumps(sorted(sys.modules)))
sys.exit(code)
"""

RULES = [
    {"source": "{username}", "match": "(.*)@example\\.edu", "output": "{0}"},
    {"source": "{username}", "match": "slow:(a*)*b@example\\.org", "output": "root"},
    {"source": "{username}", "match": "as-root@example\\.org", "output": "root"},
    {"source": "{username}", "match": "as-web@example\\.org", "output": "www-data"},
    {"source": "{username}", "match": "as-nobody@example\\.org", "output": "nobody"},
]


class LauncherProcess:
    """The launcher in a process of its own."""

    def __init__(self, folder: Path, manager: Account, behaviour: str = "listen") -> None:
        self.folder = folder
        self.hub = Hub()
        self.manager = manager
        self.behaviour = behaviour
        self.socket = folder / "run" / "launcher.sock"
        self.accounts_dir = folder / "accounts"
        self.audit = folder / "state" / "audit.log"
        self.mapping = folder / "mapping.json"
        self.config = folder / "launcher.toml"
        self.modules = folder / "modules.json"
        self.client = LauncherClient(self.socket)
        self.process: subprocess.Popen[str] | None = None
        self.write_mapping(RULES)
        self.write_config()

    def write_mapping(self, rules: list[dict[str, Any]]) -> None:
        document = {"DATA_TYPE": "expression_identity_mapping#1.0.0", "mappings": rules}
        self.mapping.write_text(json.dumps([document]))
        self.mapping.chmod(0o644)

    def write_config(self, policy: str = "", runtime: str = "", **changes: str) -> None:
        values = {
            "endpoint_id": ENDPOINT,
            "socket": str(self.socket),
            "manager_user": self.manager.uname,
            "state_dir": str(self.folder / "state"),
            "accounts_dir": str(self.accounts_dir),
            "identity_mapping": str(self.mapping),
            "python": str(SYSTEM_PYTHON),
            **changes,
        }
        lines = [f'{name} = "{value}"' for name, value in values.items()]
        lines += [f'hub_keys = ["{self.hub.public_text}"]', "[policy]", policy]
        lines += ["[runtime]", runtime]
        self.config.write_text("\n".join(lines))
        self.config.chmod(0o600)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, check=False)

    def start(self) -> None:
        """Start it and return when it answers."""
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(self.command(), stderr=log, text=True)
        until(self._answers)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send it a signal and return its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(30)
        self.process = None
        return code

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    def told(self, uid: int) -> dict[str, Any]:
        """Return what the stand-in of `uid` wrote down."""
        path = self.accounts_dir / str(uid) / "told.json"
        until(path.exists)
        document: dict[str, Any] = json.loads(path.read_text())
        return document

    def launch(self, token: str, user_endpoint: str = UEP, **config: object) -> bool:
        """Launch with usual contents and more; tell whether it ran already."""
        launch = Launch(
            assertion=token,
            user_endpoint=user_endpoint,
            config=json.dumps({"engine": {"type": "ThreadPoolEngine"}, **config}),
            credentials='{"password": "hunter2"}',
            environment={"SITE": "test", "HOME": "/nowhere"},
        )
        return self.client.launch(launch).already

    def command(self, *arguments: str) -> list[str]:
        """Return how it is started."""
        script = self.folder / STAND_IN.name
        stand_in = json.dumps([str(SYSTEM_PYTHON), "-I", str(script), self.behaviour, ""])
        command = [sys.executable, "-c", PROGRAM, stand_in, str(self.modules)]
        return [*command, "--config", str(self.config), *arguments]

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "log").read_text()
        try:
            self.client.hello()
        except LauncherUnreachableError:
            return False
        return True


def sockets_of(pid: int) -> set[str]:
    """Return the kernel's numbers of the sockets that `pid` holds."""
    names = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.add(str(entry.readlink()))
        except FileNotFoundError:
            continue
    return {name[8:-1] for name in names if name.startswith("socket:[")}


def unix_sockets(pid: int) -> set[str]:
    """Return the kernel's numbers of all Unix sockets in the network namespace of `pid`."""
    lines = Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]
    return {line.split()[6] for line in lines}


def username_of(account: Account) -> str:
    """Return the name that the test mapping maps to `account`."""
    return f"{account.uname}@example.edu"


def refusal(launcher: LauncherProcess, token: str, **config: object) -> LauncherRefusedError:
    """Return why a launch was refused, after a look that nothing came of it."""
    with pytest.raises(LauncherRefusedError) as caught:
        launcher.launch(token, **config)
    assert launcher.client.list().running == ()
    return caught.value
