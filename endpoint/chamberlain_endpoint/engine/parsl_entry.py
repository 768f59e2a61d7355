"""Runs one of Parsl's programs: `python -m chamberlain_endpoint.engine.parsl_entry PROGRAM ...`.

`interchange`: as it is. `pool`: the workers of one node, which are forked from one process
that has imported everything, instead of importing it once each: a worker costs milliseconds
and shares its memory with the others, which matters on nodes with a hundred cores.
"""

from __future__ import annotations

import contextlib
import logging
import os
import runpy
import sys
import traceback
from dataclasses import dataclass
from multiprocessing import forkserver

from chamberlain_endpoint.engine import recall, slots
from chamberlain_endpoint.engine.direct_queue import DirectContext
from chamberlain_endpoint.engine.doors import open_lazily

_PROGRAMS = {
    "interchange": "parsl.executors.high_throughput.interchange",
    "pool": "parsl.executors.high_throughput.process_worker_pool",
}


def main() -> None:
    """Become the program that the first argument names."""
    name, *arguments = sys.argv[1:]
    # For who looks for a fault, everything is as Parsl made it, and logged.
    orders = _taken_out(arguments)
    memory = None
    if name == "pool" and "--debug" not in arguments:
        quiet_workers()
        memory = _fork_workers(orders)
    elif orders is not None:
        open_lazily()
        orders.listen(None)
    open_lazily()
    if name == "pool" and "--enable_mpi_mode" in arguments:
        from chamberlain_endpoint.engine import mpi_nodes

        mpi_nodes.stand_in(memory)
    sys.argv[:] = [name, *arguments]
    try:
        runpy.run_module(_PROGRAMS[name], run_name="__main__", alter_sys=True)
    except Exception:
        if name != "interchange":
            raise
        # Python's own way out would wait for sockets that nobody reads, for ever.
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)


def quiet_workers() -> None:
    """Keep Parsl from writing three lines a task into files that nobody rotates."""
    logging.getLogger(_PROGRAMS["pool"]).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class _Orders:
    """Where to hear which running tasks to end.

    Attributes:
        certificates: folder with the keys; None is without.
        lease_s: see `recall.listen`.
    """

    url: str
    certificates: str | None
    lease_s: float

    def listen(self, memory: slots.Slots | None) -> None:
        recall.listen(self.url, self.certificates, memory, lease_s=self.lease_s)


def _taken_out(arguments: list[str]) -> _Orders | None:
    """Remove and return our own words, which Parsl's program does not know.

    Returns:
        Where to hear which running tasks to end; None: nowhere.
    """
    if "--recall" not in arguments:
        return None
    place = arguments.index("--recall")
    _, url, certificates, lease_s = arguments[place : place + 4]
    del arguments[place : place + 4]
    return _Orders(url, None if certificates == "None" else certificates, float(lease_s))


def _fork_workers(orders: _Orders | None) -> slots.Slots | None:
    context = DirectContext()
    memory = None
    if orders is not None:
        # A node whose kernel has no such memory runs tasks all the same.
        with contextlib.suppress(OSError, AttributeError):
            memory = slots.make()
    # Its imports run beside our own.
    context.set_forkserver_preload(["chamberlain_endpoint.engine.parsl_preload"])
    forkserver.ensure_running()
    open_lazily()
    import parsl.multiprocessing

    # The pool makes its workers, its queues and its manager from this name.
    parsl.multiprocessing.SpawnContext = context  # type: ignore[assignment]
    if orders is not None:
        orders.listen(memory)
    return memory


if __name__ == "__main__":
    main()
