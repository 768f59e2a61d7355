"""A worker that is killed for memory, on hosts whose control groups are of version 1."""

from __future__ import annotations

import shutil

import pytest

from devtools.image import build as builds
from devtools.image import engines
from devtools.lab import rollout
from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN
from devtools.lab.rollout import ENDPOINT_UNIT, Site
from devtools.paths import ROOT
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]


def test_a_function_that_needs_more_memory_ends_with_a_sentence(lab: Lab, site: Site) -> None:
    image = builds.build(Reporter(), lab)
    shutil.copy(ROOT / "tests/vm/plays/memory.py", lab.share)
    rollout.use_containers(lab, site, engines.install(image, lab), Reporter())
    try:
        options = {"ENGINE": "htex"}
        answer = rollout.call(lab, site, rollout.person("alice"), options, example="memory.py")
    finally:
        lab.run(LOGIN, ["systemctl", "stop", ENDPOINT_UNIT], limit_s=180.0)
    told = str(answer["error"])
    assert "out of memory" in told
    assert "1024 MiB" in told
