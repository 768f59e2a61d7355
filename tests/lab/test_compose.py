"""Hub, broker and database by `containers/compose.yaml`, on a host with Podman: up, used, down."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from subprocess import CompletedProcess

import pytest

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import cache, rollout, software
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.paths import ROOT
from devtools.processes import wait_until
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]

HERE = "/root/compose"
TOOLS = "/srv/lab/compose-tools"
URL = f"http://{LOGIN}:5000"
PERSON = "carol@example.edu"
NAME = "of-compose"
ENDPOINT = str(software.WHERE / "bin/chamberlain-endpoint")
NAMES = {"database": "999", "broker": "999", "hub": "10001"}
SETTINGS = f"""\
CHAMBERLAIN_PUBLIC_URL={URL}
CHAMBERLAIN_BROKER_PUBLIC_HOST={LOGIN}
CHAMBERLAIN_HUB_PUBLISH=5000
CHAMBERLAIN_BROKER_PUBLISH=5672
CHAMBERLAIN_HEALTH_EVERY=4s
CHAMBERLAIN_OPEN_FILES=1024
CHAMBERLAIN_PROCESSES=1024
"""
LONG_S = 150.0
# Everything that anybody on the host could see of a process.
SHOWN = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"


class Stack:
    """The compose file on the login node, as its administrator uses it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def run(
        self, *words: str, given: str = "", user: str = "root", check: bool = True
    ) -> CompletedProcess[str]:
        """Run a command in the folder of the compose file."""
        inside = ["sh", "-c", f'cd {HERE} 2>/dev/null || cd /; exec "$@"', "sh", *words]
        return self.lab.run(LOGIN, inside, given=given, user=user, limit_s=LONG_S, check=check)

    def compose(self, *words: str, check: bool = True) -> CompletedProcess[str]:
        """Run podman-compose as pip installs it."""
        program = ["env", f"PYTHONPATH={TOOLS}", "python3", "-m", "podman_compose"]
        return self.run(*program, *words, check=check)

    def hub(self, *words: str) -> str:
        """Run a command of the hub in its container."""
        return self.compose("exec", "-T", "hub", "chamberlain-hub", *words).stdout

    def containers(self) -> dict[str, dict[str, object]]:
        """Return what Podman knows of each container: service -> document."""
        names = [f"chamberlain_{one}_1" for one in NAMES]
        return dict(
            zip(NAMES, json.loads(self.run("podman", "inspect", *names).stdout), strict=True)
        )

    def left(self, *kinds: str) -> list[str]:
        """Return what Podman has of this project."""
        found: list[str] = []
        for kind in kinds:
            words = ["podman", kind, "ls", "--quiet", *(["--all"] if kind == "container" else [])]
            only = (
                [] if kind == "pod" else ["--filter", "label=io.podman.compose.project=chamberlain"]
            )
            found += self.run(*words, *only).stdout.split()
        return found

    def wait_answers(self) -> None:
        """Return when the hub answers."""
        again = ["--retry", "600", "--retry-connrefused", "--retry-delay", "0"]
        words = ["curl", "-sf", *again, "--retry-all-errors", "--retry-max-time", "90"]
        self.run(*words, "-o", "/dev/null", f"{URL}/v2/version")


def secrets_of(stack: Stack) -> dict[str, str]:
    """Return each word of the secrets' files that nobody may see: what it is -> the word."""
    files = {
        name: stack.run("cat", f"secrets/{name}").stdout
        for name in ("hub.toml", "broker.json", "database.sql", "database-admin")
    }
    database, broker = re.findall(r"(?:postgresql|amqp)://[^:]+:([^@]+)@", files["hub.toml"])
    proof = re.search(r"SCRAM-SHA-256[^']+", files["database.sql"])
    assert proof is not None
    known = json.loads(files["broker.json"])["users"][0]["password_hash"]
    assert len(base64.b64decode(known)) == 36
    words = {"database": database, "broker": broker, "proof": proof[0], "hash": known}
    return {**words, "admin": files["database-admin"]}


@pytest.fixture(scope="module")
def host(lab: Lab) -> Iterator[Stack]:
    """The login node with the three images, the compose file and its settings; nothing runs."""
    for kind in (builds.HUB, builds.BROKER, builds.DATABASE):
        engines.load(builds.build(Reporter(), lab, kind), lab)
    report = Reporter()
    for name, source in (
        ("compose-tools", software.compose(cache.base(report), report)),
        ("compose-files", ROOT / "containers"),
    ):
        unwanted = shutil.ignore_patterns("secrets", ".env", "__pycache__")
        shutil.copytree(source, lab.share / name, dirs_exist_ok=True, ignore=unwanted)
    stack = Stack(lab)
    # As everything that sets up networks: /proc/sys of a host in nspawn is read-only.
    stack.run("mount", "-o", "remount,bind,rw", "/proc/sys")
    stack.run("rm", "-rf", HERE)
    stack.run("cp", "-r", "/srv/lab/compose-files", HERE)
    rollout.put(lab, LOGIN, f"{HERE}/.env", SETTINGS)
    yield stack
    if stack.left("container", "network", "pod", "volume"):
        stack.compose("down", "--volumes", check=False)
    stack.run("rm", "-rf", HERE)


