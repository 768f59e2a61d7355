"""`chamberlain-hub backup`, `restore`, `key prepare | switch` and `token revoke --token-file`."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chamberlain_hub.main import cli

Hub = Callable[..., Result]


def hub(folder: Path, name: str) -> Hub:
    """Return what runs commands of the hub `name`."""
    file = folder / f"{name}.toml"
    file.write_text(f'data_dir = "{folder / name}"\n')

    def run(*arguments: str | Path, code: int = 0, given: str | None = None) -> Result:
        words = [str(word) for word in ("--config", file, *arguments)]
        result = CliRunner().invoke(cli, words, input=given, catch_exceptions=False)
        assert result.exit_code == code, result.output
        return result

    return run


@pytest.fixture
def old(tmp_path: Path) -> Hub:
    return hub(tmp_path, "old")


@pytest.fixture
def new(tmp_path: Path) -> Hub:
    return hub(tmp_path, "new")


def keys(run: Hub) -> list[str]:
    return [entry["key"] for entry in json.loads(run("key", "show", "--json").stdout)["keys"]]


def test_a_new_hub_is_the_old_one_after_a_restore(old: Hub, new: Hub, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    old("user", "add", "alice@example.edu")
    token = old("token", "create", "alice@example.edu").stdout.strip()
    old("key", "prepare")
    told = json.loads(old("backup", file, "--json").stdout)
    assert (told["file"], told["database"]) == (str(file), "sqlite")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    new("restore", file)
    assert keys(new) == keys(old)
    assert new("user", "list", "--json").stdout == old("user", "list", "--json").stdout
    new("token", "revoke", "--token-file", "-", given=token)
    left = {path.name for path in (tmp_path / "new").iterdir()}
    assert {name for name in left if name.startswith(".")} == set()
    actions = new("audit", "show", "--json").stdout
    assert "backup-restored" in actions
    assert "backup-made" in old("audit", "show", "--json").stdout


def test_a_hub_that_is_not_new_is_not_replaced(old: Hub, new: Hub, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    old("user", "add", "alice@example.edu")
    old("backup", file)
    new("user", "add", "bob@example.edu")
    before = keys(new)
    said = new("restore", file, code=1).stderr
    assert "This hub is not new" in said
    assert str(tmp_path / "new/signing_key.pem") in said
    assert keys(new) == before
    assert "bob@example.edu" in new("user", "list").stdout


def test_a_damaged_or_missing_backup_makes_nothing(old: Hub, new: Hub, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    old("user", "add", "alice@example.edu")
    old("backup", file)
    file.write_bytes(file.read_bytes().replace(b"BEGIN PRIVATE", b"BEGIN privatE"))
    assert "is damaged: signing_key.pem" in new("restore", file, code=1).stderr
    assert "No such file" in new("restore", tmp_path / "none.tar", code=1).stderr
    assert list((tmp_path / "new").iterdir()) == []


def test_there_is_no_backup_of_nothing_and_none_is_replaced(old: Hub, tmp_path: Path) -> None:
    file = tmp_path / "backup.tar"
    assert "nothing to copy" in old("backup", file, code=1).stderr
    old("user", "add", "alice@example.edu")
    file.write_text("precious")
    assert "exists already" in old("backup", file, code=1).stderr
    assert file.read_text() == "precious"


def test_a_prepared_key_follows_the_one_that_signs(old: Hub, tmp_path: Path) -> None:
    (first,) = keys(old)
    assert "No key was prepared" in old("key", "switch", code=2).stderr
    old("key", "prepare")
    both = keys(old)
    assert (both[0], len(both)) == (first, 2)
    old("key", "prepare")
    assert keys(old) == both
    old("key", "switch")
    assert keys(old) == both[1:]
    assert stat.S_IMODE((tmp_path / "old/signing_key.pem").stat().st_mode) == 0o600
    shown = old("audit", "show", "--json").stdout
    assert "key-prepared" in shown
    assert "key-switched" in shown


def test_a_token_is_revoked_by_itself_or_by_its_id(old: Hub) -> None:
    old("user", "add", "alice@example.edu")
    token = old("token", "create", "alice@example.edu").stdout.strip()
    old("token", "revoke", code=2)
    done = old("token", "revoke", "--token-file", "-", given=token + "\n")
    assert token not in done.output
    assert "was revoked" in old("token", "revoke", "--token-file", "-", given=token, code=1).stderr
    (listed,) = json.loads(old("token", "list", "--json").stdout)["tokens"]
    assert listed["state"] == "revoked"
