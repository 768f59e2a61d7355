"""What the tests of a rolled-out site ask about its secrets, its backup, and a task that lasts."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.plays import COLLECTION
from devtools.lab.rollout import Site
from devtools.processes import wait_until

PROGRAM = "/opt/chamberlain/bin/chamberlain-endpoint"
LIMIT_S = 600.0
_PATIENT = """\
def hello():
    import pathlib
    import time

    here = pathlib.Path.home()
    (here / "begun").touch()
    deadline = time.monotonic() + 900
    while not (here / "go").exists():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.2)
    return {"username": here.name}
"""


_ASKS_TLS = """\
import socket, ssl, sys
link = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
ssl.create_default_context().wrap_socket(link, server_hostname=sys.argv[1])
"""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What a rotation exchanges."""

    broker: str = field(repr=False)
    token: str = field(repr=False)
    hub_keys: tuple[str, ...]


def secrets_of(lab: Lab) -> Secrets:
    """Return the site's secrets as they are on its hosts."""
    password = lab.run(HUB, ["cat", "/etc/rabbitmq/chamberlain-password"]).stdout.strip()
    token = lab.run(LOGIN, ["cat", "/etc/chamberlain/cluster/token"]).stdout.strip()
    shown = rollout.ask(lab, "/v3/assertion_keys", "")
    return Secrets(password, token, tuple(shown["keys"]))


def believed(lab: Lab) -> list[str]:
    """Return the hub's keys that the endpoint believes."""
    text = lab.run(LOGIN, ["grep", "^hub_keys", "/etc/chamberlain/cluster/launcher.toml"]).stdout
    keys: list[str] = json.loads(text.partition("=")[2])
    return keys


def status_of_token(lab: Lab, token: str) -> str:
    """Return how the hub answers to a token: `200`, or `401`."""
    given = f'header = "Authorization: Bearer {token}"\n'
    return _code(lab, f"{rollout.HUB_URL}/v2/oauth2/userinfo", given)


def status_of_password(lab: Lab, password: str) -> str:
    """Return how the broker answers to a password of the hub's user."""
    return _code(lab, "http://127.0.0.1:15672/api/whoami", f'user = "chamberlain-hub:{password}"\n')


def _code(lab: Lab, url: str, given: str) -> str:
    words = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--config", "-", url]
    return lab.run(HUB, words, given=given).stdout.strip()


def tls(lab: Lab, host: str, name: str, port: int) -> str:
    """Return how `host` finds the TLS of `name`: `good`, or the last line of the error."""
    words = ["python3", "-c", _ASKS_TLS, name, str(port)]
    done = lab.run(host, words, check=False, limit_s=60.0)
    return "good" if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def stop_user_endpoints(lab: Lab) -> None:
    """Stop every user endpoint, so that the next task has one started."""
    program = [PROGRAM, "user-endpoints"]
    listed = json.loads(lab.run(LOGIN, [*program, "list", "cluster", "--json"]).stdout)
    for one in listed["running"]:
        lab.run(LOGIN, [*program, "stop", "cluster", one["user_endpoint"]], limit_s=120.0)


def manifest(file: Path) -> dict[str, Any]:
    """Return the list of contents of a site's archive."""
    with tarfile.open(file) as tar:
        content = tar.extractfile("manifest.json")
        assert content is not None
        document: dict[str, Any] = json.load(content)
        return document


def of_version(file: Path, version: str) -> Path:
    """Return a whole archive with what is in `file`, made by another version."""
    stage, made = file.with_name("stage"), file.with_name("other.tar")
    stage.mkdir()
    about = manifest(file)
    members = about.pop("members")
    with tarfile.open(file) as tar:
        for name in members:
            content = tar.extractfile(name)
            assert content is not None
            (stage / name).write_bytes(content.read())
    wish = {"do": "pack", "stage": str(stage), "file": str(made), "key_file": "", "vault": ""}
    subprocess.run(
        [sys.executable, str(COLLECTION / "roles/backup/files/archive.py")],
        input=json.dumps({**wish, "about": {**about, "chamberlain": version}}),
        text=True,
        check=True,
        capture_output=True,
    )
    return made


@contextmanager
def task_that_lasts(
    lab: Lab, site: Site, account: str, *, hub_url: str = rollout.HUB_URL
) -> Iterator[list[dict[str, Any]]]:
    """Have a task of `account` run during the block, and end after it; what came is in the list."""
    home = lab.run(LOGIN, ["getent", "passwd", account]).stdout.split(":")[5]
    lab.run(LOGIN, ["rm", "-f", f"{home}/begun", f"{home}/go"])
    (lab.share / "patient.py").write_text(_PATIENT)
    caller = (lab.share / "demo_caller.py").read_text()
    (lab.share / "patient_caller.py").write_text(caller.replace("= 120.0", f"= {LIMIT_S}"))
    question = {"example": "/srv/lab/patient.py", "endpoint": site.endpoint_id, "options": {}}
    words = ["env", "HOME=/tmp", f"CHAMBERLAIN_HUB_URL={hub_url}"]
    words.append(f"CHAMBERLAIN_TOKEN={site.tokens[rollout.person(account)]}")
    words += ["/opt/chamberlain/bin/python", "/srv/lab/patient_caller.py"]
    came: list[dict[str, Any]] = []

    def run() -> None:
        said = lab.run(HUB, words, user="nobody", given=json.dumps(question), limit_s=LIMIT_S)
        came.append(json.loads(said.stdout))

    def has_begun() -> bool:
        return lab.run(LOGIN, ["test", "-e", f"{home}/begun"], check=False).returncode == 0

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert wait_until(has_begun, 120.0)
        yield came
    finally:
        lab.run(LOGIN, ["touch", f"{home}/go"])
        thread.join()