def test_without_its_secrets_it_starts_nothing_and_says_so(host: Stack) -> None:
    # Without --no-start podman-compose says the same, and then waits for what it could not make.
    done = host.compose("up", "--no-start", check=False)
    assert done.returncode != 0
    assert re.search(rf"{HERE}/secrets/[a-z.-]+: no such file", done.stderr)
    host.compose("down", "--volumes")
    checked = host.run("./make_secrets.py", "--check", check=False)
    assert checked.returncode == 1
    assert f"{HERE}/secrets/hub.toml is missing." in checked.stderr
    assert "make_secrets.py" in checked.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("image", "file"), [("rabbitmq", "/etc/rabbitmq/rabbitmq.conf"), ("postgresql", ".sql")]
)
def test_an_image_that_lacks_its_files_says_which(host: Stack, image: str, file: str) -> None:
    done = host.run("podman", "run", "--rm", f"localhost/chamberlain-{image}:0.1.0", check=False)
    assert done.returncode == 1
    assert f"{file} is missing, or uid 999 may not read it" in done.stderr


def test_docker_compose_accepts_the_file(host: Stack) -> None:
    host.run("docker-compose", "config", "--quiet")


@pytest.fixture(scope="module")
def stack(host: Stack) -> Stack:
    """Secrets made, everything up, as the guide says."""
    host.run("./make_secrets.py")
    host.compose("up", "--detach")
    host.wait_answers()
    return host


def test_the_hub_starts_when_the_others_are_healthy(stack: Stack) -> None:
    known = stack.containers()
    assert {str(one["RestartCount"]) for one in known.values()} == {"0"}
    said = stack.run("podman", "logs", "chamberlain_hub_1").stderr
    assert "does not answer" not in said
    seen = lambda: {one["State"]["Health"]["Status"] for one in stack.containers().values()}  # noqa: E731
    assert wait_until(lambda: seen() == {"healthy"}, LONG_S)


def test_each_runs_as_nobody_without_a_right_on_a_root_that_is_read_only(stack: Stack) -> None:
    for name, uid in NAMES.items():
        lines = "grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status"
        look = f"id -u; {lines}; ulimit -n; touch /etc/x"
        done = stack.compose("exec", "-T", name, "sh", "-c", look, check=False)
        none = "0000000000000000"
        said = done.stdout.split()
        assert said == [uid, "CapEff:", none, "CapBnd:", none, "NoNewPrivs:", "1", "1024"], name
        assert "Read-only file system" in done.stderr


def test_hub_and_broker_alone_are_open_and_the_database_is_inside(stack: Stack) -> None:
    known = stack.containers()
    published = {
        name: sorted(port for port, at in one["HostConfig"]["PortBindings"].items() if at)
        for name, one in known.items()
    }
    assert published == {"database": [], "broker": ["5672/tcp"], "hub": ["5000/tcp"]}
    assert list(known["database"]["NetworkSettings"]["Networks"]) == ["chamberlain_inside"]
    look = "</dev/tcp/10.77.0.10/22"
    done = stack.compose("exec", "-T", "database", "bash", "-c", look, check=False)
    assert done.returncode != 0


def test_no_secret_is_seen_from_outside(stack: Stack) -> None:
    hidden = secrets_of(stack)
    known = json.dumps(stack.containers())
    pods = stack.run("sh", "-c", "podman pod inspect $(podman pod ls -q)", check=False).stdout
    shown = stack.run("sh", "-c", SHOWN).stdout
    assert "CHAMBERLAIN_HUB_PUBLIC_URL" in known
    assert "beam.smp" in shown
    files = stack.run("docker-compose", "config").stdout
    logs = "".join(
        (done := stack.run("podman", "logs", f"chamberlain_{one}_1")).stdout + done.stderr
        for one in NAMES
    )
    places = {"inspect": known, "pod": pods, "processes": shown, "file": files, "logs": logs}
    seen = [
        (what, where)
        for what, word in hidden.items()
        for where, text in places.items()
        if word in text
    ]
    assert seen == []
    modes = stack.run(
        "stat",
        "-c",
        "%a %u",
        *(
            f"secrets/{one}"
            for one in ("hub.toml", "broker.json", "database.sql", "database-admin")
        ),
    ).stdout
    assert modes.split("\n")[:4] == ["400 10001", "400 999", "400 999", "400 999"]


