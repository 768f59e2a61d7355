"""The limits of containers on a host whose control groups are of version 2, as hosts are today."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.vm.conftest import MOST_S, Place

from devtools.processes import wait_until

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_vm,
    pytest.mark.slow,
    pytest.mark.timeout(2400),
]
MIB = 1024 * 1024
OPTIONS = {"alice": {"ENGINE": "htex"}, "bob": {}}
"""Alice's functions run in worker processes, bob's in threads of his user endpoint."""
ALICE = {"memory.max": 600 * MIB, "pids.max": 150, "cpu.max": "100000 100000"}
BOB = {"memory.max": 768 * MIB, "pids.max": 300, "cpu.max": "150000 100000"}

OUTSIDE = """\
import json, pathlib, sys
found = {}
for file in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    try:
        words = file.read_bytes().split(b"\\0")
        if b"chamberlain_endpoint.user.main" not in words or b"catatonit" in words[0]:
            continue
        own = (file.parent / "cgroup").read_text().strip().partition("::")[2]
        folder = pathlib.Path("/sys/fs/cgroup" + own)
        uid = (file.parent / "status").read_text().split("Uid:")[1].split()[0]
        names = ("memory.max", "memory.swap.max", "pids.max", "cpu.max", "cpu.stat", "pids.events")
        found[uid] = {name: (folder / name).read_text().strip() for name in names}
    except OSError:
        continue
json.dump(found, sys.stdout)
"""


def result(answer: dict[str, object]) -> dict[str, str]:
    assert answer["error"] is None, answer
    found = answer["result"]
    assert isinstance(found, dict)
    return found


def outside(place: Place) -> dict[str, dict[str, str]]:
    """Return uid -> what the host tells of the control group of that account's user endpoint."""
    found: dict[str, dict[str, str]] = json.loads(
        place.machine.run(["python3", "-c", OUTSIDE]).stdout
    )
    return found


@pytest.fixture
def enough(place: Place) -> Iterator[str]:
    """A file whose being ends what alice's `fork` made."""
    name = "/home/alice/enough"
    yield name
    place.machine.run(["touch", name])


def test_the_host_has_control_groups_of_version_2(place: Place) -> None:
    said = place.machine.run(["stat", "-fc", "%T", "/sys/fs/cgroup"]).stdout.strip()
    assert said == "cgroup2fs"


@pytest.mark.parametrize(("account", "uid", "limits"), [("alice", 1001, ALICE), ("bob", 1002, BOB)])
def test_each_account_has_its_limits_seen_from_inside_and_outside(
    place: Place, account: str, uid: int, limits: dict[str, object]
) -> None:
    inside = result(place.call(account, "look", **OPTIONS[account]))
    assert inside["uid"] == uid
    seen = outside(place)[str(uid)]
    for name, limit in limits.items():
        assert inside[name] == str(limit), name
        assert seen[name] == str(limit), name
    # Or what does not fit would only be slow.
    assert (inside["memory.swap.max"], seen["memory.swap.max"]) == ("0", "0")


def test_a_function_that_needs_more_memory_ends_with_a_sentence_in_its_future(
    place: Place,
) -> None:
    answer = place.call("alice", "memory", **OPTIONS["alice"])
    told = str(answer["error"])
    assert "out of memory" in told
    assert "600 MiB" in told
    # The user endpoint is as it was, and so is everybody else's.
    assert result(place.call("alice", "look", **OPTIONS["alice"]))["uid"] == 1001
    assert result(place.call("bob", "look"))["uid"] == 1002


def test_a_fork_bomb_ends_at_the_limit_and_harms_nobody(place: Place, enough: str) -> None:
    with ThreadPoolExecutor() as pool:
        bomb = pool.submit(place.call, "alice", "fork", **OPTIONS["alice"])
        full = ["test", "-e", "/home/alice/full"]
        is_full = wait_until(lambda: place.machine.run(full, check=False).returncode == 0, MOST_S)
        try:
            assert is_full
            assert result(place.call("bob", "look"))["uid"] == 1002
        finally:
            place.machine.run(["touch", enough])
        said = result(bomb.result())
    assert said["stopped_by"] == "BlockingIOError"
    assert 10 < int(said["made"]) < 150
    events = dict(line.split() for line in said["pids.events"].splitlines())
    assert int(events["max"]) > 0


def test_more_processors_than_allowed_are_not_given(place: Place) -> None:
    said = result(place.call("alice", "burn", **OPTIONS["alice"]))
    before, after = (throttled(said[name]) for name in ("before", "after"))
    assert after > before
    assert throttled(outside(place)["1001"]["cpu.stat"]) >= after


def throttled(stat: str) -> int:
    return int(dict(line.split() for line in stat.splitlines())["nr_throttled"])
