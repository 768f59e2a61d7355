from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.cli.conftest import ENDPOINT, OWNER, TOKEN, Run
from tests.integration.cli.small_hub import NEW_TOKEN, SmallHub, small_hub


@pytest.fixture
def hub(cluster: Path) -> Iterator[SmallHub]:
    """A hub that the endpoint `cluster` speaks to."""
    with small_hub() as one:
        config, toml = cluster / "config.yaml", cluster / "launcher.toml"
        config.write_text(config.read_text().replace("http://127.0.0.1:9", one.url))
        # The asking child runs as the manager's account, which may not reach a test's Python.
        text = toml.read_text().replace('manager_user = "nobody"', 'manager_user = "root"')
        toml.write_text(text)
        yield one


def test_whoami_says_what_the_hub_says(hub: SmallHub, run: Run) -> None:
    assert run("whoami", "cluster").out == f"admin@example.edu ({OWNER})\n"
    told = run("whoami", "cluster", "--linked-identities", "--json").document
    assert [one["username"] for one in told["identity_set"]] == ["admin@x.example"]


def test_login_replaces_the_token_and_keeps_its_mode(
    hub: SmallHub, cluster: Path, run: Run
) -> None:
    file = cluster / "token"
    before = file.stat()
    ran = run("login", "cluster", "--token-file", "-", "--json", given=NEW_TOKEN + "\n")
    assert (ran.code, ran.document["identity"]) == (0, OWNER)
    assert file.read_text() == NEW_TOKEN + "\n"
    assert file.stat().st_mode == before.st_mode
    assert NEW_TOKEN not in ran.out + ran.err
    assert [path.name for path in cluster.iterdir() if path.name.startswith(".token")] == []


@pytest.mark.parametrize("given", ["chp_unknown", "two words", ""])
def test_a_token_that_is_not_accepted_leaves_the_old_one(
    hub: SmallHub, cluster: Path, run: Run, given: str
) -> None:
    ran = run("login", "cluster", "--token-file", "-", given=given)
    assert ran.code == 1
    assert (cluster / "token").read_text() == TOKEN + "\n"


def test_after_logout_there_is_no_token_and_whoami_says_what_to_do(
    hub: SmallHub, cluster: Path, run: Run
) -> None:
    assert run("logout", "cluster", "--json").document["was_logged_in"] is True
    assert not (cluster / "token").exists()
    assert run("logout", "cluster").out == "cluster had no token.\n"
    ran = run("whoami", "cluster")
    assert ran.code == 1
    assert "chamberlain-endpoint login" in ran.err


def test_stop_remote_has_the_hub_cut_it_off(hub: SmallHub, run: Run, run_on_terminal: Run) -> None:
    told = run("stop", "cluster", "--remote", "--json").document
    until = "2026-11-22T12:00:30+00:00"
    assert (told["was_running"], told["locked_until"]) == (False, until)
    assert ("POST", f"/v3/endpoints/{ENDPOINT}/lock") in hub.asked
    assert f"after {until}" in run_on_terminal("stop", "cluster", "--remote").out


def test_stop_remote_says_when_the_hub_does_not_do_it(hub: SmallHub, run: Run) -> None:
    hub.endpoints.clear()
    ran = run("stop", "cluster", "--remote")
    assert (ran.code, ran.out) == (1, "")
    assert "nothing was stopped" in ran.err
    hub.asked.clear()
    assert run("stop", "cluster").code == 0
    assert hub.asked == []


def test_delete_is_at_the_hub_first_then_the_folder(hub: SmallHub, cluster: Path, run: Run) -> None:
    ran = run("delete", "cluster", "--yes", "--json")
    assert (ran.code, ran.document["at_hub"]) == (0, "deleted")
    assert ("DELETE", f"/v2/endpoints/{ENDPOINT}") in hub.asked
    assert not cluster.exists()


def test_an_endpoint_that_never_registered_can_be_deleted(
    hub: SmallHub, cluster: Path, run: Run
) -> None:
    hub.endpoints.clear()
    assert run("delete", "cluster", "--yes", "--json").document["at_hub"] == "was not known"
    assert not cluster.exists()


def test_without_the_hub_nothing_is_deleted_unless_forced(cluster: Path, run: Run) -> None:
    toml = cluster / "launcher.toml"
    toml.write_text(toml.read_text().replace('manager_user = "nobody"', 'manager_user = "root"'))
    ran = run("delete", "cluster", "--yes")
    assert ran.code == 1
    assert "Nothing was deleted" in ran.err
    assert (cluster / "token").exists()
    assert run("delete", "cluster", "--yes", "--force").code == 0
    assert not cluster.exists()


def test_delete_asks_nobody_through_a_pipe(hub: SmallHub, cluster: Path, run: Run) -> None:
    assert run("delete", "cluster").code == 2
    assert cluster.exists()


def test_restart_keeps_what_runs_when_it_would_not_start_again(cluster: Path, run: Run) -> None:
    (cluster / "user_config_template.yaml.j2").write_text("{% if")
    ran = run("restart", "cluster", "--detach")
    assert ran.code == 1
    assert "would not start again" in ran.err


def test_version_is_told(run: Run, run_on_terminal: Run) -> None:
    assert json.loads(run("version", "--json").out)["chamberlain"]
    assert run_on_terminal("version").out.startswith("chamberlain ")


@pytest.mark.parametrize("command", ["whoami", "login", "logout", "delete", "restart"])
def test_a_name_is_needed(run: Run, command: str) -> None:
    assert run(command).code == 2
