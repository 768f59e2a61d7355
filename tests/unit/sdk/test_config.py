from __future__ import annotations

from pathlib import Path

import pytest

from chamberlain import config
from chamberlain.errors import ConfigError


def env(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"CHAMBERLAIN_CONFIG": str(tmp_path / "config.toml"), **more}


def write(tmp_path: Path, text: str, mode: int = 0o600) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    file.chmod(mode)


def test_arguments_win_over_environment_over_file(tmp_path: Path) -> None:
    write(tmp_path, 'hub_url = "http://file"\ntoken = "file"\nca_file = "/etc/ca.pem"\n')
    found = config.load(
        "https://argument/", environment=env(tmp_path, CHAMBERLAIN_TOKEN="environment")
    )
    assert found.hub_url == "https://argument"
    assert found.token.reveal() == "environment"
    assert found.ca_file == Path("/etc/ca.pem")


def test_the_token_does_not_show_itself(tmp_path: Path) -> None:
    assert "secret" not in repr(config.load("http://hub", "secret", environment=env(tmp_path)))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "set CHAMBERLAIN_HUB_URL, or write a line hub_url = "),
        ({"CHAMBERLAIN_HUB_URL": "http://hub"}, "set CHAMBERLAIN_TOKEN, or write a line token = "),
        ({"CHAMBERLAIN_HUB_URL": "hub", "CHAMBERLAIN_TOKEN": "x"}, "must look like https://"),
    ],
)
def test_what_is_missing_or_wrong_is_told_with_the_way_out(
    tmp_path: Path, given: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        config.load(environment=env(tmp_path, **given))


@pytest.mark.parametrize(
    ("text", "mode", "told"),
    [
        ('token = "x"', 0o644, "run chmod 600"),
        ('tokn = "x"', 0o600, "it has tokn"),
        ("hub_url = 5", 0o600, "as text, and nothing else"),
        ("= nonsense", 0o600, "cannot be read"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, mode: int, told: str) -> None:
    write(tmp_path, text, mode)
    with pytest.raises(ConfigError, match=told):
        config.load(environment=env(tmp_path))


def test_a_file_without_a_token_may_be_read_by_all(tmp_path: Path) -> None:
    write(tmp_path, 'hub_url = "http://hub"', 0o644)
    found = config.load(token="x", environment=env(tmp_path))
    assert found.hub_url == "http://hub"


def test_the_file_follows_xdg() -> None:
    assert config.default_file({"XDG_CONFIG_HOME": "/x"}) == Path("/x/chamberlain/config.toml")
