"""The Vagrantfile's machines are those of the inventory that provisions them."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[3]


def test_the_machines_are_those_of_the_inventory() -> None:
    text = (ROOT / "Vagrantfile").read_text()
    table = text.partition("MACHINES = {")[2].partition("}")[0]
    machines = dict(re.findall(r'"([\w-]+)" => "([\d.]+)"', table))
    inventory = yaml.safe_load((ROOT / "ansible/inventories/vagrant/hosts.yml").read_text())["all"]
    hosts = {name: one["ansible_host"] for name, one in inventory["hosts"].items()}
    assert machines == hosts
    named = {name for group in inventory["children"].values() for name in group["hosts"]}
    assert named == set(machines)


def test_what_the_vagrantfile_names_is_there() -> None:
    text = (ROOT / "Vagrantfile").read_text()
    for key in ("config_file", "inventory_path", "playbook"):
        (path,) = re.findall(rf'ansible\.{key} = "([^"]+)"', text)
        assert (ROOT / path).exists(), path
