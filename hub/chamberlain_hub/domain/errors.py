"""What the hub refuses, one class for each decision that a caller can take."""

from __future__ import annotations

from chamberlain_wire.errors import ChamberlainError, ErrorCode


class UnauthenticatedError(ChamberlainError):
    """Nobody known presented this token. Answer 401; `public` says what to do."""

    code = ErrorCode.UNAUTHENTICATED
    public = "This request needs an access token: send it as 'Authorization: Bearer <token>'."


class TooManyRequestsError(ChamberlainError):
    """The caller asks too often. Answer 429.

    Attributes:
        wait_s: after so many seconds they may ask again.
    """

    code = ErrorCode.TOO_MANY_REQUESTS
    public = "Too many requests. Ask again later."

    def __init__(self, wait_s: int, message: str) -> None:
        super().__init__(public=message)
        self.wait_s = wait_s


class ForbiddenError(ChamberlainError):
    """The caller is known and may not do this. Answer 403; a retry will not help."""

    code = ErrorCode.FORBIDDEN
    public = "You are not allowed to do this."


class FunctionNotPermittedError(ChamberlainError):
    """The endpoint runs listed functions only, and this is none of them. Answer 403."""

    code = ErrorCode.FUNCTION_NOT_PERMITTED
    public = "This endpoint does not run this function."


class EndpointNotFoundError(ChamberlainError):
    """There is no such endpoint, or the caller may not know of it. Answer 404."""

    code = ErrorCode.ENDPOINT_NOT_FOUND
    public = "There is no such endpoint."


class FunctionNotFoundError(ChamberlainError):
    """There is no such function, or the caller may not know of it. Answer 404."""

    code = ErrorCode.FUNCTION_NOT_FOUND
    public = "There is no such function."


class TaskNotFoundError(ChamberlainError):
    """There is no such task, or it is somebody else's. Answer 404."""

    code = ErrorCode.TASK_NOT_FOUND
    public = "There is no such task."


class TaskGroupNotFoundError(ChamberlainError):
    """There is no such task group, or it is somebody else's. Answer 404."""

    code = ErrorCode.TASKGROUP_NOT_FOUND
    public = "There is no such task group."


class EndpointLockedError(ChamberlainError):
    """The endpoint is locked for a while. Answer 423; the caller may try again later."""

    code = ErrorCode.ENDPOINT_LOCKED
    public = "The endpoint is locked at the moment. Try again later."


class OptionsRefusedError(ChamberlainError):
    """The caller's `user_endpoint_config` is not acceptable. Answer 422; `public` lists faults."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = "The user_endpoint_config is not acceptable."


class SchemaInvalidError(ChamberlainError):
    """An endpoint's schema for options is itself wrong. Answer 422 at registration."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = "The schema for user_endpoint_config is not a valid JSON schema."


class TaskIdTakenError(ChamberlainError):
    """A task id of this submit belongs to somebody else. Answer 409; nothing was stored."""

    code = ErrorCode.CONFLICT
    public = "A task id of this request is already in use. Make new task ids and submit again."


class IdentityExistsError(ChamberlainError):
    """The username is taken."""

    code = ErrorCode.CONFLICT
    public = "There is already an identity with this username."


class IdentityUnknownError(ChamberlainError):
    """No identity has this username or id."""

    code = ErrorCode.NOT_FOUND
    public = "There is no such identity."


class UsernameInvalidError(ChamberlainError):
    """A username has not the form `name@domain`."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = "This is not a username."


class TokenUnknownError(ChamberlainError):
    """No token has this id."""

    code = ErrorCode.NOT_FOUND
    public = "There is no such token."


class ScopeUnknownError(ChamberlainError):
    """A token was asked for a scope that this hub has not. Answer 400."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = "This hub has no such scope."


class ClientRefusedError(ChamberlainError):
    """Nobody known presented this client id with this secret. Answer 401."""

    code = ErrorCode.UNAUTHENTICATED
    public = "The client id is not known to this hub, or its secret is another one."


class ServiceAccountNameError(ChamberlainError):
    """A service account cannot be called this."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = "This is not a name for a service account."


class ServiceAccountUnknownError(ChamberlainError):
    """No service account has this name or client id, or it was revoked."""

    code = ErrorCode.NOT_FOUND
    public = "There is no such service account."


class ServiceAccountExistsError(ChamberlainError):
    """The name is taken, perhaps by one that was revoked."""

    code = ErrorCode.CONFLICT
    public = "There is already a service account with this name."


class PolicyUnknownError(ChamberlainError):
    """No authentication policy has this id."""

    code = ErrorCode.NOT_FOUND
    public = "There is no such authentication policy."


class PolicyExistsError(ChamberlainError):
    """The policy's id is taken."""

    code = ErrorCode.CONFLICT
    public = "There is already an authentication policy with this id."


class PolicyInvalidError(ChamberlainError):
    """What is to become a policy makes no sense; `public` says why."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = "This is not an authentication policy."


class ValueRefusedError(ChamberlainError):
    """A text cannot be stored. Answer 422; the same request will fail again."""

    code = ErrorCode.SEMANTICALLY_INVALID
    public = (
        "A text of this request cannot be stored: it is too long for its field, or holds a "
        "NUL or half a surrogate pair."
    )


class StoreNotMigratedError(ChamberlainError):
    """The database has another shape than this program expects. Do not serve; migrate."""

    code = ErrorCode.UNAVAILABLE
    public = "The hub's database is not up to date."


class StoreUnavailableError(ChamberlainError):
    """The database did not answer or did not commit. Nothing was changed; try again later."""

    code = ErrorCode.UNAVAILABLE
    public = "The hub's database does not answer at the moment. Try again."
