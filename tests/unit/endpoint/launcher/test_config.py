"""launcher.toml: every fault is named, nothing is repaired."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from tests.launcher_builders import ENDPOINT

from chamberlain_endpoint.launcher import config
from chamberlain_endpoint.launcher.settings import (
    AuditSettings,
    MappingSettings,
    Mode,
    OnWriteFailure,
    PolicySettings,
)

KEY = base64.b64encode(bytes(32)).decode()
MULTI = f"""
mode = "multi"
endpoint_id = "{ENDPOINT}"
socket = "/run/chamberlain/x/launcher.sock"
manager_user = "chamberlain"
state_dir = "/var/lib/chamberlain/x/launcher"
accounts_dir = "/var/lib/chamberlain/x/accounts"
identity_mapping = "/etc/chamberlain/x/mapping.json"
hub_keys = ["{KEY}"]
"""
SINGLE = (
    MULTI.replace('"multi"', '"single"')
    .replace("identity_mapping", "owner_identity")
    .replace("/etc/chamberlain/x/mapping.json", ENDPOINT)
)


def faults(text: str) -> tuple[str, ...]:
    with pytest.raises(config.ConfigRefusedError) as caught:
        config.parse(text.encode())
    return caught.value.faults


def test_a_short_file_gets_the_usual_values() -> None:
    settings = config.parse(MULTI.encode())
    assert settings.mode is Mode.MULTI
    assert settings.hub_keys == (bytes(32),)
    assert settings.policy == PolicySettings()
    assert settings.policy.min_uid == 1000
    assert settings.path == "/usr/local/bin:/usr/bin:/bin"


def test_audit_and_mapping_can_be_set() -> None:
    text = """
    [audit]
    on_write_failure = "continue"
    max_bytes = 4096
    keep_files = 1
    [mapping]
    external_account = "mapper"
    external_timeout_s = 2
    """
    settings = config.parse((MULTI + text).encode())
    assert settings.audit == AuditSettings(OnWriteFailure.CONTINUE, 4096, 1)
    assert settings.mapping == MappingSettings("mapper", 2.0)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('[audit]\non_write_failure = "ignore"', 'must be "refuse" or "continue"'),
        ("[audit]\nmax_bytes = 10", "audit.max_bytes must be 4096 or more"),
        ("[audit]\nkeep_files = 0", "audit.keep_files must be 1 or more"),
        ("[audit]\nkeep_file = 1", "audit.keep_file is not a key; did you mean keep_files?"),
        ("[mapping]\nexternal_timeout_s = 0", "mapping.external_timeout_s must be 0.1 or more"),
        ("[mapping]\nexternal_timeout_s = 60", "mapping.external_timeout_s must be 10 or less"),
        ("[mapping]\nexternal_acount = 'x'", "did you mean external_account?"),
    ],
)
def test_a_fault_of_audit_or_mapping_is_named(line: str, fault: str) -> None:
    assert fault in faults(f"{MULTI}\n{line}")[0]


def test_the_single_form_needs_an_owner_and_no_mapping() -> None:
    settings = config.parse(SINGLE.encode())
    assert settings.owner_identity == ENDPOINT
    assert settings.identity_mapping is None


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("manager_user", "manger_user", "manger_user is not a key; did you mean manager_user?"),
        ('mode = "multi"', 'mode = "many"', 'mode must be "multi" or "single"'),
        (ENDPOINT, "x", "endpoint_id must be a UUID"),
        ('"/run/', '"run/', "socket must be an absolute path"),
        ('"/run/', '"/' + "r" * 100, "socket has a path above 107 bytes"),
        (f'["{KEY}"]', '["x"]', "hub_keys number 1 is not base64 of 32 bytes"),
        (f'["{KEY}"]', "[]", "hub_keys must name at least one key"),
        (f'["{KEY}"]', "[1]", "hub_keys must be a list of texts, none of them empty"),
        ('manager_user = "chamberlain"', "", "manager_user is missing: nobody could speak"),
        ("identity_mapping", "# identity_mapping", "identity_mapping is missing: without it"),
        ('"multi"', '"single"', "owner_identity is missing: without it nobody can come in"),
        ('"multi"', '"single"', 'identity_mapping is for mode = "multi" only'),
        ("endpoint_id", "# endpoint_id", "endpoint_id is missing"),
        ('"chamberlain"', "7", "manager_user must be a text"),
    ],
)
def test_a_fault_is_named(before: str, after: str, fault: str) -> None:
    assert any(each.startswith(fault) for each in faults(MULTI.replace(before, after)))


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("min_uid = 0", "policy.min_uid must be 1 or more"),
        ("min_uid = true", "policy.min_uid must be a whole number"),
        ("min_uid = 1.5", "policy.min_uid must be a whole number"),
        ("stop_grace_s = -1", "policy.stop_grace_s must be 0 or more"),
        ("stop_grace_s = nan", "policy.stop_grace_s must be 0 or more"),
        ("stop_grace_s = inf", "policy.stop_grace_s must be 0 or more"),
        ("max_user_endpoint = 1", "policy.max_user_endpoint is not a key; did you mean"),
        ('denied_groups = [""]', "policy.denied_groups must be a list of texts"),
    ],
)
def test_a_fault_of_the_policy_is_named(line: str, fault: str) -> None:
    assert any(each.startswith(fault) for each in faults(f"{MULTI}[policy]\n{line}\n"))


def test_all_faults_are_named_at_once() -> None:
    told = faults('mode = "many"\nx = 1\n[policy]\ny = 2\n')
    assert {each.split()[0] for each in told} == {
        "mode",
        "x",
        "policy.y",
        "endpoint_id",
        "socket",
        "state_dir",
        "accounts_dir",
        "hub_keys",
        "identity_mapping",
        "manager_user",
    }


@pytest.mark.parametrize("content", [b"\xff", b"x = ", b"x = 1\nx = 2"])
def test_what_is_no_toml_is_refused(content: bytes) -> None:
    with pytest.raises(config.ConfigRefusedError, match="not TOML"):
        config.parse(content)


def test_the_check_of_a_file_names_faults_of_content_and_of_mode(tmp_path: Path) -> None:
    owners = frozenset({0, os.geteuid()})
    file = tmp_path / "launcher.toml"
    file.write_text(MULTI)
    file.chmod(0o600)
    assert config.check(file, owners) == ()
    file.chmod(0o602)
    assert "chmod go-w" in config.check(file, owners)[0]
    file.chmod(0o600)
    file.write_text(MULTI.replace("multi", "many"))
    assert config.check(file, owners)[0].startswith("mode must be")
