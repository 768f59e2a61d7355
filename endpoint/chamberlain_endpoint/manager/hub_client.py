"""The hub's REST interface, as far as the manager needs it: register, and get the keys."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import os
import platform
import pwd
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chamberlain_endpoint.manager.fatal import Exit, FatalError
from chamberlain_endpoint.manager.settled import Settings
from chamberlain_endpoint.manager.site_schema import read_schema
from chamberlain_wire.errors import ChamberlainError, ErrorCode, InvalidIdError
from chamberlain_wire.ids import EndpointId, parse_endpoint_id
from chamberlain_wire.logs import Secret
from chamberlain_wire.messages import QueueInfo

log = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT: Final = urllib3.Timeout(connect=5.0, read=30.0)
_DELAYS_S: Final = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_MAX_ANSWER_BYTES: Final = 1024 * 1024

_NOT_AUTHORIZED: Final = frozenset({401, 403})
_INVALID: Final = frozenset({400, 422})
_UNAVAILABLE: Final = frozenset({404, 409, 423})
_TRY_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class HubAwayError(ChamberlainError):
    """The hub does not answer, or not now. Ask again later."""

    code = ErrorCode.UNAVAILABLE
    public = "The hub cannot be reached at the moment."


class StoppedError(ChamberlainError):
    """The manager was asked to stop while it waited for the hub."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What the hub answered.

    Attributes:
        commands: where commands come from; its connection serves the heartbeats too.
        heartbeats: where heartbeats go.
        keys: public keys; one of them signs whatever the hub asks for.
    """

    endpoint: EndpointId
    commands: QueueInfo
    heartbeats: QueueInfo
    keys: tuple[Ed25519PublicKey, ...]


class _Answer(msgspec.Struct):
    endpoint_id: str
    command_queue_info: QueueInfo
    heartbeat_queue_info: QueueInfo
    assertion_keys: list[str] | None = None


class _Keys(msgspec.Struct):
    keys: list[str]


class HubClient:
    """Registers the endpoint that `settings` describe.

    Args:
        wait: waits so many seconds; True when the manager is to stop meanwhile.
    """

    def __init__(self, settings: Settings, *, wait: Callable[[float], bool]) -> None:
        self._settings = settings
        self._wait = wait
        self._http = urllib3.PoolManager(timeout=_TIMEOUT, retries=False)

    @classmethod
    def until(cls, settings: Settings, stop: threading.Event) -> HubClient:
        """Return a client that gives up waiting when `stop` is set."""
        return cls(settings, wait=stop.wait)

    def register(self) -> Registration:
        """Register, or register again: the answer brings a fresh broker credential.

        Waits for the hub as long as it takes, a little longer each time up to 30 s: a login
        node may be up before its hub.

        Raises:
            FatalError: the hub says no; the sentence says why.
            StoppedError: asked to stop while waiting.
        """
        failures = 0
        while True:
            try:
                return self._register_once()
            except HubAwayError as error:
                delay_s = _DELAYS_S[min(failures, len(_DELAYS_S) - 1)]
                failures += 1
                log.warning(
                    "hub does not answer, trying again in %s s",
                    delay_s,
                    extra={"event": "hub.away", "attempt": failures, "reason": str(error)},
                )
                if self._wait(delay_s):
                    raise StoppedError from None

    def _register_once(self) -> Registration:
        known = self._known_id()
        body = registration_body(self._settings)
        if known is None:
            answered = self._ask("POST", "/v3/endpoints", body)
        else:
            answered = self._ask("PUT", f"/v3/endpoints/{known}", body)
        answer = _read(answered, _Answer)
        keys = answer.assertion_keys
        if keys is None:
            keys = _read(self._ask("GET", "/v3/assertion_keys"), _Keys).keys
        endpoint = _endpoint_id(answer.endpoint_id)
        if known not in (None, endpoint):
            raise _unexpected(f"registered {known}, and the hub answered for {endpoint}")
        if known is None:
            _remember_id(self._settings.state_path, endpoint)
        return Registration(
            endpoint=endpoint,
            commands=answer.command_queue_info,
            heartbeats=answer.heartbeat_queue_info,
            keys=_public_keys(keys),
        )

    def _known_id(self) -> EndpointId | None:
        if self._settings.endpoint_id is not None:
            return EndpointId(str(self._settings.endpoint_id))
        try:
            text = (self._settings.state_path / "endpoint.json").read_text()
            return parse_endpoint_id(json.loads(text)["endpoint_id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, InvalidIdError):
            raise FatalError(
                Exit.CONFIG, f"{self._settings.state_path}/endpoint.json holds no endpoint id."
            ) from None

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        address = self._settings.hub_address + path
        token = read_token(self._settings.token_path)
        try:
            answer = self._http.request(
                method,
                address,
                body=None if body is None else json.dumps(body).encode(),
                headers={
                    "Authorization": f"Bearer {token.reveal()}",
                    "Content-Type": "application/json",
                },
                redirect=False,
                preload_content=False,
            )
            with answer:
                data: bytes = answer.read(_MAX_ANSWER_BYTES)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise HubAwayError(f"{method} {address}: {error}") from error
        if answer.status in _TRY_AGAIN:
            raise HubAwayError(f"{method} {address}: status {answer.status}")
        if answer.status >= 300:
            raise _refused(answer.status, address, data)
        return data


def registration_body(settings: Settings) -> dict[str, Any]:
    """Return what the hub is told of this endpoint; keys without a value are left out."""
    body: dict[str, Any] = {
        "endpoint_name": settings.name,
        "display_name": settings.display_name or settings.name,
        "multi_user": True,
        "public": settings.public,
        "high_assurance": settings.high_assurance,
        "metadata": {
            "endpoint_version": version("chamberlain"),
            "python_version": platform.python_version(),
            "hostname": socket.gethostname(),
            "local_user": pwd.getpwuid(os.getuid()).pw_name,
            "endpoint_config": settings.config_file.read_text(),
            "user_config_template": settings.template_file.read_text(),
            "user_config_schema": read_schema(settings.schema_file),
            "authentication_policy_terms": settings.authentication_policy_terms,
            "contact_email": settings.email,
        },
        "authentication_policy": _text(settings.authentication_policy),
        "subscription_uuid": _text(settings.subscription_id),
        "allowed_functions": _texts(settings.allowed_functions),
        "admins": _texts(settings.admins),
    }
    return {name: value for name, value in body.items() if value is not None}


def read_token(path: Path) -> Secret[str]:
    """Return the hub token in `path`.

    Raises:
        FatalError: it cannot be read, or is empty.
    """
    try:
        token = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise FatalError(
            Exit.NOT_AUTHORIZED, f"The hub token in {path} cannot be read: {error}."
        ) from None
    if not token or not token.isprintable() or " " in token:
        raise FatalError(Exit.NOT_AUTHORIZED, f"{path} does not hold a hub token.")
    return Secret(token)


def _refused(status: int, address: str, data: bytes) -> FatalError:
    try:
        answer = json.loads(data)
        reason = str(answer.get("reason") or answer.get("message") or answer)[:500]
    except (ValueError, AttributeError):
        reason = data[:200].decode(errors="replace")
    if status in _NOT_AUTHORIZED:
        what, code = "does not accept the token of this endpoint", Exit.NOT_AUTHORIZED
    elif status in _INVALID:
        what, code = "refuses the registration", Exit.REGISTRATION_INVALID
    elif status in _UNAVAILABLE:
        what, code = "does not register this endpoint", Exit.ENDPOINT_UNAVAILABLE
    else:
        what, code = "answered something unexpected", Exit.UNEXPECTED_ANSWER
    return FatalError(code, f"The hub at {address} {what} (status {status}): {reason}")


def _unexpected(reason: str) -> FatalError:
    return FatalError(Exit.UNEXPECTED_ANSWER, f"The hub's answer makes no sense: {reason}.")


def _read(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise _unexpected(str(error)) from None


def _endpoint_id(text: str) -> EndpointId:
    try:
        return parse_endpoint_id(text)
    except InvalidIdError as error:
        raise _unexpected(error.public) from None


def _remember_id(folder: Path, endpoint: EndpointId) -> None:
    new = folder / "endpoint.json.new"
    new.write_text(json.dumps({"endpoint_id": endpoint}))
    new.rename(folder / "endpoint.json")


def _public_keys(texts: Iterable[str]) -> tuple[Ed25519PublicKey, ...]:
    try:
        keys = tuple(
            Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
            for text in texts
        )
    except (binascii.Error, ValueError):
        raise _unexpected("a signing key is not 32 bytes in base64") from None
    if not keys:
        raise _unexpected("it has no signing key, so no command of its could be believed")
    return keys


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _texts(values: Iterable[object] | None) -> list[str] | None:
    return None if values is None else [str(value) for value in values]
