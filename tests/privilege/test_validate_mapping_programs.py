"""`validate-mapping` asks the programs of a mapping, as the account and in the limits they have."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.launcher_builders import ALICE
from tests.privilege.conftest import processes_of, until
from tests.privilege.launcher_process import LauncherProcess

from chamberlain_endpoint.launcher.protocol import Account

pytestmark = [pytest.mark.needs_root, pytest.mark.slow]

USERNAME = "alice@example.org"
Validate = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def site(open_folder: Path, account: Account, other_account: Account) -> LauncherProcess:
    """An endpoint whose programs run as `account`; its manager's account is `other_account`."""
    made = LauncherProcess(open_folder, other_account)
    made.write_config(f'[mapping]\nexternal_account = "{account.uname}"\nexternal_timeout_s = 1.0')
    return made


@pytest.fixture
def validate(site: LauncherProcess) -> Validate:
    """Run it for `USERNAME` and return the exit code and the JSON that it wrote."""

    def once(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        identities = json.dumps([{"id": ALICE, "username": USERNAME}])
        program = Path(sys.executable).with_name("chamberlain-endpoint")
        words = [str(word) for word in arguments]
        done = subprocess.run(
            [str(program), "validate-mapping", *words, "-i", "-", "--json"],
            input=identities,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    return once


def program(folder: Path, name: str, text: str) -> dict[str, Any]:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return {"DATA_TYPE": "external_identity_mapping#1.0.0", "command": [str(path)]}


def says(folder: Path, name: str, user_name: str) -> dict[str, Any]:
    """A program that answers `user_name`."""
    answer = json.dumps({"result": [{"id": ALICE, "output": user_name}]})
    return program(folder, name, f"cat > /dev/null; echo '{answer}'")


def test_each_program_is_asked_in_its_turn_and_tells_its_outcome(
    site: LauncherProcess, validate: Validate, account: Account, other_account: Account
) -> None:
    """The first has no answer, the second answers with the account it runs as, the third rests."""
    result = f'{{"result": [{{"id": "{ALICE}", "output": "\'$(id -un)\'"}}]}}'
    documents = [
        program(site.folder, "silent", "exit 3"),
        program(site.folder, "answers", f"cat > /dev/null; echo '{result}'"),
        says(site.folder, "rests", other_account.uname),
    ]
    site.mapping.write_text(json.dumps(documents))
    # `config.yaml` is not needed: the mapping and launcher.toml are all that is looked at.
    code, told = validate(f"{site.folder}/")
    assert told["mapped"]["user_name"] == account.uname
    assert told["mapped"]["username"] == USERNAME
    silent, answers, rests = told["rules"]
    assert (silent["user_name"], silent["why_not"]) == ("", "the program has no answer")
    assert (answers["user_name"], answers["why_not"]) == (account.uname, "")
    assert "not asked" in rests["why_not"]
    # Nobody gets the account that programs run as.
    assert (code, told["admitted"]) == (1, False)


def test_one_that_takes_too_long_is_killed_and_nobody_comes_in(
    site: LauncherProcess, validate: Validate, account: Account
) -> None:
    documents = [
        program(site.folder, "slow", "sleep 1000 & while :; do :; done"),
        says(site.folder, "behind", "nobody"),
    ]
    site.mapping.write_text(json.dumps(documents))
    code, told = validate(f"{site.folder}/")
    assert (code, told["mapped"]) == (1, None)
    assert "in time" in told["refused"]
    assert "in time" in told["rules"][0]["why_not"]
    until(lambda: processes_of(account.uid) == [])


def test_a_draft_of_roots_is_tried_as_well(
    site: LauncherProcess, validate: Validate, other_account: Account
) -> None:
    draft = site.folder / "draft.json"
    draft.write_text(json.dumps([says(site.folder, "new", other_account.uname)]))
    draft.chmod(0o644)
    code, told = validate(f"{site.folder}/", "--mapping", draft)
    assert told["rules"][0]["user_name"] == other_account.uname
    # It is the manager's account here, which the policy refuses.
    assert (code, other_account.uname in told["refused"]) == (1, True)


def test_what_others_may_have_written_is_not_run(
    site: LauncherProcess, validate: Validate, account: Account
) -> None:
    draft, trace = site.folder / "draft.json", site.folder / "trace"
    trace.mkdir(mode=0o777)
    trace.chmod(0o777)
    document = program(site.folder, "new", f"touch {trace}/ran")
    draft.write_text(json.dumps([document]))
    shutil.chown(draft, account.uid)
    code, told = validate(f"{site.folder}/", "--mapping", draft)
    assert (code, told["mapped"]) == (1, None)
    assert "only root can have written" in told["rules"][0]["why_not"]
    draft.chmod(0o644)
    shutil.chown(draft, "root")
    code, told = validate("--mapping", draft)
    assert "name the endpoint too" in told["rules"][0]["why_not"]
    assert list(trace.iterdir()) == []
