"""What the hub may be told: one frozen model, from a TOML file and the environment.

`chamberlain-hub check-config` and `serve` read it by the same code. Nothing is clamped or
repaired; every fault is reported, with its path and the reason, at once.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any, Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from chamberlain_wire import limits
from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.logs import Secret

PREFIX: Final = "CHAMBERLAIN_HUB_"
CONFIG_VARIABLE: Final = PREFIX + "CONFIG"
DEFAULT_FILE: Final = Path("/etc/chamberlain/hub.toml")

DEFAULT_METRICS: Final = "127.0.0.1:5464"

_MAX_PORT: Final = 65535
_READABLE_BY_OTHERS: Final = 0o007
_AMQP_PORTS: Final = {"amqp": 5672, "amqps": 5671}


class SettingsInvalidError(ChamberlainError):
    """The settings cannot be used. Start nothing; `faults` has one line for each."""

    code = ErrorCode.CONFIG_INVALID

    def __init__(self, source: str, faults: list[str]) -> None:
        self.faults = tuple(faults)
        listed = "\n".join(f"  {fault}" for fault in faults)
        super().__init__(public=f"The settings in {source} are not usable:\n{listed}")


def _as_secret(value: object) -> Secret[str]:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("a text is needed")
    return Secret(value)


def _split_list(value: object) -> object:
    """An environment variable has no lists: there, they are separated by commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


class OnAuditFailure(StrEnum):
    """What to do with a request that cannot be noted in the audit log."""

    REFUSE = "refuse"
    CONTINUE = "continue"


SecretText = Annotated[Secret[str], BeforeValidator(_as_secret)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=366 * 86400, allow_inf_nan=False)]


def default_data_dir() -> Path:
    """Return where the hub keeps its files when nobody says: a system folder for root."""
    if os.geteuid() == 0:
        return Path("/var/lib/chamberlain-hub")
    return Path.home() / ".chamberlain" / "hub"


