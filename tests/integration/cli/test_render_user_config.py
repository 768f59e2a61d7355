from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Run


def _json(folder: Path, name: str, document: object) -> Path:
    file = folder / name
    file.write_text(json.dumps(document))
    return file


def test_the_result_alone_is_on_standard_output(cluster: Path, run: Run, tmp_path: Path) -> None:
    options = _json(tmp_path, "options.json", {"MAX_WORKERS": 3})
    ran = run("render-user-config", "-e", "cluster", "-o", options)
    assert ran.code == 0
    assert "max_workers: 3\n" in ran.out
    assert ran.err == "A user endpoint would start with it.\n"


def test_json_has_text_and_checked_configuration(cluster: Path, run: Run) -> None:
    ran = run("render-user-config", "-e", cluster, "--json")
    assert ran.document["config"]["engine"]["type"] == "ThreadPoolEngine"
    assert ran.document["fault"] is None


def test_options_that_the_schema_refuses_are_refused(cluster: Path, run: Run) -> None:
    ran = run("render-user-config", "-e", "cluster", "-o", "-", given='{"MAX_WORKERS": 65}')
    assert (ran.code, ran.out) == (1, "")
    assert "65" in ran.err


def test_another_schema_takes_the_place_of_the_endpoint_s(
    cluster: Path, run: Run, tmp_path: Path
) -> None:
    schema = _json(tmp_path, "schema.json", {"maxProperties": 0})
    ran = run("render-user-config", "-e", "cluster", "-s", schema, "-o", "-", given='{"A": 1}')
    assert ran.code == 1


def test_a_result_that_no_user_endpoint_takes_is_shown_and_refused(run: Run) -> None:
    ran = run("render-user-config", "-t", "-", given="engine:\n  type: ThredPoolEngine\n")
    assert ran.code == 1
    assert "ThredPoolEngine" in ran.out
    assert 'did you mean "ThreadPoolEngine"' in ran.err


def test_every_value_can_be_given(run: Run, tmp_path: Path) -> None:
    template = tmp_path / "one.yaml.j2"
    template.write_text(
        "display_name: {{ _GC.mapped_identity.local.uname }} {{ _GC.parent_config.public }} "
        "{{ _GC.user_runtime.python.version_tuple[0] }} {{ _GC.mapped_identity.globus.id }}\n"
        "engine: {type: ThreadPoolEngine}\n"
    )
    one = "22222222-2222-4222-8222-222222222222"
    who = _json(tmp_path, "who.json", {"local": {"uname": "alice"}, "globus": {"id": one}})
    runtime = _json(tmp_path, "runtime.json", {"python": {"version_tuple": [3, 9, 1]}})
    parent = tmp_path / "parent.yaml"
    parent.write_text("public: true\n")
    ran = run(
        *("render-user-config", "-t", template, "--mapped-identity", who),
        *("--user-runtime", runtime, "--parent-config", parent),
    )
    assert (ran.code, ran.err) == (0, "A user endpoint would start with it.\n")
    assert ran.out.startswith(f"display_name: alice True 3 {one}\n")


def test_a_template_beside_the_endpoint_s_own_can_be_tried(
    cluster: Path, run: Run, tmp_path: Path
) -> None:
    draft = tmp_path / "draft.yaml.j2"
    draft.write_text("engine: {type: ThreadPoolEngine, max_workers: {{ W }}}\n")
    schema = _json(tmp_path, "any.json", {})
    ran = run("render-user-config", "-e", "cluster", "-t", draft, "-s", schema)
    assert ran.code == 1
    assert "'W' is undefined" in ran.err


def test_a_template_without_end_ends(run: Run) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    ran = run("render-user-config", "-t", "-", given=endless)
    assert ran.code == 1
    assert "does not come to an end" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-t", "-", "-o", "-"),
        ("-t", "/nonexistent"),
        ("-t", "-", "-o", "/nonexistent"),
    ],
)
def test_what_makes_no_sense_ends_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run("render-user-config", *arguments).code == 2


def test_options_that_are_no_mapping_make_no_sense(cluster: Path, run: Run) -> None:
    ran = run("render-user-config", "-e", "cluster", "-o", "-", given="[1]")
    assert ran.code == 2
    assert "no mapping" in ran.err


def test_a_terminal_sees_the_result(cluster: Path, run_on_terminal: Run) -> None:
    seen = run_on_terminal("render-user-config", "-e", "cluster")
    assert seen.code == 0
    assert "type: ThreadPoolEngine" in seen.out
