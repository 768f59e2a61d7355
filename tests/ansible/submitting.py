"""Somebody on the hub's host who submits tasks without a pause, by an SDK of his own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB
from devtools.paths import ROOT
from devtools.processes import wait_until

_FOLDER = "/tmp/stream"
_LAPTOP = "/srv/lab/laptop"
_BEGUN_S = 240.0
_END_S = 1500.0


@contextmanager
def submitting(
    lab: Lab, endpoint_id: str, token: str, environment: str
) -> Iterator[Future[dict[str, Any]]]:
    """Have tasks come and go while the block runs; then the future has what became of them all.

    Args:
        environment: the Python environment of the hub's host that has the SDK. It is copied: what
            happens to the host's own programs is nothing to a laptop.
    """
    shutil.copyfile(ROOT / "tests/ansible/stream.py", lab.share / "stream.py")
    make = (
        f"rm -rf {_FOLDER} {_LAPTOP}; install -d -m 0777 {_FOLDER}; cp -a {environment} {_LAPTOP}"
    )
    lab.run(HUB, ["sh", "-ec", make], limit_s=180.0)
    words = (
        *("env", "HOME=/tmp", f"CHAMBERLAIN_HUB_URL={rollout.HUB_URL}"),
        *(f"CHAMBERLAIN_TOKEN={token}", f"{_LAPTOP}/bin/python", "/srv/lab/stream.py"),
        *(endpoint_id, _FOLDER),
    )

    def run() -> dict[str, Any]:
        done = lab.run(HUB, words, user="nobody", limit_s=_END_S)
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(run)
        try:
            begun = ["test", "-e", f"{_FOLDER}/begun"]
            assert wait_until(
                lambda: answer.done() or lab.run(HUB, begun, check=False).returncode == 0, _BEGUN_S
            )
            assert not answer.done(), answer.result()
            yield answer
        finally:
            lab.run(HUB, ["touch", f"{_FOLDER}/stop"])
    lab.run(HUB, ["rm", "-rf", _FOLDER, _LAPTOP])
