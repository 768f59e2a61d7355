"""A site on the lab's hosts from the packages alone, as an administrator would set it up."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from devtools.lab import furnish, rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import HUB_URL, Site, person
from devtools.paths import ROOT
from devtools.processes import wait_until
from devtools.site import identity_mapping

ENDPOINT = "cluster"
MANAGER = f"chamberlain-endpoint@{ENDPOINT}.service"
LAUNCHER = f"chamberlain-launcher@{ENDPOINT}.service"
HUB_UNIT = "chamberlain-hub.service"
PACKAGE = {HUB: "chamberlain-hub", LOGIN: "chamberlain-endpoint"}
HUB_PYTHON = "/opt/chamberlain/hub/bin/python"

_SOURCES = """\
Types: deb
URIs: file:/srv/lab/repository
Suites: {suite}
Components: main
Signed-By: /etc/apt/keyrings/chamberlain.asc
"""
_APT = (
    *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-y"),
    *("-o", "Dir::Etc::sourcelist=/etc/apt/sources.list.d/chamberlain.sources"),
    # Nothing else is within reach of the hosts.
    *("-o", "Dir::Etc::sourceparts=-", "-o", "Dpkg::Options::=--force-unsafe-io"),
    *("-o", "Dpkg::Use-Pty=0", "--no-install-recommends"),
)
_LEFT_OUT = ("/proc", "/sys", "/dev", "/run", "/tmp", "/home", "/srv/lab", "/var/lib/rabbitmq")
_LIST = (
    f"find / -xdev {' '.join(f'-path {one} -prune -o' for one in _LEFT_OUT)} -print; "
    "find /run/chamberlain* /run/systemd/units 2>/dev/null | grep -i chamberlain; "
    "getent passwd | sed 's/^/account /'; getent group | sed 's/^/group /'"
)
# What dpkg, apt, systemd and the services of the base write anyhow.
_OF_OTHERS = (
    *("/var/lib/dpkg/", "/var/cache/", "/var/log/", "/var/lib/apt/", "/var/lib/systemd/"),
    *("/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-"),
    *(
        "/etc/subgid-",
        "/etc/apt/",
        "/var/lib/slurm/",
        "/root/",
        "/var/tmp/intermediate-mountpoint",
        "/var/lib/containers/",
    ),
)


def serve(lab: Lab, repository: Path) -> None:
    """Put the signed repository where the hosts see it, and its key where apt wants it."""
    there = lab.share / "repository"
    shutil.rmtree(there, ignore_errors=True)
    shutil.copytree(repository, there)
    for host in PACKAGE:
        suite = lab.run(host, ["sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME"]).stdout
        key = (repository / "chamberlain.asc").read_text()
        rollout.put(lab, host, "/etc/apt/keyrings/chamberlain.asc", key, mode="0644")
        text = _SOURCES.format(suite=suite.strip())
        rollout.put(lab, host, "/etc/apt/sources.list.d/chamberlain.sources", text, mode="0644")
        apt(lab, host, "update")


def apt(lab: Lab, host: str, *words: str) -> str:
    """Run apt-get on `host`, with our repository alone."""
    return lab.run(host, [*_APT, *words], limit_s=300.0).stdout


def listed(lab: Lab, host: str) -> set[str]:
    """Return the files and accounts of `host`, without what others write all the time."""
    lines = lab.run(host, ["sh", "-c", _LIST]).stdout.splitlines()
    ours = ("chamberlain", "/opt")
    return {
        line
        for line in lines
        if not line.startswith(_OF_OTHERS)
        or (any(word in line for word in ours) and not line.startswith(_NOT_OURS))
    }


_NOT_OURS = ("/var/lib/dpkg/", "/var/cache/", "/var/lib/apt/", "/etc/apt/")


def start_hub(lab: Lab) -> dict[str, str]:
    """Write hub.toml, start the hub, and return a token for each person."""
    login = f"{furnish.BROKER_USER}:{lab.facts.broker_password}"
    settings = {
        "data_dir": "/var/lib/chamberlain-hub",
        "listen_host": "0.0.0.0",
        "public_url": HUB_URL,
        "broker_url": f"amqp://{login}@{HUB}:5672/%2F",
        "broker_management_url": f"http://{login}@{HUB}:15672",
    }
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    # Over the file that the package made: its owner and mode stay.
    lab.run(HUB, ["sh", "-c", "cat > /etc/chamberlain/hub.toml"], given=text)
    lab.run(HUB, ["systemctl", "enable", "--quiet", "--now", HUB_UNIT])
    up = ["curl", "-sf", "--retry", "600", "--retry-connrefused", "--retry-delay", "0"]
    lab.run(HUB, [*up, "--retry-max-time", "60", "-o", "/dev/null", f"{HUB_URL}/v2/version"])
    tokens = {}
    for name in lab.facts.accounts:
        hub(lab, "user", "add", person(name))
        tokens[person(name)] = str(hub(lab, "token", "create", person(name))["token"])
    return tokens


def hub(lab: Lab, *words: str) -> Any:
    """Run `chamberlain-hub` as the hub's account; return what it printed."""
    command = ["runuser", "-u", "chamberlain-hub", "--", "chamberlain-hub", *words, "--json"]
    return json.loads(lab.run(HUB, command).stdout)


