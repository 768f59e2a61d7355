"""What a container can see and do, looked at from inside and from outside.

Each line of the isolation that the site was promised has a test that fails without it.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests import container_host as containers
from tests.contract.test_runtime import ContainerBench
from tests.launcher_builders import ENDPOINT, UEP, make_spec

from chamberlain_endpoint.launcher.protocol import Account, Group
from chamberlain_endpoint.launcher.runtime.container import ContainerRuntime
from chamberlain_endpoint.launcher.settings import Limits, Mount

pytestmark = [pytest.mark.needs_podman, pytest.mark.needs_root, pytest.mark.slow]

_LOOK = """
import grp, json, os, pwd, resource, sys
def attempt(path):
    try:
        with open(path, "w"):
            return "written"
    except OSError as error:
        return error.strerror
lines = open("/proc/self/status").read().splitlines()
status = dict(l.split(":\\t", 1) for l in lines if ":\\t" in l)
def becomes(change):
    try:
        change(0)
    except OSError:
        return "refused"
    return "allowed"
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": sorted(os.getgroups()),
    "uid_map": open("/proc/self/uid_map").read().split(),
    "caps": {k: v for k, v in status.items() if k.startswith("Cap")},
    "no_new_privs": status["NoNewPrivs"], "seccomp": status["Seccomp"],
    "writes": {p: attempt(p) for p in sys.argv[1:]},
    "processes": sorted(int(p) for p in os.listdir("/proc") if p.isdigit()),
    "namespaces": {
        n: os.readlink("/proc/self/ns/" + n) for n in ("user", "pid", "ipc", "mnt", "net")
    },
    "names": sorted(e.pw_name for e in pwd.getpwall()),
    "group_names": sorted(e.gr_name for e in grp.getgrall()),
    "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
    "root_owner": os.stat("/").st_uid,
    "environment": sorted(os.environ),
    "becomes_root": [becomes(os.setuid), becomes(os.setgid)],
    "mounts": [l.split()[1] for l in open("/proc/self/mounts")],
}), file=sys.stderr, flush=True)
import signal
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
sys.stdin.readline()
print("serving", file=sys.stderr, flush=True)
while True:
    signal.pause()
