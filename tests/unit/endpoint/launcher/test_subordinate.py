"""Each account has its own subordinate ids, for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from chamberlain_endpoint.launcher.runtime.idmap import IDS
from chamberlain_endpoint.launcher.runtime.subordinate import (
    NoSubordinateIdsError,
    RecordsBrokenError,
    SubordinateIds,
)

FIRST = 1_000_000


def _open(folder: Path, ranges: int = 4) -> SubordinateIds:
    ids = SubordinateIds(folder / "ids.json", FIRST, ranges * IDS)
    ids.open()
    return ids


def test_no_two_accounts_share_a_range_and_each_keeps_its_own(tmp_path: Path) -> None:
    ids = _open(tmp_path)
    given = {uid: ids.base_of(uid) for uid in (1001, 1002, 1003)}
    assert len(set(given.values())) == 3
    again = _open(tmp_path)
    assert {uid: again.base_of(uid) for uid in (1003, 1001, 1002)} == given


def test_when_all_are_given_the_next_is_refused_and_the_others_stay(tmp_path: Path) -> None:
    ids = _open(tmp_path, ranges=2)
    first = ids.base_of(1001)
    ids.base_of(1002)
    with pytest.raises(NoSubordinateIdsError, match="subordinate_count"):
        ids.base_of(1003)
    assert ids.base_of(1001) == first


def test_a_range_that_an_account_lies_in_is_passed_over(tmp_path: Path) -> None:
    ids = _open(tmp_path)
    assert ids.base_of(FIRST + 5) == FIRST + IDS


@pytest.mark.parametrize("text", ["", "[]", '{"1001": 0, "1002": 0}', '{"a": 1}', '{"1": -1}'])
def test_records_that_could_give_one_range_twice_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "ids.json").write_text(text)
    with pytest.raises(RecordsBrokenError):
        _open(tmp_path)
