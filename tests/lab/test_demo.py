"""`./dev demo` on a host that can run containers."""

from __future__ import annotations

import json

import pytest

from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN
from devtools.lab.software import WHERE

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
DEMO = "/opt/chamberlain-demo"

# The hosts have no network: what the demo would install is there already, and is copied.
INSTALL = f"""\
set -eu
mkdir -m 755 {DEMO}
cp -a {WHERE} {DEMO}/venv
sed -i '1s|{WHERE}/|{DEMO}/venv/|' $(grep -lI '^#!{WHERE}/' {DEMO}/venv/bin/*)
"""
STAMP = f"""\
from devtools import environment, programs
with open("{DEMO}/venv/installed", "w") as file:
    file.write(f"{{environment.packaging_hash()}} {{programs.source_hash()}}")
"""


def test_the_demo_runs_in_containers_where_the_machine_can(lab: Lab, tree: str) -> None:
    python = ["env", f"PYTHONPATH={tree}", "PYTHONDONTWRITEBYTECODE=1", str(WHERE / "bin/python")]
    demo = [*python, "-m", "devtools.main", "demo"]
    lab.run(LOGIN, ["sh", "-c", INSTALL])
    lab.run(LOGIN, [*python, "-c", STAMP])
    try:
        done = lab.run(LOGIN, [*demo, "--json"], limit_s=300.0)
        assert "User endpoints run in containers" in done.stderr
        assert done.stderr.splitlines()[-1] == "5 passed, 0 failed"
        runs = json.loads(done.stdout)["runs"]
        assert [run["error"] is None for run in runs] == [True, True, True, True, False]
        assert {run["result"] for run in runs[:4]} == {f"hello from {LOGIN}"}
    finally:
        done = lab.run(LOGIN, [*demo, "--down"], limit_s=120.0)
    assert lab.run(LOGIN, ["sh", "-c", f"ls -d {DEMO}*"], check=False).stdout == ""
