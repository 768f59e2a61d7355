from __future__ import annotations

import gzip
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.conftest import TOKEN, Run
from tests.integration.cli.small_hub import SmallHub, small_hub

from chamberlain_endpoint.cli.redaction import REDACTED, redact

PLANTED = {
    "token": TOKEN,
    "other_token": "chp_" + "0" * 43,
    "broker": "h0pp3r!@x",
    "environment": "s3same-open",
    "header": "QWxhZGRpbjpvcGVu",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "pem": "MC4CAQAwBQYDK2VwBCIEI",
    "named": "hunter2hunter2",
}


@pytest.fixture
def hub(cluster: Path) -> Iterator[SmallHub]:
    """A hub that the endpoint `cluster` speaks to."""
    with small_hub() as one:
        config, toml = cluster / "config.yaml", cluster / "launcher.toml"
        config.write_text(config.read_text().replace("http://127.0.0.1:9", one.url))
        text = toml.read_text().replace('manager_user = "nobody"', 'manager_user = "root"')
        toml.write_text(text)
        yield one


def _links(document: Any) -> dict[str, dict[str, str]]:
    return {link["link"]: link for link in document["links"]}


def test_the_doctor_tells_each_link_and_what_to_do(hub: SmallHub, run: Run) -> None:
    ran = run("doctor", "cluster", "--json")
    links = _links(ran.document)
    assert ran.code == 1
    good = {name for name, link in links.items() if link["state"] == "good"}
    assert {"disk", "hub", "clock", "token"} <= good
    assert links["supervisord"]["state"] == "bad"
    assert "chamberlain-endpoint start cluster" in links["supervisord"]["todo"]
    assert links["launcher's socket"]["state"] == "bad"
    assert links["broker"]["state"] == "bad"
    assert "not registered" not in links["heartbeat"]["said"] or links["heartbeat"]["todo"]
    assert "account" in links
    assert all(link["todo"] for link in links.values() if link["state"] != "good")


def test_the_doctor_ends_at_a_hub_that_is_away(cluster: Path, run: Run) -> None:
    toml = cluster / "launcher.toml"
    toml.write_text(toml.read_text().replace('manager_user = "nobody"', 'manager_user = "root"'))
    links = _links(run("doctor", "cluster", "--json").document)
    assert links["hub"]["state"] == "bad"
    assert "token" not in links


def test_a_clock_that_is_wrong_is_told(hub: SmallHub, run: Run) -> None:
    hub.date = "Thu, 01 Jan 2015 00:00:00 GMT"
    clock = _links(run("doctor", "cluster", "--json").document)["clock"]
    assert clock["state"] == "bad"
    assert "ahead of the hub's" in clock["said"]


def test_a_token_that_the_hub_does_not_know_is_told(hub: SmallHub, run: Run) -> None:
    hub.good.clear()
    token = _links(run("doctor", "cluster", "--json").document)["token"]
    assert (token["state"], "login" in token["todo"]) == ("bad", True)


def test_a_terminal_sees_colours_and_a_pipe_does_not(
    cluster: Path, run: Run, run_on_terminal: Run
) -> None:
    assert "\x1b[31m" in run_on_terminal("doctor", "cluster").out
    assert "\x1b" not in run("doctor", "cluster").out


def test_the_bundle_holds_no_secret(cluster: Path, run: Run, tmp_path: Path) -> None:
    (cluster / "user_environment.yaml").write_text(f"KEY: {PLANTED['environment']}\n# {TOKEN}\n")
    template = cluster / "user_config_template.yaml.j2"
    template.write_text(template.read_text() + f"# password: {PLANTED['named']}\n")
    (cluster / "log" / "manager.log").write_text(
        f'{{"token": "{PLANTED["other_token"]}"}}\n'
        f"amqp://mgr:{PLANTED['broker']}@127.0.0.1:5672/\n"
        f"Authorization: Basic {PLANTED['header']}\n"
        f"saw {PLANTED['environment']} and {PLANTED['jwt']}\n"
        f"-----BEGIN PRIVATE KEY-----\n{PLANTED['pem']}\n-----END PRIVATE KEY-----\n"
        "a line that says what happened\n"
    )
    bundle = tmp_path / "bundle.tar.gz"
    ran = run("diagnostic", "cluster", "-o", bundle, "--json")
    assert ran.code == 0, ran.err
    assert bundle.stat().st_mode & 0o777 == 0o600
    content = gzip.decompress(bundle.read_bytes()).decode(errors="replace")
    printed = run("diagnostic", "cluster", "--print-only").out
    for name, secret in PLANTED.items():
        assert secret not in content, name
        assert secret not in printed, name
    assert "a line that says what happened" in content
    assert REDACTED in content
    with tarfile.open(bundle) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert names == set(ran.document["members"])
    assert {"doctor.json", "files/config.yaml", "logs/manager.log", "folders.txt"} <= names
    assert "files/token" not in names
    assert run("diagnostic", "cluster", "-o", bundle).code == 1


def test_of_a_long_log_the_end_is_taken_in_whole_lines(cluster: Path, run: Run) -> None:
    log = cluster / "log" / "manager.log"
    log.write_text("".join(f"line {number:07}\n" for number in range(20_000)))
    printed = run("diagnostic", "cluster", "-p", "-k", "1").out
    part = printed.partition("==> logs/manager.log <==\n")[2]
    assert part.startswith("line ")
    assert "line 0019999" in part
    assert "line 0010000" not in part


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=abc def", f"password={REDACTED} def"),
        ("amqps://u:p:q@h/x", f"amqps://u:{REDACTED}@h/x"),
        ('"api_key": "a\\"b", "n": 1', f'"api_key": {REDACTED}, "n": 1'),
        ("an ordinary sentence: nothing", "an ordinary sentence: nothing"),
        (f"x{os.sep}y", f"x{os.sep}y"),
    ],
)
def test_redaction_takes_the_secret_and_leaves_the_rest(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize("command", ["doctor", "diagnostic"])
def test_a_name_is_needed(run: Run, command: str) -> None:
    assert run(command).code == 2
    assert run(command, "nothing").code == 1
