"""The table `[runtime]`: every fault is named, nothing is repaired."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from chamberlain_endpoint.launcher import runtime_config
from chamberlain_endpoint.launcher.settings import (
    EngineKind,
    Limits,
    Mount,
    RuntimeKind,
    RuntimeSettings,
    SchedulerSource,
)
from chamberlain_endpoint.launcher.toml_table import Table

DIGEST = "sha256:" + "a" * 64


def _parse(text: str) -> tuple[RuntimeSettings, list[str]]:
    faults: list[str] = []
    document = tomllib.loads(text)
    return runtime_config.parse(Table(document, "runtime.", faults)), faults


def test_nothing_said_is_processes() -> None:
    settings, faults = _parse("")
    assert faults == []
    assert settings == RuntimeSettings()
    assert settings.kind is RuntimeKind.PROCESS


def test_everything_said_is_taken() -> None:
    settings, faults = _parse(
        f"""
        kind = "container"
        if_unavailable = "process"
        engine = "docker"
        socket = "/run/docker.sock"
        image = "usual"
        network = "cluster"
        mounts = ["/scratch:rw", "/run/munge", "/a:/b:ro"]
        scheduler = "host"
        scheduler_paths = ["/opt/slurm", "/usr/bin/sbatch"]
        known_accounts = ["slurm"]
        [images]
        usual = "{DIGEST}"
        [limits]
        memory_mib = 1024
        cpus = 1.5
        [group_limits.staff]
        pids = 64
        [account_limits.alice]
        open_files = 128
        """
    )
    assert faults == []
    assert (settings.kind, settings.engine) == (RuntimeKind.CONTAINER, EngineKind.DOCKER)
    assert settings.if_unavailable is RuntimeKind.PROCESS
    assert settings.mounts == (
        Mount(Path("/scratch"), Path("/scratch"), is_writable=True),
        Mount(Path("/run/munge"), Path("/run/munge")),
        Mount(Path("/a"), Path("/b")),
    )
    assert settings.scheduler is SchedulerSource.HOST
    assert settings.scheduler_paths == (Path("/opt/slurm"), Path("/usr/bin/sbatch"))
    assert settings.limits == Limits(memory_mib=1024, cpus=1.5)
    assert dict(settings.group_limits)["staff"].pids == 64
    assert dict(settings.account_limits)["alice"].open_files == 128


def test_kinds_and_images_are_one_or_a_list_whose_first_is_the_usual_one() -> None:
    settings, faults = _parse(
        f"""
        kind = ["process", "container"]
        image = "a"
        [images]
        a = "{DIGEST}"
        b = "{DIGEST}"
        [group_kinds]
        students = "container"
        staff = ["container", "process"]
        [account_kinds]
        alice = "process"
        [group_images]
        staff = "b"
        [account_images]
        alice = ["b", "a"]
        """
    )
    process, container = RuntimeKind.PROCESS, RuntimeKind.CONTAINER
    assert faults == []
    assert (settings.kind, settings.more_kinds) == (process, (container,))
    # In the file's order, which decides for who is a member of both.
    assert settings.group_kinds == (("students", (container,)), ("staff", (container, process)))
    assert settings.account_kinds == (("alice", (process,)),)
    assert settings.group_images == (("staff", ("b",)),)
    assert settings.account_images == (("alice", ("b", "a")),)


def test_docker_is_looked_for_where_it_is() -> None:
    settings, _ = _parse('engine = "docker"')
    assert settings.socket == Path("/run/docker.sock")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('kind = "vm"', "runtime.kind"),
        ('kind = ["process", "vm"]', "runtime.kind"),
        ("kind = []", "runtime.kind"),
        ("kind = 1", "runtime.kind"),
        ('kind = ["process", "process"]', "names one twice"),
        ('group_kinds = {staff = "vm"}', "runtime.group_kinds.staff"),
        ("account_kinds = {alice = []}", "runtime.account_kinds.alice"),
        ('account_kinds = {alice = "container"}', "runtime.images"),
        ('account_images = {alice = "gpu"}', "runtime.account_images.alice names 'gpu'"),
        ("group_images = {staff = 3}", "runtime.group_images.staff"),
        ('kind = "container"', "runtime.images"),
        (f'kind = "container"\nimage = "b"\n[images]\na = "{DIGEST}"', "runtime.image must be"),
        ('[images]\na = "latest"', "digest"),
        (f'[images]\n"a b" = "{DIGEST}"', "no name"),
        (f'kind = "container"\nengine = "docker"\n[images]\na = "{DIGEST}"', "network"),
        ('mounts = ["scratch"]', "absolute"),
        ('mounts = ["/a/../etc"]', "absolute"),
        ('mounts = ["/scratch:/etc:rw"]', "belongs to the container"),
        ("[limits]\nmemory_mib = 3", "memory_mib"),
        ("[limits]\npids = 1", "pids"),
        ("[limits]\nmemory = 3", "did you mean memory_mib"),
        ("lease_s = 1", "runtime.lease_s must be 5 or more"),
        ("subordinate_first = 4294000000", "kernel's last"),
        ("subordinate_count = 10", "subordinate_count"),
        ("mounts_home = 1", "true or false"),
        ('netwrk = "host"', "did you mean network"),
        ('if_unavailable = "perhaps"', "if_unavailable"),
        ('engine = "lxc"', "engine"),
        ('scheduler = "slurm"', "scheduler must be"),
        ('scheduler = "host"', "scheduler_paths must name"),
        ('scheduler_paths = ["/opt/slurm"]', "scheduler_paths must name"),
        ('scheduler = "host"\nscheduler_paths = ["opt"]', "absolute"),
        ('scheduler = "host"\nscheduler_paths = ["/etc"]', "belongs to the container"),
    ],
)
def test_faults_are_named(text: str, fault: str) -> None:
    _, faults = _parse(text)
    assert any(fault in each for each in faults), faults
