"""The collection's promises that need no host: names, defaults, inventories."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

ANSIBLE = Path(__file__).resolve().parents[3] / "ansible"
ROLES = sorted(path.parent.parent for path in ANSIBLE.glob("roles/*/defaults/main.yml"))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_documented_as_it_is(role: Path) -> None:
    defaults = read(role / "defaults/main.yml")
    documented = read(role / "meta/argument_specs.yml")["argument_specs"]["main"]["options"]
    assert {name: spec.get("default") for name, spec in documented.items()} == defaults
    assert all(name.startswith(f"{role.name}_") for name in defaults)
    assert all(spec["description"].strip() for spec in documented.values())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_preflight_checks_the_same_variables_as_the_role(role: Path) -> None:
    specs = read(role / "meta/argument_specs.yml")["argument_specs"]
    assert specs["preflight"]["options"] == specs["main"]["options"]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_no_task_gets_a_secret_on_its_command_line(role: Path) -> None:
    for file in role.glob("tasks/*.yml"):
        for task in flat(read(file) or []):
            command = task.get("ansible.builtin.command", {})
            words = " ".join(map(str, command.get("argv", []))) if command else ""
            assert "token }}" not in words, file
            assert "password" not in words, file
            assert "ansible.builtin.shell" not in task, file


@pytest.mark.parametrize("name", ["demo", "example", "vagrant"])
def test_inventories_name_only_variables_and_groups_that_there_are(name: str) -> None:
    folder = ANSIBLE / "inventories" / name
    known = {variable for role in ROLES for variable in read(role / "defaults/main.yml")}
    given = set(read(folder / "group_vars/all.yml"))
    assert given <= known
    groups = set(read(folder / "hosts.yml")["all"]["children"])
    named = (ANSIBLE / "site.yml").read_text()
    assert all(group in named for group in groups)


def flat(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tasks with those of their blocks."""
    found = []
    for task in tasks:
        found.append(task)
        for part in ("block", "rescue", "always"):
            found += flat(task.get(part, []))
    return found
