"""One account with one task on PBS: an engine as a user endpoint has it, and what it reports.

Runs on the cluster, as the account, with Chamberlain's Python. Reads `engine` (as in a template),
`seconds` (how long the task takes), `delete` (have `qdel` end the job) and `limit_s` as JSON;
prints what became of the task as JSON.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine.choose import make_engine
from chamberlain_endpoint.engine.port import Broken, Finished, Job, Lost, Report, Rules
from chamberlain_endpoint.rendered import settled
from chamberlain_wire.codec import decode
from chamberlain_wire.ids import TaskId, new_id
from chamberlain_wire.messages import Result
from chamberlain_wire.serialize import pack_function, pack_payload, unpack_result

LOOK_S = 0.2


def task(mark: str, seconds: float) -> dict[str, Any]:
    """Say that it runs, take some time, and tell where it was."""
    import os
    import platform
    import time
    from pathlib import Path

    job = os.environ.get("PBS_JOBID") or os.environ["SLURM_JOB_ID"]
    Path(mark).write_text(job)
    time.sleep(seconds)
    return {"job": job, "uid": os.getuid(), "node": platform.node()}


def main() -> None:
    """Play it."""
    given = json.load(sys.stdin)
    name = new_id()
    folder = Path.home() / ".chamberlain-pbs-test" / name
    folder.mkdir(parents=True)
    checked = rendered.parse({"engine": given["engine"]})
    config = settled.read(checked.model_dump(mode="json")).engine
    engine = make_engine(config, run_dir=folder, name=name)
    reports: queue.SimpleQueue[Report] = queue.SimpleQueue()
    engine.start(reports.put)
    mark = folder / "begun"
    buffer = pack_function(task) + pack_payload((str(mark), given["seconds"]), {})
    rules = Rules(endpoint_id=name, working_dir=str(folder))
    wanted: Job | None = Job(task_id=TaskId(new_id()), buffer=buffer, rules=rules)
    deadline = time.monotonic() + given["limit_s"]
    answer: dict[str, Any] | None = None
    try:
        while answer is None and time.monotonic() < deadline:
            if wanted is not None:
                engine.want(1)
                if engine.capacity:
                    engine.submit(wanted)
                    wanted = None
            if given["delete"] and mark.exists() and mark.read_text():
                subprocess.run(["qdel", mark.read_text()], check=True)
                given["delete"] = False
            try:
                answer = told(reports.get(timeout=LOOK_S))
            except queue.Empty:
                continue
            if wanted is None and answer is None:
                engine.want(0)
    finally:
        engine.stop()
    json.dump(answer or {"error": "no end within the limit"}, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


def told(report: Report) -> dict[str, Any] | None:
    """Return what `report` says of the task; None: nothing."""
    match report:
        case Finished():
            result = decode(report.body, Result)
            return {"result": unpack_result(result.data)}
        case Lost():
            return {"error": report.reason}
        case Broken():
            return {"error": report.reason}
        case _:
            return None


if __name__ == "__main__":
    main()
