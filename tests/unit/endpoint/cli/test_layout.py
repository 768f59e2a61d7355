from __future__ import annotations

from pathlib import Path

import pytest

from chamberlain_endpoint.cli import layout
from chamberlain_endpoint.cli.errors import CommandFailedError

_ID = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"


def test_another_folder_holds_everything(tmp_path: Path) -> None:
    where = layout.plan("cluster", tmp_path, _ID)
    folders = (where.config, where.manager, where.launcher, where.accounts, where.run, where.log)
    assert all(folder.is_relative_to(tmp_path) for folder in folders)
    assert len(set(folders)) == len(folders)


@pytest.mark.needs_root
def test_roots_default_is_the_systems_folders() -> None:
    where = layout.plan("cluster", None, _ID)
    assert where.config == Path("/etc/chamberlain/cluster")
    assert where.accounts == Path("/var/lib/chamberlain/cluster/accounts")
    assert where.launcher_socket == Path("/run/chamberlain/cluster/launcher.sock")
    assert where.log == Path("/var/log/chamberlain/cluster")


def test_a_long_name_gets_a_short_folder_for_its_sockets() -> None:
    where = layout.plan("x" * 128, Path("/srv/chamberlain"), _ID)
    assert len(bytes(where.supervisor_socket)) < 108
    assert where.run == Path("/srv/chamberlain/run-0e5e35d6")


def test_a_folder_too_deep_for_sockets_is_refused_with_the_way_out() -> None:
    with pytest.raises(CommandFailedError, match="shorter --config-dir"):
        layout.plan("cluster", Path("/srv/" + "deep/" * 30), _ID)
