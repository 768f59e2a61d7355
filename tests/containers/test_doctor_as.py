"""`doctor --as ACCOUNT`: the chain of one account, tried in a throwaway container."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests import container_host as containers
from tests.privilege.pam_service import PERMIT, SESSION, service

from chamberlain_endpoint.launcher import try_container
from chamberlain_endpoint.launcher.settings import LauncherSettings, Mount

pytestmark = [pytest.mark.needs_podman, pytest.mark.needs_root, pytest.mark.slow]


def _links(settings: LauncherSettings) -> dict[str, dict[str, str]]:
    found = list(try_container.examine(settings, containers.account()))
    return {each["link"]: each for each in found}


def _settings(tmp_path: Path, **changes: object) -> LauncherSettings:
    # The probe runs the program that the launcher would: the host's own Python.
    settings = containers.settings(tmp_path)
    return replace(settings, runtime=replace(settings.runtime, **changes))


def test_a_good_chain_is_good_from_end_to_end(tmp_path: Path) -> None:
    links = _links(_settings(tmp_path))
    for name in ("subordinate ids", "user namespaces", "engine"):
        assert links[name]["state"] == "good", links
    assert links["container"]["state"] == "good", links
    assert links["home"]["state"] == "good", links
    assert containers.podman("ps", "--all", "--quiet", "--filter", "name=chamberlain-") == ""


def test_a_broken_link_is_named_with_what_to_do(tmp_path: Path) -> None:
    links = _links(_settings(tmp_path, mounts_home=False))
    assert links["home"]["state"] == "bad"
    assert "mounts_home" in links["home"]["todo"]


def test_a_session_that_is_refused_is_the_broken_link(tmp_path: Path) -> None:
    notice = tmp_path / "nologin"
    with service(f"account required pam_nologin.so file={notice}", PERMIT, SESSION) as pam:
        settings = replace(_settings(tmp_path), pam=pam)
        links = _links(settings)
        assert links["session"]["state"] == "good", links
        assert links["container"]["state"] == "good", links
        notice.write_text("Maintenance until noon.\n")
        links = _links(settings)
    assert links["session"]["state"] == "bad"
    assert "Maintenance until noon." in links["session"]["said"]
    assert f"/etc/pam.d/{pam.service}" in links["session"]["todo"]
    assert "container" not in links


def test_a_missing_image_is_the_broken_link(tmp_path: Path) -> None:
    links = _links(_settings(tmp_path, images=(("test", "sha256:" + "0" * 64),)))
    assert links["container"]["state"] == "bad"
    assert "image install" in links["container"]["todo"]


def test_a_mount_that_is_not_there_is_the_broken_link(tmp_path: Path) -> None:
    place = tmp_path / "nowhere"
    links = _links(_settings(tmp_path, mounts=(Mount(place, place),)))
    assert str(place) in links["container"]["said"]
    assert "runtime.mounts" in links["container"]["todo"]


def test_no_range_of_subordinate_ids_for_one_account_more_is_a_broken_link(
    tmp_path: Path,
) -> None:
    given = tmp_path / "state" / "containers" / "subordinate.json"
    given.parent.mkdir(parents=True)
    given.write_text('{"1001": 0}')
    links = _links(_settings(tmp_path, subordinate_count=65536))
    assert links["subordinate ids"]["state"] == "bad"
    assert "subordinate_count" in links["subordinate ids"]["todo"]
    assert given.read_text() == '{"1001": 0}'


def test_a_kernel_without_user_namespaces_is_the_broken_link(tmp_path: Path) -> None:
    # The real number is the whole machine's: at 0 nobody on it could start a container.
    most = tmp_path / "max_user_namespaces"
    most.write_text("0\n")
    found = list(try_container.examine(_settings(tmp_path), containers.account(), most))
    links = {each["link"]: each for each in found}
    assert links["user namespaces"]["state"] == "bad"
    assert "max_user_namespaces" in links["user namespaces"]["todo"]


def test_an_engine_that_is_down_is_the_broken_link(tmp_path: Path) -> None:
    links = _links(_settings(tmp_path, socket=tmp_path / "nobody.sock"))
    assert links["engine"]["state"] == "bad"
    assert "podman.socket" in links["engine"]["todo"]
