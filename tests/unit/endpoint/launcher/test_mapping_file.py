"""The mapping in force follows good edits and survives bad ones."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from tests.launcher_builders import ENDPOINT, make_account, make_assertion

from chamberlain_endpoint.identity.rules import MappingRefusedError
from chamberlain_endpoint.launcher.external import ProgramRunner
from chamberlain_endpoint.launcher.mapping_file import IN_FORCE, MappingFile
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


def write_documents(path: Path, *documents: dict[str, Any]) -> None:
    path.write_text(json.dumps(documents))
    path.chmod(0o644)


def expression(match: str, output: str = "{0}") -> dict[str, Any]:
    rule = {"source": "{username}", "match": match, "output": output}
    return {"DATA_TYPE": "expression_identity_mapping#1.0.0", "mappings": [rule]}


def test_the_state_tells_of_a_bad_edit_until_it_is_mended(tmp_path: Path) -> None:
    path = tmp_path / "mapping.json"
    file = MappingFile(path, OWNERS, lambda _: None)
    write(path, "first")
    file.open()
    assert file.look() == IN_FORCE
    path.write_text("[")
    assert file.look().startswith("an older version is in force: ")
    assert "not JSON" in file.look()
    write(path, "first")
    assert file.look() == IN_FORCE


def test_doubts_about_a_version_are_told_when_it_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "mapping.json"
    write_documents(path, expression(r"(alice|bob)@x\.edu"))
    file = MappingFile(path, OWNERS, lambda _: None, denied=("root",))
    file.open()
    assert file.warnings == ()
    write_documents(path, expression("(.*)@x.edu"))
    assert file.look() == IN_FORCE
    dot, root = file.warnings
    assert "any character" in dot
    assert "becomes root" in root
    told = [line.__dict__["reason"] for line in caplog.records if line.levelname == "WARNING"]
    assert told == [dot, root]


def test_a_pattern_without_end_holds_up_no_edit(tmp_path: Path) -> None:
    path = tmp_path / "mapping.json"
    write_documents(path, expression("(r*)*(r*s)"))
    file = MappingFile(path, OWNERS, lambda _: None, denied=("r" * 60,))
    begin = time.monotonic()
    file.open()
    assert time.monotonic() - begin < 1.0
    assert file.look() == IN_FORCE
    assert "nested repetition" in file.warnings[0]


def test_a_program_needs_an_account_and_an_owner_who_is_trusted(tmp_path: Path) -> None:
    path, program = tmp_path / "mapping.json", tmp_path / "map"
    program.touch()
    command = [str(program), "x"]
    write_documents(path, {"DATA_TYPE": "external_identity_mapping#1.0.0", "command": command})
    with pytest.raises(MappingRefusedError, match="external_account"):
        MappingFile(path, OWNERS, lambda _: None).open()
    runner = ProgramRunner(make_account(), ENDPOINT, 5.0, OWNERS)
    program.chmod(0o777)
    with pytest.raises(MappingRefusedError, match="others may write"):
        MappingFile(path, OWNERS, lambda _: None, runner).open()
    program.chmod(0o755)
    MappingFile(path, OWNERS, lambda _: None, runner).open()
