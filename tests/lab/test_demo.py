"""`./dev demo` on a host that can run containers."""

from __future__ import annotations

import json
import shutil

import pytest

from devtools.lab import cache, plays, software
from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN
from devtools.lab.software import WHERE
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]
DEMO = "/opt/chamberlain-demo"

# The hosts have no network: what the demo would fetch is there already.
PREPARE = f"""\
set -eu
mkdir -m 755 {DEMO}
cp -a /srv/lab/for-the-demo/wheels {DEMO}/wheels
python3 -m venv --without-pip {DEMO}/deploy
cp -a /srv/lab/for-the-demo/ansible/. {DEMO}/deploy/lib/python3.*/site-packages/
cat > {DEMO}/deploy/bin/ansible-playbook <<END
#!{DEMO}/deploy/bin/python
import sys
from ansible.cli.playbook import main
sys.exit(main())
END
chmod 755 {DEMO}/deploy/bin/ansible-playbook
"""
STAMP = f"""\
from devtools import environment, programs
with open("{DEMO}/prepared", "w") as file:
    file.write(f"{{environment.packaging_hash()}} {{programs.source_hash()}}")
"""


def test_the_demo_runs_in_containers_where_the_machine_can(lab: Lab, tree: str) -> None:
    python = ["env", f"PYTHONPATH={tree}", "PYTHONDONTWRITEBYTECODE=1", str(WHERE / "bin/python")]
    demo = [*python, "-m", "devtools.main", "demo"]
    report, given = Reporter(), lab.share / "for-the-demo"
    shutil.copytree(plays.wheels(lab, report), given / "wheels")
    shutil.copytree(software.ansible(cache.base(report), report), given / "ansible")
    lab.run(LOGIN, ["sh", "-c", PREPARE])
    lab.run(LOGIN, [*python, "-c", STAMP])
    try:
        done = lab.run(LOGIN, [*demo, "--json"], limit_s=600.0)
        assert "User endpoints run in containers" in done.stderr
        assert done.stderr.splitlines()[-1] == "5 passed, 0 failed"
        runs = json.loads(done.stdout)["runs"]
        assert [run["error"] is None for run in runs] == [True, True, True, True, False]
        assert {run["result"] for run in runs[:4]} == {f"hello from {LOGIN}"}
    finally:
        lab.run(LOGIN, [*demo, "--down"], limit_s=300.0)
        shutil.rmtree(given)
    assert lab.run(LOGIN, ["sh", "-c", f"ls -d {DEMO}*"], check=False).stdout == ""