class HubSettings(BaseModel):
    """Everything the hub may be told. Durations are seconds, sizes bytes.

    Attributes:
        data_dir: folder of the SQLite database and the signing key, mode 0700.
        public_url: address of the hub as clients see it, behind any proxy.
        database_url: `sqlite:////FILE` or `postgresql://USER:PASSWORD@HOST/NAME`.
        broker_url: `amqp[s]://USER:PASSWORD@HOST:PORT/VHOST` of the hub's own broker user,
            which must be an administrator there.
        broker_management_url: `http[s]://USER:PASSWORD@HOST:PORT` of the broker's management
            API, where the hub makes the users of others.
        broker_public_host: host of the broker as agents and SDKs see it; port and TLS alike.
            What is not given follows from `broker_url`.
        vhost: the broker's virtual host; follows from `broker_url`.
        submit_verdict_wait_s: how long submit waits for an endpoint's verdict.
        sweep_period_s: how often the hub looks for what a lost message left behind.
        start_timeout_s: how long an asked start may stay undecided before it is asked again.
        session_idle_s: how long an SDK session without a connection keeps its credential.
        service_token_s: how long an access token of a service account is good.
        result_queue_expires_s: how long the results of a task group wait for their reader.
        quorum_queues: whether queues are copied to a majority of the brokers, for a cluster.
            Old queues follow when they are empty and nobody reads them.
        task_idle_s: after so long without a run, the hub gives a task up.
        result_keep_s: for so long after its end a task and its result can be asked for.
        user_endpoint_keep_s: for so long the hub remembers a user endpoint that ended.
        trusted_proxies: addresses or networks of the site's own reverse proxies, whose
            `X-Forwarded-For` is believed. Nobody else's is.
        audit_dir: folder of the audit log; None: `data_dir`. One for each hub.
        audit_on_failure: `refuse` what cannot be noted, or `continue` with an alarm in the log.
        audit_max_bytes: a file of this size is full, and another one is begun.
        audit_keep_files: how many full files are kept; older ones are removed.
        metrics_listen: `HOST:PORT` where Prometheus finds the metrics, without a login; empty:
            nowhere.
        max_requests_per_10_s: how often each identity may ask one hub process; 0: no limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    data_dir: Path = Field(default_factory=default_data_dir)
    listen_host: str = Field(default="127.0.0.1", min_length=1)
    listen_port: Port = 5000
    public_url: str = ""
    database_url: SecretText = Secret("")
    broker_url: SecretText = Secret("amqp://guest:guest@127.0.0.1:5672/%2F")
    broker_management_url: SecretText = Secret("http://guest:guest@127.0.0.1:15672")
    broker_public_host: str = ""
    broker_public_port: Port = 5672
    broker_public_tls: bool = False
    vhost: str = ""
    submit_verdict_wait_s: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = (
        limits.SUBMIT_VERDICT_WAIT_S
    )
    sweep_period_s: Seconds = 5.0
    start_timeout_s: Seconds = 120.0
    session_idle_s: Seconds = 600.0
    service_token_s: Annotated[float, Field(ge=60, le=30 * 86400, allow_inf_nan=False)] = 43200.0
    result_queue_expires_s: Seconds = 86400.0
    quorum_queues: bool = False
    task_idle_s: Seconds = 14 * 86400.0
    result_keep_s: Seconds = 30 * 86400.0
    user_endpoint_keep_s: Seconds = 30 * 86400.0
    trusted_proxies: Annotated[
        tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_split_list)
    ] = ()
    audit_dir: Path | None = None
    audit_on_failure: OnAuditFailure = OnAuditFailure.REFUSE
    audit_max_bytes: Annotated[int, Field(ge=64 * 1024, le=1024**3)] = 16 * 1024 * 1024
    audit_keep_files: Annotated[int, Field(ge=1, le=100_000)] = 256
    metrics_listen: str = DEFAULT_METRICS
    max_submit_bytes: Annotated[int, Field(ge=1024, le=limits.MAX_SUBMIT_BYTES)] = (
        limits.MAX_SUBMIT_BYTES
    )
    max_function_bytes: Annotated[int, Field(ge=1024, le=limits.MAX_FUNCTION_BYTES)] = (
        limits.MAX_FUNCTION_BYTES
    )
    max_tasks_per_submit: Annotated[int, Field(ge=1, le=limits.MAX_TASKS_PER_SUBMIT)] = (
        limits.MAX_TASKS_PER_SUBMIT
    )

    max_requests_per_10_s: Annotated[int, Field(ge=0, le=1_000_000)] = 0

    @classmethod
    def load(cls, path: Path | None = None, environment: Mapping[str, str] | None = None) -> Self:
        """Return the settings of a file, with what the environment says on top.

        Args:
            path: TOML file; None: the one that `CHAMBERLAIN_HUB_CONFIG` names, else
                `/etc/chamberlain/hub.toml` when it exists, else no file.
            environment: None: the process's own. `CHAMBERLAIN_HUB_LISTEN_PORT=5001` sets
                `listen_port`.

        Raises:
            SettingsInvalidError: all that is wrong, at once.
        """
        environment = os.environ if environment is None else environment
        path = path or _named_file(environment)
        source = "the environment" if path is None else str(path)
        values = {} if path is None else _read(path)
        faults = [] if path is None else _open_secrets(path, values)
        from_environment = _from(environment)
        faults += _secrets_in(from_environment)
        values |= from_environment
        try:
            settings = cls.model_validate(values)
        except ValidationError as error:
            named = {name: f"{name} (from {PREFIX}{name.upper()})" for name in from_environment}
            faults += [_fault(entry, named) for entry in error.errors(include_url=False)]
        if faults:
            raise SettingsInvalidError(source, faults)
        return settings

    @field_validator("data_dir", "audit_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_absolute():
            raise ValueError("an absolute path is needed: the working folder may be another one")
        return value

    @field_validator("public_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if value:
            parts = _split(value, ("http", "https"))
            if parts.query or parts.fragment or parts.username:
                raise ValueError("an address without user, query and fragment is needed")
        return value.rstrip("/")

    @field_validator("metrics_listen")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if value and not (host and port.isdecimal() and 0 < int(port) <= _MAX_PORT):
            raise ValueError("HOST:PORT is needed, such as 127.0.0.1:5464; empty: no metrics")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: Secret[str]) -> Secret[str]:
        text = value.reveal()
        scheme = text.partition(":")[0]
        if scheme == "postgresql" and "://" in text:
            _split(text, ("postgresql",), needs_host=False)
            return value
        if not text:
            return value
        if scheme != "sqlite":
            raise ValueError("it must begin with sqlite:// or postgresql://")
        if not text.startswith("sqlite:////"):
            raise ValueError("the file needs an absolute path: sqlite:////folder/hub.db")
        return value

    @field_validator("broker_url")
    @classmethod
    def _broker(cls, value: Secret[str]) -> Secret[str]:
        _with_login(value.reveal(), ("amqp", "amqps"))
        return value

    @field_validator("broker_management_url")
    @classmethod
    def _management(cls, value: Secret[str]) -> Secret[str]:
        _with_login(value.reveal(), ("http", "https"))
        return value

    @model_validator(mode="after")
    def _fill_in(self) -> Self:
        broker = urlsplit(self.broker_url.reveal())
        follows: dict[str, object] = {
            "public_url": f"http://{_in_url(self.listen_host)}:{self.listen_port}",
            "database_url": Secret(f"sqlite:///{self.data_dir / 'hub.db'}"),
            "broker_public_host": broker.hostname,
            "broker_public_port": broker.port or _AMQP_PORTS[broker.scheme],
            "broker_public_tls": broker.scheme == "amqps",
            "vhost": unquote(broker.path[1:]) or "/",
        }
        given = {
            name for name in self.model_fields_set if getattr(self, name) not in ("", Secret(""))
        }
        for name in follows.keys() - given:
            # Frozen for everybody else; this is the one moment where defaults are known.
            object.__setattr__(self, name, follows[name])
        return self


def _named_file(environment: Mapping[str, str]) -> Path | None:
    named = environment.get(CONFIG_VARIABLE)
    if named:
        return Path(named)
    return DEFAULT_FILE if DEFAULT_FILE.exists() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsInvalidError(str(path), [f"it cannot be read: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalidError(str(path), [f"it is not TOML: {error}"]) from None


def _open_secrets(path: Path, values: Mapping[str, Any]) -> list[str]:
    """Return a fault when `path` holds passwords and everybody on the machine may read it."""
    if not path.stat().st_mode & _READABLE_BY_OTHERS:
        return []
    return [
        f"{name}: it holds a password, and everybody may read {path}; run: chmod o= {path}"
        for name in _passwords(values)
    ]


def _from(environment: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix(PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(PREFIX) and name != CONFIG_VARIABLE
    }


def _secrets_in(values: Mapping[str, Any]) -> list[str]:
    return [
        f"{name} (from {PREFIX}{name.upper()}): an environment shows its passwords to every "
        "child and in /proc; write it into the file, mode 0600"
        for name in _passwords(values)
    ]


def _passwords(values: Mapping[str, Any]) -> list[str]:
    """Return the names of the settings whose URL holds a password of its own."""
    found = []
    for name in ("database_url", "broker_url", "broker_management_url"):
        value = values.get(name)
        if isinstance(value, str) and "@" in value:
            login = value.partition("://")[2].rpartition("@")[0]
            # The broker's own default login is no secret, and works on its own host only.
            if ":" in login and login != "guest:guest":
                found.append(name)
    return found


def _split(text: str, schemes: tuple[str, ...], *, needs_host: bool = True) -> SplitResult:
    try:
        parts = urlsplit(text)
        port_is_good = parts.port is None or parts.port > 0
    except ValueError:
        port_is_good = False
    if not port_is_good:
        raise ValueError("host or port of the address cannot be read")
    if parts.scheme not in schemes:
        raise ValueError("it must begin with " + " or ".join(f"{word}://" for word in schemes))
    if needs_host and not parts.hostname:
        raise ValueError("the address has no host")
    return parts


def _with_login(text: str, schemes: tuple[str, ...]) -> None:
    parts = _split(text, schemes)
    if not parts.username or parts.password is None:
        raise ValueError(f"a user and a password are needed: {schemes[0]}://USER:PASSWORD@HOST")


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _fault(entry: Mapping[str, Any], named: Mapping[str, str]) -> str:
    path = ".".join(str(part) for part in entry["loc"]) or "settings"
    shown = named.get(path, path)
    if entry["type"] == "extra_forbidden":
        near = difflib.get_close_matches(path, HubSettings.model_fields, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{shown}: there is no such setting{hint}"
    reason = str(entry["msg"]).removeprefix("Value error, ")
    return f"{shown}: {reason[:1].lower()}{reason[1:]}"
