"""Records of tasks: what fits, what is refused, how many may pass."""

from __future__ import annotations

import random

import pytest

from chamberlain_wire.claims import (
    RECORD_BYTES,
    Allowance,
    Claim,
    What,
    pack,
    unpack,
)
from chamberlain_wire.errors import InvalidMessageError
from chamberlain_wire.ids import new_id

SEED = 20261122
FULL = Claim(What.STARTED, new_id(), new_id(), "ab" * 32, "12345.batch[7]", missed=3)


@pytest.mark.parametrize("what", What)
def test_what_is_packed_is_read_again(what: What) -> None:
    for claim in (FULL._replace(what=what), Claim(what, new_id())):
        record = pack(claim)
        assert len(record) == RECORD_BYTES == 104
        assert unpack(record) == claim


def test_a_record_stays_as_it_is() -> None:
    claim = Claim(What.ENDED, "00000000-0000-4000-8000-00000000000a", job="7")
    assert pack(claim).hex() == (
        "01030000" + "00000000" + "0000000000004000800000000000000a" + 48 * "00" + "37" + 31 * "00"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"task": "no id"},
        {"task": "ab"},
        {"function": "abcd"},
        {"code_sha256": "ab"},
        {"job": "x" * 33},
        {"job": "two\nlines"},
        {"job": "é"},
    ],
)
def test_what_does_not_fit_is_refused_by_the_sender(change: dict[str, str]) -> None:
    with pytest.raises(InvalidMessageError):
        pack(FULL._replace(**change))


@pytest.mark.parametrize(
    ("at", "byte"),
    [
        pytest.param(0, 2, id="another version"),
        pytest.param(1, 0, id="nothing"),
        pytest.param(1, 7, id="nothing known"),
        pytest.param(2, 1, id="no zero"),
        pytest.param(72, 10, id="a newline in the job"),
        pytest.param(72, 0x80, id="no ASCII in the job"),
        pytest.param(74, 0, id="a zero in the midst of the job"),
    ],
)
def test_what_is_no_record_is_refused_by_the_reader(at: int, byte: int) -> None:
    record = bytearray(pack(FULL))
    record[at] = byte
    with pytest.raises(InvalidMessageError):
        unpack(bytes(record))


def test_no_bytes_raise_anything_else() -> None:
    chance = random.Random(SEED)
    good = pack(FULL)
    for _ in range(5_000):
        record = bytearray(good)
        for _ in range(chance.randrange(1, 4)):
            record[chance.randrange(RECORD_BYTES)] = chance.randrange(256)
        try:
            claim = unpack(bytes(record))
        except InvalidMessageError:
            continue
        assert claim.job.isascii()
        assert claim.job.isprintable()


def test_no_more_pass_than_agreed() -> None:
    allowance = Allowance(10.0, 100, now_s=0.0)
    assert allowance.left(now_s=0.0) == 100
    allowance.take(100)
    assert allowance.left(now_s=0.5) == 5
    assert allowance.left(now_s=1000.0) == 100
