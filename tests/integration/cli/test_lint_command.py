from __future__ import annotations

import json
from pathlib import Path

from tests.integration.cli.conftest import Run


def test_an_endpoint_without_findings_ends_with_0(cluster: Path, run: Run) -> None:
    ran = run("lint", "cluster", "--json")
    assert (ran.code, ran.document) == (0, {"findings": []})


def test_findings_end_with_1_and_have_line_what_and_todo(
    cluster: Path, run: Run, run_on_terminal: Run
) -> None:
    template = cluster / "user_config_template.yaml.j2"
    template.write_text("engine: {type: ThreadPoolEngine}\nendpoint_setup: {{ S }}\n")
    ran = run("lint", "cluster", "--json")
    assert ran.code == 1
    first = ran.document["findings"][0]
    assert (first["file"], first["line"]) == (str(template), 2)
    assert first["todo"]
    seen = run_on_terminal("lint", cluster)
    assert seen.code == 1
    assert f"{template}:2: " in seen.out


def test_a_template_alone_can_be_looked_at(run: Run, tmp_path: Path) -> None:
    template, schema = tmp_path / "a.yaml.j2", tmp_path / "s.json"
    template.write_text("worker_init: {{ S | default('') }}\n")
    schema.write_text(json.dumps({"properties": {"S": {"type": "string"}}}))
    assert run("lint", "-t", template, "-s", schema).code == 1
    schema.write_text(json.dumps({"properties": {"S": {"enum": ["a"]}}}))
    assert run("lint", "-t", template, "-s", schema).code == 0


def test_nothing_to_look_at_makes_no_sense(run: Run) -> None:
    assert run("lint").code == 2
