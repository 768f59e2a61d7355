"""Valid commands, deliveries and endpoint folders, in one call each; tests break what they need."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chamberlain_endpoint.launcher.protocol import Account, Group
from chamberlain_wire.assertion import Assertion, LinkedIdentity, request_digest, sign
from chamberlain_wire.broker.port import Delivery
from chamberlain_wire.codec import encode_command
from chamberlain_wire.ids import EndpointId, new_id
from chamberlain_wire.messages import QueueCredentials, QueueInfo, StartCommand, StartKwargs

ALICE = "11111111-1111-4111-8111-111111111111"

TEMPLATE = """\
engine:
  type: ThreadPoolEngine
  max_workers: {{ workers | default(2) }}
"""


def account(**changes: Any) -> Account:
    """The local account of alice."""
    alice = Account(
        uname="alice",
        uid=12001,
        gid=12001,
        groups=(Group(12001, "alice"), Group(12100, "lab")),
        gecos="Alice Liddell",
        shell="/bin/bash",
        dir="/home/alice",
    )
    return replace(alice, **changes)


@dataclass
class Signer:
    """A hub's key, and what it signs."""

    endpoint: EndpointId
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def public(self) -> Ed25519PublicKey:
        return self.key.public_key()

    @property
    def public_text(self) -> str:
        return base64.b64encode(self.public.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    def assertion(
        self,
        user_endpoint: str,
        *,
        now: float,
        options: dict[str, Any] | None = None,
        runtime: dict[str, Any] | None = None,
        **changes: Any,
    ) -> Assertion:
        made = Assertion(
            id=new_id(),
            endpoint=self.endpoint,
            user_endpoint=user_endpoint,
            identity=ALICE,
            username="alice@example.edu",
            identities=(LinkedIdentity(id=ALICE, username="alice@example.edu"),),
            request_digest=request_digest(options, runtime),
            source="192.0.2.1",
            issued_at=now,
            expires_at=now + 170,
        )
        return replace(made, **changes)

    def command(
        self,
        user_endpoint: str,
        *,
        now: float,
        options: dict[str, Any] | None = None,
        runtime: dict[str, Any] | None = None,
        **changes: Any,
    ) -> StartCommand:
        assertion = self.assertion(
            user_endpoint, now=now, options=options, runtime=runtime, **changes
        )
        return StartCommand(
            command="cmd_start_endpoint",
            kwargs=StartKwargs(
                name=f"uep.{self.endpoint}.{user_endpoint}",
                user_opts=options,
                user_runtime=runtime,
                amqp_creds=credentials(user_endpoint),
            ),
            assertion=sign(assertion, self.key).decode(),
        )


def credentials(user_endpoint: str) -> QueueCredentials:
    info = QueueInfo(connection_url="amqp://u:secret@localhost/", exchange="x", queue="q")
    return QueueCredentials(
        endpoint_id=user_endpoint,
        task_queue_info=info,
        result_queue_info=info,
        heartbeat_queue_info=info,
    )


def delivery(command: StartCommand | bytes, *, now: float, **changes: Any) -> Delivery:
    body = command if isinstance(command, bytes) else encode_command(command)
    made = Delivery(
        queue="commands",
        routing_key="x",
        body=body,
        headers={},
        content_type="application/json",
        timestamp=int(now),
        redelivered=False,
        tag=(1, 1),
    )
    return replace(made, **changes)


def changed(command: StartCommand, **kwargs: Any) -> StartCommand:
    """Return `command` with other keyword arguments."""
    return msgspec.structs.replace(
        command, kwargs=msgspec.structs.replace(command.kwargs, **kwargs)
    )


def endpoint_folder(folder: Path, *, template: str = TEMPLATE, **keys: Any) -> Path:
    """Make the configuration folder of an endpoint; return its `config.yaml`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "user_config_template.yaml.j2").write_text(template)
    (folder / "token").write_text("chp_" + "t" * 43 + "\n")
    (folder / "user_environment.yaml").write_text("SITE: here\nNUMBER: 010\n")
    settings = {"hub_url": "http://127.0.0.1:9", "state_dir": str(folder / "state"), **keys}
    config = folder / "config.yaml"
    config.write_text(json.dumps(settings))
    return config
