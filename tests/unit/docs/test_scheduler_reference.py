"""The page of what people are told about jobs is what the code says."""

from __future__ import annotations

from chamberlain_endpoint.scheduler import reasons
from chamberlain_endpoint.scheduler.records import End
from devtools.paths import ROOT
from devtools.scheduler_reference import PAGE, page

SOURCES = ROOT / "endpoint/chamberlain_endpoint"
WRITTEN_BY_HAND = (
    ("engine/breaker.py", "blocks in a row failed"),
    ("engine/starts.py", "The scheduler has not answered for "),
    ("scheduler/parsl_nodes.py", "cannot be used on this host: "),
    ("scheduler/batch.py", "The scheduler did not take the job of the workers"),
    ("engine/unpacked.py", "has no image in"),
    ("engine/unpacked.py", "lets accounts make no user namespaces"),
)


def test_the_page_is_what_the_code_says() -> None:
    again = "run: python -m devtools.scheduler_reference docs/reference/scheduler-messages.md"
    assert PAGE.read_text() == page(), again


def test_every_reason_and_every_end_is_there() -> None:
    text = page()
    assert all(f"`{reason}`" in text for reason in reasons.WAITS)
    assert all(f"`{end}`" in text for end in End)


def test_sentences_that_no_table_holds_are_still_said() -> None:
    text = page()
    for file, words in WRITTEN_BY_HAND:
        assert words in text, words
        assert words in (SOURCES / file).read_text(), (file, words)


def test_what_never_begins_says_what_to_do() -> None:
    every = (*reasons.WAITS.values(), *(one for _, one in reasons.LIKE))
    assert [one.meaning for one in every if one.stuck and not one.todo] == []
