"""Options, schema, template, YAML, configuration: each says no in its own words."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import asdict
from typing import Any

import msgspec
import pytest
from tests.manager_builders import TEMPLATE, account

from chamberlain_endpoint.manager.render.document import load_document
from chamberlain_endpoint.manager.render.job import Rendered, RenderJob, RenderRefusedError, Who
from chamberlain_endpoint.manager.render.options import check_options
from chamberlain_endpoint.manager.render.pipeline import InlineRenderer
from chamberlain_endpoint.manager.render.template import MAX_TEXT_CHARS, render_text
from chamberlain_wire.errors import ErrorCode

ALICE = account()
ONE, TWO = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
HASH = "a" * 64


def job(template: str, options: dict[str, Any] | None = None, **changes: Any) -> RenderJob:
    facts = asdict(ALICE) | changes.pop("facts", {})
    facts["groups"] = [12001, 12100]
    made: dict[str, Any] = {
        "options": options or {},
        "runtime": {
            "globus_compute_sdk_version": "4.19.0",
            "python": {"version": "3.12.4", "version_tuple": [3, 12, 4]},
        },
        "template": "t.j2",
        "sources": {"t.j2": template, **changes.pop("others", {})},
        "json_schema": None,
        "who": Who(identity="i-1", **facts),
        "parent_config": {"display_name": "Cluster", "heartbeat_period": 30.0},
        "environment": {"SITE": "here"},
    }
    return RenderJob(**(made | changes))


def text(template: str, options: dict[str, Any] | None = None, **changes: Any) -> str:
    return render_text(job(template, options, **changes))[0]


def refusal(
    template: str, options: dict[str, Any] | None = None, **changes: Any
) -> tuple[str, str]:
    with pytest.raises(RenderRefusedError) as caught:
        InlineRenderer().render(job(template, options, **changes))
    return caught.value.word, caught.value.public


def test_a_good_template_becomes_a_checked_configuration() -> None:
    rendered = InlineRenderer().render(job(TEMPLATE, {"workers": 3}))
    assert isinstance(rendered, Rendered)
    engine = json.loads(rendered.config)["engine"]
    assert (engine["type"], engine["max_workers"]) == ("ThreadPoolEngine", 3)


def test_the_reserved_values_are_there() -> None:
    written = text(
        "{{ _GC.mapped_identity.local.uname }} {{ _GC.mapped_identity.local.uid }} "
        "{{ _GC.mapped_identity.local.dir }}/x {{ _GC.mapped_identity.local.groups[1] }} "
        "{{ _GC.mapped_identity.globus.id }} {{ _GC.parent_config.display_name }} "
        "{{ _GC.user_runtime.python.version_tuple | join('.') }} "
        "{{ _GC.user_runtime.globus_compute_sdk_version[1:-1] }} {{ _GC.env.SITE }}"
    )
    assert written == "alice 12001 /home/alice/x 12100 i-1 Cluster 3.12.4 4.19.0 here"


@pytest.mark.parametrize("name", ["HOME", "USER", "LOGNAME", "SHELL"])
def test_the_accounts_own_words_in_the_environment_are_escaped(name: str) -> None:
    evil = "x\nendpoint_setup: id"
    facts = {"dir": evil, "uname": evil, "shell": evil}
    written = text(
        "a: {{ _GC.env." + name + " }}", facts=facts, environment={name: evil, "SITE": evil}
    )
    assert load_document(written) == {"a": evil}


@pytest.mark.parametrize("field", ["uname", "gecos", "shell", "dir"])
@pytest.mark.parametrize("where", ["_GC.mapped_identity", "mapped_identity"])
def test_no_field_of_the_account_can_add_a_key(where: str, field: str) -> None:
    evil = "x\nendpoint_setup: id"
    written = text("a: {{ " + f"{where}.local.{field}" + " }}", facts={field: evil})
    assert load_document(written) == {"a": evil}


def test_all_of_the_callers_runtime_is_there() -> None:
    python = {
        "version": "3.12.4",
        "version_description": "3.12.4 (main, Jun 6)",
        "version_tuple": [3, 12, 4],
        "version_info": [3, 12, 4, "final", 0],
        "implementation": "CPython",
        "compiler": "GCC 12.2.0",
    }
    platform = dict.fromkeys(
        ("architecture", "machine", "node", "platform", "processor", "release"), "x; y"
    )
    runtime = {"globus_compute_sdk_version": "4.1.0", "python": python, "platform": platform}
    template = "".join(
        f"{kind}_{field}: {{{{ {prefix}user_runtime.{kind}.{field} }}}}\n"
        for kind, values in (("python", python), ("platform", platform))
        for prefix, field in zip(["_GC.", ""] * 3, values, strict=True)
    )
    expected = {f"python_{key}": value for key, value in python.items()}
    expected |= {f"platform_{key}": value for key, value in platform.items()}
    assert load_document(text(template, runtime=runtime)) == expected


def test_deprecated_names_are_told_of_included_and_imported_files_too() -> None:
    others = {
        "base.j2": "{% block x %}{% endblock %}{{ parent_config.display_name }}",
        "m.j2": "{% macro who(v) %}{{ v }}{% endmacro %}",
        "i.j2": "{{ user_runtime.globus_compute_sdk_version }}",
    }
    template = (
        "{% extends 'base.j2' %}{% import 'm.j2' as m %}{% block x %}"
        "{{ m.who(mapped_identity.local.uname) }} {% include 'i.j2' %} {% endblock %}"
    )
    written, deprecated = render_text(job(template, others=others))
    assert written == 'alice "4.19.0" Cluster'
    assert deprecated == ["mapped_identity", "parent_config", "user_runtime"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ {'debug': 1, 'gpu': 2}[p] }}",
        "{{ {'\"debug\"': 1, '\"gpu\"': 2}[p] }}",
        "{% set t = {'debug': 1} %}{{ t.get(p) }}",
        "{% set t = {'\"debug\"': 1} %}{{ t.get(p) }}",
        "{% if p in {'debug': 0} %}1{% endif %}",
        "{% if p in {'\"debug\"': 0} %}1{% endif %}",
        "{% if p in ['gpu', 'debug'] %}1{% endif %}",
        "{% if p in ('\"gpu\"', '\"debug\"') %}1{% endif %}",
        "{% macro m() %}{{ {'debug': {'n': 1}}[p].n }}{% endmacro %}{{ m() }}",
        "{% if p is in ['debug'] and p is eq '\"debug\"' %}1{% endif %}",
        "{{ ['debug', 'gpu'] | select('equalto', p) | list | length }}",
    ],
)
def test_lists_and_look_ups_find_both_forms(template: str) -> None:
    assert text(template, {"p": "debug"}) == "1"


def test_deprecated_names_work_and_are_told() -> None:
    written, deprecated = render_text(job("{{ mapped_identity.local.uname }}"))
    assert (written, deprecated) == ("alice", ["mapped_identity"])


def test_a_gecos_field_cannot_add_a_key() -> None:
    template = (
        "engine: {type: ThreadPoolEngine}\ndisplay_name: {{ _GC.mapped_identity.local.gecos }}"
    )
    rendered = InlineRenderer().render(job(template, facts={"gecos": "x\nendpoint_setup: id"}))
    config = json.loads(rendered.config)
    assert config["endpoint_setup"] is None
    assert config["display_name"] == "x\nendpoint_setup: id"


@pytest.mark.parametrize("template", ["{{ o }}", "{{ o.items() | list }}", "{{ o | tojson }}"])
def test_a_key_of_the_caller_cannot_add_a_key(template: str) -> None:
    written = text(f"a: {template}\nb: 1", {"o": {"x\nendpoint_setup": "', evil: 1, y: '"}})
    document = load_document(written)
    assert isinstance(document, dict)
    assert list(document) == ["a", "b"]


def test_looping_over_keys_quotes_them() -> None:
    template = "{% for k, v in o.items() %}{{ k }}: {{ v }}\n{% endfor %}"
    assert load_document(text(template, {"o": {"a: b\nc": "d"}})) == {"a: b\nc": "d"}


@pytest.mark.parametrize("literal", ["'debug'", "'\"debug\"'"])
def test_both_forms_of_comparison_hold(literal: str) -> None:
    template = "{% if p == " + literal + " %}yes{% else %}no{% endif %}"
    assert text(template, {"p": "debug"}) == "yes"
    assert text(template, {"p": "other"}) == "no"


def test_null_is_none_and_false() -> None:
    template = "{{ p }} {{ p is none }} {{ p == none }} {% if p %}true{% else %}false{% endif %}"
    assert text(template, {"p": None}) == "null True True false"


def test_shell_escape_makes_one_word() -> None:
    written = text("a: {{ p | shell_escape }}", {"p": "x; rm -rf ~"})
    assert load_document(written) == {"a": "'x; rm -rf ~'"}


def test_it_includes_what_is_beside_it_and_nothing_else() -> None:
    assert text("{% include 'x.j2' %}", others={"x.j2": "there"}) == "there"
    word, public = refusal("{% include '/etc/passwd' %}")
    assert word == ErrorCode.TEMPLATE_FAILED
    assert "'/etc/passwd', which is not there" in public


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("a: 1\nb: {{ nothing }}", "t.j2, line 2): 'nothing' is undefined"),
        ("a: 1\n\n{% if %}", "t.j2, line 3)"),
        ("{{ ''.__class__ }}", "t.j2, line 1): it may not do this"),
        ("a\n{{ 1 / 0 }}", "t.j2, line 2): ZeroDivisionError"),
        ("{{ range(10 ** 9) }}", "OverflowError"),
        ("{% for i in range(9999) %}{{ 'x' * 99 }}{% endfor %}", str(MAX_TEXT_CHARS)),
        ("a: 1\nb: [", "not YAML (line 3"),
        ("a: 1\na: 2", "'a' is given twice (again at line 2)"),
        ("? [1]\n: 2", "a key at line 1 is not a text"),
        ("a: &x [*x]", "contains itself"),
    ],
)
def test_a_failing_template_is_told_with_line_and_cause(template: str, words: str) -> None:
    word, public = refusal(template)
    assert word == ErrorCode.TEMPLATE_FAILED
    assert words in public


def test_a_fault_in_an_included_file_names_that_file() -> None:
    _, public = refusal("{% include 'x.j2' %}", others={"x.j2": "\n{{ nothing }}"})
    assert "x.j2, line 2" in public


@pytest.mark.parametrize("template", ["", "[1, 2]", "7"])
def test_what_is_no_mapping_is_an_invalid_configuration(template: str) -> None:
    assert refusal(template)[0] == ErrorCode.CONFIG_INVALID


def test_an_unknown_engine_is_told_with_the_nearest_name() -> None:
    word, public = refusal("engine: {type: ThredPoolEngine}")
    assert word == ErrorCode.CONFIG_INVALID
    assert "ThreadPoolEngine" in public


def test_a_page_of_aliases_is_refused_before_it_unfolds() -> None:
    lines = ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]")
    assert "more than" in refusal("\n".join(lines))[1]


def test_anchors_and_merges_of_a_normal_size_work() -> None:
    document = load_document("base: &b {x: 1}\nother:\n  <<: *b\n  y: 2\nwhen: 2024-01-01\n")
    assert document == {"base": {"x": 1}, "other": {"x": 1, "y": 2}, "when": "2024-01-01"}


@pytest.mark.parametrize("name", ["_GC", "parent_config", "user_runtime", "mapped_identity"])
def test_reserved_names_cannot_be_given(name: str) -> None:
    word, public = refusal(TEMPLATE, {name: 1})
    assert word == ErrorCode.OPTIONS_REFUSED
    assert name in public


def test_all_schema_faults_are_told_with_path_and_reason() -> None:
    schema = {
        "properties": {"n": {"type": "integer"}, "o": {"properties": {"p": {"enum": ["a"]}}}},
        "additionalProperties": False,
    }
    word, public = refusal(TEMPLATE, {"n": "x", "o": {"p": "b"}, "q": 1}, json_schema=schema)
    assert word == ErrorCode.OPTIONS_REFUSED
    assert "n: 'x' is not of type 'integer'" in public
    assert "o.p: 'b' is not one of ['a']" in public
    assert "'q' was unexpected" in public


def test_a_wrong_schema_is_the_sites_fault() -> None:
    word, public = refusal(TEMPLATE, json_schema={"type": "nothing"})
    assert word == ErrorCode.TEMPLATE_FAILED
    assert "schema is wrong" in public


def test_a_schema_that_points_to_another_address_is_not_followed() -> None:
    word, public = refusal(TEMPLATE, json_schema={"$ref": "http://127.0.0.1:9/schema"})
    assert word == ErrorCode.TEMPLATE_FAILED
    assert "http://127.0.0.1:9/schema" in public


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"a": "x" * 70_000}, "it has 70008 bytes; the limit is 65536"),
        (functools.reduce(lambda deep, _: {"a": deep}, range(30), {}), "more than 20 levels"),
        (functools.reduce(lambda deep, _: {"a": deep}, range(5000), {}), "more than 20 levels"),
    ],
    ids=["large", "deep", "very deep"],
)
def test_options_too_large_or_too_deep_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(RenderRefusedError, match=words) as caught:
        check_options(options, None)
    assert caught.value.word is ErrorCode.OPTIONS_REFUSED


def test_a_configuration_too_large_is_refused_with_its_size_and_the_limit() -> None:
    template = (
        "engine:\n  type: ThreadPoolEngine\n"
        "allowed_functions: [{% for i in range(1900) %}"
        "00000000-0000-4000-8000-000000000000,{% endfor %}]"
    )
    word, public = refusal(template)
    assert word == ErrorCode.CONFIG_INVALID
    assert re.search(r"it has 7\d{4} bytes, the limit is 65536", public)


@pytest.mark.parametrize(
    ("listed", "allowed"),
    [
        ("", [ONE, f"{TWO}@sha256:{HASH}"]),
        (f"allowed_functions: [{ONE}]", [ONE]),
        (f"allowed_functions: [{TWO}]", [f"{TWO}@sha256:{HASH}"]),
        ("allowed_functions: [00000000-0000-4000-8000-000000000003]", []),
        ("allowed_functions: []", []),
    ],
)
def test_a_template_only_narrows_what_the_endpoint_allows(listed: str, allowed: list[str]) -> None:
    asked = job(
        f"engine: {{type: ThreadPoolEngine}}\n{listed}",
        allowed_functions=(ONE, f"{TWO}@sha256:{HASH}"),
    )
    config = json.loads(InlineRenderer().render(asked).config)
    assert config["allowed_functions"] == allowed


def test_the_endpoints_list_reaches_the_renderers_child() -> None:
    asked = job("engine: {type: ThreadPoolEngine}", allowed_functions=(ONE,))
    again = msgspec.json.decode(msgspec.json.encode(asked), type=RenderJob)
    assert json.loads(InlineRenderer().render(again).config)["allowed_functions"] == [ONE]
