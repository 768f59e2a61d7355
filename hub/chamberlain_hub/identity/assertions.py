"""Makes the signed statement about a caller that an endpoint's launcher believes."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chamberlain_hub.domain.endpoint import UserEndpoint
from chamberlain_hub.domain.identity import Identity, Principal
from chamberlain_wire.assertion import Assertion, LinkedIdentity, request_digest, sign
from chamberlain_wire.ids import new_id
from chamberlain_wire.limits import ASSERTION_LIFETIME_S


def make(
    key: Ed25519PrivateKey,
    principal: Principal,
    user_endpoint: UserEndpoint,
    *,
    source: str,
    now: float,
) -> tuple[Assertion, bytes]:
    """Return a fresh, single-use statement that `principal` asks for `user_endpoint`.

    It is bound to the user endpoint's options and runtime. Its id is the command's id too.

    Args:
        source: network address of the caller, for the endpoint's audit log.
        now: UTC seconds.

    Returns:
        The statement, and the signed form that travels.
    """
    assertion = Assertion(
        id=new_id(),
        endpoint=user_endpoint.endpoint,
        user_endpoint=user_endpoint.id,
        identity=principal.identity.id,
        username=principal.identity.username,
        identities=tuple(_linked(entry) for entry in principal.linked),
        request_digest=request_digest(user_endpoint.options, user_endpoint.runtime),
        source=source,
        issued_at=now,
        expires_at=now + ASSERTION_LIFETIME_S,
    )
    return assertion, sign(assertion, key)


def _linked(identity: Identity) -> LinkedIdentity:
    last = identity.last_authentication
    return LinkedIdentity(
        id=identity.id,
        username=identity.username,
        name=identity.name,
        email=identity.email,
        organization=identity.organization,
        identity_provider=identity.identity_provider,
        identity_provider_display_name=identity.identity_provider_display_name,
        status=identity.status,
        last_authentication=None if last is None else int(last),
    )
