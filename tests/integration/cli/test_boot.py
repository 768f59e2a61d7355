from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.integration.cli.conftest import Run

from chamberlain_endpoint.cli import boot, boot_service, layout
from chamberlain_endpoint.cli.boot_unit import is_for, unit_name, unit_text

WORST_EXPOSURE = {"processes": 5.5, "containers": 3.0}
"""Of 10, as systemd-analyze counts; a unit without hardening has 9.6."""


def _analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["systemd-analyze", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def _unit(folder: Path, name: str = "cluster", *, multi: bool = True) -> Path:
    where = replace(layout.plan(name, folder), multi=multi)
    file = folder / unit_name(name)
    file.write_text(unit_text(where, folder))
    return file


def test_a_unit_is_written_told_and_taken_away(cluster: Path, run: Run, tmp_path: Path) -> None:
    units = tmp_path / "units"
    ran = run("enable-on-boot", "cluster", "--unit-dir", units, "--json")
    unit = units / "chamberlain-endpoint-cluster.service"
    assert (ran.code, ran.document["unit"], ran.document["did"]) == (0, str(unit), [])
    assert any("daemon-reload" in command for command in ran.document["next"])
    assert unit.stat().st_mode & 0o777 == 0o644
    assert run("disable-on-boot", "cluster", "--unit-dir", units).code == 0
    assert list(units.iterdir()) == []
    again = run("disable-on-boot", "cluster", "--unit-dir", units)
    assert again.code == 1
    assert "does not start on boot" in again.err


def test_the_unit_holds_no_secret(tmp_path: Path) -> None:
    text = _unit(tmp_path).read_text()
    assert "Environment=" not in text
    assert "chp_" not in text


def test_an_endpoint_that_is_not_there_gets_no_unit(run: Run, tmp_path: Path) -> None:
    assert run("enable-on-boot", "nothing", "--unit-dir", tmp_path).code == 1
    assert list(tmp_path.glob("*.service")) == []


@pytest.mark.needs_systemd
@pytest.mark.parametrize("multi", [True, False])
@pytest.mark.parametrize("name", ["cluster", "a%h$HOME;b", "Zürich-é"])
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path, name: str, multi: bool) -> None:
    file = _unit(tmp_path, name, multi=multi)
    # Its own check wants the program to be there and to be executable, as does ours.
    done = _analyze("verify", "--man=no", *([] if multi else ["--user"]), file)
    ours = [line for line in done.stderr.splitlines() if "chamberlain" in line]
    assert ours == []


@pytest.mark.needs_systemd
@pytest.mark.parametrize("runtime", WORST_EXPOSURE)
def test_the_unit_is_closed(tmp_path: Path, runtime: str) -> None:
    where = replace(layout.plan("cluster", layout.SYSTEM_CONFIG_DIR), multi=True)
    file = tmp_path / unit_name("cluster")
    file.write_text(unit_text(where, None, has_processes=runtime == "processes"))
    done = _analyze("security", "--offline=true", file)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= WORST_EXPOSURE[runtime]


def test_only_the_usual_folders_are_closed_for_containers(tmp_path: Path) -> None:
    # Elsewhere they may be in a home, which would be read-only.
    where = replace(layout.plan("cluster", tmp_path), multi=True)
    assert "CLOSED_FOR" not in unit_text(where, tmp_path, has_processes=False)


@pytest.mark.parametrize("name", ["cluster", "a%h$HOME;b", "Zürich-é"])
def test_a_unit_is_known_for_the_endpoint_it_was_written_for(tmp_path: Path, name: str) -> None:
    where = layout.plan(name, tmp_path / "one")
    text = unit_text(where, tmp_path / "one")
    assert is_for(text, where)
    assert not is_for(text, layout.plan(name, tmp_path / "other"))
    assert not is_for(text, layout.plan(f"{name}2", tmp_path / "one"))
    usual = layout.plan(name, None)
    assert is_for(unit_text(usual, None), usual)
    assert not is_for(unit_text(usual, None), where)


def test_an_endpoint_that_goes_takes_its_unit_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_service, "SYSTEM_UNITS", tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    mine, other = layout.plan("cluster", tmp_path / "one"), layout.plan("cluster", tmp_path / "two")
    file = boot_service.unit_file(mine)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(unit_text(mine, tmp_path / "one"))
    boot.forget(other)
    assert boot_service.has_own_unit(mine)
    boot.forget(mine)
    assert not file.exists()
    boot.forget(mine)


@pytest.mark.parametrize("line", ["Environment=", "User=chamberlain", "LoadCredential=token"])
def test_what_the_unit_does_not_do_is_not_in_it(tmp_path: Path, line: str) -> None:
    lines = _unit(tmp_path).read_text().splitlines()
    assert not [each for each in lines if each.startswith(line)]
