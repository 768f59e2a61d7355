"""What a launcher hears of tasks, also when it begins to listen in the middle."""

from __future__ import annotations

import pytest

from chamberlain_endpoint.launcher.runtime.task_hearing import TaskHearing
from chamberlain_wire import claims
from chamberlain_wire.claims import Claim, What
from chamberlain_wire.errors import InvalidMessageError
from chamberlain_wire.ids import new_id

SOME = [
    Claim(what, new_id(), new_id(), "ab" * 32, job="4711.node_1")
    for what in (What.RECEIVED, What.STARTED, What.ENDED)
]
BYTES = b"".join(claims.pack(one) for one in SOME)


def listening_anew() -> TaskHearing:
    hearing = TaskHearing()
    hearing.hear(BYTES[:50])
    hearing.begin_anywhere()
    return hearing


@pytest.mark.parametrize("lost", range(claims.RECORD_BYTES + 1))
def test_who_begins_to_listen_within_a_record_hears_all_that_are_whole(lost: int) -> None:
    whole = SOME if lost == 0 else SOME[1:]
    assert list(listening_anew().hear(BYTES[lost:])) == whole


def test_a_record_that_comes_in_two_pieces_is_found_too() -> None:
    hearing = listening_anew()
    assert hearing.hear(BYTES[60:150]) == ()
    assert list(hearing.hear(BYTES[150:])) == SOME[1:]


def test_records_of_short_jobs_are_told_apart_too() -> None:
    bare = [Claim(What.ENDED, new_id()) for _ in range(3)]
    data = b"".join(claims.pack(one) for one in bare)
    for lost in range(1, claims.RECORD_BYTES):
        assert list(listening_anew().hear(data[lost:])) == bare[1:]


def test_what_holds_no_record_at_all_is_refused() -> None:
    with pytest.raises(InvalidMessageError, match="no record"):
        listening_anew().hear(b"\xff" * 2 * claims.RECORD_BYTES)
