"""`chamberlain-hub`: what it prints, where, and with which exit code."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chamberlain_hub.main import cli
from chamberlain_hub.store.store import Store

Run = Callable[..., Result]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def run(tmp_path: Path, data_dir: Path) -> Run:
    file = tmp_path / "hub.toml"
    file.write_text(f'data_dir = "{data_dir}"\n')

    def run(*arguments: str, code: int = 0, answer: str | None = None) -> Result:
        result = CliRunner().invoke(
            cli, ["--config", str(file), *arguments], input=answer, catch_exceptions=False
        )
        assert result.exit_code == code, result.output
        return result

    return run


def test_the_first_command_makes_a_private_data_folder(run: Run, data_dir: Path) -> None:
    run("user", "add", "alice@example.edu")
    assert stat.S_IMODE(data_dir.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in data_dir.iterdir()} == {0o600}


def test_users_are_added_listed_and_removed(run: Run) -> None:
    added = json.loads(run("user", "add", "Alice@example.edu", "--name", "A", "--json").stdout)
    assert (added["username"], added["name"]) == ("alice@example.edu", "A")
    run("user", "add", "alice@lab.example.org", "--link-to", "alice@example.edu")
    listed = json.loads(run("user", "list", "--json").stdout)["identities"]
    assert [entry["username"] for entry in listed] == ["alice@example.edu", "alice@lab.example.org"]
    assert added["id"] in run("user", "list").stdout
    run("user", "remove", "alice@example.edu", answer="n\n", code=1)
    run("user", "remove", "alice@example.edu", answer="y\n")
    run("user", "remove", "alice@lab.example.org", "--yes", "--json")
    assert json.loads(run("user", "list", "--json").stdout) == {"identities": []}


def test_the_token_alone_goes_to_standard_output(run: Run, data_dir: Path) -> None:
    run("user", "add", "alice@example.edu")
    made = run("token", "create", "alice@example.edu", "--expires", "12h", "--label", "laptop")
    token = made.stdout.strip()
    assert made.stdout == token + "\n"
    assert token not in made.stderr
    assert "expires" in made.stderr
    store = Store.open(f"sqlite:///{data_dir}/hub.db")
    principal = store.authenticate(token, time.time())
    store.close()
    assert principal.identity.username == "alice@example.edu"
    assert token not in run("token", "list").output
    (listed,) = json.loads(run("token", "list", "--json").stdout)["tokens"]
    assert (listed["id"], listed["state"]) == (principal.token_id, "valid")
    assert listed["label"] == "laptop"


def test_a_token_is_revoked_by_its_id(run: Run) -> None:
    run("user", "add", "alice@example.edu")
    made = json.loads(
        run("token", "create", "alice@example.edu", "--expires", "never", "--json").stdout
    )
    assert made["expires_at"] is None
    run("token", "revoke", made["id"])
    listed = run("token", "list", "--user", "alice@example.edu", "--json").stdout
    assert json.loads(listed)["tokens"][0]["state"] == "revoked"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["user", "add", "alice"], "name@domain"),
        (["user", "add", "bob@example.edu", "--link-to", "nobody@example.edu"], "nobody@"),
        (["user", "remove", "nobody@example.edu", "--yes"], "nobody@"),
        (["token", "create", "nobody@example.edu"], "nobody@"),
        (["token", "list", "--user", "nobody@example.edu"], "nobody@"),
        (["token", "revoke", "no-such-id"], "no-such-id"),
    ],
)
def test_what_cannot_be_done_is_said_on_standard_error(
    run: Run, arguments: list[str], word: str
) -> None:
    plain = run(*arguments, code=1)
    assert plain.stdout == ""
    assert plain.stderr.startswith("chamberlain-hub: ")
    assert word in plain.stderr
    as_json = run(*arguments, "--json", code=1)
    assert as_json.stdout == ""
    assert word in json.loads(as_json.stderr)["error"]["message"]


@pytest.mark.parametrize("duration", ["", "5", "3x", "-1d", "0d", "1.5h", "99999d", "forever"])
def test_a_duration_that_is_none_is_wrong_usage(run: Run, duration: str) -> None:
    result = run("token", "create", "alice@example.edu", "--expires", duration, code=2)
    assert "never" in result.stderr


def test_the_key_is_shown_as_endpoints_read_it(run: Run) -> None:
    shown = run("key", "show").stdout
    (entry,) = json.loads(run("key", "show", "--json").stdout)["keys"]
    assert shown == f"{entry['key']}  # {entry['fingerprint']}\n"


def test_wrong_settings_are_exit_code_two_for_every_command(run: Run, tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text("listen_port = 0\nnonsense = 1")
    for command in (["check-config"], ["user", "list"], ["migrate"], ["key", "show"]):
        result = run(*command, "--json", code=2)
        message = json.loads(result.stderr)["error"]["message"]
        assert "listen_port: " in message
        assert "nonsense: " in message


def test_check_config_shows_the_settings_but_no_password(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "hub.toml"
    file.write_text('listen_port = 5001\nbroker_url = "amqp://hub:geheim@h/"')
    file.chmod(0o600)
    assert "geheim" not in run("check-config").output
    shown = json.loads(run("check-config", "--json").stdout)["settings"]
    assert (shown["listen_port"], shown["broker_url"]) == ("5001", "***")


def test_a_data_folder_that_others_may_look_into_is_refused(run: Run, data_dir: Path) -> None:
    data_dir.mkdir(mode=0o755)
    assert f"chmod 700 {data_dir}" in run("user", "list", code=2).stderr


@pytest.mark.needs_root
def test_a_data_folder_of_another_user_names_the_user(run: Run, data_dir: Path) -> None:
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, 65534, 65534)
    assert "runuser -u nobody" in run("user", "list", code=2).stderr


def test_a_data_folder_that_cannot_be_made_is_said_so(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    assert "File exists" in run("user", "list", code=2).stderr


def test_migrate_may_run_again(run: Run) -> None:
    run("migrate")
    assert json.loads(run("migrate", "--json").stdout) == {"migrated": True}


def test_an_old_database_is_not_changed_by_looking_at_it(run: Run, data_dir: Path) -> None:
    import sqlite3

    run("user", "list")
    with sqlite3.connect(data_dir / "hub.db") as connection:
        connection.execute("DELETE FROM alembic_version")
    connection.close()
    assert "chamberlain-hub migrate" in run("user", "list", code=1).stderr


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from chamberlain_hub.main import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "heavy = {'sqlalchemy', 'fastapi', 'pydantic', 'alembic', 'cryptography', 'jsonschema'}\n"
        "assert not heavy & sys.modules.keys(), heavy & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "chamberlain-hub user add alice@example.edu" in done.stdout


def test_a_service_accounts_secret_is_written_once_and_changes(run: Run, data_dir: Path) -> None:
    made = run("service-account", "create", "cluster")
    values = dict(line.split("=", 1) for line in made.stdout.splitlines())
    secret = values["GLOBUS_COMPUTE_CLIENT_SECRET"]
    assert secret not in made.stderr
    rotated = json.loads(run("service-account", "rotate", "cluster", "--json").stdout)
    assert rotated["client_id"] == values["GLOBUS_COMPUTE_CLIENT_ID"]
    assert rotated["client_secret"] != secret
    assert rotated["username"] == f"{rotated['client_id']}@clients.127.0.0.1"
    store = Store.open(f"sqlite:///{data_dir}/hub.db")
    known = store.authenticate_client(rotated["client_id"], rotated["client_secret"])
    store.close()
    assert known.identity.username == rotated["username"]
    listed = run("service-account", "list").output
    assert rotated["client_secret"] not in listed
    assert "valid" in listed
    run("service-account", "revoke", rotated["client_id"])
    (entry,) = json.loads(run("service-account", "list", "--json").stdout)["service_accounts"]
    assert (entry["name"], entry["state"]) == ("cluster", "revoked")
    assert "was revoked" in run("service-account", "rotate", "cluster", code=1).stderr
    assert "two words" in run("service-account", "create", "two words", code=1).stderr


def test_policies_are_defined_listed_and_deleted(run: Run) -> None:
    rules = ["--include", "Example.edu", "--exclude", "bad.example.edu", "--session-age", "12h"]
    made = run("policy", "create", "staff", *rules)
    policy_id = made.stdout.strip()
    assert f"authentication_policy: {policy_id}" in made.stderr
    (listed,) = json.loads(run("policy", "list", "--json").stdout)["policies"]
    assert (listed["id"], listed["include"], listed["session_age_s"]) == (
        policy_id,
        ["example.edu"],
        43200.0,
    )
    assert "session age 43200 s" in run("policy", "list").stdout
    assert "already" in run("policy", "create", "other", "--id", policy_id, code=1).stderr
    assert "not a domain" in run("policy", "create", "x", "--include", "*", code=1).stderr
    run("policy", "delete", policy_id)
    assert "no authentication policy" in run("policy", "delete", policy_id, code=1).stderr
