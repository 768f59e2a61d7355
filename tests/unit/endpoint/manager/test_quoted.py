"""What comes from outside cannot break out of the YAML that it is put into."""

from __future__ import annotations

import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chamberlain_endpoint.manager.render.quoted import (
    Null,
    Quoted,
    QuotedMap,
    dump_json,
    finalize,
    look_up,
    plain_or_quoted,
    quote,
    shell_escape,
    wrap,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(TEXTS)
def test_yaml_reads_back_every_text(text: str) -> None:
    assert yaml.safe_load(f"key: {quote(text)}\nother: 1\n") == {"key": text, "other": 1}


@given(JSON)
def test_yaml_reads_back_every_value_written_out_whole(value: object) -> None:
    assert yaml.safe_load(f"key: {wrap(value)}\nother: 1\n") == {"key": value, "other": 1}


@given(JSON)
def test_tojson_gives_the_value_as_it_was_sent(value: object) -> None:
    assert json.loads(dump_json(wrap(value))) == value


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        quote("\ud800")


def test_a_comparison_is_true_in_both_forms() -> None:
    debug = Quoted("debug")
    assert debug == "debug"
    assert debug == '"debug"'
    assert debug in ["gpu", "debug"]
    assert debug in ['"debug"']
    assert debug == Quoted("debug")
    assert debug != "gpu"
    assert debug != 7


def test_a_text_with_quotes_of_its_own_is_not_taken_for_another() -> None:
    tricky = Quoted('"admin"')
    assert tricky != '"admin"'
    assert tricky != "admin"
    assert tricky == r'"\"admin\""'


def test_parts_and_ends_are_found_in_both_forms() -> None:
    text = Quoted("gpu: a")
    assert "gpu: a" in text
    assert '"gpu' in text
    assert Quoted("pu:") in text
    assert text.startswith("gpu:")
    assert text.startswith('"gpu')
    assert text.endswith(("x", ": a"))


def test_changed_case_is_still_the_text() -> None:
    text = Quoted("a;B")
    assert (text.upper(), text.lower(), text.capitalize()) == ("A;B", "a;b", "A;b")


def test_a_dict_of_the_template_finds_keys_of_both_forms() -> None:
    table = look_up({"debug": 1, '"gpu"': 2, 3: 3})
    assert [table.get(Quoted(key)) for key in ("debug", "gpu", "no")] == [1, 2, None]
    assert table[3] == 3
    assert Quoted('"gpu"') not in table


def test_what_a_shell_or_yaml_could_act_on_is_written_as_a_number() -> None:
    written = quote("a'\"$(id)`id`;\n|&{}[],#*?!<>~^\\ a: b:")
    assert set(written[1:-1]) <= set("abid u0123456789cdef\\")
    assert quote("2024-01-01 01:30:00 /x/y.z_w@v%j=+") == '"2024-01-01 01:30:00 /x/y.z_w@v%j=+"'


@given(st.floats())
def test_a_number_written_out_is_that_number(number: float) -> None:
    assert yaml.safe_load(f"- {finalize(number)}") == [pytest.approx(number, nan_ok=True, rel=0)]


def test_as_text_it_is_the_public_form() -> None:
    version = Quoted("4.19.0")
    assert version[1:-1] == "4.19.0"
    assert f"{version}" == '"4.19.0"'
    assert repr([version]) == '["4.19.0"]'


def test_keys_are_quoted_when_iterated_and_found_by_plain_names() -> None:
    options = QuotedMap({"a: 1\nb": "x"})
    assert [f"{key}" for key in options] == [r'"a\u003a 1\u000ab"']
    assert options["a: 1\nb"] == "x"
    assert [options[key] for key in options] == ["x"]
    assert "c" not in options


def test_the_absent_value_writes_null_and_is_false() -> None:
    assert f"{Null()}" == "null"
    assert not Null()


@pytest.mark.parametrize("text", ["alice", "/home/alice", "Alice Liddell", "a@b.c", "x-1_2"])
def test_plain_facts_stay_plain(text: str) -> None:
    assert plain_or_quoted(text) == text
    assert type(plain_or_quoted(text)) is str


@pytest.mark.parametrize(
    "text", ["a: b", "a #b", "", " a", "a,b", "$(id)", "a\n", "- a", "a'b", 'a"']
)
def test_facts_that_mean_something_are_quoted(text: str) -> None:
    assert isinstance(plain_or_quoted(text), Quoted)
    assert yaml.safe_load(f"[{plain_or_quoted(text)}]") == [text]


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (Quoted("a b; id"), r'"\u0027a b\u003b id\u0027"'),
        (Quoted("a-b"), '"a-b"'),
        ('"a b"', r'"\u0027a b\u0027"'),
        ("a b", "'a b'"),
        (7, 7),
    ],
)
def test_shell_escape_makes_one_word(value: object, word: object) -> None:
    escaped = shell_escape(value)
    assert f"{escaped}" == f"{word}"
