"""The hub's settings: nothing is repaired, everything wrong is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from chamberlain_hub.config import HubSettings, SettingsInvalidError
from chamberlain_wire.logs import Secret


def _file(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    file = tmp_path / "hub.toml"
    file.write_text(text)
    file.chmod(mode)
    return file


def _faults(path: Path, environment: dict[str, str] | None = None) -> tuple[str, ...]:
    with pytest.raises(SettingsInvalidError) as caught:
        HubSettings.load(path, environment or {})
    return caught.value.faults


def test_a_host_with_rabbitmq_needs_no_settings(tmp_path: Path) -> None:
    settings = HubSettings.load(_file(tmp_path, ""), {"CHAMBERLAIN_HUB_DATA_DIR": str(tmp_path)})
    assert settings.public_url == "http://127.0.0.1:5000"
    assert settings.database_url == Secret(f"sqlite:///{tmp_path}/hub.db")
    assert settings.broker_url.reveal() == "amqp://guest:guest@127.0.0.1:5672/%2F"
    assert (settings.broker_public_host, settings.broker_public_port) == ("127.0.0.1", 5672)
    assert (settings.broker_public_tls, settings.vhost) == (False, "/")


def test_what_clients_are_told_follows_from_the_brokers_url(tmp_path: Path) -> None:
    file = _file(tmp_path, 'broker_url = "amqps://hub:pw@mq.example.edu/compute"')
    settings = HubSettings.load(file, {})
    assert (settings.broker_public_host, settings.broker_public_port) == ("mq.example.edu", 5671)
    assert (settings.broker_public_tls, settings.vhost) == (True, "compute")


def test_what_is_said_goes_before_what_follows(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        """
        public_url = "https://compute.example.edu/"
        broker_url = "amqp://hub:pw@10.0.0.5:5673/%2F"
        broker_public_host = "mq.example.edu"
        broker_public_port = 5671
        broker_public_tls = true
        vhost = "other"
        """,
    )
    settings = HubSettings.load(file, {})
    assert settings.public_url == "https://compute.example.edu"
    assert (settings.broker_public_host, settings.broker_public_port) == ("mq.example.edu", 5671)
    assert (settings.broker_public_tls, settings.vhost) == (True, "other")


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path, "listen_port = 5001\nsweep_period_s = 2")
    settings = HubSettings.load(
        None, {"CHAMBERLAIN_HUB_CONFIG": str(file), "CHAMBERLAIN_HUB_LISTEN_PORT": "5002"}
    )
    assert (settings.listen_port, settings.sweep_period_s) == (5002, 2.0)
    assert settings.public_url == "http://127.0.0.1:5002"


def test_an_address_of_version_six_is_written_in_brackets(tmp_path: Path) -> None:
    assert HubSettings.load(_file(tmp_path, 'listen_host = "::1"'), {}).public_url == (
        "http://[::1]:5000"
    )


def test_every_fault_is_told_at_once_with_its_path_and_source(tmp_path: Path) -> None:
    file = _file(
        tmp_path,
        """
        listn_port = 5001
        data_dir = "relative"
        listen_port = 70000
        sweep_period_s = -1
        start_timeout_s = nan
        database_url = "mysql://x"
        broker_url = "http://u:p@h"
        broker_management_url = "http://host-without-login"
        public_url = "ftp://x"
        """,
    )
    faults = _faults(file, {"CHAMBERLAIN_HUB_MAX_SUBMIT_BYTES": "many"})
    named = {fault.partition(":")[0].partition(" ")[0] for fault in faults}
    assert named == {
        "listn_port",
        "data_dir",
        "listen_port",
        "sweep_period_s",
        "start_timeout_s",
        "database_url",
        "broker_url",
        "broker_management_url",
        "public_url",
        "max_submit_bytes",
    }
    text = "\n".join(faults)
    assert "did you mean listen_port?" in text
    assert "max_submit_bytes (from CHAMBERLAIN_HUB_MAX_SUBMIT_BYTES): " in text


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ('database_url = "sqlite:///hub.db"', "absolute path"),
        ('database_url = "postgresql:hub"', "sqlite:// or postgresql://"),
        ('database_url = "postgresql://u:p@h:port/x"', "host or port"),
        ("database_url = 5", "a text is needed"),
        ('broker_url = "amqp://u@h"', "a user and a password"),
        ('broker_url = "amqp://u:p@/x"', "no host"),
        ('broker_url = "amqp://u:p@h:99999/x"', "host or port"),
        ('public_url = "https://u:p@h"', "without user"),
        ('public_url = "https://h?x=1"', "without user, query"),
        ("max_submit_bytes = 999999999999", "less than or equal"),
    ],
)
def test_an_address_that_cannot_work_is_refused(tmp_path: Path, setting: str, reason: str) -> None:
    (fault,) = _faults(_file(tmp_path, setting))
    assert reason in fault


def test_a_postgresql_socket_needs_no_host(tmp_path: Path) -> None:
    url = "postgresql:///hub?host=/run/postgresql"
    settings = HubSettings.load(_file(tmp_path, f'database_url = "{url}"'), {})
    assert settings.database_url.reveal() == url


def test_a_file_with_passwords_that_everybody_may_read_is_refused(tmp_path: Path) -> None:
    text = 'broker_url = "amqp://hub:secret@h/"\nlisten_port = 5001'
    (fault,) = _faults(_file(tmp_path, text, 0o644))
    assert "chmod o= " in fault
    assert HubSettings.load(_file(tmp_path, text, 0o640), {}).listen_port == 5001
    assert HubSettings.load(_file(tmp_path, "listen_port = 5001", 0o644), {}).listen_port == 5001


def test_passwords_do_not_come_by_the_environment(tmp_path: Path) -> None:
    file = _file(tmp_path, "")
    (fault,) = _faults(file, {"CHAMBERLAIN_HUB_BROKER_URL": "amqp://hub:secret@h/"})
    assert "mode 0600" in fault
    assert HubSettings.load(file, {"CHAMBERLAIN_HUB_BROKER_URL": "amqp://guest:guest@h/"})


def test_passwords_are_neither_shown_nor_repeated_in_faults(tmp_path: Path) -> None:
    good = 'broker_url = "amqp://hub:geheim@h/"\ndatabase_url = "postgresql://u:geheim@h/x"'
    assert "geheim" not in repr(HubSettings.load(_file(tmp_path, good), {}))
    bad = 'broker_url = "mqtt://hub:geheim@h/"\ndatabase_url = "mysql://u:geheim@h/x"'
    assert not any("geheim" in fault for fault in _faults(_file(tmp_path, bad, 0o644)))


def test_a_file_that_is_not_there_or_not_toml_is_said_so(tmp_path: Path) -> None:
    (absent,) = _faults(tmp_path / "absent.toml")
    assert "cannot be read: No such file" in absent
    (broken,) = _faults(_file(tmp_path, "listen_port ="))
    assert "not TOML" in broken
    file = tmp_path / "latin.toml"
    file.write_bytes(b"listen_host = '\xe4'")
    (latin,) = _faults(file)
    assert "not TOML" in latin


def test_settings_do_not_change(tmp_path: Path) -> None:
    settings = HubSettings.load(_file(tmp_path, ""), {})
    with pytest.raises(ValidationError):
        settings.listen_port = 1  # type: ignore[misc]
