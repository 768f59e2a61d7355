from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint.cli import lint
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.findings import Finding

DEFAULTS = Path(lint.__file__).parent / "defaults"
CLOSED = {"type": "object", "additionalProperties": False}


def _found(
    folder: Path,
    template: str,
    properties: dict[str, Any],
    *,
    required: tuple[str, ...] = (),
    **beside: str,
) -> list[Finding]:
    file, schema = folder / "t.yaml.j2", folder / "s.json"
    schema.write_text(json.dumps({**CLOSED, "properties": properties, "required": required}))
    sources = {file.name: template, **{f"{name}.j2": text for name, text in beside.items()}}
    return lint.findings(lint.look(file, sources, schema, None))


def _only(findings: list[Finding]) -> Finding:
    assert len(findings) == 1, [finding.text() for finding in findings]
    return findings[0]


def test_what_configure_writes_has_no_finding() -> None:
    file = DEFAULTS / "user_config_template.yaml.j2"
    schema = DEFAULTS / "user_config_schema.json"
    assert lint.findings(lint.look(file, {file.name: file.read_text()}, schema, None)) == []


@pytest.mark.parametrize(
    "template",
    [
        "worker_init: {{ X | default('') }}",
        "worker_init: module load {{ X | default('') }}",
        "worker_init: |\n  set -e\n  PATH: {{ X | default('') }}",
        "worker_init: >-\n\n    cd {{ X | default('') }}",
        "engine:\n  provider:\n    worker_init: |\n      {{ X | default('') }}",
        "endpoint_setup: {{ X | default('') | trim }}",
        "endpoint_setup: {{ 'a' ~ X | default('') }}",
        "endpoint_setup: {{ X | default('') if X == 'a' else 'b' }}",
        "{% set y = X | default('') %}\nlaunch_cmd: {{ y }}",
        "{% set y %}{{ X | default('') }}{% endset %}\nlaunch_cmd: {{ y }}",
        "{% for y in X | default([]) %}\nlaunch_cmd: {{ y }}\n{% endfor %}",
    ],
)
def test_free_text_that_reaches_a_shell_is_found(tmp_path: Path, template: str) -> None:
    found = _only(_found(tmp_path, template, {"X": {"type": "string"}}))
    assert "X reaches a shell" in found.what
    assert "shell_escape" in found.todo
    assert found.line == 1 + template[: template.rindex("{{")].count("\n")


@pytest.mark.parametrize(
    ("template", "about"),
    [
        ("worker_init: {{ X | default('') | shell_escape }}", {"type": "string"}),
        ("worker_init: cd {{ X | default('') }}", {"enum": ["a", "b"]}),
        ("worker_init: cd {{ X | default(1) }}", {"type": "integer"}),
        ("worker_init: cd {{ X | default('') }}", {"type": "string", "pattern": "^[a-z]+\\Z"}),
        ("worker_init: cd {{ 'a' if X == 'a' else 'b' }}", {"type": "string"}),
        ("worker_init: nice {{ X | default(1) | int }}", {"type": "string"}),
        ("display_name: {{ X | default('') }}", {"type": "string"}),
        ("worker_init: cd {{ _GC.mapped_identity.local.dir }}\nlabel: {{ X | d('') }}", {}),
    ],
)
def test_what_cannot_reach_a_shell_is_not(
    tmp_path: Path, template: str, about: dict[str, Any]
) -> None:
    assert [
        finding for finding in _found(tmp_path, template, {"X": about}) if "shell" in finding.what
    ] == []


def test_a_pattern_that_ends_in_a_dollar_lets_a_line_break_in(tmp_path: Path) -> None:
    template = "scheduler_options: '#SBATCH -A {{ X | default('a') | shell_escape }}'"
    narrow = {"type": "string", "pattern": "^[a-z]+$"}
    wide = {"type": "string", "pattern": "^[^;]+$"}
    assert "lines of a batch script" in _only(_found(tmp_path, template, {"X": wide})).what
    assert "lines of a batch script" not in "".join(
        finding.what for finding in _found(tmp_path, template, {"X": narrow})
    )


