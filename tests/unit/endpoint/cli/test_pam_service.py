"""Both spellings of PAM's settings, and the file that this package brings."""

from __future__ import annotations

import stat
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint.cli import check_files, files, layout, pam_service
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.files import Facts, Overrides
from chamberlain_endpoint.manager.config import PamSettings

ENDPOINT = "00000000-0000-4000-8000-00000000e4d0"
OURS = {"enable": True, "service_name": "chamberlain-endpoint"}


@pytest.mark.parametrize(
    ("given", "flag", "wished", "kept"),
    [
        ({}, False, PamSettings(enable=False, service_name="chamberlain-endpoint"), {}),
        ({}, True, PamSettings(**OURS), {"pam": OURS}),
        ({"pam": {"enable": False}}, True, PamSettings(**OURS), {"pam": OURS}),
        (
            {"pam": {"enable": True, "service_name": "cluster"}},
            False,
            PamSettings(enable=True, service_name="cluster"),
            {"pam": {"enable": True, "service_name": "cluster"}},
        ),
        # The public agent's default: a site that relied on it keeps its rules.
        (
            {"pam": {"enable": True}},
            False,
            PamSettings(enable=True, service_name="globus-compute-endpoint"),
            {"pam": {"enable": True}},
        ),
    ],
)
def test_a_flag_and_a_key_say_the_same(
    given: dict[str, Any], flag: bool, wished: PamSettings, kept: dict[str, Any]
) -> None:
    more = dict(given)
    assert pam_service.wished(more, flag=flag) == wished
    assert more == kept


@pytest.mark.parametrize("pam", [True, {"enabel": True}, {"enable": "perhaps"}])
def test_a_key_of_another_shape_is_refused(pam: object) -> None:
    with pytest.raises(CommandFailedError, match=r"pam in config\.yaml: "):
        pam_service.wished({"pam": pam}, flag=False)


def test_a_file_that_is_there_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "chamberlain-endpoint"
    assert pam_service.ensure(path)
    assert path.read_text() == pam_service.text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.write_text("account required pam_deny.so\n")
    assert not pam_service.ensure(path)
    assert path.read_text() == "account required pam_deny.so\n"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match="No such file"):
        pam_service.ensure(tmp_path / "absent" / "service")


def write(folder: Path, pam: PamSettings, more: dict[str, Any]) -> layout.Layout:
    where = replace(layout.plan("cluster", folder, ENDPOINT), multi=True)
    facts = Facts(
        endpoint_id=ENDPOINT,
        hub_url="https://hub.example.edu",
        token="token",
        hub_keys=("A" * 43 + "=",),
        display_name=None,
        email=None,
        owner=ENDPOINT,
        manager_user="nobody",
        more=more,
        pam=pam,
    )
    where.config.mkdir()
    for file in files.all_files(where, facts, Overrides()):
        files.write(file, -1)
    return where


def test_check_config_says_where_the_two_files_differ(tmp_path: Path) -> None:
    where = write(tmp_path, PamSettings(enable=False, service_name="cluster"), {"pam": OURS})
    said = [finding.text() for finding in check_files.check(where.config).findings]
    (found,) = [line for line in said if "launcher.toml decides" in line]
    assert "enable = false, service = 'cluster'" in found
    assert "config.yaml:" in found


@pytest.mark.parametrize("pam", [OURS, {"enable": False}])
def test_check_config_is_silent_where_they_agree(tmp_path: Path, pam: dict[str, Any]) -> None:
    where = write(tmp_path, PamSettings(**pam), {"pam": pam})
    said = [finding.text() for finding in check_files.check(where.config).findings]
    assert not [line for line in said if "launcher.toml decides" in line]


def test_launcher_toml_says_what_configure_was_told(tmp_path: Path) -> None:
    where = write(tmp_path, PamSettings(enable=True, service_name="cluster"), {})
    document = tomllib.loads(where.launcher_toml.read_text())
    assert document["audit_tasks"] is True
    assert document["pam"] == {"enable": True, "service": "cluster", "timeout_s": 30.0}
