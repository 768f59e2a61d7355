"""The mapping in force follows good edits and survives bad ones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.launcher_builders import make_assertion

from chamberlain_endpoint.identity.rules import MappingRefusedError
from chamberlain_endpoint.launcher.mapping_file import MappingFile
from chamberlain_endpoint.launcher.trusted_file import UntrustedPathError

OWNERS = frozenset({0, os.geteuid()})


def write(path: Path, output: str) -> None:
    rule = {"source": "{username}", "match": ".*", "output": output}
    path.write_text(
        json.dumps([{"DATA_TYPE": "expression_identity_mapping#1.0.0", "mappings": [rule]}])
    )
    path.chmod(0o644)


def test_a_good_edit_counts_and_a_bad_one_is_told_once(tmp_path: Path) -> None:
    path, told = tmp_path / "mapping.json", list[str]()
    file = MappingFile(path, OWNERS, told.append)
    write(path, "first")
    file.open()

    def user_name() -> str:
        return file.mapper().map(make_assertion()).user_name

    assert user_name() == "first"
    write(path, "second one")
    assert user_name() == "second one"
    assert told == [""]
    path.write_text("[")
    for _ in range(3):
        assert user_name() == "second one"
    assert len(told) == 2
    assert "not JSON" in told[1]
    path.unlink()
    assert user_name() == "second one"
    assert "No such file" in told[2]
    write(path, "third")
    assert user_name() == "third"
    assert told[3:] == [""]


def test_a_file_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    path = tmp_path / "mapping.json"
    file = MappingFile(path, OWNERS, lambda _: None)
    with pytest.raises(UntrustedPathError):
        file.open()
    path.write_text("{}")
    path.chmod(0o644)
    with pytest.raises(MappingRefusedError):
        file.open()
