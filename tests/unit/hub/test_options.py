"""The caller's options are checked in full, and a hostile schema costs nobody anything."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chamberlain_hub.domain.errors import OptionsRefusedError, SchemaInvalidError
from chamberlain_hub.domain.options import MAX_FAULTS, check_options, check_schema
from chamberlain_wire.limits import MAX_OPTIONS_BYTES, MAX_OPTIONS_DEPTH

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "worker_init": {"type": "string", "minLength": 1},
        "nodes": {"type": "integer", "maximum": 4},
        "queue": {"enum": ["short", "long"]},
    },
    "additionalProperties": False,
}

_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=10,
)
_words = (
    *("$ref", "$id", "$schema", "$defs", "$anchor", "$dynamicRef", "type", "properties", "items"),
    *("allOf", "anyOf", "not", "if", "then", "pattern", "patternProperties", "const", "enum"),
    *("additionalProperties", "uniqueItems", "required", "minLength", "multipleOf", "contains"),
    *("unevaluatedProperties", "prefixItems", "dependentSchemas", "extends"),
)
_schemas = st.dictionaries(
    st.sampled_from(_words),
    st.recursive(
        st.sampled_from([None, True, 0, -1, "#", "#/a", "http://[", "string", "(a+)+$"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from([*_words, "a"]), inner, max_size=3)
        ),
        max_leaves=10,
    ),
    max_size=4,
)
_drafts = st.sampled_from(
    [
        "https://json-schema.org/draft/2020-12/schema",
        "http://json-schema.org/draft-07/schema#",
        "http://json-schema.org/draft-04/schema#",
    ]
)


def _refusal(options: object, schema: dict[str, Any] | None) -> str:
    with pytest.raises(OptionsRefusedError) as caught:
        check_options(options, schema)
    return caught.value.public


def test_good_options_come_back_as_they_are() -> None:
    options = {"worker_init": "module load x", "nodes": 2, "queue": "short"}
    assert check_options(options, SCHEMA) == options
    assert check_options(None, SCHEMA) == {}
    assert check_options({"any": ["thing"]}, None) == {"any": ["thing"]}


def test_every_fault_is_named_with_its_path_and_reason() -> None:
    text = _refusal({"worker_init": "", "nodes": 9, "queue": "x", "more": 1}, SCHEMA)
    assert "$.worker_init: " in text
    assert "$.nodes: 9 is greater than the maximum of 4" in text
    assert "$.queue: 'x' is not one of ['short', 'long']" in text
    assert "'more' was unexpected" in text


def test_the_path_reaches_into_lists() -> None:
    schema = {"properties": {"a": {"items": {"properties": {"b": {"type": "string"}}}}}}
    assert "$.a[1].b: 3 is not of type 'string'" in _refusal({"a": [{}, {"b": 3}]}, schema)


def test_many_faults_are_counted_not_listed() -> None:
    text = _refusal({"a": [float("nan")] * (MAX_FAULTS + 5)}, None)
    assert text.endswith("and 5 more")


@pytest.mark.parametrize("options", [[], "text", 5, True])
def test_options_are_an_object(options: object) -> None:
    assert "an object is needed" in _refusal(options, None)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_what_json_does_not_know_is_refused(number: float) -> None:
    assert "$.a.b[0]: " in _refusal({"a": {"b": [number]}}, None)


def test_options_have_a_largest_size_and_depth() -> None:
    assert check_options({"a": "x" * (MAX_OPTIONS_BYTES - 8)}, None)
    assert str(MAX_OPTIONS_BYTES) in _refusal({"a": "x" * (MAX_OPTIONS_BYTES - 7)}, None)
    deep: Any = "leaf"
    for _ in range(MAX_OPTIONS_DEPTH - 1):
        deep = {"a": deep}
    assert check_options(deep, None) == deep
    assert f"deeper than {MAX_OPTIONS_DEPTH}" in _refusal({"a": deep}, None)


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        (["type"], "no JSON object"),
        ({"type": "strnig"}, "$.type: "),
        ({"properties": {"a": {"minLength": "x"}}}, "$.properties.a.minLength: "),
        ({"$schema": 5}, "$.$schema: "),
        ({"title": "x" * 300_000}, "the limit is 262144"),
    ],
)
def test_a_wrong_schema_is_refused_at_registration(schema: object, word: str) -> None:
    with pytest.raises(SchemaInvalidError) as caught:
        check_schema(schema)
    assert word in caught.value.public


def test_a_reference_is_never_fetched() -> None:
    assert "which is not in it" in _refusal({}, {"$ref": "http://127.0.0.1:9/schema"})


def test_patterns_are_left_to_the_endpoint() -> None:
    evil, text = "^(a+)+$", "a" * 64 + "!"
    began = time.perf_counter()
    for schema in (
        {"properties": {"a": {"pattern": evil}}},
        {"patternProperties": {evil: {}}, "additionalProperties": False},
        {"patternProperties": {evil: {}}, "unevaluatedProperties": False},
        {"propertyNames": {"pattern": evil}},
    ):
        check_schema(schema)
        check_options({"a": text, text: 1}, schema)
    assert time.perf_counter() - began < 5


def _doubling() -> dict[str, Any]:
    steps = {f"l{place}": {"allOf": [{"$ref": f"#/$defs/l{place + 1}"}] * 2} for place in range(40)}
    return {"$defs": {**steps, "l40": {}}, "$ref": "#/$defs/l0"}


@pytest.mark.parametrize(
    ("schema", "options"),
    [
        pytest.param({"$ref": "#"}, {}, id="endless"),
        pytest.param(_doubling(), {}, id="exponential"),
        pytest.param(
            {"properties": {"a": {"uniqueItems": True}}},
            {"a": [[place] if place % 2 else {"x": place} for place in range(4000)]},
            id="quadratic",
        ),
        pytest.param({"anyOf": [{"type": "array"}] * 1000}, {"a": "x" * 60_000}, id="large texts"),
        pytest.param(
            {"$schema": "http://json-schema.org/draft-04/schema#", "$ref": None},
            {},
            id="beyond the library",
        ),
    ],
)
def test_a_schema_that_costs_too_much_is_given_up(schema: dict[str, Any], options: object) -> None:
    began = time.perf_counter()
    assert "the endpoint's schema " in _refusal(options, schema)
    assert time.perf_counter() - began < 10


def test_an_expensive_metaschema_check_is_given_up() -> None:
    items = [[place] if place % 2 else {} for place in range(30_000)]
    with pytest.raises(SchemaInvalidError) as caught:
        check_schema({"$schema": "http://json-schema.org/draft-04/schema#", "enum": items})
    assert "too expensive" in caught.value.public


@settings(deadline=None, max_examples=40)
@given(options=st.dictionaries(st.text(max_size=4), _values, max_size=4))
def test_options_without_a_schema_pass_when_json_can_say_them(options: dict[str, Any]) -> None:
    assert check_options(options, None) == json.loads(json.dumps(options))


@settings(deadline=None, max_examples=60)
@given(schema=_schemas, draft=_drafts, options=st.dictionaries(st.sampled_from("ab"), _values))
def test_no_schema_makes_anything_but_our_own_errors(
    schema: dict[str, Any], draft: str, options: dict[str, Any]
) -> None:
    schema = {"$schema": draft, **schema}
    with contextlib.suppress(SchemaInvalidError):
        check_schema(schema)
    with contextlib.suppress(OptionsRefusedError):
        check_options(options, schema)
