from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Run


def _change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def _line(file: Path, part: str) -> int:
    lines = file.read_text().splitlines()
    return next(number for number, line in enumerate(lines, start=1) if part in line)


def test_what_configure_writes_is_good(cluster: Path, run: Run) -> None:
    for name in ("cluster", str(cluster)):
        ran = run("check-config", name)
        assert (ran.code, ran.err) == (0, "")
        assert "good" in ran.out


def test_all_faults_of_all_files_are_told_at_once_with_their_lines(cluster: Path, run: Run) -> None:
    config, toml = cluster / "config.yaml", cluster / "launcher.toml"
    template = cluster / "user_config_template.yaml.j2"
    schema, environment = cluster / "user_config_schema.json", cluster / "user_environment.yaml"
    _change(config, "heartbeat_period: 30", "heartbeat_perod: 30\nadmins: nobody")
    _change(toml, "min_uid = 1", 'min_uid = "low" #1')
    _change(toml, "\nsocket =", "\nsockt = 1\nsocket =")
    template.write_text("engine:\n  type: {{ kind | no_such_filter }}\n")
    _change(schema, '"type": "object"', '"type": "objekt"')
    environment.write_text("A: b\nLIST: [1, 2]\n")
    ran = run("check-config", "cluster", "--json")
    assert ran.code == 1
    told = {
        (Path(each["file"]).name, each["line"]): each["what"] for each in ran.document["faults"]
    }
    assert "heartbeat_period" in told["config.yaml", _line(config, "perod")]
    assert "admins" in told["config.yaml", _line(config, "admins")]
    assert "min_uid" in told["launcher.toml", _line(toml, "min_uid")]
    assert "sockt" in told["launcher.toml", _line(toml, "sockt")]
    assert "no_such_filter" in told["user_config_template.yaml.j2", 2]
    assert "objekt" in told["user_config_schema.json", _line(schema, "objekt")]
    assert "LIST" in told["user_environment.yaml", 2]


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("config.yaml", "hub_url: https://hub.example.edu\nemail: 'open\n", 2),
        ("launcher.toml", 'mode = "multi"\nendpoint_id = \n', 2),
        ("user_config_schema.json", '{\n "type": "object",\n}\n', 3),
        ("user_config_template.yaml.j2", "engine:\n{% if x %}\n type: a\n", 2),
        ("user_environment.yaml", "A: b\n  C: [\n", 2),
        ("user_environment.yaml", "A: b\nGC_TASK_TIMEOUT: 5 minutes\n", 2),
    ],
)
def test_a_file_that_does_not_parse_is_told_with_its_line(
    cluster: Path, run: Run, name: str, content: str, line: int
) -> None:
    (cluster / name).write_text(content)
    ran = run("check-config", cluster)
    assert ran.code == 1
    told = [each for each in ran.out.splitlines() if f"{name}:{line}:" in each]
    assert told, ran.out + ran.err


@pytest.mark.needs_root
def test_faults_of_the_mapping_have_the_line_of_their_rule(cluster: Path, run: Run) -> None:
    mapping = cluster / "example_identity_mapping_config.json"
    rules = [
        {"source": "{username}", "match": "a", "output": "a"},
        {"source": "{usrname}", "match": "*", "output": "{3}"},
    ]
    document = [{"DATA_TYPE": "expression_identity_mapping#1.0.0", "mappings": rules}]
    mapping.write_text(json.dumps(document, indent=1))
    ran = run("check-config", "cluster", "--json")
    faults = [each for each in ran.document["faults"] if each["file"] == str(mapping)]
    assert ran.code == 1
    assert {each["line"] for each in faults} == {_line(mapping, "usrname") - 1}


@pytest.mark.needs_root
def test_a_mapping_that_others_can_write_is_a_fault(cluster: Path, run: Run) -> None:
    mapping = cluster / "example_identity_mapping_config.json"
    mapping.chmod(0o666)
    ran = run("check-config", "cluster")
    assert ran.code == 1
    assert f"chmod go-w {mapping}" in ran.out


def test_two_files_that_disagree_are_told(cluster: Path, run: Run) -> None:
    config = cluster / "config.yaml"
    _change(config, "0e5e35d6", "0e5e35d7")
    ran = run("check-config", "cluster")
    assert ran.code == 1
    assert f"config.yaml:{_line(config, 'endpoint_id')}: endpoint_id" in ran.out


def test_a_missing_include_is_told_with_its_line(cluster: Path, run: Run) -> None:
    template = cluster / "user_config_template.yaml.j2"
    template.write_text("engine:\n{% include 'engine.j2' %}\n")
    assert f"{template}:2: 'engine.j2' is not there" in run("check-config", cluster).out


def test_no_such_endpoint_is_one_sentence(run: Run, tmp_path: Path) -> None:
    ran = run("check-config", "nowhere")
    assert ran.code == 1
    assert ran.err.startswith("chamberlain-endpoint: There is no folder")
    assert run("check-config", os.fspath(tmp_path)).code == 1
    assert run("check-config").code == 2


def test_a_terminal_sees_the_same(cluster: Path, run: Run, run_on_terminal: Run) -> None:
    _change(cluster / "config.yaml", "heartbeat_period: 30", "heartbeat_period: 3")
    piped, seen = run("check-config", "cluster"), run_on_terminal("check-config", "cluster")
    assert (piped.code, seen.code) == (1, 1)
    assert set(piped.out.splitlines()) <= set(seen.out.splitlines())
