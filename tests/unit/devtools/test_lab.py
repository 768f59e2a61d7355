"""What a lab is, and what it leaves, without booting one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from devtools.lab import cache, cgroups, furnish, recipe, state
from devtools.lab.plan import Plan
from devtools.lab.state import Facts, Running
from devtools.say import Reporter


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAMBERLAIN_LAB_CACHE", str(tmp_path / "cache"))


def test_an_account_has_the_same_uid_on_every_host_and_in_a_larger_lab() -> None:
    small, large = Plan().accounts, Plan(more_accounts=30).accounts
    assert small.items() <= large.items()
    assert (small["alice"], large["user30"]) == (1001, 1032)
    assert len(set(large.values())) == 32


def test_hosts_have_names_and_addresses_of_their_own() -> None:
    hosts = Plan(nodes=4).hosts
    assert [host.name for host in hosts] == ["hub", "login", "node1", "node2", "node3", "node4"]
    assert len({host.address for host in hosts}) == len(hosts)


def test_a_lab_may_boot_some_of_its_hosts() -> None:
    assert [host.name for host in Plan(only=("login",)).hosts] == ["login"]


def test_the_base_is_named_by_what_it_is_built_from() -> None:
    assert recipe.base_hash() == recipe.base_hash(recipe.PACKAGES)
    assert recipe.base_hash() != recipe.base_hash((*recipe.PACKAGES, "hello"))


def test_no_archive_is_named_unless_one_is_given() -> None:
    assert not [word for word in recipe.mmdebstrap_arguments(Path("root"), "") if "://" in word]
    assert recipe.mmdebstrap_arguments(Path("root"), "copy:/a")[-1] == "copy:/a"


def test_keys_do_not_stay_in_the_cache(tmp_path: Path) -> None:
    for name in ("etc/ssh/ssh_host_rsa_key", "etc/munge/munge.key", "var/cache/apt/a/b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "etc/ssh/sshd_config").touch()
    recipe.scrub(tmp_path)
    assert [str(one.relative_to(tmp_path)) for one in tmp_path.rglob("*") if one.is_file()] == [
        "etc/ssh/sshd_config"
    ]


def test_what_was_built_is_built_once() -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "file").write_text("whole")

    first = cache.entry("thing", "1", "building", build, Reporter())
    assert cache.entry("thing", "1", "building", build, Reporter()) == first
    assert (first / "file").read_text() == "whole"
    assert len(built) == 1


def test_a_build_that_failed_leaves_nothing() -> None:
    def build(folder: Path) -> None:
        (folder / "half").touch()
        raise cache.BuildFailedError("no network")

    with pytest.raises(cache.BuildFailedError, match="no network"):
        cache.entry("thing", "1", "building", build, Reporter())
    assert not list(cache.folder().glob("*thing*"))


def test_old_entries_go_unless_a_lab_stands_on_them() -> None:
    def made(key: str) -> Path:
        one = cache.entry("thing", key, "building", lambda _: None, Reporter())
        os.utime(one, (int(key), int(key)))
        return one

    first, second = made("1"), made("2")
    with cache.in_use(first):
        made("3")
        made("4")
    assert first.exists()
    assert not second.exists()


def test_what_a_dead_lab_left_is_swept_and_a_living_one_stays() -> None:
    for name in ("dead", "alive"):
        state.folder(name).mkdir(parents=True)
        (state.folder(name) / "file").touch()
    lock = state.hold("alive")
    assert lock is not None
    try:
        assert state.hold("alive") is None
        assert state.sweep() == ["dead"]
        assert state.names() == ["alive"]
    finally:
        os.close(lock)


def test_a_lab_in_a_copied_cache_is_known_as_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state.folder("one").mkdir(parents=True)
    lock = state.hold("one")
    assert lock is not None
    assert not state.is_copy("one")
    shutil.copytree(cache.folder(), tmp_path / "copy")
    monkeypatch.setenv("CHAMBERLAIN_LAB_CACHE", str(tmp_path / "copy"))
    # Its hosts, and their control groups, are those of the lab that lives.
    assert state.is_copy("one")
    assert state.sweep() == ["one"]
    os.close(lock)


def test_facts_are_read_back_while_the_lab_is_held_and_not_after() -> None:
    facts = Facts("one", 1, {"hub": Running("hub", "10.77.0.10", 2, ("/a",))}, {"a": 1}, "p", "")
    state.folder("one").mkdir(parents=True)
    lock = state.hold("one")
    assert lock is not None
    state.write(facts)
    assert state.read("one") == facts
    os.close(lock)
    assert state.read("one") is None


def test_control_groups_are_found_where_they_are_mounted() -> None:
    for folder in cgroups.hierarchies():
        assert (folder / "cgroup.procs").exists()


@pytest.mark.needs_root
def test_a_host_gets_its_scheduler_its_names_and_its_accounts(tmp_path: Path) -> None:
    etc, keys = tmp_path / "etc", tmp_path / "keys"
    for folder in ("etc/munge", "etc/ssh", "etc/slurm", "etc/rabbitmq", "root", "keys"):
        (tmp_path / folder).mkdir(parents=True)
    for file in ("group", "shadow"):
        (etc / file).touch()
    names = ("munge", "slurm", "rabbitmq")
    (etc / "passwd").write_text("".join(f"{one}:x:640:640::/:/bin/false\n" for one in names))
    for file in ("host", "host.pub", "id.pub"):
        (keys / file).write_text(file)
    plan = Plan(nodes=2)
    furnish.furnish(tmp_path, plan.hosts[0], plan, furnish.Secrets(keys, b"munge", "a password"))
    assert "NodeName=node1,node2 " in (etc / "slurm/slurm.conf").read_text()
    assert "10.77.0.11 login\n" in (etc / "hosts").read_text()
    assert "bob:x:1002:1002::/home/bob:/bin/bash\n" in (etc / "passwd").read_text()
    assert (etc / "munge/munge.key").stat().st_mode & 0o777 == 0o400
    assert "a password" not in (etc / "rabbitmq/definitions.json").read_text()
