from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
import yaml
from tests.integration.cli.conftest import ENDPOINT, KEY, TOKEN, Run

from chamberlain_endpoint.cli import core_config, files, layout
from chamberlain_endpoint.cli.configure_command import configure_command
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.files import Facts, Overrides
from chamberlain_endpoint.manager import config as manager_config
from chamberlain_endpoint.manager.hub_client import registration_body

POLICY = "33333333-3333-4333-8333-333333333333"

# What PARITY's section 1 lists for `configure`.
FLAGS = (
    "--multi-user",
    "--high-assurance",
    "--display-name",
    "--auth-policy",
    "--contact-email",
    "--manager-config",
    "--core-config",
    "--template-config",
    "--schema-config",
    "--user-env-config",
    "--id-mapping-config",
    "--auth-policy-project-id",
    "--auth-policy-display-name",
    "--auth-policy-mfa-required",
    "--auth-policy-description",
    "--allowed-domains",
    "--excluded-domains",
    "--auth-timeout",
    "--subscription-id",
)


def _written(folder: Path, more: dict[str, object]) -> manager_config.ManagerSettings:
    where = layout.plan("cluster", folder)
    facts = Facts(
        endpoint_id=ENDPOINT,
        hub_url="https://hub.example.edu",
        token=TOKEN,
        hub_keys=(KEY,),
        display_name=None,
        email=None,
        owner=ENDPOINT,
        manager_user="nobody",
        more=more,
    )
    where.config.mkdir()
    for file in files.all_files(where, facts, Overrides()):
        files.write(file, -1)
    return manager_config.check(where.manager_config)


def test_every_flag_of_the_public_agent_is_known() -> None:
    known = {name for option in configure_command.params for name in option.opts}
    assert set(FLAGS) <= known


def test_a_new_policy_is_stored_and_sent(tmp_path: Path) -> None:
    terms = {
        "mfa_required": True,
        "allowed_domains": core_config.split("example.edu, *.example.org"),
        "auth_timeout": 600,
        "description": None,
    }
    settings = _written(tmp_path, core_config.policy(None, terms))
    body = registration_body(settings.settled())
    assert UUID(body["authentication_policy"])
    sent = body["metadata"]["authentication_policy_terms"]
    assert sent["allowed_domains"] == ["example.edu", "*.example.org"]
    assert (sent["mfa_required"], sent["auth_timeout"]) == (True, 600)
    assert sent["display_name"] == core_config.POLICY_NAME


def test_a_policy_that_exists_is_stored_and_sent(tmp_path: Path) -> None:
    more = core_config.policy(POLICY, {}) | {"subscription_id": POLICY}
    body = registration_body(_written(tmp_path, more).settled())
    assert (body["authentication_policy"], body["subscription_uuid"]) == (POLICY, POLICY)
    with pytest.raises(CommandFailedError):
        core_config.policy(POLICY, {"mfa_required": True})


def test_without_policy_options_there_is_no_policy(tmp_path: Path) -> None:
    assert core_config.policy(None, {"mfa_required": False, "allowed_domains": ()}) == {}
    assert "authentication_policy" not in registration_body(_written(tmp_path, {}).settled())


def test_a_brought_core_configuration_is_kept(tmp_path: Path) -> None:
    brought = tmp_path / "core.yaml"
    brought.write_text("public: true\nheartbeat_period: 15\nemail: a@b.example\ndebug: true\n")
    settings = _written(tmp_path, core_config.read(brought))
    assert (settings.public, settings.heartbeat_period) == (True, 15.0)
    assert (settings.email, settings.debug) == ("a@b.example", True)
    lines = yaml.safe_load((tmp_path / "cluster" / "config.yaml").read_text())
    assert lines["endpoint_id"] == ENDPOINT


def test_a_brought_core_configuration_cannot_choose_the_id(tmp_path: Path) -> None:
    brought = tmp_path / "core.yaml"
    brought.write_text(f"endpoint_id: {ENDPOINT}\n")
    with pytest.raises(CommandFailedError, match="endpoint_id"):
        core_config.read(brought)


def test_a_misspelt_term_is_told(tmp_path: Path) -> None:
    with pytest.raises(manager_config.SettingsError, match="did you mean mfa_required"):
        _written(tmp_path, {"authentication_policy_terms": {"mfa_require": True}})


@pytest.mark.needs_root
def test_high_assurance_is_refused_with_a_reason(run: Run, tmp_path: Path) -> None:
    ran = run(
        *("configure", "x", "--hub", "https://hub.example.edu", "--token-file", "-"),
        *("--contact-email", "a@b.example", "--high-assurance"),
    )
    assert ran.code == 2
    assert "not offered here" in " ".join(ran.err.split())
    assert not (tmp_path / "x").exists()


@pytest.mark.needs_root
def test_a_token_file_that_is_no_text_is_told_in_a_sentence(run: Run, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b"\x97\x00\xff")
    ran = run(
        *("configure", "x", "--hub", "https://hub.example.edu", "--contact-email", "a@b.example"),
        *("--token-file", tmp_path / "token"),
    )
    assert ran.code == 1
    assert ran.err == (
        "chamberlain-endpoint: The token file must hold one token, and nothing else.\n"
    )
    assert not (tmp_path / "x").exists()
