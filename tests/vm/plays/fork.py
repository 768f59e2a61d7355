"""Forks until it cannot, and holds on until the file `enough` is in the home."""

from __future__ import annotations


def hello() -> dict[str, object]:
    import os
    import pathlib
    import signal
    import time

    home = pathlib.Path.home()
    made, stopped_by = [], ""
    try:
        while len(made) < 2000:
            pid = os.fork()
            if pid == 0:
                signal.pause()
                os._exit(0)
            made.append(pid)
    except OSError as error:
        stopped_by = type(error).__name__
    (home / "full").touch()
    while not (home / "enough").exists():
        time.sleep(0.2)
    for pid in made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    events = pathlib.Path("/sys/fs/cgroup/pids.events").read_text()
    return {"made": len(made), "stopped_by": stopped_by, "pids.events": events}
