from __future__ import annotations

import configparser
import shlex
from pathlib import Path

import pytest

from chamberlain_endpoint.cli import supervisord
from chamberlain_endpoint.cli.layout import Layout


def _config(folder: Path, user: str) -> configparser.ConfigParser:
    parts = ("config", "manager", "launcher", "accounts", "run", "log")
    layout = Layout("c", bool(user), **{part: folder / part for part in parts})
    # As supervisord reads it: `%%` is a per cent sign, and ` ;` and ` #` begin a comment.
    parser = configparser.ConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(supervisord.config_text(layout, user))
    return parser


def test_there_is_no_network_listener() -> None:
    config = _config(Path("/srv/c"), "chamberlain")
    assert "inet_http_server" not in config
    assert config["unix_http_server"]["chmod"] == "0700"


def test_the_launcher_is_root_and_gets_no_group_signals() -> None:
    launcher = _config(Path("/srv/c"), "chamberlain")["program:launcher"]
    assert "user" not in launcher
    assert launcher["stopasgroup"] == launcher["killasgroup"] == "false"
    assert launcher["autorestart"] == "true"


def test_the_manager_is_the_service_account() -> None:
    manager = _config(Path("/srv/c"), "chamberlain")["program:manager"]
    assert manager["user"] == "chamberlain"
    assert 'USER="chamberlain"' in manager["environment"]


def test_the_single_account_form_changes_no_account() -> None:
    config = _config(Path("/srv/c"), "")
    assert "user" not in config["program:manager"]
    assert "user" not in config["supervisord"]


@pytest.mark.parametrize("name", ["50%", "a b", "a;b", "$HOME", "it's"])
def test_odd_folders_reach_the_programs_unharmed(name: str) -> None:
    config = _config(Path("/srv") / name, "chamberlain")
    words = shlex.split(config["program:launcher"]["command"])
    assert words[-1] == f"/srv/{name}/config/launcher.toml"
