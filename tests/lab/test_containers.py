"""Tests that need a host with Podman, run on the lab's login node, where there is one.

What is marked `needs_podman` runs nowhere else; each file of it is one test here.
"""

from __future__ import annotations

import pytest

from chamberlain_endpoint.launcher.settings import EngineKind
from devtools.lab import software
from devtools.lab.lab import Lab
from devtools.lab.plan import LOGIN
from devtools.paths import ON_PODMAN_HOST_VARIABLE, ROOT, TEST_ENGINE_VARIABLE

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]

TOOLS = "/srv/lab/tools"
INNER = (
    "tests/containers/test_container_life.py",
    "tests/containers/test_doctor_as.py",
    "tests/containers/test_isolation.py",
    "tests/containers/test_session.py",
    "tests/contract/test_runtime.py",
)
LIMIT_S = 600.0


def inner(
    lab: Lab, tree: str, *words: str, engine: EngineKind = EngineKind.PODMAN
) -> tuple[int, str]:
    """Run pytest in the tree on the login node; return its exit code and what it said."""
    parts = [f"{tree}/{name}" for name in ("wire", "sdk", "hub", "endpoint")]
    given = {
        "PYTHONPATH": ":".join([*parts, tree, TOOLS]),
        "PYTHONDONTWRITEBYTECODE": "1",
        ON_PODMAN_HOST_VARIABLE: "1",
        TEST_ENGINE_VARIABLE: engine,
    }
    python = str(software.WHERE / "bin/python")
    options = ("-m", "needs_podman", "-q", "--tb=short", "--color=no", "-p", "no:cacheprovider")
    command = 'cd "$1" && shift && exec "$@"'
    done = lab.run(
        LOGIN,
        [
            *("sh", "-c", command, "sh", tree, "env"),
            *(f"{key}={value}" for key, value in given.items()),
            *(python, "-m", "pytest", "-p", "devtools.pytest_strict", *options, *words),
        ],
        limit_s=LIMIT_S,
        check=False,
    )
    return done.returncode, f"{done.stdout[-12000:]}{done.stderr[-4000:]}"


@pytest.mark.parametrize("file", INNER)
def test_on_a_host_with_podman(lab: Lab, tree: str, file: str) -> None:
    code, said = inner(lab, tree, file)
    if code != 0:
        pytest.fail(f"{file} on the login node ended with {code}:\n{said}", pytrace=False)


def test_no_file_with_such_tests_is_forgotten() -> None:
    mark = "mark." + "needs_podman"
    files = (ROOT / "tests").rglob("test_*.py")
    marked = {str(one.relative_to(ROOT)) for one in files if mark in one.read_text()}
    assert marked == set(INNER)
