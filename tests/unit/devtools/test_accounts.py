from __future__ import annotations

from pathlib import Path

from devtools.accounts import MadeAccounts


def test_an_account_that_was_there_is_not_ours_to_remove(tmp_path: Path) -> None:
    made = MadeAccounts(tmp_path / "accounts.json")
    assert made.ensure("root").pw_uid == 0
    assert made.names == []
    assert made.remove_all() == []


def test_what_was_claimed_is_remembered_by_the_next_process(tmp_path: Path) -> None:
    MadeAccounts(tmp_path / "accounts.json").claim("chtest-nobody-has-this")
    again = MadeAccounts(tmp_path / "accounts.json")
    assert again.names == ["chtest-nobody-has-this"]
    # It was claimed and never made: there is nothing to remove, and nothing to remember.
    assert again.remove_all() == []
    assert again.names == []
