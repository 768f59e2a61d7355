"""Routes about the hub itself and about the caller."""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

from fastapi import APIRouter
from starlette.responses import Response

from chamberlain_hub.api.answers import json_answer
from chamberlain_hub.api.errors import RequestInvalidError
from chamberlain_hub.api.services import Anybody, Hub
from chamberlain_hub.dispatch.commands import identity_document
from chamberlain_hub.domain.errors import StoreUnavailableError

router = APIRouter(tags=["hub"])

API_VERSION: Final = "3.0.0"
# The oldest public SDK and agent whose formats are those of WIRE.
_MIN_SDK: Final = "2.0.0"


@router.get("/v2/version", summary="Versions of the API and of the oldest clients it serves")
def get_version(service: str | None = None) -> Response:
    """`service=all` answers an object; without it, a text."""
    if service is None:
        return json_answer(API_VERSION)
    return json_answer(
        {
            "api": API_VERSION,
            "min_sdk_version": _MIN_SDK,
            "min_ep_version": _MIN_SDK,
            "hub": version("chamberlain"),
        }
    )


@router.get("/health", summary="Is the hub well?")
def get_health(hub: Hub) -> Response:
    """200 when database and broker answer, 503 with what does not otherwise."""
    try:
        hub.store.check_migrated()
        database = True
    except StoreUnavailableError:
        database = False
    broker = hub.dispatcher.link_up
    well = database and broker
    return json_answer(
        {"status": "ok" if well else "degraded", "database": database, "broker": broker},
        200 if well else 503,
    )


@router.get("/v3/assertion_keys", summary="Public keys that sign who asks endpoints")
def get_assertion_keys(hub: Hub) -> Response:
    """Base64 of raw Ed25519 public keys. Compare their fingerprints with `key show`."""
    return json_answer({"keys": list(hub.assertion_keys)})


@router.get("/v2/oauth2/userinfo", summary="Who am I?")
def get_userinfo(caller: Anybody) -> Response:
    """The caller's effective identity, and all that are linked with it."""
    identity = caller.identity
    return json_answer(
        {
            "sub": identity.id,
            "preferred_username": identity.username,
            "name": identity.name,
            "email": identity.email,
            "organization": identity.organization,
            "identity_set": [identity_document(entry) for entry in caller.linked],
        }
    )


@router.get("/v2/api/identities", summary="Identities by id or by username")
def get_identities(
    caller: Anybody, ids: str | None = None, usernames: str | None = None
) -> Response:
    """`ids` or `usernames`: separated by commas. Nobody sees other people's."""
    if (ids is None) == (usernames is None):
        raise RequestInvalidError(public="Either ids or usernames is needed, and not both.")
    wanted = {text.strip().lower() for text in (ids or usernames or "").split(",")}
    found = [one for one in caller.linked if (one.username if ids is None else one.id) in wanted]
    return json_answer({"identities": [identity_document(one) for one in found]})
