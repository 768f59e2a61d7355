"""What enable-on-boot opens in the launcher's closed unit, and what it leaves closed."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from chamberlain_endpoint.cli import layout, packaged
from chamberlain_endpoint.launcher.settings import (
    LauncherSettings,
    MappingSettings,
    Mode,
    PamSettings,
    RuntimeKind,
    RuntimeSettings,
)

PACKAGING = Path(__file__).resolve().parents[4] / "packaging"
UNITS = sorted(PACKAGING.glob("*/*.service"))
WORST = 3.0
"""Of 10, as systemd-analyze counts."""
CONTAINERS = RuntimeSettings(kind=RuntimeKind.CONTAINER)


def _settings(runtime: RuntimeSettings, *, program: str = "") -> LauncherSettings:
    return LauncherSettings(
        mode=Mode.MULTI,
        endpoint_id="00000000-0000-4000-8000-000000000001",
        socket=Path("/run/chamberlain/cluster/launcher.sock"),
        state_dir=Path("/var/lib/chamberlain/cluster/launcher"),
        accounts_dir=Path("/var/lib/chamberlain/cluster/accounts"),
        hub_keys=(),
        runtime=runtime,
        mapping=MappingSettings(external_account=program),
    )


def test_for_containers_nothing_is_opened() -> None:
    assert packaged.drop_in(_settings(CONTAINERS)) == ""


@pytest.mark.parametrize(
    "runtime",
    [
        RuntimeSettings(),
        replace(CONTAINERS, if_unavailable=RuntimeKind.PROCESS),
        replace(CONTAINERS, more_kinds=(RuntimeKind.PROCESS,)),
        replace(CONTAINERS, group_kinds=(("staff", (RuntimeKind.PROCESS,)),)),
    ],
)
def test_processes_get_their_homes_and_the_network(runtime: RuntimeSettings) -> None:
    text = packaged.drop_in(_settings(runtime))
    for line in ("ProtectHome=no", "PrivateNetwork=no", "Environment=CHAMBERLAIN_CLOSED_FOR="):
        assert f"\n{line}\n" in text


def test_modules_of_pam_get_what_they_need() -> None:
    settings = replace(_settings(CONTAINERS), pam=PamSettings(enable=True))
    assert packaged.drop_in(settings) == packaged.drop_in(_settings(RuntimeSettings()))


def test_a_mapping_program_gets_the_network_alone() -> None:
    text = packaged.drop_in(_settings(CONTAINERS, program="mapper"))
    assert "PrivateNetwork=no" in text
    assert "ProtectHome" not in text
    assert "CLOSED_FOR" not in text


@pytest.mark.parametrize("name", ["cluster", "my-cluster", "a--b", "-a", "a%h", "é", "a b"])
def test_without_a_package_no_name_has_its_unit(name: str, tmp_path: Path) -> None:
    assert packaged.unit_of(replace(layout.plan(name, tmp_path), multi=True)) == ""


def test_the_launchers_unit_stands_beside_the_managers() -> None:
    unit = packaged.launcher_of("chamberlain-endpoint@cluster.service")
    assert unit == "chamberlain-launcher@cluster.service"


@pytest.mark.needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_each_unit_is_closed(unit: Path, tmp_path: Path) -> None:
    file = tmp_path / unit.name.replace("@", "@cluster")
    file.write_text(unit.read_text())
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", file],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= WORST


def test_there_are_three_units() -> None:
    assert len(UNITS) == 3
