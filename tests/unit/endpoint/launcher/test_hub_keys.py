"""The hub's keys of the newest good launcher.toml are believed, and no faulty edit changes that."""

from __future__ import annotations

import base64
import logging
import os
from pathlib import Path

import pytest

from chamberlain_endpoint.launcher.hub_keys import HubKeys

FIRST, SECOND = bytes(32), bytes([1]) * 32
TEXT = """\
mode = "single"
endpoint_id = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"
owner_identity = "11111111-1111-4111-8111-111111111111"
socket = "/run/s"
state_dir = "/var/l"
accounts_dir = "/var/a"
"""


def write(file: Path, *keys: bytes) -> None:
    texts = ", ".join(f'"{base64.b64encode(key).decode()}"' for key in keys)
    aside = file.with_name("new")
    aside.write_text(f"{TEXT}hub_keys = [{texts}]\n")
    aside.replace(file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    toml = tmp_path / "launcher.toml"
    write(toml, FIRST)
    return toml


@pytest.fixture
def keys(file: Path) -> HubKeys:
    return HubKeys(file, frozenset({0, os.geteuid()}), (FIRST,))


def test_an_edit_counts_from_the_next_look_on(file: Path, keys: HubKeys) -> None:
    assert keys.newest() == (FIRST,)
    write(file, FIRST, SECOND)
    assert keys.newest() == (FIRST, SECOND)
    write(file, SECOND)
    assert keys.newest() == (SECOND,)


def test_an_edit_between_reading_and_the_first_look_counts(file: Path, keys: HubKeys) -> None:
    write(file, SECOND)
    assert keys.newest() == (SECOND,)


def test_a_faulty_edit_changes_nothing_and_is_told_once(
    file: Path, keys: HubKeys, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert keys.newest() == (FIRST,)
    file.write_text("hub_keys = [")
    assert [keys.newest(), keys.newest()] == [(FIRST,), (FIRST,)]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    write(file, SECOND)
    assert keys.newest() == (SECOND,)


def test_a_file_that_others_can_write_is_not_believed(file: Path, keys: HubKeys) -> None:
    write(file, SECOND)
    file.chmod(0o666)
    assert keys.newest() == (FIRST,)
    file.unlink()
    assert keys.newest() == (FIRST,)