"""


class Box(ContainerBench):
    """A bench whose containers run a text of Python."""

    def run(
        self,
        code: str,
        *arguments: str,
        account: Account | None = None,
        user_endpoint: str = UEP,
        **changes: Any,
    ) -> None:
        spec = make_spec(
            self.folder, "", account=account or self.account, user_endpoint=user_endpoint
        )
        program = (spec.arguments[0], "-I", "-c", code, *arguments)
        self.runtime.start(replace(spec, arguments=program, **changes))

    def look(self, *paths: str, **changes: Any) -> dict[str, Any]:
        """Return what a container sees of itself; it goes on running."""
        self.run(_LOOK, *paths, **changes)
        self.until_serving(changes.get("user_endpoint", UEP))
        kept = self.runtime._containers[changes.get("user_endpoint", UEP)]  # type: ignore[attr-defined]
        line = next(each for each in kept.stream.tail.splitlines() if each.startswith(b"{"))
        return dict(json.loads(line))

    def pid(self, user_endpoint: str = UEP) -> int:
        return self.runtime.pid_of(user_endpoint)

    def document(self, user_endpoint: str = UEP) -> str:
        """Return all that the engine tells of the container."""
        kept = self.runtime._containers[user_endpoint]  # type: ignore[attr-defined]
        return _podman("inspect", kept.id)

    def use(self, **changes: Any) -> None:
        """Go on with other settings."""
        self.runtime.close()
        self.runtime = ContainerRuntime(self.loop, containers.settings(self.folder, **changes))
        self.runtime.open(self.exits.append)
        self.until(lambda: self.runtime._is_known)  # type: ignore[attr-defined]


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    made = Box(tmp_path)
    yield made
    made.runtime.close()
    made.loop.close()
    assert containers.of_endpoint(ENDPOINT) == []


def test_it_is_the_account_and_nobody_else(box: Box) -> None:
    seen = box.look()
    assert (seen["uid"], seen["gid"]) == (box.account.uid, box.account.gid)
    assert seen["becomes_root"] == ["refused", "refused"]
    assert seen["root_owner"] == 65534, "the image's files must belong to nobody it knows"


def test_only_the_accounts_ids_stand_for_themselves(box: Box) -> None:
    box.look()
    for kind in ("uid_map", "gid_map"):
        rows = Path(f"/proc/{box.pid()}/{kind}").read_text().splitlines()
        extents = [tuple(map(int, row.split())) for row in rows]
        same = [each for each in extents if each[0] == each[1]]
        assert same == [(box.account.uid, box.account.uid, 1)]
        for inside, outside, _ in extents:
            if inside != outside:
                assert outside >= 1_000_000_000, "all else is subordinate, root first of all"


def test_the_containers_root_is_nobody_on_the_host(box: Box) -> None:
    box.look()
    top = Path(f"/proc/{box.pid()}/status").read_text()
    uids = next(line for line in top.splitlines() if line.startswith("Uid:")).split()[1:]
    assert set(uids) == {str(box.account.uid)}
    assert _link(f"/proc/{box.pid()}/ns/user") != _link("/proc/self/ns/user")


def test_its_groups_are_the_accounts_and_each_stands_for_itself(box: Box) -> None:
    subprocess.run(["groupadd", "-f", "-g", "21500", "chtestlab"], check=True)
    groups = (*box.account.groups, Group(21500, "chtestlab"))
    seen = box.look(account=replace(box.account, groups=groups))
    assert seen["groups"] == sorted({box.account.gid, 21500})
    assert "21500" in Path(f"/proc/{box.pid()}/gid_map").read_text()


def test_it_has_no_capability_and_gains_none(box: Box) -> None:
    seen = box.look()
    assert set(seen["caps"].values()) == {"0000000000000000"}
    assert seen["no_new_privs"] == "1"
    assert seen["seccomp"] == "2"
    status = Path(f"/proc/{box.pid()}/status").read_text()
    assert "CapEff:\t0000000000000000" in status


def test_namespaces_are_its_own_but_the_network(box: Box) -> None:
    seen = box.look()["namespaces"]
    for name in ("user", "pid", "ipc", "mnt"):
        assert seen[name] != _link(f"/proc/self/ns/{name}"), name
    assert seen["net"] == _link("/proc/self/ns/net"), "workers must be able to call back"


def test_it_sees_no_process_but_its_own(box: Box) -> None:
    assert len(box.look()["processes"]) <= 2


def test_nothing_but_its_own_places_can_be_written(box: Box) -> None:
    home = box.account.dir
    own = box.folder / str(box.account.uid)
    places = ("/x", "/etc/x", "/usr/bin/x", f"{home}/x", f"{own}/x", "/tmp/x", "/dev/shm/x")
    seen = box.look(*places)["writes"]
    assert seen["/x"] == seen["/etc/x"] == seen["/usr/bin/x"] == "Read-only file system"
    assert seen[f"{home}/x"] == seen[f"{own}/x"] == seen["/tmp/x"] == "written"
    # Where locks between processes are: pools of processes need it.
    assert seen["/dev/shm/x"] == "written"
    assert not Path("/dev/shm/x").exists(), "/dev/shm is private"
    assert Path(home, "x").stat().st_uid == box.account.uid
    assert not Path("/tmp/x").exists(), "/tmp is private"
    Path(home, "x").unlink()


def test_it_knows_only_the_accounts_that_tools_need(box: Box) -> None:
    seen = box.look()
    assert box.account.uname in seen["names"]
    assert set(seen["names"]) <= {box.account.uname, "root", "nobody", "munge", "slurm"}
    assert "sshd" not in seen["names"]


def test_configuration_and_credentials_are_on_standard_input_only(box: Box) -> None:
    secret = "hunter2-of-this-test"
    seen = box.look(first_line=json.dumps({"password": secret}).encode() + b"\n")
    assert secret not in box.document()
    assert secret.encode() not in Path(f"/proc/{box.pid()}/cmdline").read_bytes()
    assert secret.encode() not in Path(f"/proc/{box.pid()}/environ").read_bytes()
    found = subprocess.run(
        ["grep", "-rl", secret, "/var/lib/containers", "/run/containers", str(box.folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.stdout == ""
    assert not {name for name in seen["environment"] if "TOKEN" in name or "SECRET" in name}


def test_a_site_adds_mounts_and_a_request_cannot(box: Box, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    project.chmod(0o777)
    root = containers.ROOT
    box.use(mounts_home=True, extra_mounts=(Mount(project, Path("/project"), is_writable=True),))
    seen = box.look("/project/x", f"{root}/x")["writes"]
    assert seen["/project/x"] == "written"
    assert seen[f"{root}/x"] == "Read-only file system"


def test_a_home_that_is_not_the_accounts_is_not_mounted(box: Box) -> None:
    for home in ("/", "/root", "/etc", "/nonexistent"):
        seen = box.look(account=replace(box.account, dir=home))
        assert home not in seen["mounts"] or home == "/"
        box.runtime.stop(UEP, 0.0)
        box.until(lambda: bool(box.exits))
        box.exits.clear()


def test_open_files_and_core_files_are_limited(box: Box) -> None:
    box.use(limits=Limits(open_files=512))
    seen = box.look()
    assert (seen["files"], seen["core"]) == (512, 0)


def test_more_memory_than_allowed_ends_it_with_a_reason(box: Box) -> None:
    box.use(limits=Limits(memory_mib=64))
    box.run("x = bytearray(400 * 1024 * 1024); print(len(x))")
    box.until(lambda: bool(box.exits))
    assert box.exits[0].signal == 9
    assert b"more memory than the site's limit" in box.exits[0].tail


def test_more_processes_than_allowed_cannot_be_forked(box: Box) -> None:
    box.use(limits=Limits(pids=32))
    box.run(
        "import os, sys, time\n"
        "made = 0\n"
        "try:\n"
        "    while made < 200:\n"
        "        if os.fork() == 0:\n"
        "            time.sleep(60)\n"
        "        made += 1\n"
        "except OSError:\n"
        "    pass\n"
        "sys.stderr.write(f'made {made}')\n"
        "sys.stderr.flush()\n"
        "os._exit(0)\n"
    )
    box.until(lambda: bool(box.exits))
    made = int(box.exits[0].tail.split(b"made ")[1])
    assert 20 <= made < 32


def test_limits_are_chosen_by_account_then_group(box: Box) -> None:
    name = box.account.uname
    box.use(
        limits=Limits(open_files=1000),
        group_limits=((box.account.groups[0].name, Limits(open_files=700)),),
    )
    assert box.look()["files"] == 700
    box.use(account_limits=((name, Limits(open_files=600)),))
    assert box.look()["files"] == 600


def test_the_end_of_the_first_process_ends_all_that_it_started(box: Box) -> None:
    box.start("breed")
    told = box.folder / str(box.account.uid) / "told.json"
    box.until(told.exists)
    space = _link(f"/proc/{box.pid()}/ns/pid")
    box.runtime.stop(UEP, 0.0)
    box.until(lambda: bool(box.exits))
    assert _in_space(space) == []


def test_killing_the_first_process_from_outside_is_told_as_an_end(box: Box) -> None:
    box.look()
    os.kill(box.pid(), 9)
    box.until(lambda: bool(box.exits))
    assert box.exits[0].signal == 9


def test_two_accounts_share_no_id_and_the_image_is_not_copied(box: Box) -> None:
    other = "00000000-0000-4000-8000-00000000beef"
    bob = containers.account("chtestbox2", 21002)
    before = _storage_mib()
    box.look()
    box.look(account=bob, user_endpoint=other)
    maps = [
        {int(row.split()[1]) for row in Path(f"/proc/{pid}/uid_map").read_text().splitlines()}
        for pid in (box.pid(), box.pid(other))
    ]
    assert not maps[0] & maps[1]
    assert _storage_mib() - before < 10


def test_an_engine_that_hangs_up_costs_nothing(box: Box) -> None:
    box.look()
    kept = box.runtime._containers[UEP]  # type: ignore[attr-defined]
    kept.stream._socket.shutdown(2)
    box.until(lambda: kept.stream._socket is None)
    box.until(lambda: kept.stream._socket is not None)
    box.runtime.stop(UEP, 10.0)
    box.until(lambda: bool(box.exits))
    assert box.exits[0].exit_code == 0


def _link(path: str | Path) -> str:
    return str(Path(path).readlink())


def _podman(*arguments: str) -> str:
    done = subprocess.run(
        ["podman", *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def _storage_mib() -> int:
    done = subprocess.run(
        ["du", "-sm", "/var/lib/containers"], capture_output=True, text=True, check=False
    )
    return int(done.stdout.split()[0])


def _in_space(space: str) -> list[int]:
    found = []
    for each in Path("/proc").glob("[0-9]*"):
        try:
            if _link(each / "ns/pid") == space:
                found.append(int(each.name))
        except OSError:
            continue
    return found
