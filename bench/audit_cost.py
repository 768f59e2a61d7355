"""What the hub's audit log costs the submit path: python -m bench.audit_cost [SECONDS].

Real log files and a real SQLite store in a temporary folder; what a submit does to both, from
one thread and from eight, with the log and without it. HTTP and broker are left out, so the
difference is at its largest.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from pathlib import Path

from chamberlain_hub.audit.entry import Action, Entry
from chamberlain_hub.audit.log import AuditLog
from chamberlain_hub.audit.port import Audit, Unaudited
from chamberlain_hub.config import HubSettings
from chamberlain_hub.domain.task import NewTask
from chamberlain_hub.store.store import Store
from chamberlain_wire.ids import EndpointId, FunctionId, TaskGroupId, TaskId, new_id

ENDPOINT, FUNCTION, GROUP = EndpointId(new_id()), FunctionId(new_id()), TaskGroupId(new_id())


def rate(
    store: Store, audit: Audit, owner: object, threads: int, tasks: int, for_s: float
) -> float:
    """Return submits a second, `tasks` tasks each."""
    done = [0] * threads
    end = time.perf_counter() + for_s

    def submit(place: int) -> None:
        while time.perf_counter() < end:
            new = [NewTask(TaskId(new_id()), GROUP, FUNCTION, "x" * 200) for _ in range(tasks)]
            ids = [task.id for task in new]
            functions = [{"id": FUNCTION, "sha256": "0" * 64, "tasks": ids}]
            audit.note(Entry(action=Action.SUBMIT, outcome="accepted", functions=functions))
            store.add_tasks(owner, ENDPOINT, ENDPOINT, GROUP, new, time.time())  # type: ignore[arg-type]
            done[place] += 1

    running = [threading.Thread(target=submit, args=(place,)) for place in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(done) / for_s


def main() -> None:
    """Print a line for each case."""
    for_s = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    with tempfile.TemporaryDirectory() as folder:
        store = Store.open(f"sqlite:///{folder}/hub.db")
        store.migrate()
        owner = store.add_identity("alice@example.edu").id
        store.ensure_group(GROUP, owner)
        log = AuditLog.of(HubSettings(data_dir=Path(folder)))
        log.start()
        for threads, tasks in ((1, 1), (8, 1), (8, 128)):
            without = rate(store, Unaudited(), owner, threads, tasks, for_s)
            with_log = rate(store, log, owner, threads, tasks, for_s)
            print(
                f"{threads} threads, {tasks:>3} tasks a submit: {without:7.0f} submits/s without, "
                f"{with_log:7.0f} with the log ({with_log / without:.0%})"
            )
        log.stop()
        store.close()


if __name__ == "__main__":
    main()
