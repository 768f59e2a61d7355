"""Routes with which programs get access tokens, look at them and give them back (OAuth2).

Service accounts alone: the grant is `client_credentials`. Paths, fields and the way tokens
are grouped by service are those of the public clients. A program with a wrong secret has to
wait after some tries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from chamberlain_hub.api.oauth_form import (
    Credentials,
    OAuthError,
    credentials,
    private_answer,
    read_form,
)
from chamberlain_hub.api.services import Hub, Services
from chamberlain_hub.dispatch.commands import identity_document
from chamberlain_hub.domain.errors import ClientRefusedError, ScopeUnknownError
from chamberlain_hub.domain.identity import Principal, Token
from chamberlain_hub.domain.scope import grants, servers_of

router = APIRouter(tags=["tokens"])
log = logging.getLogger(__name__)

_CHALLENGE: Final = {"WWW-Authenticate": 'Basic realm="chamberlain"'}
_UNUSED: Final = {"active": False}


@router.post("/v2/oauth2/token", summary="Get access tokens with a service account's secret")
async def get_token(hub: Hub, request: Request) -> Response:
    """A form: `grant_type=client_credentials`, `scope`; client id and secret by HTTP Basic or in
    the form. The answer is the token of the first scope's service; those of other services are
    in `other_tokens`. No refresh token: the secret gets the next one."""
    return await _answered(_token, hub, request)


@router.post("/v2/oauth2/token/introspect", summary="What is this token good for?")
async def introspect(hub: Hub, request: Request) -> Response:
    """A form: `token`, and `include=identity_set` if wished. A service account sees its own
    tokens; all others are answered as not active."""
    return await _answered(_introspect, hub, request)


@router.post("/v2/oauth2/token/revoke", summary="Make a token worthless")
async def revoke(hub: Hub, request: Request) -> Response:
    """A form: `token`. Whoever has a token may give it back. A repeat changes nothing."""
    return await _answered(_revoke, hub, request)


Work = Callable[[Services, Mapping[str, str], Principal | None], Any]


async def _answered(work: Work, hub: Services, request: Request) -> Response:
    try:
        form = await read_form(request)
        given = credentials(request, form)
        source = request.client.host if request.client else ""
        return private_answer(await hub.run(_run, work, hub, form, given, source))
    except OAuthError as error:
        log.info(
            "token request refused",
            extra={"event": "request.refused", "code": error.error, "reason": error.text},
        )
        return error.answer()


def _run(
    work: Work, hub: Services, form: Mapping[str, str], given: Credentials | None, source: str
) -> Any:
    return work(hub, form, None if given is None else _client(hub, given, source))


def _client(hub: Services, given: Credentials, source: str) -> Principal:
    key = (given.client_id[:64], source)
    wait_s = hub.attempts.wait_s(key, time.monotonic())
    if wait_s:
        raise OAuthError(
            "invalid_client",
            f"Too many wrong secrets for this client id. Try again in {wait_s} s.",
            HTTPStatus.TOO_MANY_REQUESTS,
            {"Retry-After": str(wait_s)},
        )
    try:
        return hub.store.authenticate_client(given.client_id, given.secret)
    except ClientRefusedError as error:
        hub.attempts.note_wrong(key, time.monotonic())
        raise _refused(error.public) from None


def _refused(text: str) -> OAuthError:
    return OAuthError("invalid_client", text, HTTPStatus.UNAUTHORIZED, _CHALLENGE)


def _token(hub: Services, form: Mapping[str, str], client: Principal | None) -> Any:
    grant = form.get("grant_type", "")
    if not grant:
        raise OAuthError("invalid_request", "grant_type is missing.")
    if grant != "client_credentials":
        raise OAuthError(
            "unsupported_grant_type",
            "This hub gives tokens to service accounts only (grant_type=client_credentials). "
            "People get theirs from its administrator: chamberlain-hub token create USERNAME.",
        )
    if client is None:
        raise _refused("A client id and its secret are needed.")
    try:
        wanted = grants(form.get("scope", ""))
    except ScopeUnknownError as error:
        raise OAuthError("invalid_scope", error.public) from None
    lives_s, now = hub.settings.service_token_s, time.time()
    try:
        made = hub.store.grant_tokens(client.identity.id, wanted, now, now + lives_s)
    except ClientRefusedError as error:
        raise _refused(error.public) from None
    first, *others = [
        {
            "access_token": token,
            "token_type": "Bearer",
            "expires_in": int(lives_s),
            "scope": one.scope,
            "resource_server": one.server,
            "state": form.get("state"),
        }
        for one, token in zip(wanted, made, strict=True)
    ]
    log.info("tokens given", extra={"event": "token.given", "user": client.identity.username})
    return {**first, "other_tokens": others}


def _introspect(hub: Services, form: Mapping[str, str], client: Principal | None) -> Any:
    if client is None:
        raise _refused("A client id and its secret are needed.")
    token = hub.store.find_token(_token_of(form))
    if token is None or token.identity != client.identity.id or not _is_good(token):
        return _UNUSED
    include = form.get("include", "").split(",")
    linked = {"identity_set": [entry.id for entry in client.linked]}
    detail = {"identity_set_detail": [identity_document(entry) for entry in client.linked]}
    return {
        "active": True,
        "token_type": "Bearer",
        "scope": token.scope or "",
        "client_id": client.identity.id,
        "sub": client.identity.id,
        "username": client.identity.username,
        "name": client.identity.name,
        "email": client.identity.email or None,
        "aud": [*servers_of(token.scope), client.identity.id],
        "iss": hub.settings.public_url,
        "iat": int(token.created_at),
        "nbf": int(token.created_at),
        "exp": None if token.expires_at is None else int(token.expires_at),
        **(linked if "identity_set" in include else {}),
        **(detail if "identity_set_detail" in include else {}),
    }


def _revoke(hub: Services, form: Mapping[str, str], _client: Principal | None) -> Any:
    token = hub.store.find_token(_token_of(form))
    if token is not None:
        hub.store.revoke_token(token.id)
        log.info("token revoked", extra={"event": "token.revoked", "user": token.username})
    return _UNUSED


def _token_of(form: Mapping[str, str]) -> str:
    token = form.get("token", "")
    if not token:
        raise OAuthError("invalid_request", "token is missing.")
    return token


def _is_good(token: Token) -> bool:
    return token.revoked_at is None and (token.expires_at is None or time.time() < token.expires_at)
