"""`config.yaml` of an endpoint: every key, its default, and what is wrong with it.

The keys are those of the public agent, so a site's file works as it is; ours are marked
*extension*. Nothing is repaired or clamped. All faults are reported at once, each with the
path of its key, and an unknown key with the known name that looks most like it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Final
from uuid import UUID

import msgspec
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chamberlain_endpoint.manager.fatal import Exit, FatalError
from chamberlain_endpoint.manager.settled import Settings
from chamberlain_endpoint.manager.site_schema import read_schema
from chamberlain_wire import allowed
from chamberlain_wire.allowed import AllowedInvalidError

_LOCAL_HUB: Final = "http://localhost:5000"

Seconds = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]


class SettingsError(FatalError):
    """`config.yaml`, or a file that it names, is not usable. Change it and start again.

    Attributes:
        faults: one sentence a fault, each beginning with the key's path.
    """

    def __init__(self, path: Path, faults: list[str]) -> None:
        super().__init__(Exit.CONFIG, f"{path}: " + "; ".join(faults))
        self.faults = faults


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class PamSettings(_Model):
    """Whether the launcher opens a PAM session for each user endpoint, and as which service."""

    enable: bool = True
    service_name: str = "globus-compute-endpoint"


class PolicyTerms(_Model):
    """A new authentication policy, in the public agent's words; the hub has to check it.

    Attributes:
        auth_timeout: most seconds since the caller's last login.
    """

    project_id: UUID | None = None
    display_name: str | None = None
    description: str | None = None
    mfa_required: bool = False
    allowed_domains: tuple[str, ...] = ()
    excluded_domains: tuple[str, ...] = ()
    auth_timeout: Annotated[int, Field(ge=0)] | None = None


class ManagerSettings(_Model):
    """Everything the manager may be told. Durations are seconds.

    Attributes:
        config_file: where it was read; set by `check`, not a key.
        endpoint_id: *extension*: the id to register under. `configure` chooses it, because
            root must know it before anybody speaks to the hub.
        hub_url: *extension*: address of the hub's REST interface, without a path.
        token_file: *extension*: file with the hub token of the endpoint's owner.
        launcher_socket: *extension*: Unix socket of the launcher.
        state_dir: *extension*: folder of the manager's own records.
        metrics_listen: *extension*: `HOST:PORT` where Prometheus finds the metrics, without a
            login; None: nowhere.
        allowed_functions: *extension*: entries may name the hash of a function's code, see
            `chamberlain_wire.allowed`.
        authentication_policy_terms: *extension*: what the policy demands, sent to the hub. A
            hub that cannot check an endpoint's policy lets nobody in.
        mu_child_ep_grace_period_s: accepted; our hub asks again by itself when a user
            endpoint left while tasks were on their way to it.
        identity_mapping_config_path: accepted; the mapping in force is the one that
            `launcher.toml` names, because only root's file may decide who becomes whom.
    """

    config_file: Path
    display_name: str | None = None
    public: bool = False
    email: str | None = None
    identity_mapping_config_path: Path | None = None
    user_config_template_path: Path | None = None
    user_config_schema_path: Path | None = None
    admins: tuple[UUID, ...] | None = None
    allowed_functions: tuple[str, ...] | None = None
    authentication_policy: UUID | None = None
    authentication_policy_terms: PolicyTerms | None = None
    subscription_id: UUID | None = None
    high_assurance: bool = False
    audit_log_path: Path | None = None
    pam: PamSettings = PamSettings(enable=False)
    amqp_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    heartbeat_period: Annotated[float, Field(ge=5.0, le=3600.0)] = 30.0
    mu_child_ep_grace_period_s: Seconds = 30.0
    debug: bool = False
    environment: str | None = None
    local_compute_services: bool = False
    endpoint_id: UUID | None = None
    hub_url: Annotated[str, Field(pattern=r"^https?://[^/\s]+/?$")] | None = None
    token_file: Path | None = None
    launcher_socket: Path | None = None
    state_dir: Path | None = None
    metrics_listen: Annotated[str, Field(pattern=r"^[^\s/]+:[0-9]{1,5}$")] | None = None

    @field_validator("allowed_functions", mode="before")
    @classmethod
    def _canonical(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        try:
            return tuple(allowed.canonical(entry) for entry in value)
        except AllowedInvalidError as error:
            raise ValueError(error.public) from None

    @property
    def name(self) -> str:
        """Local name of the endpoint: the name of its folder."""
        return self.config_file.parent.name

    @property
    def hub_address(self) -> str:
        """Where the hub listens, without a slash at the end."""
        return (self.hub_url or _LOCAL_HUB).rstrip("/")

    @property
    def template_file(self) -> Path:
        """The template of user endpoint configurations."""
        folder = self.config_file.parent
        if self.user_config_template_path is not None:
            return folder / self.user_config_template_path
        current = folder / "user_config_template.yaml.j2"
        # Folders made by early versions of the public agent have it without the `.j2`.
        older = folder / "user_config_template.yaml"
        return older if older.exists() and not current.exists() else current

    @property
    def schema_file(self) -> Path:
        """The JSON schema of callers' options; it need not exist."""
        return self.config_file.parent / (self.user_config_schema_path or "user_config_schema.json")

    @property
    def environment_file(self) -> Path:
        """Variables for user endpoints; it need not exist."""
        return self.config_file.parent / "user_environment.yaml"

    @property
    def token_path(self) -> Path:
        """File with the hub token."""
        return self.config_file.parent / (self.token_file or "token")

    @property
    def socket_path(self) -> Path:
        """The launcher's socket."""
        return self.launcher_socket or Path("/run/chamberlain", self.name, "launcher.sock")

    @property
    def state_path(self) -> Path:
        """Folder of the manager's records."""
        return self.state_dir or Path("/var/lib/chamberlain", self.name, "manager")

    def for_templates(self) -> dict[str, Any]:
        """Return what a template sees as `_GC.parent_config`: the public keys."""
        ours = {"config_file", "endpoint_id", "hub_url", "token_file"}
        return self.model_dump(
            mode="json", exclude=ours | {"launcher_socket", "state_dir", "metrics_listen"}
        )

    def settled(self) -> Settings:
        """Return what the manager works with."""
        known = {*Settings.__struct_fields__} - {"parent_config"}
        keys = self.model_dump(mode="json", include=known)
        places = {name: getattr(self, name) for name in known - set(keys)}
        fields = keys | places | {"config_file": self.config_file}
        return msgspec.convert(fields | {"parent_config": self.for_templates()}, Settings)


