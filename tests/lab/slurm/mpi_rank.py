"""One rank of an MPI program, on Debian's MPICH without a compiler.

`ring`: all ranks add up their numbers; each prints the sum and where it runs.
`span SECONDS FILE`: prints when it began and ended, by the clock that all hosts of the lab share.
`stubborn FILE`: says in a file that it runs, and goes on for minutes whatever it is told.
"""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import time
from pathlib import Path

# Of MPICH's binary interface.
WORLD, INT, SUM = 0x44000000, 0x4C000405, 0x58000003


def ring() -> None:
    """Add up over all ranks."""
    mpi = ctypes.CDLL("libmpich.so.12")
    rank, size, total = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    mpi.MPI_Init(None, None)
    mpi.MPI_Comm_rank(WORLD, ctypes.byref(rank))
    mpi.MPI_Comm_size(WORLD, ctypes.byref(size))
    mine = ctypes.c_int(rank.value + 1)
    mpi.MPI_Allreduce(ctypes.byref(mine), ctypes.byref(total), 1, INT, SUM, WORLD)
    who = f"{platform.node()} uid {os.getuid()} job {os.environ['SLURM_JOB_ID']}"
    print(f"rank {rank.value} of {size.value}: sum {total.value} on {who}", flush=True)
    mpi.MPI_Finalize()


def span(seconds: str, mark: str) -> None:
    """Take some time."""
    began = time.time()
    begun(mark)
    time.sleep(float(seconds))
    print(f"{platform.node()} {began} {time.time()}", flush=True)


def stubborn(mark: str) -> None:
    """Go on."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    begun(mark)
    time.sleep(600.0)


def begun(mark: str) -> None:
    """Say so, for all hosts to see."""
    Path(f"{mark}.{platform.node()}.{os.getpid()}").touch()


if __name__ == "__main__":
    {"ring": ring, "span": span, "stubborn": stubborn}[sys.argv[1]](*sys.argv[2:])
