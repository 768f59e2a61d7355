"""The compose file, its settings and its secrets say the same."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from devtools.image.build import KINDS
from devtools.paths import ROOT

FOLDER = ROOT / "containers"
COMPOSE = (FOLDER / "compose.yaml").read_text()
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_secrets", FOLDER / "make_secrets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()


def test_each_variable_is_documented_with_the_value_that_holds_without_it() -> None:
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE))
    lines = (FOLDER / "env.example").read_text().splitlines()
    told = dict(one.split("=", 1) for one in lines if one and not one.startswith("#"))
    assert told == used
    assert COMPOSE.count("${") == len(re.findall(r"\$\{\w+:-", COMPOSE))


def test_its_images_are_those_that_the_checkout_builds() -> None:
    images = re.findall(r"_IMAGE:-localhost/([^}]*)\}", COMPOSE)
    kinds = [kind for kind in KINDS.values() if kind.folder != "user-endpoint"]
    assert sorted(images) == sorted(f"{kind.name}:{VERSION}" for kind in kinds)


def test_every_service_has_the_walls_and_each_secret_its_owner() -> None:
    document = yaml.safe_load(COMPOSE)
    owners = {}
    for name, service in document["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges"], name
        assert set(service["ulimits"]) == {"nofile", "nproc"}, name
        assert service["restart"] == "always", name
        assert isinstance(service["healthcheck"]["test"], str), name
        for secret in service["secrets"]:
            file = document["secrets"][secret["source"]]["file"].rpartition("/")[2]
            owners[file] = int(service["user"].partition(":")[0])
    assert owners == script.OWNERS


def test_the_hubs_settings_hold_the_passwords_and_keep_other_lines() -> None:
    before = script.SETTINGS + 'max_requests_per_10_s = 100\nbroker_url = "amqp://a:b@c:1/d"\n'
    text = script.settings(before, "of-broker", "of-database")
    assert script.passwords(text) == ("of-broker", "of-database")
    values = tomllib.loads(text)
    assert values["max_requests_per_10_s"] == 100
    assert values["broker_url"] == "amqp://chamberlain-hub:of-broker@broker:5672/chamberlain"
    assert script.settings(text, "of-broker", "of-database") == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x", "is not TOML"),
        ("", "has no password in database_url"),
        (
            'database_url = "postgresql://a:b@c/d"\nbroker_url = "amqp://a:b@c/d"\n'
            'broker_management_url = "http://a:other@c"\n',
            "one password in broker_url and another in",
        ),
    ],
)
def test_settings_that_cannot_be_mended_say_why(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        script.passwords(text)


def test_broker_and_database_know_a_password_without_having_it() -> None:
    for name, text in (
        (script.BROKER, script.definitions("secret")),
        (script.DATABASE, script.database_proof("secret", b"0123456789abcdef")),
    ):
        assert "secret" not in text
        assert script.knows(name, text, "secret")
        assert not script.knows(name, text, "another")
        assert not script.knows(name, "", "secret")
        assert not script.knows(name, "[]", "secret")


def test_what_is_wrong_is_told_a_sentence_each(tmp_path: Path) -> None:
    text = script.settings(script.SETTINGS, "of-broker", "of-database")
    (tmp_path / script.HUB).write_text(text)
    (tmp_path / script.HUB).chmod(0o644)
    (tmp_path / script.BROKER).write_text(script.definitions("of-yesterday"))
    said = script.faults(tmp_path)
    assert f"{tmp_path}/database.sql is missing." in said
    assert f"{tmp_path}/database-admin is missing." in said
    assert f"{tmp_path}/broker.json is of another password than the one in hub.toml." in said
    (open_one,) = (one for one in said if one.startswith(f"{tmp_path}/hub.toml"))
    assert f"is uid {os.getuid()}'s with mode 0644" in open_one


def test_brokers_hash_is_rabbitmqs() -> None:
    # The example of RabbitMQ's own documentation.
    known = script.broker_hash("test12", bytes.fromhex("908dc60a"))
    assert known == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    assert len(base64.b64decode(known)) == 36
    assert json.loads(script.definitions("x"))["vhosts"] == [{"name": "chamberlain"}]