def settle(path: Path) -> Settings:
    """Return what the manager works with, from the file `path`.

    Raises:
        SettingsError: with every fault at once.
    """
    return check(path).settled()


def check(path: Path) -> ManagerSettings:
    """Return the settings in `path`, checked as far as this host can check them.

    Start and `check-config` both use it, so what passes here starts.

    Raises:
        SettingsError: with every fault at once. Nothing was changed.
    """
    keys = _read_yaml(path)
    faults = list(_unknown_keys(keys))
    known = {name: value for name, value in keys.items() if name in _KEYS}
    try:
        settings = ManagerSettings(config_file=path.absolute(), **known)
    except ValidationError as error:
        faults += [_sentence(fault) for fault in error.errors()]
        # Look at the rest as well, so that the reader comes here once and not once a fault.
        wrong = {str(fault["loc"][0]) for fault in error.errors()}
        sound = {name: value for name, value in known.items() if name not in wrong}
        settings = ManagerSettings(config_file=path.absolute(), **sound)
    if "hub_url" not in keys and not settings.local_compute_services:
        faults.append("hub_url: is needed (or local_compute_services: true)")
    faults += _file_faults(settings)
    if faults:
        raise SettingsError(path, faults)
    return settings


_NESTED: Final[dict[str, type[_Model]]] = {
    "pam": PamSettings,
    "authentication_policy_terms": PolicyTerms,
}
_KEYS: Final = frozenset(ManagerSettings.model_fields) - {"config_file"}


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise SettingsError(path, [f"cannot be read: {error.strerror}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(path, [f"is not YAML: {' '.join(str(error).split())}"]) from None
    if document is None:
        return {}
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise SettingsError(path, ["must be a mapping of names to values"])
    return document


def _unknown_keys(keys: dict[str, Any]) -> Iterator[str]:
    for name in keys:
        if name == "engine":
            yield (
                "engine: belongs into the user configuration template; "
                "this file configures the endpoint itself"
            )
        elif name not in _KEYS:
            yield f"{name}: {_unknown(name, _KEYS)}"


def _unknown(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return "is not a known key" + (f"; did you mean {near[0]}?" if near else "")


def _sentence(fault: Any) -> str:
    steps = [str(step) for step in fault["loc"]]
    if fault["type"] == "extra_forbidden":
        return f"{'.'.join(steps)}: {_unknown(steps[-1], _NESTED[steps[0]].model_fields)}"
    return f"{'.'.join(steps)}: {fault['msg']} (it is {fault['input']!r:.80})"


def _file_faults(settings: ManagerSettings) -> Iterator[str]:
    template, schema = settings.template_file, settings.schema_file
    if not template.is_file():
        yield f"user_config_template_path: {template} does not exist"
    if schema.exists():
        try:
            read_schema(schema)
        except ValueError as error:
            yield f"user_config_schema_path: {error}"
    elif settings.user_config_schema_path is not None:
        yield f"user_config_schema_path: {schema} does not exist"