@pytest.fixture(scope="module")
def token(stack: Stack) -> str:
    """A person's token, made in the hub's container."""
    stack.hub("user", "add", PERSON)
    return str(json.loads(stack.hub("token", "create", PERSON, "--json"))["token"])


def status(stack: Stack, endpoint: str, token: str) -> str:
    """Return what the hub says of the endpoint to whoever has `token`: `online`, or nothing."""
    header = f'header = "Authorization: Bearer {token}"\n'
    url = f"{URL}/v2/endpoints/{endpoint}/status"
    said = stack.run("curl", "-s", "--config", "-", url, given=header, check=False).stdout
    return str(json.loads(said).get("status", "")) if said.startswith("{") else ""


@pytest.fixture(scope="module")
def endpoint(stack: Stack, token: str) -> Iterator[str]:
    """An endpoint of alice's own on the login node; its id."""
    file = "/home/alice/of-compose.token"
    rollout.put(stack.lab, LOGIN, file, f"{token}\n", owner="alice")
    words = [ENDPOINT, "configure", NAME, "--multi-user", "false", "--hub", URL]
    try:
        made = stack.run(*words, "--token-file", file, "--json", user="alice").stdout
        stack.run(ENDPOINT, "start", NAME, "--detach", user="alice")
        made_id = str(json.loads(made)["endpoint_id"])
        assert wait_until(lambda: status(stack, made_id, token) == "online", LONG_S)
        yield made_id
    finally:
        stack.run(ENDPOINT, "stop", NAME, user="alice", check=False)
        stack.run("rm", "-rf", f"/home/alice/.chamberlain/{NAME}", file)


def hello(lab: Lab, endpoint: str, token: str) -> dict[str, object]:
    """Run the hello example from the hub's host through the hub of the compose file."""
    for source in ("devtools/demo_caller.py", "examples/hello.py"):
        shutil.copy(ROOT / source, lab.share)
    question = {"example": "/srv/lab/hello.py", "endpoint": endpoint, "options": {}}
    given: Sequence[str] = ["HOME=/tmp", f"CHAMBERLAIN_HUB_URL={URL}", f"CHAMBERLAIN_TOKEN={token}"]
    words = ["env", *given, str(software.WHERE / "bin/python"), "/srv/lab/demo_caller.py"]
    done = lab.run(HUB, words, user="nobody", given=json.dumps(question), limit_s=LONG_S)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def test_a_task_runs_through_it(stack: Stack, endpoint: str, token: str) -> None:
    answer = hello(stack.lab, endpoint, token)
    assert answer["error"] is None
    assert answer["result"]["username"] == "alice"  # type: ignore[index]


def test_a_wrong_password_is_told_and_mended_and_all_are_renewed_for_the_next_start(
    stack: Stack,
) -> None:
    stack.run("sed", "-i", "s|\\(postgresql://chamberlain:\\)[^@]*|\\1another|", "secrets/hub.toml")
    checked = stack.run("./make_secrets.py", "--check", check=False).stderr
    assert (
        f"{HERE}/secrets/database.sql is of another password than the one in hub.toml." in checked
    )
    stack.run("podman", "restart", "--time=10", "chamberlain_hub_1", check=False)

    def told() -> bool:
        said = stack.run("podman", "logs", "--tail", "5", "chamberlain_hub_1").stderr
        return 'password authentication failed for user "chamberlain"' in said

    assert wait_until(told, LONG_S)
    # The superuser's SQL runs at each start: the role has the file's password from the next one on.
    assert "database.sql" in stack.run("./make_secrets.py").stdout
    assert stack.run("./make_secrets.py", "--check").stdout == "All is well.\n"
    # All passwords anew, in what follows: neither broker nor database is asked with an old one.
    before = secrets_of(stack)
    renewed = stack.run("./make_secrets.py", "--renew").stdout.splitlines()
    assert len(renewed) == 3
    after = secrets_of(stack)
    assert {what for what in before if before[what] != after[what]} == set(before) - {"admin"}


def test_a_restart_with_new_passwords_keeps_people_endpoints_and_tokens(
    stack: Stack, endpoint: str, token: str
) -> None:
    stack.compose("down")
    assert stack.left("container", "network", "pod") == []
    assert len(stack.left("volume")) == 3
    # Debian's own podman-compose, which is older, takes it up again.
    stack.run("podman-compose", "up", "--detach")
    stack.wait_answers()
    assert wait_until(lambda: status(stack, endpoint, token) == "online", LONG_S)
    answer = hello(stack.lab, endpoint, token)
    assert answer["error"] is None


def test_down_with_volumes_leaves_nothing(stack: Stack) -> None:
    stack.compose("down", "--volumes")
    assert stack.left("container", "network", "pod", "volume") == []
