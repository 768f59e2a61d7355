"""A site on the lab's hosts: the hub on `hub`, the endpoint on `login`, both systemd's to start.

Driven as an administrator would: accounts, a settings file, a unit, and our own command lines.
"""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from devtools.lab import cache, furnish, software, state
from devtools.lab.lab import Lab, LabError
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.software import WHERE
from devtools.paths import ROOT
from devtools.processes import wait_until
from devtools.say import Reporter
from devtools.site import identity_mapping

ENDPOINT: Final = "cluster"
HUB_UNIT: Final = "chamberlain-hub.service"
ENDPOINT_UNIT: Final = f"chamberlain-endpoint-{ENDPOINT}.service"
HUB_URL: Final = f"http://{HUB}:5000"
DOMAIN: Final = "example.edu"

_FACTS: Final = "site.json"
_LAUNCHER_SETTINGS: Final = f"/etc/chamberlain/{ENDPOINT}/launcher.toml"
_HUB_SETTINGS: Final = "/etc/chamberlain/hub.toml"
_HUB_ACCOUNT: Final = "chamberlain-hub"
_ONLINE_S: Final = 120.0
_PROGRAMS: Final = f"{WHERE}/bin"
_HUB_UNIT: Final = f"""\
[Unit]
Description=Chamberlain hub
After=rabbitmq-server.service network.target
Wants=rabbitmq-server.service
StartLimitIntervalSec=0

[Service]
User={_HUB_ACCOUNT}
ExecStart={_PROGRAMS}/chamberlain-hub --config {_HUB_SETTINGS} serve
StateDirectory=chamberlain-hub
StateDirectoryMode=0700
Restart=always
RestartSec=1
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""

# The lab's machine has little memory; the rest is what the guide tells a site with Slurm.
_RUNTIME: Final = """\
[runtime]
kind = "container"
image = "usual"
{engine}
mounts = ["/run/munge", "/etc/slurm"]
[runtime.images]
usual = "{digest}"
[runtime.limits]
{limits}
"""
_LIMITS: Final = "memory_mib = 1024"

# `chamberlain-hub user add` and `token create`, for all people in one process.
_ADD_PEOPLE: Final = """\
import contextlib, io, json, sys
from chamberlain_hub.main import cli

def ask(*words):
    with contextlib.redirect_stdout(io.StringIO()) as said:
        cli(["--config", sys.argv[1], *words, "--json"], standalone_mode=False)
    return json.loads(said.getvalue())

tokens = {}
for name in sys.argv[2:]:
    ask("user", "add", name)
    tokens[name] = ask("token", "create", name)["token"]
