"""A child of supervisord ends with it; a child of anybody else does not notice."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import textwrap

import pytest

# A parent that starts a child, which says when it is ready, and then waits to be killed.
PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
child.wait()
"""
CHILD = """
from chamberlain_endpoint.launcher.lifeline import end_with_supervisor
import sys, time
end_with_supervisor()
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.parametrize("supervised", [True, False])
def test_it_ends_with_the_supervisor_that_was_killed(supervised: bool) -> None:
    environment = dict(os.environ) | ({"SUPERVISOR_ENABLED": "1"} if supervised else {})
    keep_open, child_input = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, textwrap.dedent(CHILD)],
        stdin=keep_open,
        stdout=subprocess.PIPE,
        env=environment,
    ) as parent:
        assert parent.stdout is not None
        descriptor = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
    try:
        ended = _ends_within(descriptor, 10.0 if supervised else 0.3)
        assert ended is supervised
    finally:
        os.close(child_input)
        os.close(keep_open)
        assert _ends_within(descriptor, 10.0)
        os.close(descriptor)


def _ends_within(descriptor: int, limit_s: float) -> bool:
    return bool(select.select([descriptor], [], [], limit_s)[0])
