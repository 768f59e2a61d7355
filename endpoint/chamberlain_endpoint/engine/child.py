"""A worker process of the process pool: `python -I -m chamberlain_endpoint.engine.child FD PID`.

Reads packed jobs from the socket FD, one after the other, and answers each with its encoded
result. Ends when the socket does, or when process PID, who started it, is gone.
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection

from chamberlain_endpoint.engine.tether import tie


def main() -> None:
    """Serve until the other end closes."""
    tie(int(sys.argv[2]))
    line = Connection(int(sys.argv[1]))
    from chamberlain_endpoint.engine import worker

    worker.warm()
    try:
        while True:
            line.send_bytes(worker.run_packed(line.recv_bytes()))
    except (EOFError, OSError):
        return


if __name__ == "__main__":
    main()
