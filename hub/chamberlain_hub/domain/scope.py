"""What an access token may be used for. Pure.

The words are those of the public clients, which ask for a token per service ("resource
server"): one for computing, one for asking who they are. A token without a scope, as
`chamberlain-hub token create` makes it, is good for everything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from chamberlain_hub.domain.errors import ScopeUnknownError

COMPUTE: Final = "https://auth.globus.org/scopes/facd7ccc-c5f4-42aa-916b-a0e270e2c2a9/all"
COMPUTE_SERVER: Final = "funcx_service"
AUTH_SERVER: Final = "auth.globus.org"

_AUTH_NAMES: Final = (
    "manage_projects",
    "view_authentications",
    "view_clients",
    "view_consents",
    "view_identities",
    "view_identity_set",
)
_SERVERS: Final = {
    COMPUTE: COMPUTE_SERVER,
    **dict.fromkeys(("openid", "profile", "email"), AUTH_SERVER),
    **{f"urn:globus:auth:scope:auth.globus.org:{name}": AUTH_SERVER for name in _AUTH_NAMES},
}
_MAX_SHOWN_CHARS: Final = 120


@dataclass(frozen=True, slots=True)
class Grant:
    """One token to make.

    Attributes:
        server: the service it is for.
        scope: words separated by blanks, all of that service.
    """

    server: str
    scope: str


def grants(requested: str) -> tuple[Grant, ...]:
    """Return the tokens that a request for scopes is answered with, in the order of asking.

    Args:
        requested: words separated by blanks; none: the one for computing.

    Raises:
        ScopeUnknownError: this hub has no such scope; `public` names it.
    """
    servers: dict[str, list[str]] = {}
    for word in dict.fromkeys(requested.split() or [COMPUTE]):
        server = _SERVERS.get(word)
        if server is None:
            raise ScopeUnknownError(
                public=f"This hub has no scope {word[:_MAX_SHOWN_CHARS]!r}. "
                f"It has: {' '.join(_SERVERS)}"
            )
        servers.setdefault(server, []).append(word)
    return tuple(Grant(server, " ".join(words)) for server, words in servers.items())


def may_compute(scope: str | None) -> bool:
    """Tell whether a token of this scope may be used for more than asking who one is."""
    return scope is None or COMPUTE in scope.split()


def servers_of(scope: str | None) -> Iterable[str]:
    """Return the services that a token of this scope is for."""
    words = _SERVERS if scope is None else scope.split()
    return tuple(dict.fromkeys(_SERVERS[word] for word in words if word in _SERVERS))
