"""Who may come in, as whom, with what: through the SDK, on a real site."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from tests.system.conftest import (
    ALICE,
    BOB,
    MALLORY,
    TO_DENIED_GROUP,
    TO_MANAGER,
    TO_NOBODY_HERE,
    TO_ROOT,
    TO_SYSTEM,
    Open,
)

from chamberlain import AuthenticationError, Client, Executor, InvalidRequestError
from devtools.site import CommandError, Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow]
WAIT_S = 60.0
AT_ONCE_S = 5.0


def who_am_i():
    import os
    import pathlib
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name, os.getuid(), str(pathlib.Path.cwd())


def says_no(executor: Executor) -> str:
    """Return the refusal, which must come at once."""
    started = time.monotonic()
    error = executor.submit(who_am_i).exception(timeout=WAIT_S)
    assert error is not None
    assert time.monotonic() - started < AT_ONCE_S
    return str(error)


@pytest.mark.needs_root
def test_two_people_run_as_two_accounts(open_as: Open, people: dict[str, str]) -> None:
    alice = open_as(ALICE).submit(who_am_i).result(WAIT_S)
    bob = open_as(BOB).submit(who_am_i).result(WAIT_S)
    assert (alice[0], bob[0]) == (people[ALICE], people[BOB])
    assert alice[1] != bob[1]
    assert min(alice[1], bob[1]) >= 1000


def test_the_owner_comes_in(open_as: Open, people: dict[str, str]) -> None:
    assert open_as(ALICE).submit(who_am_i).result(WAIT_S)[0] == people[ALICE]


def test_other_options_are_another_user_endpoint(open_as: Open) -> None:
    folders = {
        open_as(ALICE, MAX_WORKERS=workers).submit(who_am_i).result(WAIT_S)[2] for workers in (1, 2)
    }
    assert len(folders) == 2


def test_somebody_unknown_is_told_who_was_not_mapped(open_as: Open) -> None:
    said = says_no(open_as(MALLORY))
    assert "Request payload failed validation" in said
    assert "Identity failed to map to a local user name" in said
    assert MALLORY in said


@pytest.mark.needs_root
@pytest.mark.parametrize("person", [TO_ROOT, TO_SYSTEM, TO_MANAGER, TO_DENIED_GROUP])
def test_a_mapping_to_a_refused_account_lets_nobody_in(open_as: Open, person: str) -> None:
    said = says_no(open_as(person))
    assert "failed validation" in said
    # What the account is, is the administrator's to know.
    assert "uid" not in said


@pytest.mark.needs_root
def test_a_mapping_to_an_account_that_is_not_there_lets_nobody_in(open_as: Open) -> None:
    assert "failed validation" in says_no(open_as(TO_NOBODY_HERE))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"MAX_WORKERS": 0}, ("MAX_WORKERS", "minimum")),
        ({"MAX_WORKERS": "2"}, ("MAX_WORKERS", "integer")),
        ({"worker_init": "rm -rf /"}, ("worker_init",)),
    ],
)
def test_options_outside_the_schema_are_told_with_path_and_reason(
    open_as: Open, options: dict[str, object], words: tuple[str, ...]
) -> None:
    error = open_as(ALICE, **options).submit(who_am_i).exception(timeout=WAIT_S)
    assert isinstance(error, InvalidRequestError)
    assert all(word in str(error) for word in words)


@pytest.mark.parametrize(
    ("broken", "cause"),
    [
        ("undefined", "no_such_name"),
        ("yaml", "YAML"),
        ("engine", 'did you mean "ThreadPoolEngine"'),
    ],
)
def test_a_template_that_does_not_work_is_told_at_once(
    open_as: Open, broken: str, cause: str
) -> None:
    assert cause in says_no(open_as(ALICE, BREAK=broken))


def test_an_unknown_token_is_refused(site: Site) -> None:
    with pytest.raises(AuthenticationError):
        Client(site.hub_url, "chp_" + "x" * 43).whoami()


def test_a_revoked_token_is_refused_at_once(site: Site) -> None:
    made = site.hub_command("token", "create", ALICE)
    client = Client(site.hub_url, made["token"])
    assert client.whoami()["preferred_username"] == ALICE
    site.hub_command("token", "revoke", made["id"])
    with pytest.raises(AuthenticationError):
        client.whoami()


@pytest.mark.needs_root
def test_a_mapping_file_that_others_can_write_keeps_the_launcher_down(
    site: Site, tmp_path_factory: pytest.TempPathFactory
) -> None:
    site.stop_endpoint()
    mapping = site.config_dir / site.name / "identity_mapping_config.json"
    mode = mapping.stat().st_mode
    try:
        mapping.chmod(0o666)
        with pytest.raises(CommandError, match="others may write to it"):
            site.endpoint_command("start", site.name, "--detach")
        (row,) = site.endpoint_command("list")["endpoints"]
        assert row["state"] == "stopped"
    finally:
        mapping.chmod(mode)
        site.start_endpoint()


@pytest.mark.needs_root
def test_a_function_cannot_read_what_is_not_its_accounts(open_as: Open, site: Site) -> None:
    def readable(paths):
        import pathlib

        found = []
        for path in paths:
            try:
                pathlib.Path(path).read_bytes()
                found.append(path)
            except OSError:
                pass
        return found

    config = site.config_dir / site.name
    secrets = [
        config / "token",
        config / "launcher.toml",
        site.folder / "hub.toml",
        site.folder / "site.json",
        site.folder / "hub" / "hub.db",
        Path("/etc/shadow"),
    ]
    assert all(path.exists() for path in secrets)
    seen = open_as(ALICE).submit(readable, [os.fspath(path) for path in secrets]).result(WAIT_S)
    assert seen == []
