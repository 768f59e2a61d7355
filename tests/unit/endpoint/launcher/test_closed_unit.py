"""A launcher in a unit that is closed for containers says so, instead of failing for each user."""

from __future__ import annotations

from pathlib import Path

import pytest

from chamberlain_endpoint.launcher import preflight
from chamberlain_endpoint.launcher.config import ConfigRefusedError

SINGLE = """\
mode = "single"
endpoint_id = "00000000-0000-4000-8000-000000000001"
socket = "{folder}/launcher.sock"
state_dir = "{folder}/state"
accounts_dir = "{folder}/accounts"
owner_identity = "00000000-0000-4000-8000-000000000002"
hub_keys = ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
"""


def _faults(folder: Path) -> str:
    file = folder / "launcher.toml"
    file.write_text(SINGLE.format(folder=folder))
    try:
        preflight.check(file)
    except ConfigRefusedError as error:
        return "; ".join(error.faults)
    return ""


def test_processes_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(preflight.CLOSED_FOR, "containers")
    assert "run: chamberlain-endpoint enable-on-boot NAME" in _faults(tmp_path)


@pytest.mark.parametrize("value", ["", None])
def test_another_unit_closes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv(preflight.CLOSED_FOR, raising=False)
    if value is not None:
        monkeypatch.setenv(preflight.CLOSED_FOR, value)
    assert "enable-on-boot" not in _faults(tmp_path)
