"""Maps of ids: the account's own stand for themselves, everything else for nobody's."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chamberlain_endpoint.launcher.runtime.idmap import IDS, Extent, extents, fault_of, parse

BASE = 3_000_000_000
ids = st.sets(st.integers(1, 2**31), min_size=1, max_size=8)


def _outside(found: tuple[Extent, ...], inside: int) -> int | None:
    for each in found:
        if each.inside <= inside < each.inside + each.size:
            return each.outside + inside - each.inside
    return None


@given(ids)
def test_own_ids_stand_for_themselves_and_all_else_for_subordinate_ones(own: set[int]) -> None:
    found = extents(own, BASE)
    for each in own:
        assert _outside(found, each) == each
    for inside in {0, 1, 999, 1000, 65534, 65535} - own:
        outside = _outside(found, inside)
        assert outside is not None
        assert BASE <= outside < BASE + IDS
    targets = sorted((each.outside, each.size) for each in found)
    for (begin, size), (following, _) in itertools.pairwise(targets):
        assert begin + size <= following, "no id of the host twice"


@given(ids)
def test_what_was_asked_is_recognised_in_the_kernels_words(own: set[int]) -> None:
    found = extents(own, BASE)
    text = "".join(f"{a:10d} {b:10d} {c:10d}\n" for a, b, c in reversed(found))
    assert fault_of(parse(text), own, found) == ""


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        ((Extent(0, 0, 4294967295),), "not"),
        ((Extent(0, BASE, 1001), Extent(1001, 1001, 2), Extent(1003, BASE + 1003, 9)), "not"),
        ((), "not"),
    ],
)
def test_another_map_than_asked_is_a_fault(seen: tuple[Extent, ...], word: str) -> None:
    assert word in fault_of(seen, {1001}, extents({1001}, BASE))


def test_where_the_engine_chooses_only_what_hurts_is_a_fault() -> None:
    remapped = (Extent(0, 100_000, 1000), Extent(1000, 1000, 64536))
    assert fault_of(remapped, {1001}, None) == ""
    assert "root" in fault_of((Extent(0, 0, 65536),), {1001}, None)
    assert "1001" in fault_of((Extent(0, 100_000, 65536),), {1001}, None)


@pytest.mark.parametrize(("own", "base"), [({0}, BASE), ({0, 1001}, BASE), ({1001}, 0)])
def test_root_never_stands_for_itself(own: set[int], base: int) -> None:
    with pytest.raises(ValueError, match=r"root|subordinate"):
        extents(own, base)
