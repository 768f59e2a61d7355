"""The same request reaches the same user endpoint; another one does not."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chamberlain_hub.domain.user_endpoint_id import derive, site_digest, what_matters
from chamberlain_wire.ids import EndpointId, IdentityId

ENDPOINT = EndpointId("11111111-1111-4111-8111-111111111111")
ALICE = IdentityId("22222222-2222-4222-8222-222222222222")
BOB = IdentityId("33333333-3333-4333-8333-333333333333")
GOLDEN = "e5401a09-692f-5ced-ae29-9a5251a54cd1"
RUNTIME: dict[str, Any] = {
    "globus_compute_sdk_version": "4.19.0",
    "globus_sdk_version": "4.9.1",
    "python_version": "3.12.7 (main, Oct  1 2024, 08:00:00) [GCC 13.2.0]",
    "python": {
        "version": "3.12.7",
        "version_tuple": [3, 12, 7],
        "version_info": [3, 12, 7, "final", 0],
        "compiler": "GCC 13.2.0",
    },
    "platform": {"node": "laptop"},
}

_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
_options = st.dictionaries(st.text(max_size=4), _values, max_size=4)


def _shuffled(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shuffled(value[key]) for key in reversed(list(value))}
    return [_shuffled(entry) for entry in value] if isinstance(value, list) else value


def test_the_id_never_changes_from_version_to_version() -> None:
    assert derive(ENDPOINT, ALICE, {"nodes": 2}, RUNTIME) == GOLDEN


@settings(deadline=None, max_examples=40)
@given(options=_options)
def test_the_order_of_keys_does_not_matter_and_the_id_is_a_canonical_uuid(
    options: dict[str, Any],
) -> None:
    derived = derive(ENDPOINT, ALICE, options, RUNTIME)
    assert derived == derive(ENDPOINT, ALICE, _shuffled(options), _shuffled(RUNTIME))
    assert derived == str(uuid.UUID(derived))


@settings(deadline=None, max_examples=40)
@given(one=_options, other=_options)
def test_other_options_are_another_user_endpoint(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    # repr, because Python takes True for 1 and JSON does not.
    same = repr(_shuffled(_sorted(one))) == repr(_shuffled(_sorted(other)))
    assert (derive(ENDPOINT, ALICE, one, None) == derive(ENDPOINT, ALICE, other, None)) is same


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(entry) for entry in value] if isinstance(value, list) else value


def test_another_identity_or_endpoint_is_another_user_endpoint() -> None:
    ids = {
        derive(ENDPOINT, ALICE, None, RUNTIME),
        derive(ENDPOINT, BOB, None, RUNTIME),
        derive(EndpointId(BOB), ALICE, None, RUNTIME),
    }
    assert len(ids) == 3


def test_no_options_and_empty_options_are_the_same() -> None:
    assert derive(ENDPOINT, ALICE, None, None) == derive(ENDPOINT, ALICE, {}, {})


@pytest.mark.parametrize(
    "change",
    [
        {"platform": {"node": "another laptop"}},
        {"python_version": "3.12.7 (main, another build)"},
        {"python": {"version": "3.12.7", "compiler": "clang"}},
        {"python": {"version_tuple": (3, 12, 7)}},
        {"python": None},
    ],
)
def test_the_callers_machine_makes_no_difference(change: dict[str, Any]) -> None:
    before = derive(ENDPOINT, ALICE, None, RUNTIME)
    assert derive(ENDPOINT, ALICE, None, RUNTIME | change) == before


@pytest.mark.parametrize(
    "change",
    [
        {"globus_compute_sdk_version": "4.20.0"},
        {"chamberlain_sdk_version": "0.2.0"},
        {"python": {"version_tuple": [3, 13, 7]}},
        {"python": {"version_tuple": [3, 12, 8]}},
        {"python": {"version": "3.11.7"}},
        {"python": None, "python_version": "3.13.0 (main)"},
    ],
)
def test_the_callers_python_or_sdk_makes_a_difference(change: dict[str, Any]) -> None:
    before = derive(ENDPOINT, ALICE, None, RUNTIME)
    assert derive(ENDPOINT, ALICE, None, RUNTIME | change) != before


@settings(deadline=None, max_examples=40)
@given(runtime=st.dictionaries(st.sampled_from([*RUNTIME, "x"]), _values))
def test_a_strange_runtime_is_no_problem(runtime: dict[str, Any]) -> None:
    assert set(what_matters(runtime)) <= {"sdk", "python"}
    derive(ENDPOINT, ALICE, None, runtime)


def test_other_files_of_the_site_are_another_user_endpoint() -> None:
    ids = {derive(ENDPOINT, ALICE, None, RUNTIME, site) for site in ("", "a", "b")}
    assert len(ids) == 3
    assert derive(ENDPOINT, ALICE, None, RUNTIME, "") == derive(ENDPOINT, ALICE, None, RUNTIME)


@pytest.mark.parametrize(
    ("state", "digest"),
    [({}, ""), ({"site_digest": "ab"}, "ab"), ({"site_digest": 7}, "")],
)
def test_a_manager_that_tells_no_digest_changes_nothing(
    state: dict[str, object], digest: str
) -> None:
    assert site_digest(state) == digest
