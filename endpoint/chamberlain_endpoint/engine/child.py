"""A worker process of the process pool: `... -m chamberlain_endpoint.engine.child FD PID OUT ERR`.

Reads packed jobs from the socket FD, one after the other, and answers each with its encoded
result. Ends when the socket does, or when process PID, who started it, is gone. What tasks
print goes to the files OUT and ERR, which PID can read when this process has died.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from multiprocessing.connection import Connection

from chamberlain_endpoint.engine.tether import tie


def main() -> None:
    """Serve until the other end closes."""
    tie(int(sys.argv[2]))
    line = Connection(int(sys.argv[1]))
    from chamberlain_endpoint.engine import capture, worker

    fds = int(sys.argv[3]), int(sys.argv[4])
    for fd in fds:
        os.set_inheritable(fd, False)
    capture.use_files(fds)
    # C code that crashes says at least where.
    faulthandler.enable(all_threads=False)
    worker.warm()
    try:
        while True:
            line.send_bytes(worker.run_packed(line.recv_bytes()))
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    main()
