"""After a full run of a site, its secrets are where they belong and nowhere else.

Two people, success, failure, refusals, a wrong token, a stop. While it goes on, the arguments
and environments of all processes of this host are looked at again and again; afterwards every
file of the site is read. What is looked for are the very tokens, passwords, statements,
arguments and results of this run.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.system.conftest import ALICE, BOB, MALLORY, Open

from chamberlain import AuthenticationError, Client
from chamberlain_wire import audit_chain, codec, topology
from chamberlain_wire.broker.port import Delivery
from chamberlain_wire.broker.rabbit import RabbitBroker
from chamberlain_wire.logs import FIELDS, Secret
from devtools.rabbit import PrivateRabbit
from devtools.site import Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.needs_root, pytest.mark.slow]

WAIT_S = 60.0
LOOK_EVERY_S = 0.05
ALWAYS = {"at", "level", "message", "error"}
KEPT_IN = {
    "token": "the endpoint's token",
    "signing_key.pem": "the hub's key",
    "hub.toml": "the hub's broker password",
    "hub.db": "arguments and results until they are fetched",
    "hub.db-wal": "the same",
    "records.db": "credentials of starts in flight",
    "records.db-wal": "the same",
    "ledger.db": "arguments and results until they are out",
    "ledger.db-wal": "the same",
    "site.json": "what the harness itself wrote down",
}
"""The only files that may hold a secret; whose owner alone may read them."""

GROUP_MAY_READ = {"token"}
"""Root's file, which the manager's group of one reads."""

PASSWORD_IN_URL = re.compile(rb"amqps?://[^/\s:@\"]+:(?!guest@)[^/\s@\"]+@")


@dataclass
class Run:
    """What this run must keep to itself, and what was seen of the processes meanwhile."""

    secrets: dict[str, bytes] = field(default_factory=dict)
    seen: set[bytes] = field(default_factory=set)
    looks: int = 0

    def keep(self, what: str, text: str) -> str:
        self.secrets[what] = text.encode()
        return text

    def in_text(self, text: bytes) -> list[str]:
        return [what for what, secret in self.secrets.items() if secret in text]


def look_at_processes(run: Run) -> None:
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                run.seen.add((process / name).read_bytes())
            except OSError:
                continue  # gone meanwhile, or a thread of the kernel
    run.looks += 1


@pytest.fixture
def run() -> Iterator[Run]:
    """Looks at all processes of the host until the test is over."""
    one, over = Run(), threading.Event()

    def look() -> None:
        while not over.wait(LOOK_EVERY_S):
            look_at_processes(one)

    looking = threading.Thread(target=look)
    looking.start()
    yield one
    over.set()
    looking.join()


@pytest.fixture
def overheard(rabbit: PrivateRabbit) -> Iterator[list[Delivery]]:
    """All commands to endpoints, with the credentials and statements in them."""
    broker = RabbitBroker(Secret(rabbit.amqp_url), name="test-ear")
    broker.open()
    came: list[Delivery] = []

    def take(delivery: Delivery) -> None:
        came.append(delivery)
        broker.ack(delivery)

    broker.declare_queue("test.ear", bind_to=(topology.COMMANDS, "#"))
    broker.consume("test.ear", take)
    yield came
    broker.cancel("test.ear")
    broker.delete_queue("test.ear")
    broker.close()


def echo(value: str, result: str) -> str:
    return result if value else ""


def fail(value: str) -> None:
    raise ValueError(value)


def work(run: Run, site: Site, open_as: Open) -> None:
    """Two people, success, failure, a refusal, a wrong token, a stop."""
    for person in (ALICE, BOB):
        executor = open_as(person, NUMBER=secrets.randbelow(10**6))
        argument = run.keep(f"{person}'s argument", "argument-" + secrets.token_hex(16))
        result = run.keep(f"{person}'s result", "result-" + secrets.token_hex(16))
        assert executor.submit(echo, argument, result).result(WAIT_S) == result
        wrong = run.keep(f"{person}'s exception", "exception-" + secrets.token_hex(16))
        assert isinstance(executor.submit(fail, wrong).exception(WAIT_S), ValueError)
    assert open_as(MALLORY).submit(echo, "x", "y").exception(WAIT_S) is not None
    token = run.keep("a wrong token", next(iter(site.tokens.values()))[:-8] + secrets.token_hex(4))
    with closing(Client(site.hub_url, token)) as client, pytest.raises(AuthenticationError):
        client.rest.get("/v3/tasks")
    look_at_processes(run)
    site.stop_endpoint()
    site.start_endpoint()


def learn(run: Run, site: Site, rabbit: PrivateRabbit, overheard: list[Delivery]) -> None:
    """Add what the run itself made up: credentials, statements, keys."""
    for person, token in site.tokens.items():
        run.keep(f"{person}'s token", token)
    for number, delivery in enumerate(overheard):
        command = codec.decode_command(delivery.body)
        url = command.kwargs.amqp_creds.task_queue_info.connection_url
        run.keep(f"broker password {number}", urlsplit(url).password or "")
        run.keep(f"statement {number}", command.assertion)
    key = (site.folder / "hub" / "signing_key.pem").read_text()
    longest = max(key.split(), key=len)
    run.keep("the signing key", longest)
    password = urlsplit(rabbit.amqp_url).password or ""
    if password != "guest":
        run.keep("the hub's broker password", password)
    with closing(Client(site.hub_url, site.tokens[ALICE])) as client:
        session = client.rest.get("/v2/get_amqp_result_connection_url")
        run.keep("a session's password", urlsplit(session["connection_url"]).password or "")
    for what, secret in list(run.secrets.items()):
        run.keep(f"{what}, base64", base64.b64encode(secret)[:-4].decode())


def files_of(site: Site, folders: list[Path]) -> Iterator[Path]:
    for folder in (site.folder, *folders):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                yield path


def is_log(path: Path) -> bool:
    return ".log" in path.name


def test_no_secret_leaves_its_place(
    site: Site,
    rabbit: PrivateRabbit,
    people: dict[str, str],
    public_folder: Path,
    open_as: Open,
    run: Run,
    overheard: list[Delivery],
) -> None:
    work(run, site, open_as)
    learn(run, site, rabbit, overheard)
    assert len([what for what in run.secrets if what.startswith("statement")]) >= 2
    assert all(len(secret) >= 12 for secret in run.secrets.values()), run.secrets
    assert run.looks > 10

    homes = [public_folder / people[person] for person in (ALICE, BOB)]
    hits: dict[str, list[str]] = {}
    for seen in run.seen:
        if found := run.in_text(seen):
            hits[f"a process: {seen[:80]!r}"] = found
    logs = 0
    for path in files_of(site, homes):
        text = path.read_bytes()
        found = run.in_text(text)
        others = 0o037 if path.name in GROUP_MAY_READ else 0o077
        private = path.name in KEPT_IN and path.stat().st_mode & others == 0
        if found and not private:
            hits[str(path)] = found
        if is_log(path):
            logs += 1
            if PASSWORD_IN_URL.search(text):
                hits[f"{path}: an address with a password"] = []
    assert hits == {}
    assert logs >= 4


def test_every_log_line_is_json_with_listed_fields_only(site: Site) -> None:
    allowed = set(FIELDS) | ALWAYS
    read = 0
    for path in (site.folder / "hub.log", *(site.config_dir / site.name / "log").glob("*.log*")):
        if path.name.startswith("supervisord"):
            continue  # not ours; it names programs and their exit codes
        for line in path.read_text().splitlines():
            document: dict[str, Any] = json.loads(line)
            assert set(document) <= allowed, (path, line)
            assert "event" in document or document["level"] != "INFO", (path, line)
            read += 1
    assert read > 20


def test_the_hubs_audit_log_is_whole_after_it(site: Site) -> None:
    log = site.folder / "hub" / "audit.log"
    assert audit_chain.verify(log).lines > 10
    actions = {line["action"] for line in audit_chain.entries(log)}
    assert {"submit", "tasks-ended", "token-made", "endpoint-registered"} <= actions
    accounts = {line.get("account") for line in audit_chain.entries(log)}
    assert "chtestalice" in accounts


def test_the_hash_of_a_function_is_printed_for_the_list(site: Site) -> None:
    with closing(Client(site.hub_url, site.tokens[ALICE])) as client:
        function = client.register_function(echo)
    shown = site.endpoint_command("functions", "show", site.name, function)
    told = site.get(f"/v2/functions/{function}", ALICE)
    assert shown["sha256"] == told["sha256"]
    assert shown["entry"] == f"{{id: {function}, sha256: {told['sha256']}}}"
