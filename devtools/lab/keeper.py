"""Watches a lab's supervisor from outside, and takes away what only an outsider can.

The supervisor holds a pipe of ours: when we are killed, it ends the lab, and clears up in our
place. So no single kill leaves anything behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from types import FrameType
from typing import Any, Final

from devtools.lab import state

_PR_SET_CHILD_SUBREAPER: Final = 36


def main() -> None:
    """Start the supervisor of the lab that the first argument orders, and clear up after it."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    # Hosts whose supervisor is killed become our children: somebody must see their end.
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    reading, _writing = os.pipe()
    with state.folder(order["name"]).joinpath("supervisor.log").open("ab") as log:
        child = subprocess.Popen(
            [
                *("unshare", "--mount", "--net", "--propagation", "private", "--"),
                *(sys.executable, "-m", "devtools.lab.supervisor"),
                json.dumps(order | {"keeper": reading}),
            ],
            stderr=log,
            pass_fds=(reading, *order["held"]),
        )
    os.close(reading)

    def pass_on(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    signal.signal(signal.SIGTERM, pass_on)
    for sign in (signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, signal.SIG_IGN)
    # The owner must see the supervisor's end of its pipes, not ours.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    child.wait()
    state.clear(order["name"])
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # hosts whose supervisor was killed


if __name__ == "__main__":
    main()
