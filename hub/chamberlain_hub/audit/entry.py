"""One line of the hub's audit log. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from enum import StrEnum

from chamberlain_hub.domain.identity import Principal


class Action(StrEnum):
    """What was asked, or what happened."""

    SUBMIT = "submit"
    CANCEL = "cancel"
    TASKS_ENDED = "tasks-ended"
    USER_ENDPOINT = "user-endpoint"
    FUNCTION_REGISTERED = "function-registered"
    FUNCTION_DELETED = "function-deleted"
    ENDPOINT_REGISTERED = "endpoint-registered"
    ENDPOINT_DELETED = "endpoint-deleted"
    ENDPOINT_LOCKED = "endpoint-locked"
    SESSION_BEGUN = "session-begun"
    SESSION_ENDED = "session-ended"
    REQUEST = "request"
    TOKEN_MADE = "token-made"  # noqa: S105 - a word, no token
    TOKEN_REVOKED = "token-revoked"  # noqa: S105 - a word, no token
    IDENTITY_MADE = "identity-made"
    IDENTITY_REMOVED = "identity-removed"
    BACKUP_MADE = "backup-made"
    BACKUP_RESTORED = "backup-restored"
    KEY_PREPARED = "key-prepared"
    KEY_SWITCHED = "key-switched"


ACCEPTED, REFUSED, NOTED = "accepted", "refused", "noted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Who:
    """Who asked. Empty: nobody known.

    Attributes:
        identity: id of the effective identity.
        source: network address that the request came from.
        token: id of the access token, never the token.
    """

    identity: str = ""
    username: str = ""
    source: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request and its outcome, or one thing that followed. Empty: not known, no matter.

    Attributes:
        outcome: `accepted`, `refused`, `noted`; of tasks `success`, `failed` or `cancelled`;
            of a user endpoint what its site said (`admitted`, `refused`, `started`, ...).
        operator: local account that ran a command on the hub's host.
        route: method and path, of a request that was refused before it meant anything.
        about: id of what was made, changed or removed, where no other field is for it.
        functions: one `{id, sha256, tasks}` for each function of a submission.
        tasks: ids of tasks that ended, or whose cancellation was asked.
        job: batch job that the tasks ran in, as their user endpoint says.
        repeat: it was noted before, perhaps: the hub had ended before it could be sure.
        count: how many were left out, where not each has a line.
    """

    action: Action
    outcome: str
    who: Who = Who()
    operator: str = ""
    route: str = ""
    endpoint: str = ""
    user_endpoint: str = ""
    account: str = ""
    group: str = ""
    about: str = ""
    functions: Sequence[Mapping[str, object]] | None = None
    tasks: Sequence[str] | None = None
    repeat: bool | None = None
    count: int | None = None
    code: str = ""
    job: str = ""
    reason: str = ""

    def document(self) -> dict[str, object]:
        """Return the line, without what is empty."""
        values = {"action": self.action, "outcome": self.outcome, **asdict(self.who)}
        values |= {one.name: getattr(self, one.name) for one in fields(self) if one.name != "who"}
        return {name: value for name, value in values.items() if value not in ("", None)}


def caller(principal: Principal, source: str = "") -> Who:
    """Return who called."""
    return Who(
        identity=principal.identity.id,
        username=principal.identity.username,
        token=principal.token_id,
        source=source,
    )
