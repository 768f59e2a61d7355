"""Registers endpoints: what an agent says of itself becomes a record, and it gets its queues."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any, Final

import msgspec

from chamberlain_hub.api.bodies import EndpointBody, is_storable
from chamberlain_hub.api.errors import RequestInvalidError
from chamberlain_hub.api.services import Services
from chamberlain_hub.audit.entry import ACCEPTED, Action, Entry, Who
from chamberlain_hub.domain.access import may_manage
from chamberlain_hub.domain.endpoint import Endpoint
from chamberlain_hub.domain.errors import EndpointLockedError
from chamberlain_hub.domain.identity import Principal
from chamberlain_hub.domain.options import check_schema
from chamberlain_wire.ids import EndpointId, IdentityId

_MAX_METADATA_BYTES: Final = 1024 * 1024


def register(
    hub: Services,
    caller: Principal,
    endpoint_id: EndpointId,
    body: EndpointBody,
    who: Who,
) -> dict[str, Any]:
    """Register the endpoint, or register it again, and return the answer for its agent.

    Each registration gets a broker user of its own, and the one before loses it.

    Args:
        who: the caller, for the audit log.

    Raises:
        EndpointLockedError: somebody stopped it from afar; come back later.
        ForbiddenError: the id is another identity's endpoint.
        RequestInvalidError, SchemaInvalidError: what is wrong stands in `public`.
        BrokerError: no broker; the endpoint is registered, ask again for its queues.
    """
    now = time.time()
    known = hub.store.endpoint(endpoint_id)
    wanted = _endpoint(caller, endpoint_id, body, now)
    if known is not None and may_manage(caller, known):
        _check_unlocked(known, now)
        kept = known.multi_user if body.multi_user is None else body.multi_user
        wanted = replace(wanted, owner=known.owner, multi_user=kept)
    hub.audit.note(
        Entry(action=Action.ENDPOINT_REGISTERED, outcome=ACCEPTED, who=who, endpoint=endpoint_id)
    )
    stored = hub.store.put_endpoint(wanted)
    hub.submissions.endpoints.forget(stored.id)
    hub.dispatcher.queues.endpoint(stored.id)
    if not stored.multi_user:
        hub.dispatcher.queues.user_endpoint(stored.id)
    queues = hub.dispatcher.credentials.for_endpoint(stored.id, multi_user=stored.multi_user)
    return {
        "endpoint_id": stored.id,
        **{name: msgspec.to_builtins(info) for name, info in queues.items()},
        "assertion_keys": list(hub.assertion_keys),
    }


def _endpoint(
    caller: Principal, endpoint_id: EndpointId, body: EndpointBody, now: float
) -> Endpoint:
    metadata = dict(body.metadata or {})
    if len(json.dumps(metadata)) > _MAX_METADATA_BYTES:
        raise RequestInvalidError(public=f"$.metadata: more than {_MAX_METADATA_BYTES} bytes")
    template = metadata.pop("user_config_template", None)
    if not isinstance(template, str | None) or not is_storable(template or ""):
        raise RequestInvalidError(public="$.metadata.user_config_template: a text is needed")
    allowed = body.allowed_functions
    return Endpoint(
        id=endpoint_id,
        owner=caller.identity.id,
        name=body.endpoint_name,
        display_name=body.display_name or body.endpoint_name,
        multi_user=bool(body.multi_user),
        public=bool(body.public),
        metadata=metadata,
        schema=_schema(metadata.pop("user_config_schema", None)),
        template=template,
        allowed_functions=None if allowed is None else tuple(allowed),
        authentication_policy=body.authentication_policy,
        subscription=body.subscription_uuid,
        high_assurance=bool(body.high_assurance),
        admins=tuple(IdentityId(str(one)) for one in body.admins or ()),
        created_at=now,
    )


def _schema(value: object) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise RequestInvalidError(
                public="$.metadata.user_config_schema: it is not JSON"
            ) from None
    if not value:
        return None
    check_schema(value)
    assert isinstance(value, dict)
    return value


def _check_unlocked(endpoint: Endpoint, now: float) -> None:
    if endpoint.locked_until is not None and now < endpoint.locked_until:
        left_s = endpoint.locked_until - now
        raise EndpointLockedError(
            public=f"Endpoint {endpoint.id} is locked. Try again in {left_s:.0f} s."
        )
