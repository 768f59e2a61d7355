"""Has three processes that want a processor each."""

from __future__ import annotations


def hello() -> dict[str, object]:
    import os
    import pathlib
    import time

    stat = pathlib.Path("/sys/fs/cgroup/cpu.stat")
    before, pids = stat.read_text(), []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            until = time.process_time() + 2.0
            while time.process_time() < until:
                pass
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)
    return {"before": before, "after": stat.read_text()}