json.dump(tokens, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class Site:
    """A site that was rolled out.

    Attributes:
        tokens: username at the hub -> token. Secret.
    """

    endpoint_id: str
    tokens: Mapping[str, str]


def person(account: str) -> str:
    """Return the username at the hub of whoever has `account`."""
    return f"{account}@{DOMAIN}"


def read(lab: Lab) -> Site | None:
    """Return the site of a lab; None when none was rolled out."""
    try:
        return Site(**json.loads((state.folder(lab.name) / _FACTS).read_text()))
    except OSError:
        return None


def roll_out(lab: Lab, report: Reporter) -> Site:
    """Make and start hub and endpoint; return when the endpoint is online.

    Raises:
        InsideError: a command failed on a host; the message holds what it said.
        LabError: the endpoint did not come online.
    """
    with report.step("Starting the hub, with its people and their tokens"):
        _start_hub(lab)
        tokens = make_tokens(lab, [person(name) for name in lab.facts.accounts])
    with report.step("Configuring the endpoint and having systemd start it"):
        site = Site(_start_endpoint(lab, tokens), tokens)
    file = state.folder(lab.name) / _FACTS
    file.touch(mode=0o600)
    file.write_text(json.dumps(asdict(site)))
    for source in ("devtools/demo_caller.py", "examples/hello.py"):
        (lab.share / source.rpartition("/")[2]).write_bytes((ROOT / source).read_bytes())
    with report.step("Waiting for the endpoint to be online"):
        wait_online(lab, site)
    return site


def renew(lab: Lab, report: Reporter) -> None:
    """Install the checkout as it is now on a lab with a site, and restart hub and endpoint."""
    with report.step("Installing the changed checkout and restarting hub and endpoint"):
        software.install(lab, cache.folder() / lab.facts.software)
        lab.run(HUB, ["systemctl", "restart", HUB_UNIT])
        lab.run(LOGIN, ["systemctl", "restart", ENDPOINT_UNIT], limit_s=180.0)
    site = read(lab)
    if site is not None:
        with report.step("Waiting for the endpoint to be online"):
            wait_online(lab, site)


def use_containers(
    lab: Lab,
    site: Site,
    digest: str,
    report: Reporter,
    *,
    engine: str = "",
) -> None:
    """Have the endpoint run user endpoints in containers of the image `digest`, from now on.

    Args:
        engine: more lines of `[runtime]`: another engine than Podman with its network, or who
            gets something else.

    Raises:
        InsideError: a command failed on the login node, such as the check of the settings.
        LabError: the endpoint did not come back online.
    """
    with report.step("Having the endpoint run user endpoints in containers"):
        write_runtime(lab, digest, engine=engine)
        _endpoint(lab, "check-config", ENDPOINT)
        lab.run(LOGIN, ["systemctl", "restart", ENDPOINT_UNIT], limit_s=180.0)
        wait_online(lab, site)


def write_runtime(lab: Lab, digest: str, *, engine: str = "") -> None:
    """Write the endpoint's settings for containers; see `use_containers`, which has them taken."""
    text = with_runtime(_launcher_settings(lab), digest, engine=engine)
    put(lab, LOGIN, _LAUNCHER_SETTINGS, text, mode="0644")


@contextmanager
def settings_kept(lab: Lab, site: Site) -> Iterator[None]:
    """Put the launcher's settings back afterwards; where they changed, the endpoint restarts.

    Raises:
        LabError: the endpoint did not come back online.
    """
    before = _launcher_settings(lab)
    yield
    if _launcher_settings(lab) == before:
        return
    lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    put(lab, LOGIN, _LAUNCHER_SETTINGS, before, mode="0644")
    lab.run(LOGIN, ["systemctl", "start", ENDPOINT_UNIT])
    wait_online(lab, site)


def _launcher_settings(lab: Lab) -> str:
    return lab.run(LOGIN, ["cat", _LAUNCHER_SETTINGS]).stdout


def with_runtime(text: str, digest: str, *, engine: str = "", limits: str = _LIMITS) -> str:
    """Return the settings `text` of a launcher, with containers of the image `digest`.

    Args:
        engine: see `use_containers`.
        limits: lines of `[runtime.limits]`, and tables after it.
    """
    before = text.partition("\n[runtime]\n")[0]
    return f"{before}\n{_RUNTIME.format(digest=digest, engine=engine, limits=limits)}"


def wait_online(lab: Lab, site: Site) -> None:
    """Return when the hub sees the endpoint online.

    Raises:
        LabError: it is not within two minutes.
    """
    if not wait_until(lambda: status(lab, site) == "online", _ONLINE_S):
        log = f"tail -n 30 /var/log/chamberlain/{ENDPOINT}/*.log; journalctl -n 30 --no-pager"
        said = lab.run(LOGIN, ["sh", "-c", log], check=False).stdout
        raise LabError(f"The endpoint did not come online:\n{said[-4000:]}")


def status(lab: Lab, site: Site) -> str:
    """Return what the hub says of the endpoint: `online`, `offline`, or nothing."""
    owner = next(iter(site.tokens.values()))
    answer = ask(lab, f"/v2/endpoints/{site.endpoint_id}/status", owner)
    return str(answer.get("status", "")) if isinstance(answer, dict) else ""


def ask(lab: Lab, path: str, token: str) -> Any:
    """Return the hub's JSON answer to GET `path`; None when it gives none."""
    words = ["curl", "-s", "--max-time", "10", "--config", "-", HUB_URL + path]
    header = f'header = "Authorization: Bearer {token}"\n'  # not in argv, where all may read it
    done = lab.run(HUB, words, given=header, check=False)
    try:
        return json.loads(done.stdout)
    except ValueError:
        return None


def call(
    lab: Lab,
    site: Site,
    username: str,
    options: Mapping[str, object],
    *,
    example: str = "hello.py",
    hub_url: str = HUB_URL,
) -> dict[str, Any]:
    """Run `examples/hello.py` as `username`, from the hub's host; return what became of it.

    The SDK runs there with the hosts' Python, far from the login node, as a laptop would.

    Args:
        example: another file in the share, with another function `hello`.
        hub_url: where the hub is reached, if behind a proxy.
    """
    question = {
        "example": f"/srv/lab/{example}",
        "endpoint": site.endpoint_id,
        "options": dict(options),
    }
    done = lab.run(
        HUB,
        [
            *("env", "HOME=/tmp", f"CHAMBERLAIN_HUB_URL={hub_url}"),
            *(f"CHAMBERLAIN_TOKEN={site.tokens[username]}", f"{_PROGRAMS}/python"),
            "/srv/lab/demo_caller.py",
        ],
        user="nobody",
        given=json.dumps(question),
        limit_s=240.0,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _start_hub(lab: Lab) -> None:
    password = urllib.parse.quote(lab.facts.broker_password)
    login = f"{furnish.BROKER_USER}:{password}"
    settings = {
        "data_dir": "/var/lib/chamberlain-hub",
        "listen_host": "0.0.0.0",  # noqa: S104 - of a host on the lab's own network
        "public_url": HUB_URL,
        "broker_url": f"amqp://{login}@{HUB}:5672/%2F",
        "broker_management_url": f"http://{login}@{HUB}:15672",
    }
    # JSON's texts are TOML's.
    text = "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())
    lab.run(HUB, ["useradd", "--system", "--user-group", "--no-create-home", _HUB_ACCOUNT])
    put(lab, HUB, _HUB_SETTINGS, text, owner=_HUB_ACCOUNT)
    put(lab, HUB, f"/etc/systemd/system/{HUB_UNIT}", _HUB_UNIT, mode="0644")
    lab.run(HUB, ["systemctl", "enable", "--quiet", "--now", HUB_UNIT])
    up = ["curl", "-sf", "--retry", "600", "--retry-connrefused", "--retry-delay", "0"]
    lab.run(HUB, [*up, "--retry-max-time", "60", "-o", "/dev/null", f"{HUB_URL}/v2/version"])


def make_tokens(lab: Lab, usernames: Sequence[str], *, programs: str = _PROGRAMS) -> dict[str, str]:
    """Make people at the hub, whose programs are in `programs`; return username -> token."""
    words = [f"{programs}/python", "-c", _ADD_PEOPLE, _HUB_SETTINGS, *usernames]
    made = lab.run(HUB, words, user=_HUB_ACCOUNT, limit_s=300.0)
    tokens: dict[str, str] = json.loads(made.stdout)
    return tokens


def _start_endpoint(lab: Lab, tokens: Mapping[str, str]) -> str:
    mapping = [identity_mapping({person(name): name for name in lab.facts.accounts})]
    put(lab, LOGIN, "/root/identity_mapping.json", json.dumps(mapping, indent=2))
    owner, token = next(iter(tokens.items()))
    made = _endpoint(
        lab,
        *("configure", ENDPOINT, "--multi-user", "true", "--hub", HUB_URL, "--token-file", "-"),
        *("--contact-email", owner, "--id-mapping-config", "/root/identity_mapping.json"),
        given=token,
    )
    _endpoint(lab, "enable-on-boot", ENDPOINT)
    lab.run(LOGIN, ["systemctl", "start", ENDPOINT_UNIT])
    return str(made["endpoint_id"])


def _endpoint(lab: Lab, *arguments: str, given: str = "") -> Any:
    words = [f"{_PROGRAMS}/chamberlain-endpoint", *arguments, "--json"]
    return json.loads(lab.run(LOGIN, words, given=given).stdout)


def put(
    lab: Lab, host: str, path: str, text: str, *, mode: str = "0600", owner: str = "root"
) -> None:
    """Write `text` into the file `path` of `host`; its folder is made."""
    words = ["install", "-D", "-m", mode, "-o", owner, "-g", owner, "/dev/stdin", path]
    lab.run(host, words, given=text)
