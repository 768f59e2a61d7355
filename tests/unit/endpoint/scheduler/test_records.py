"""A block's record: the first end counts, and silence changes nothing."""

from __future__ import annotations

from chamberlain_endpoint.scheduler.records import End, JobState, Record, Said

NEW = Record("0", "7", asked_s=100.0, since_s=100.0)
RUNS = Said(JobState.RUNNING, node="n1")
TIMED_OUT = Said(JobState.ENDED, "TimeLimit", End.TIMEOUT)


def test_a_record_moves_by_what_is_said() -> None:
    queued = NEW.heard(Said(JobState.QUEUED, "Priority"), now_s=101.0)
    runs = queued.heard(RUNS, now_s=105.0)
    assert (queued.said.state, queued.since_s) == (JobState.QUEUED, 101.0)
    assert (runs.said, runs.since_s) == (RUNS, 105.0)


def test_another_reason_is_news_and_the_same_is_not() -> None:
    queued = NEW.heard(Said(JobState.QUEUED, "Priority"), now_s=101.0)
    assert queued.heard(Said(JobState.QUEUED, "Priority"), now_s=109.0).since_s == 101.0
    assert queued.heard(Said(JobState.QUEUED, "JobHeldAdmin"), now_s=109.0).since_s == 109.0


def test_the_first_end_counts() -> None:
    ended = NEW.heard(TIMED_OUT, now_s=120.0)
    later = ended.heard(Said(JobState.ENDED, end=End.COMPLETED), now_s=130.0)
    assert later == ended
    assert later.unheard(now_s=999.0, young_s=0.0, most=1) == ended


def test_a_young_job_may_be_unknown() -> None:
    assert NEW.unheard(now_s=129.0, young_s=30.0, most=1) == NEW


def test_a_job_is_missing_after_some_answers_without_it_and_not_after_one() -> None:
    once = NEW.unheard(now_s=200.0, young_s=30.0, most=3)
    twice = once.unheard(now_s=202.0, young_s=30.0, most=3)
    assert twice.said.state is JobState.ASKED
    assert twice.unheard(now_s=204.0, young_s=30.0, most=3).said.end is End.MISSING
    # Named again, it begins anew.
    assert twice.heard(RUNS, now_s=204.0).unknown == 0


def test_what_we_cancelled_and_nobody_knows_any_more_is_cancelled() -> None:
    record = Record("0", "7", asked_s=0.0, since_s=0.0, cancelled=True)
    assert record.unheard(now_s=1.0, young_s=0.0, most=1).said.end is End.CANCELLED
