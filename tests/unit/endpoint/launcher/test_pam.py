"""What of a session's variables a user endpoint gets, and which settings are accepted."""

from __future__ import annotations

import pytest

from chamberlain_endpoint.launcher import config, pam_service
from chamberlain_endpoint.launcher.pam_service import decides
from chamberlain_endpoint.launcher.runtime.pam import taken
from chamberlain_endpoint.launcher.settings import PamSettings

MULTI = """
endpoint_id = "00000000-0000-4000-8000-00000000e4d0"
socket = "/run/x/launcher.sock"
state_dir = "/var/lib/x"
accounts_dir = "/var/lib/y"
manager_user = "chamberlain"
identity_mapping = "/etc/x/mapping.json"
hub_keys = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
"""
SINGLE = """
mode = "single"
endpoint_id = "00000000-0000-4000-8000-00000000e4d0"
socket = "/run/x/launcher.sock"
state_dir = "/var/lib/x"
accounts_dir = "/var/lib/y"
owner_identity = "00000000-0000-4000-8000-00000000a11c"
hub_keys = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
"""


@pytest.mark.parametrize(
    "name",
    ["PATH", "HOME", "LD_PRELOAD", "PYTHONPATH", "BASH_FUNC_ls%%", "BASH_ENV", "é", "a b", ""],
)
def test_what_decides_who_or_what_runs_is_not_taken(name: str) -> None:
    assert taken({name: "x", "SCRATCH": "/scratch"}) == {"SCRATCH": "/scratch"}


def test_the_rest_is_taken_up_to_a_bound() -> None:
    many = {f"NAME_{number}": "x" for number in range(500)}
    assert len(taken(many)) == 200
    assert taken({"LONG": "x" * 40_000, "KRB5CCNAME": "KEYRING:1"}) == {"KRB5CCNAME": "KEYRING:1"}


def test_it_is_off_unless_somebody_turns_it_on() -> None:
    settings = config.parse(MULTI.encode())
    assert settings.pam == PamSettings(enable=False, service="chamberlain-endpoint", timeout_s=30.0)
    assert settings.audit_tasks
    assert pam_service.faults(settings.pam, frozenset({0})) == []


def test_what_is_written_is_read() -> None:
    pam = '[pam]\nenable = true\nservice = "cluster"\ntimeout_s = 5\n'
    settings = config.parse(("audit_tasks = false\n" + MULTI + pam).encode())
    assert settings.pam == PamSettings(enable=True, service="cluster", timeout_s=5.0)
    assert not settings.audit_tasks


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("enable = 1", "pam.enable must be true or false"),
        ('service = "../shadow"', "pam.service must be the name of a file in /etc/pam.d"),
        ('service = ""', "pam.service must be the name of a file in /etc/pam.d"),
        ("timeout_s = 0", "pam.timeout_s must be 0.1 or more"),
        ("timeout_s = 3600", "pam.timeout_s must be 300 or less"),
        ('servise = "x"', "pam.servise is not a key; did you mean service?"),
    ],
)
def test_what_cannot_be_is_named(line: str, fault: str) -> None:
    with pytest.raises(config.ConfigRefusedError) as caught:
        config.parse(f"{MULTI}[pam]\n{line}\n".encode())
    (found,) = caught.value.faults
    assert found.startswith(fault)


def test_one_account_alone_has_no_session() -> None:
    with pytest.raises(config.ConfigRefusedError, match=r'pam\.enable is for mode = "multi"'):
        config.parse(f"{SINGLE}[pam]\nenable = true\n".encode())


@pytest.mark.parametrize(
    ("text", "does"),
    [
        ("", False),
        ("# account required pam_unix.so\n\nsession required pam_limits.so\n", False),
        ("auth required pam_permit.so\n", False),
        ("session optional pam_permit.so\n\taccount required pam_unix.so\n", True),
        ("-account sufficient pam_sss.so\n", True),
        ("Account include password-auth\n", True),
        ("@include common-account\n", True),
    ],
)
def test_a_file_decides_only_by_a_line_about_accounts(text: str, does: bool) -> None:
    assert decides(text) is does
