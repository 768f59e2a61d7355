"""An endpoint's folder without daemons, and the program as a person or a script runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint.cli import files, layout
from chamberlain_endpoint.cli.files import Facts, Overrides

ENDPOINT = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"
OWNER = "11111111-1111-4111-8111-111111111111"
KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
TOKEN = "chp_" + "s3cret" * 7
IS_ROOT = os.geteuid() == 0


@dataclass(frozen=True)
class Ran:
    """What a run of the program gave."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run `chamberlain-endpoint` through pipes, on the folders below `tmp_path`."""

    def once(*arguments: str | Path, given: str = "") -> Ran:
        done = subprocess.run(
            _command(arguments),
            input=given,
            env=_environment(tmp_path),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return once


@pytest.fixture
def run_on_terminal(tmp_path: Path) -> Run:
    """Run it with a terminal as all three of its files; `out` is what the screen gets."""

    def once(*arguments: str | Path) -> Ran:
        above, below = pty.openpty()
        with subprocess.Popen(
            _command(arguments),
            env=_environment(tmp_path),
            stdin=below,
            stdout=below,
            stderr=below,
            start_new_session=True,
        ) as process:
            os.close(below)
            seen = bytearray()
            while True:
                try:
                    piece = os.read(above, 4096)
                except OSError:  # the last holder of the terminal is gone
                    break
                if not piece:
                    break
                seen += piece
            os.close(above)
            code = process.wait(60)
        return Ran(code, seen.decode().replace("\r\n", "\n"), "")

    return once


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """The folder of an endpoint named `cluster`, as `configure` writes it."""
    where = layout.plan("cluster", tmp_path)
    facts = Facts(
        endpoint_id=ENDPOINT,
        hub_url="http://127.0.0.1:9",
        token=TOKEN,
        hub_keys=(KEY,),
        display_name=None,
        email="hpc@example.edu",
        owner="" if where.multi else OWNER,
        manager_user="nobody" if where.multi else "",
    )
    where.config.mkdir(mode=0o755)
    for folder in (where.run, where.log, where.manager, where.launcher, where.accounts):
        folder.mkdir()
    for file in files.all_files(where, facts, Overrides()):
        files.write(file, -1)
    # The interpreter of a test may be in a folder that others cannot pass.
    toml = where.launcher_toml.read_text()
    where.launcher_toml.write_text(toml.replace(json.dumps(sys.executable), '"/bin/sh"'))
    return where.config


def _command(arguments: tuple[str | Path, ...]) -> list[str]:
    words = [str(word) for word in arguments]
    program = Path(sys.executable).with_name("chamberlain-endpoint")
    return [str(program), *words]


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "CHAMBERLAIN_ENDPOINT_CONFIG_DIR": str(folder),
    }
