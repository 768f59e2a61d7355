"""A pool of workers whose user endpoint is gone ends, with all that it started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chamberlain_endpoint.engine import lifeline
from chamberlain_endpoint.engine.meeting import Meeting, arrange
from chamberlain_endpoint.rendered import parse, settled
from devtools.processes import started_at, wait_until

GONE_S = 30.0

# The part of a user endpoint that beats, in a process that can be killed.
USER_ENDPOINT = """\
import sys
from pathlib import Path
from chamberlain_endpoint.engine.meeting import Meeting
from chamberlain_endpoint.engine.recall import Recall
port, keys = int(sys.argv[1]), Path(sys.argv[2])
Recall(Meeting(("127.0.0.1",), 1, keys, 2, 15, keys, port), beat_s=0.1).open()
sys.stdin.read()
"""
# The part of a pool that hears it, hung in something else, with a worker that hears nothing.
POOL = """\
import subprocess, sys, threading
from chamberlain_endpoint.engine import recall
worker = subprocess.Popen(["sleep", "600"], start_new_session=True)
recall.listen(sys.argv[1], sys.argv[2], None, lease_s=float(sys.argv[3]))
print(worker.pid, flush=True)
threading.Event().wait()
"""


@pytest.fixture(scope="module")
def meeting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Meeting]:
    checked = parse({"engine": {"type": "GlobusComputeEngine"}})
    engine = settled.read(checked.model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    meeting = arrange(engine, tmp_path_factory.mktemp("meeting"))
    yield meeting
    meeting.release()


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_pool_ends_with_its_workers_when_the_beats_stop(meeting: Meeting) -> None:
    keys: Path | None = meeting.certificates
    with (
        running(USER_ENDPOINT, meeting.recall_port, keys) as endpoint,
        running(POOL, meeting.recall_url, keys, 2.0) as pool,
    ):
        assert pool.stdout is not None
        worker = int(pool.stdout.readline())
        # It lives for as long as it hears us, and much longer than it would alone.
        with pytest.raises(subprocess.TimeoutExpired):
            pool.wait(4.0)
        endpoint.kill()
        assert pool.wait(GONE_S) == lifeline.EXIT_ALONE
        assert wait_until(lambda: started_at(worker) is None, GONE_S)


def test_the_lease_is_longer_than_parsls_own_and_below_a_minute_unless_asked() -> None:
    for threshold_s in (1, 15, 44):
        assert threshold_s < lifeline.lease_s(threshold_s) < 60
    assert lifeline.lease_s(120) == 135
    assert lifeline.lease_s(1) > 5 * lifeline.BEAT_S
