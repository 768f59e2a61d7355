"""`config.yaml`: the public keys work as they are, and every fault is told at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.manager_builders import endpoint_folder

from chamberlain_endpoint.manager.config import ManagerSettings, SettingsError, check
from chamberlain_endpoint.manager.fatal import Exit

PUBLIC = """\
display_name: The Cluster
public: true
email: admin@example.edu
identity_mapping_config_path: /etc/chamberlain/x/example_identity_mapping_config.json
admins: [11111111-1111-4111-8111-111111111111]
allowed_functions: [22222222-2222-4222-8222-222222222222]
authentication_policy: 33333333-3333-4333-8333-333333333333
subscription_id: null
high_assurance: false
audit_log_path: null
pam: {enable: true, service_name: cluster}
amqp_port: 443
heartbeat_period: 10
mu_child_ep_grace_period_s: 30
debug: true
environment: null
local_compute_services: true
"""


def faults(config: Path) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        check(config)
    assert caught.value.exit_code is Exit.CONFIG
    return caught.value.faults


def test_every_public_key_is_taken(tmp_path: Path) -> None:
    config = endpoint_folder(tmp_path / "site")
    config.write_text(PUBLIC)
    settings = check(config)
    assert settings.hub_address == "http://localhost:5000"
    assert settings.amqp_port == 443
    assert settings.pam.service_name == "cluster"
    assert settings.name == "site"
    assert "token_file" not in settings.for_templates()
    assert settings.for_templates()["display_name"] == "The Cluster"


def test_what_is_left_out_has_its_place_beside_the_file(tmp_path: Path) -> None:
    config = endpoint_folder(tmp_path / "site")
    config.write_text("hub_url: https://hub.example.edu\n")
    settings = check(config)
    assert settings.template_file == tmp_path / "site" / "user_config_template.yaml.j2"
    assert settings.token_path == tmp_path / "site" / "token"
    assert settings.socket_path == Path("/run/chamberlain/site/launcher.sock")
    assert settings.state_path == Path("/var/lib/chamberlain/site/manager")


def test_the_template_may_have_its_older_name(tmp_path: Path) -> None:
    config = endpoint_folder(tmp_path / "site")
    old = config.parent / "user_config_template.yaml"
    (config.parent / "user_config_template.yaml.j2").rename(old)
    assert check(config).template_file == old


def test_all_faults_are_told_at_once_with_their_paths(tmp_path: Path) -> None:
    config = endpoint_folder(
        tmp_path,
        heartbeat_period=1,
        heartbeat_perod=30,
        amqp_port="many",
        engine={"type": "ThreadPoolEngine"},
        pam={"enabel": True},
        endpoint_id="x",
        user_config_schema_path="nowhere.json",
    )
    told = "\n".join(faults(config))
    for words in (
        "heartbeat_period: Input should be greater than or equal to 5",
        "heartbeat_perod: is not a known key; did you mean heartbeat_period?",
        "amqp_port: Input should be a valid integer",
        "engine: belongs into the user configuration template",
        "pam.enabel: is not a known key; did you mean enable?",
        "endpoint_id: Input should be a valid UUID",
        "nowhere.json does not exist",
    ):
        assert words in told


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "is not YAML"),
        ("[1]", "must be a mapping"),
        ("1: 2", "must be a mapping"),
        ("{}", "hub_url: is needed"),
        ("hub_url: ftp://x", "hub_url"),
    ],
)
def test_an_unusable_file_is_told(tmp_path: Path, text: str, words: str) -> None:
    config = endpoint_folder(tmp_path)
    config.write_text(text)
    assert any(words in fault for fault in faults(config))


def test_a_missing_file_or_template_is_told(tmp_path: Path) -> None:
    assert any("cannot be read" in fault for fault in faults(tmp_path / "config.yaml"))
    config = endpoint_folder(tmp_path)
    (tmp_path / "user_config_template.yaml.j2").unlink()
    assert any("does not exist" in fault for fault in faults(config))


@pytest.mark.parametrize("schema", ["{", "[]", "7"])
def test_a_schema_that_is_none_is_told(tmp_path: Path, schema: str) -> None:
    config = endpoint_folder(tmp_path)
    (tmp_path / "user_config_schema.json").write_text(schema)
    assert any("user_config_schema_path" in fault for fault in faults(config))


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings: ManagerSettings = check(endpoint_folder(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        settings.debug = True  # type: ignore[misc]
