"""Who people are at the hub."""

from __future__ import annotations

from dataclasses import dataclass

from chamberlain_hub.domain.errors import UsernameInvalidError
from chamberlain_wire.ids import IdentityId

MAX_USERNAME_CHARS = 254


@dataclass(frozen=True, slots=True)
class Identity:
    """One identity of one person.

    Attributes:
        user_id: the person; linked identities share it.
        username: `name@domain`, lower case, unique.
        status: identity mapping considers `used` and `private` only.
        last_authentication: when the person last proved to be this identity to an identity
            provider, UTC seconds; None when it never happened (embedded identities).
    """

    id: IdentityId
    user_id: str
    username: str
    name: str = ""
    email: str = ""
    organization: str = ""
    identity_provider: str = ""
    identity_provider_display_name: str = ""
    status: str = "used"
    last_authentication: float | None = None
    created_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls.

    Attributes:
        identity: the effective one.
        linked: all identities of the same person, the effective one first.
        scope: what the token is good for; None: everything.
    """

    identity: Identity
    linked: tuple[Identity, ...]
    token_id: str
    scope: str | None = None

    @property
    def ids(self) -> frozenset[IdentityId]:
        """Ids of all identities of the caller."""
        return frozenset(entry.id for entry in self.linked)


@dataclass(frozen=True, slots=True)
class Token:
    """What the hub keeps of an access token; never the token itself.

    Attributes:
        expires_at: None: never.
        last_used_at: exact to a minute; None: not used yet.
        scope: what it is good for; None: everything.
    """

    id: str
    identity: IdentityId
    username: str
    label: str
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None
    scope: str | None = None


def canonical_username(text: str) -> str:
    """Return `text` as usernames are stored and compared: lower case, no white space around.

    Only printable ASCII is accepted: a Cyrillic letter that looks like a Latin one would
    otherwise be a way into somebody else's account.

    Raises:
        UsernameInvalidError: not `name@domain`. Tell the caller.
    """
    username = text.strip().lower()
    name, at, domain = username.rpartition("@")
    fault = ""
    if not at or not name or not domain or "@" in name:
        fault = "a username has the form name@domain, such as alice@example.edu"
    elif not all("!" <= letter <= "~" for letter in username):
        fault = "only printable ASCII letters, without blanks, are allowed"
    elif len(username) > MAX_USERNAME_CHARS:
        fault = f"it has more than {MAX_USERNAME_CHARS} characters"
    if fault:
        raise UsernameInvalidError(public=f"{text[:80]!r} is not a username: {fault}.")
    return username
