"""Containers outlive a launcher, are found again, and fail with a sentence for each reader."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import container_host as containers
from tests.containers.test_isolation import Box
from tests.launcher_builders import ENDPOINT, UEP

from chamberlain_endpoint.launcher.runtime.choosing import ChoosingRuntime
from chamberlain_endpoint.launcher.runtime.container import ContainerRuntime
from chamberlain_endpoint.launcher.runtime.port import Adopted, News, StartFailedError
from chamberlain_endpoint.launcher.runtime.process import ProcessRuntime
from chamberlain_endpoint.launcher.settings import LauncherSettings, Mount, RuntimeKind
from chamberlain_endpoint.launcher.spec import LEASE_FILE

pytestmark = [pytest.mark.needs_podman, pytest.mark.needs_root, pytest.mark.slow]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.runtime.close()
    made.loop.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def next_launcher(box: Box, settings: LauncherSettings | None = None) -> list[Adopted]:
    """Let the launcher die as kill -9 does, and start another; return what that adopted."""
    old = box.runtime
    assert isinstance(old, ContainerRuntime)
    for container in old._containers.values():
        container.leave()
    old._containers.clear()
    old._link.close()
    adopted: list[Adopted] = []

    def hear(news: News) -> None:
        if isinstance(news, Adopted):
            adopted.append(news)

    made = ContainerRuntime(box.loop, settings or containers.settings(box.folder))
    box.runtime = made
    made.open(box.exits.append, hear)
    box.until(lambda: made._is_known)
    return adopted


def test_thenext_launcher_goes_on_with_what_runs(box: Box) -> None:
    box.start("serve")
    box.until_serving()
    before = box.pid()
    adopted = next_launcher(box)
    box.until(lambda: bool(adopted))
    assert (adopted[0].user_endpoint, adopted[0].uid) == (UEP, box.account.uid)
    assert adopted[0].pid == before
    with pytest.raises(ValueError, match="runs already"):
        box.start("serve")
    box.runtime.stop(UEP, 10.0)
    box.until(lambda: bool(box.exits))
    assert box.exits[0].exit_code == 0


def test_an_adopted_one_goes_on_hearing_the_lease(box: Box) -> None:
    code = (
        "import os, sys, time\n"
        "sys.stdin.readline()\n"
        f"before = os.stat({LEASE_FILE!r}).st_mtime_ns\n"
        "sys.stderr.write('serving'); sys.stderr.flush()\n"
        f"while os.stat({LEASE_FILE!r}).st_mtime_ns == before:\n"
        "    time.sleep(0.05)\n"
        "sys.stderr.write('heard'); sys.stderr.flush()\n"
        "time.sleep(600)\n"
    )
    box.run(code)
    box.until_serving()
    adopted = next_launcher(box)
    box.until(lambda: bool(adopted))
    assert containers.of_endpoint(ENDPOINT) != []
    kept = box.runtime._containers[UEP]  # type: ignore[attr-defined]
    box.until(lambda: b"heard" in kept.stream.tail)
    box.runtime.stop(UEP, 0.0)
    box.until(lambda: bool(box.exits))
    assert list((box.folder / "state" / "containers" / "leases").iterdir()) == []


def test_what_ended_meanwhile_leaves_nothing(box: Box) -> None:
    box.start("serve")
    box.until_serving()
    subprocess.run(["kill", "-9", str(box.pid())], check=True)
    adopted = next_launcher(box)
    box.until(lambda: not box.runtime.is_running(UEP))
    assert adopted == []
    assert containers.of_endpoint(ENDPOINT) == []


_LABEL = "org.chamberlain.endpoint"


def test_a_container_that_is_not_ours_is_left_alone(box: Box) -> None:
    root = containers.image() / containers.DIGEST.replace(":", "-") / "root"
    name = f"chamberlain-{ENDPOINT[:8]}-stranger"
    labels = {_LABEL: ENDPOINT, "org.chamberlain.generation": "feedfeedfeed"}
    told = [part for key, value in labels.items() for part in ("--label", f"{key}={value}")]
    # Only made: started by hand, the engine would leave files in the image.
    options = (*told, "--name", name, "--network", "host", "--rootfs", str(root))
    try:
        made = containers.podman("create", *options, "/usr/bin/sleep", "60")
        adopted = next_launcher(box)
        assert adopted == []
        assert containers.podman("inspect", "--format", "{{.Id}}", name) == made
    finally:
        containers.podman("rm", "--force", "--ignore", "--time", "0", name)


def test_a_stopping_launcher_can_leave_them_to_the_next(box: Box) -> None:
    settings = containers.settings(box.folder, ends_with_launcher=False)
    next_launcher(box, settings)
    box.start("serve")
    box.until_serving()
    box.runtime.close()
    adopted = next_launcher(box, settings)
    box.until(lambda: bool(adopted))
    assert adopted[0].user_endpoint == UEP
    box.runtime.stop(UEP, 0.0)
    box.until(lambda: bool(box.exits))


def _failure(box: Box, settings: LauncherSettings) -> tuple[str, str]:
    """Return what administrator and user are told of a start with `settings`."""
    box.runtime.close()
    made = ContainerRuntime(box.loop, settings)
    box.runtime = made
    made.open(box.exits.append)
    box.until(lambda: made._is_known)
    begun = time.monotonic()
    try:
        box.start("serve")
    except StartFailedError as error:
        return str(error), error.public
    box.until(lambda: bool(box.exits))
    # Promised are five seconds, on a host with less to do.
    assert time.monotonic() - begun < 25.0
    return box.exits[0].failure, box.exits[0].public


def test_a_missing_image_is_told_with_what_to_do(box: Box) -> None:
    digest = "sha256:" + "0" * 64
    usual = containers.settings(box.folder)
    runtime = replace(usual.runtime, images=(("test", digest),))
    failure, public = _failure(box, replace(usual, runtime=runtime))
    assert digest in failure
    assert "image is missing" in public


def test_a_full_disk_is_told_as_that(box: Box, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", small], check=True)
    try:
        with contextlib.suppress(OSError):
            (small / "rest").write_bytes(b"x" * 128 * 1024)
        failure, public = _failure(box, replace(containers.settings(box.folder), state_dir=small))
        box.runtime.close()
    finally:
        subprocess.run(["umount", small], check=True)
    assert "No space left" in failure
    assert "no disk space" in public


def test_an_image_that_others_could_write_is_not_used(box: Box, tmp_path: Path) -> None:
    shelf = tmp_path / "shelf" / containers.DIGEST.replace(":", "-") / "root"
    shelf.mkdir(parents=True)
    shelf.chmod(0o777)
    usual = containers.settings(box.folder)
    runtime = replace(usual.runtime, images_dir=tmp_path / "shelf")
    failure, _ = _failure(box, replace(usual, runtime=runtime))
    assert "not usable" in failure


def test_an_image_off_the_list_is_refused_by_name(box: Box) -> None:
    with pytest.raises(StartFailedError) as caught:
        box.run("pass", image="other")
    assert "'other'" in caught.value.public
    assert "test" in caught.value.public


def test_accounts_beyond_the_last_range_are_refused(box: Box) -> None:
    usual = containers.settings(box.folder)
    runtime = replace(usual.runtime, subordinate_count=65536)
    box.runtime.close()
    box.runtime = ContainerRuntime(box.loop, replace(usual, runtime=runtime))
    box.runtime.open(box.exits.append)
    box.until(lambda: box.runtime._is_known)  # type: ignore[attr-defined]
    box.start("serve")
    other = replace(box.account, uid=21999)
    with pytest.raises(StartFailedError) as caught:
        box.run("pass", account=other, user_endpoint="00000000-0000-4000-8000-00000000beef")
    assert "subordinate ids" in caught.value.public
    assert "subordinate_count" in str(caught.value)


def test_a_mount_that_is_not_there_is_told(box: Box) -> None:
    settings = containers.settings(
        box.folder, extra_mounts=(Mount(Path("/no/such/place"), Path("/no/such/place")),)
    )
    failure, public = _failure(box, settings)
    assert "/no/such/place" in failure
    assert "/no/such/place" not in public


def test_an_engine_that_is_down_is_told_and_no_start_is_lost(box: Box, tmp_path: Path) -> None:
    usual = containers.settings(box.folder)
    runtime = replace(usual.runtime, socket=tmp_path / "nobody.sock")
    box.runtime.close()
    box.runtime = ContainerRuntime(box.loop, replace(usual, runtime=runtime))
    box.runtime.open(box.exits.append)
    with pytest.raises(StartFailedError) as caught:
        box.start("serve")
    assert "does not answer" in caught.value.public


def test_the_site_may_choose_processes_where_there_is_no_container(
    box: Box, tmp_path: Path, open_folder: Path
) -> None:
    usual = containers.settings(box.folder)
    runtime = replace(usual.runtime, socket=tmp_path / "nobody.sock")
    box.runtime.close()
    # Accounts cannot pass the test's own folder; a container needs not to.
    processes = ProcessRuntime(box.loop, open_folder, is_multi=True)
    runtime = replace(runtime, if_unavailable=RuntimeKind.PROCESS)
    down = ContainerRuntime(box.loop, replace(usual, runtime=runtime))
    box.runtime = ChoosingRuntime(runtime, processes, down)
    box.runtime.open(box.exits.append)
    box.start("leave", python=Path("/usr/bin/python3"), runtime=RuntimeKind.CONTAINER)
    assert box.runtime.is_running(UEP)
    box.until(lambda: bool(box.exits))
    assert box.exits[0].exit_code == 3
    assert not box.runtime.is_running(UEP)


def test_a_clerk_that_dies_is_replaced_and_containers_go_on(box: Box) -> None:
    box.start("serve")
    box.until_serving()
    link = box.runtime._link  # type: ignore[attr-defined]
    first = link._process.pid
    link._process.kill()
    box.until(lambda: link._process is not None and link._process.pid != first)
    box.runtime.stop(UEP, 10.0)
    box.until(lambda: bool(box.exits))
    assert box.exits[0].exit_code == 0