@pytest.mark.parametrize(
    ("comparison", "about", "word"),
    [
        ("X == 'gpu'", {"enum": ["cpu", "mem"]}, "never"),
        ("'gpu' == X", {"enum": ["cpu", "mem"]}, "never"),
        ("X != 'gpu'", {"enum": ["cpu", "mem"]}, "always"),
        ("X in ('gpu', 'tpu')", {"enum": ["cpu"]}, "never"),
        ("X == '4'", {"type": "integer"}, "never"),
        ("X == 4", {"type": "string"}, "never"),
        ("X | default('cpu') == 'gpu'", {"enum": ["cpu"]}, "never"),
    ],
)
def test_a_comparison_that_never_holds_is_found(
    tmp_path: Path, comparison: str, about: dict[str, Any], word: str
) -> None:
    template = f"a: b\n{{% if {comparison} %}}\nc: d\n{{% endif %}}\n"
    found = _only(_found(tmp_path, template, {"X": about}, required=("X",)))
    assert f"{word} holds" in found.what
    assert found.line == 2


@pytest.mark.parametrize(
    ("comparison", "about"),
    [
        ("X == 'gpu'", {"enum": ["cpu", "gpu"]}),
        ("X == '\"gpu\"'", {"enum": ["cpu", "gpu"]}),
        ("X in ['gpu', 'tpu']", {"enum": ["tpu"]}),
        ("X == 4", {"type": ["integer", "null"]}),
        ("X | default('none') == 'none'", {"enum": ["cpu"]}),
        ("X == Y", {"enum": ["cpu"]}),
    ],
)
def test_a_comparison_that_can_hold_is_not(
    tmp_path: Path, comparison: str, about: dict[str, Any]
) -> None:
    template = f"{{% if {comparison} %}}a: {{{{ Y }}}}{{% endif %}}"
    properties = {"X": about, "Y": {"enum": ["cpu"]}}
    found = _found(tmp_path, template, properties, required=("X", "Y"))
    assert [one for one in found if "holds" in one.what] == []


def test_options_of_one_side_alone_are_found_on_both(tmp_path: Path) -> None:
    template = "label: {{ HERE | default('a') }}\n"
    found = _found(tmp_path, template, {"THERE": {"type": "integer"}})
    assert [finding.what for finding in found] == [
        "no caller can give option HERE",
        "no template uses option THERE",
    ]
    assert found[1].line == 1


def test_an_open_schema_is_told_what_it_does_not_name(tmp_path: Path) -> None:
    file, schema = tmp_path / "t.j2", tmp_path / "s.json"
    at = lint.look(file, {"t.j2": "label: {{ X | default('') }}"}, schema, None)
    assert "X is not in the schema" in _only(lint.findings(at)).what


def test_an_option_without_default_that_need_not_come_is_found(tmp_path: Path) -> None:
    found = _only(_found(tmp_path, "a: {{ X }}", {"X": {"type": "integer"}}))
    assert "who leaves X out is refused" in found.what
    defined = "{% if X is defined %}a: {{ X }}{% endif %}"
    assert _found(tmp_path, defined, {"X": {"type": "integer"}}) == []


def test_what_is_included_is_looked_at_with_its_own_lines(tmp_path: Path) -> None:
    template = "a: b\n{% include 'part.j2' %}\n"
    part = "\nworker_init: {{ X | default('') }}"
    found = _only(_found(tmp_path, template, {"X": {"type": "string"}}, part=part))
    assert (found.file.name, found.line) == ("part.j2", 2)


def test_allowed_functions_beside_free_shell_text_is_no_boundary(tmp_path: Path) -> None:
    template = "endpoint_setup: {{ X | default('') }}\n"
    config = tmp_path / "config.yaml"
    config.write_text("allowed_functions: [0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4]\n")
    schema = tmp_path / "s.json"
    schema.write_text(json.dumps({**CLOSED, "properties": {"X": {"type": "string"}}}))
    file = tmp_path / "t.j2"
    found = lint.findings(lint.look(file, {file.name: template}, schema, config))
    assert any("no boundary" in finding.what for finding in found)
    in_template = _found(tmp_path, template + "allowed_functions: []\n", {"X": {}})
    assert any("no boundary" in finding.what for finding in in_template)


def test_older_names_are_found(tmp_path: Path) -> None:
    found = _only(_found(tmp_path, "a: {{ mapped_identity.local.uname }}", {}))
    assert "_GC.mapped_identity" in found.todo


def test_a_template_that_does_not_compile_cannot_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"t\.yaml\.j2:1"):
        _found(tmp_path, "{% if %}", {})
