"""Routes for endpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from fastapi import APIRouter
from starlette.responses import Response

from chamberlain_hub.api.answers import json_answer
from chamberlain_hub.api.bodies import EndpointBody
from chamberlain_hub.api.registration import register
from chamberlain_hub.api.services import Asker, Caller, Hub, Services
from chamberlain_hub.audit.entry import ACCEPTED, Action, Entry
from chamberlain_hub.domain.access import may_manage, may_use
from chamberlain_hub.domain.endpoint import Endpoint
from chamberlain_hub.domain.endpoint_life import is_live, is_online
from chamberlain_hub.domain.errors import EndpointNotFoundError, ForbiddenError
from chamberlain_hub.domain.identity import Principal
from chamberlain_wire.allowed import listed_ids
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.ids import EndpointId, new_id, parse_endpoint_id

router = APIRouter(tags=["endpoints"])

LOCK_S: Final = 30.0
"""How long a stopped endpoint may not register again."""

_SHOWN_TO_ALL: Final = ("endpoint_version", "python_version", "hostname")
_TOLD_BESIDE: Final = (*_SHOWN_TO_ALL, "local_user", "sdk_version", "endpoint_config")


@router.post("/v3/endpoints", summary="Register an endpoint")
@router.post("/v2/endpoints", summary="Register an endpoint", include_in_schema=False)
def add_endpoint(hub: Hub, caller: Caller, who: Asker, body: EndpointBody) -> Response:
    """Answers the endpoint's id and its queues, with a broker user of its own."""
    named = body.endpoint_uuid
    endpoint_id = EndpointId(new_id() if named is None else str(named))
    return json_answer(register(hub, caller, endpoint_id, body, who))


@router.put("/v3/endpoints/{endpoint_id}", summary="Register an endpoint again")
def put_endpoint(
    hub: Hub, caller: Caller, who: Asker, endpoint_id: str, body: EndpointBody
) -> Response:
    """Also makes an endpoint with an id that the agent chose."""
    return json_answer(register(hub, caller, parse_endpoint_id(endpoint_id), body, who))


@router.get("/v2/endpoints", summary="Endpoints")
def list_endpoints(hub: Hub, caller: Caller, role: Literal["owner", "any"] = "owner") -> Response:
    """`owner`: the caller's own. `any`: also public ones, and those that the caller manages."""
    mine = role == "owner"
    store = hub.store
    found = store.endpoints_of(caller.ids) if mine else store.endpoints_visible(caller.ids)
    return json_answer([_summary(endpoint) for endpoint in found])


@router.get("/v2/endpoints/{endpoint_id}", summary="An endpoint")
def get_endpoint(hub: Hub, caller: Caller, endpoint_id: str) -> Response:
    """Its configuration is shown to those who manage it."""
    endpoint = _usable(hub, caller, endpoint_id)
    document = _summary(endpoint) | {
        "authentication_policy": endpoint.authentication_policy,
        "allowed_functions": endpoint.allowed_functions,
        "high_assurance": endpoint.high_assurance,
        "subscription_uuid": endpoint.subscription,
        "user_config_template": endpoint.template,
        "user_config_schema": endpoint.schema,
        "status": _status(endpoint),
        "last_heartbeat_at": endpoint.last_heartbeat_at,
    }
    metadata: Mapping[str, Any] = endpoint.metadata
    if may_manage(caller, endpoint):
        document["admins"] = endpoint.admins
    else:
        metadata = {key: metadata.get(key) for key in _SHOWN_TO_ALL}
    # The public service tells some of it beside the rest; its clients read it there.
    beside = {key: metadata[key] for key in _TOLD_BESIDE if key in metadata}
    return json_answer(beside | document | {"metadata": metadata})


@router.get("/v2/endpoints/{endpoint_id}/status", summary="Is an endpoint online?")
def get_status(hub: Hub, caller: Caller, endpoint_id: str) -> Response:
    """`details` is what its manager said last; of a user endpoint, what that one said."""
    user_endpoint = hub.store.user_endpoint(parse_endpoint_id(endpoint_id))
    if user_endpoint is not None and user_endpoint.identity in caller.ids:
        return json_answer(
            {
                "status": "online" if is_live(user_endpoint, time.time()) else "offline",
                "state": user_endpoint.state,
                "details": user_endpoint.last_state,
            }
        )
    endpoint = _usable(hub, caller, endpoint_id)
    return json_answer({"status": _status(endpoint), "details": endpoint.last_state})


