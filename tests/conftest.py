"""What all tests share: a real RabbitMQ and a real PostgreSQL, each started once, if needed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools import debian
from devtools import programs as installed
from devtools.paths import ON_PODMAN_HOST_VARIABLE
from devtools.postgres import PrivatePostgres
from devtools.programs import Programs
from devtools.rabbit import PrivateRabbit
from devtools.say import Reporter


def pytest_configure() -> None:
    """Hear Ctrl-C, and let all that tests start hear it.

    A shell without job control starts what runs in the background deaf to it, and whoever is
    deaf stays so in all children: tests of Ctrl-C would wait for nothing.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what cannot run here, with the reason; `./dev test` counts a skip as a failure.

    Tests marked needs_podman are not of this machine: `tests/lab/test_containers.py` runs them
    on a lab host.
    """
    if not os.environ.get(ON_PODMAN_HOST_VARIABLE):
        elsewhere = [item for item in items if item.get_closest_marker("needs_podman")]
        items[:] = [item for item in items if not item.get_closest_marker("needs_podman")]
        config.hook.pytest_deselected(items=elsewhere)
    reasons = {"needs_root": "root is needed"} if os.geteuid() != 0 else {}
    reasons |= {
        mark: f"not installed: {', '.join(absent)}"
        for mark, packages in debian.PACKAGES_OF_MARKS.items()
        if (absent := debian.missing(packages))
    }
    for item in items:
        for mark, reason in reasons.items():
            if item.get_closest_marker(mark):
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateRabbit]:
    """A real RabbitMQ node of this test session's own."""
    folder: Path = tmp_path_factory.mktemp("rabbit")
    node = PrivateRabbit(folder)
    node.start()
    yield node
    node.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """A real PostgreSQL cluster of this test session's own; each test makes its database."""
    cluster = PrivatePostgres()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="session")
def public_folder() -> Iterator[Path]:
    """A folder that other accounts can enter, and that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="chtest-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def programs(public_folder: Path) -> Programs:
    """Chamberlain installed from the checkout where every account can run it."""
    return installed.install(public_folder / "venv", Reporter())