def start_endpoint(lab: Lab, tokens: dict[str, str]) -> Site:
    """Configure the endpoint, have systemd start it, and return when the hub sees it."""
    mapping = [identity_mapping({person(name): name for name in lab.facts.accounts})]
    rollout.put(lab, LOGIN, "/root/identity_mapping.json", json.dumps(mapping, indent=2))
    owner, token = next(iter(tokens.items()))
    made = endpoint(
        lab,
        *("configure", ENDPOINT, "--multi-user", "true", "--hub", HUB_URL, "--token-file", "-"),
        *("--contact-email", owner, "--id-mapping-config", "/root/identity_mapping.json"),
        given=token,
    )
    endpoint(lab, "enable-on-boot", ENDPOINT)
    lab.run(LOGIN, ["systemctl", "start", MANAGER])
    site = Site(str(made["endpoint_id"]), tokens)
    rollout.wait_online(lab, site)
    return site


def endpoint(lab: Lab, *words: str, given: str = "") -> Any:
    """Run `chamberlain-endpoint` as root; return what it printed."""
    said = lab.run(LOGIN, ["chamberlain-endpoint", *words, "--json"], given=given).stdout
    return json.loads(said)


def hello(lab: Lab, site: Site, account: str) -> dict[str, Any]:
    """Run `examples/hello.py` as `account`, from the hub's host with the package's own SDK."""
    for source in ("devtools/demo_caller.py", "examples/hello.py"):
        (lab.share / source.rpartition("/")[2]).write_bytes((ROOT / source).read_bytes())
    question = {"example": "/srv/lab/hello.py", "endpoint": site.endpoint_id, "options": {}}
    given = ["HOME=/tmp", f"CHAMBERLAIN_HUB_URL={HUB_URL}"]
    given.append(f"CHAMBERLAIN_TOKEN={site.tokens[person(account)]}")
    command = ["env", *given, HUB_PYTHON, "/srv/lab/demo_caller.py"]
    done = lab.run(HUB, command, user="nobody", given=json.dumps(question), limit_s=240.0)
    answer: dict[str, Any] = json.loads(done.stdout)
    assert answer["error"] is None
    result: dict[str, Any] = answer["result"]
    return result


def main_pid(lab: Lab, host: str, unit: str) -> int:
    """Return the main process of `unit`; 0 when it does not run."""
    said = lab.run(host, ["systemctl", "show", "--property=MainPID", "--value", unit]).stdout
    return int(said)


def user_endpoints(lab: Lab) -> set[str]:
    """Return the processes of user endpoints on the login node."""
    said = lab.run(LOGIN, ["pgrep", "-f", "[c]hamberlain_endpoint.user.main"], check=False).stdout
    return set(said.split())


def wait_active(lab: Lab, host: str, unit: str) -> None:
    """Return when `unit` runs."""
    words = ["systemctl", "is-active", unit]
    assert wait_until(lambda: lab.run(host, words, check=False).stdout == "active\n", 60.0)