@router.delete("/v2/endpoints/{endpoint_id}", summary="Delete an endpoint")
def delete_endpoint(hub: Hub, caller: Caller, who: Asker, endpoint_id: str) -> Response:
    """Its open tasks fail, its user endpoints lose the broker and end."""
    endpoint = _managed(hub, caller, endpoint_id)
    hub.audit.note(
        Entry(action=Action.ENDPOINT_DELETED, outcome=ACCEPTED, who=who, endpoint=endpoint.id)
    )
    dispatcher = hub.dispatcher
    dispatcher.credentials.end_endpoint(endpoint.id)
    for user_endpoint in hub.store.user_endpoints_of(endpoint.id):
        dispatcher.failures.fail_open(
            user_endpoint.id, ErrorCode.ENDPOINT_NOT_FOUND, "The endpoint was deleted."
        )
        dispatcher.credentials.end_user_endpoint(user_endpoint.id, up_to=user_endpoint.generation)
        dispatcher.queues.delete_user_endpoint(user_endpoint.id)
    dispatcher.queues.delete_endpoint(endpoint.id)
    hub.store.delete_endpoint(endpoint.id)
    hub.submissions.endpoints.forget(endpoint.id)
    return json_answer({"status": "ok", "endpoint_id": endpoint.id})


@router.post("/v3/endpoints/{endpoint_id}/lock", summary="Stop an endpoint from afar")
@router.post(
    "/v2/endpoints/{endpoint_id}/lock",
    summary="Stop an endpoint from afar",
    include_in_schema=False,
)
def lock_endpoint(hub: Hub, caller: Caller, who: Asker, endpoint_id: str) -> Response:
    """Its manager loses the broker, and may not register again for a moment."""
    endpoint = _managed(hub, caller, endpoint_id)
    hub.audit.note(
        Entry(action=Action.ENDPOINT_LOCKED, outcome=ACCEPTED, who=who, endpoint=endpoint.id)
    )
    until = time.time() + LOCK_S
    hub.store.lock_endpoint(endpoint.id, until)
    hub.submissions.endpoints.forget(endpoint.id)
    hub.dispatcher.credentials.end_endpoint(endpoint.id)
    return json_answer(
        {
            "endpoint_uuid": endpoint.id,
            "endpoint_id": endpoint.id,
            "lock_expiration_timestamp": datetime.fromtimestamp(until, UTC).isoformat(),
        }
    )


@router.get("/v3/endpoints/{endpoint_id}/allowed_functions", summary="What an endpoint runs")
def get_allowed_functions(hub: Hub, caller: Caller, endpoint_id: str) -> Response:
    """`restricted` false: any function. `functions`: those that are listed by id; `entries`:
    all, with the hashes of code where the administrator gave some."""
    endpoint = _usable(hub, caller, endpoint_id)
    allowed = endpoint.allowed_functions
    return json_answer(
        {
            "endpoint_id": endpoint.id,
            "restricted": allowed is not None,
            "functions": listed_ids(allowed or ()),
            "entries": list(allowed or ()),
        }
    )


def _usable(hub: Services, caller: Principal, endpoint_id: str) -> Endpoint:
    endpoint = hub.store.endpoint(parse_endpoint_id(endpoint_id))
    if endpoint is None or not may_use(caller, endpoint):
        raise EndpointNotFoundError(public=f"There is no endpoint {endpoint_id}.")
    return endpoint


def _managed(hub: Services, caller: Principal, endpoint_id: str) -> Endpoint:
    endpoint = _usable(hub, caller, endpoint_id)
    if not may_manage(caller, endpoint):
        raise ForbiddenError(
            public=f"Only the owner and the admins of endpoint {endpoint_id} may do this."
        )
    return endpoint


def _summary(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "uuid": endpoint.id,
        "endpoint_id": endpoint.id,
        "name": endpoint.name,
        "display_name": endpoint.display_name,
        "owner": endpoint.owner,
        "multi_user": endpoint.multi_user,
        "public": endpoint.public,
    }


def _status(endpoint: Endpoint) -> str:
    return "online" if is_online(endpoint, time.time()) else "offline"
