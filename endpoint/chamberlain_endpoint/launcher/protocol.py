"""What manager and launcher say to each other: frames, requests, answers, notices.

A frame is a 4-byte big-endian length and a UTF-8 JSON object. A request carries a number
(`id`) that its answer repeats; answers may come in another order than the requests, because
a stop takes as long as it takes. Standard library only, and no clever parser: a request is
one of six shapes, with exactly the fields listed here, each of exactly the type listed here.
JSON by hand instead of a schema library, because root would have to load that library.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any, ClassVar, Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode
from chamberlain_wire.limits import MAX_LAUNCH_BYTES

MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
"""Largest frame that the manager reads from the launcher: `list` with all its ended notices."""

_HEAD: Final = struct.Struct(">I")


class FrameRefusedError(ChamberlainError):
    """Bytes on the socket are not a frame of this protocol. Close the connection."""

    code = ErrorCode.INVALID_MESSAGE
    public = "The launcher could not read the request."


class RequestRefusedError(ChamberlainError):
    """A request is not on the list, or has another shape. The asker's code is wrong."""

    code = ErrorCode.INVALID_MESSAGE
    public = "The launcher does not know such a request."


class RelayedError(ChamberlainError):
    """A refusal that another process decided.

    Attributes:
        word: its code.
    """

    def __init__(self, word: ErrorCode, public: str, detail: str) -> None:
        super().__init__(detail, public=public)
        self.word = word


def word_of(error: ChamberlainError) -> ErrorCode:
    """Return the code of `error`, also when another process raised it."""
    return error.word if isinstance(error, RelayedError) else error.code


@dataclass(frozen=True, slots=True)
class Hello:
    """Ask who serves here."""

    kind: ClassVar[str] = "hello"


@dataclass(frozen=True, slots=True)
class Admit:
    """Ask which account the caller would get. Nothing is started, no id is used up.

    Attributes:
        assertion: the hub's signed statement of who asks, as it came.
    """

    kind: ClassVar[str] = "admit"
    assertion: str


@dataclass(frozen=True, slots=True)
class Launch:
    """Start one user endpoint. A repeat of the same assertion is refused.

    Attributes:
        assertion: the hub's signed statement of who asks. The launcher maps it to an account
            itself; no request ever names an account.
        user_endpoint: must be the one that the assertion names.
        config: rendered and checked configuration, JSON text.
        credentials: the broker credentials of the user endpoint, JSON text. A secret.
        environment: what the site adds to the process's environment.
    """

    kind: ClassVar[str] = "launch"
    assertion: str
    user_endpoint: str
    config: str
    credentials: str
    environment: dict[str, str]

    def __repr__(self) -> str:
        return f"Launch(user_endpoint={self.user_endpoint!r}, credentials=***)"


@dataclass(frozen=True, slots=True)
class Stop:
    """End one user endpoint; answered when nothing of it runs any more.

    Attributes:
        grace_s: how long it may finish its work before it is killed.
        why: a few words for the audit log.
    """

    kind: ClassVar[str] = "stop"
    user_endpoint: str
    grace_s: float
    why: str


@dataclass(frozen=True, slots=True)
class ListRunning:
    """Ask what runs, and what ended lately."""

    kind: ClassVar[str] = "list"


@dataclass(frozen=True, slots=True)
class Watch:
    """Ask to be told, on this connection, of every end from now on."""

    kind: ClassVar[str] = "watch"


Request = Hello | Admit | Launch | Stop | ListRunning | Watch

_REQUESTS: Final[Mapping[str, type[Request]]] = MappingProxyType(
    {shape.kind: shape for shape in (Hello, Admit, Launch, Stop, ListRunning, Watch)}
)


@dataclass(frozen=True, slots=True)
class Greeting:
    """The answer to `Hello`.

    Attributes:
        endpoint: id of the endpoint that this launcher serves.
        mode: `multi` or `single`.
        owner_identity: the only identity that is let in; empty in the multi-user form.
        mapping_state: `in force`, or why the newest version of the mapping file is not.
    """

    endpoint: str
    mode: str
    version: str
    owner_identity: str
    mapping_state: str = "in force"


@dataclass(frozen=True, slots=True)
class Group:
    """A group of an account."""

    gid: int
    name: str


@dataclass(frozen=True, slots=True)
class Account:
    """A local account, as the name service tells it.

    Attributes:
        gid: the primary group.
        groups: all groups, the primary one among them.
        dir: the home folder.
    """

    uname: str
    uid: int
    gid: int
    groups: tuple[Group, ...]
    gecos: str
    shell: str
    dir: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """The answer to `Admit`.

    Attributes:
        identity: id of the linked identity that matched.
        username: its username.
        rule: the rule that matched, in words.
    """

    account: Account
    identity: str
    username: str
    rule: str


@dataclass(frozen=True, slots=True)
class Launched:
    """The answer to `Launch`.

    Attributes:
        already: it was running before; nothing was started.
        pid: process id, as the host sees it, of the top of its process tree.
    """

    already: bool
    pid: int


@dataclass(frozen=True, slots=True)
class Running:
    """A user endpoint that runs now.

    Attributes:
        command: id of the assertion that started it.
        started_at: UTC, seconds since the epoch.
    """

    user_endpoint: str
    command: str
    account: str
    uid: int
    pid: int
    started_at: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A user endpoint is gone, with all that it had started.

    Attributes:
        command: id of the assertion that had started it.
        exit_code: None when a signal ended it.
        signal: number of that signal, or None.
        tail: the last 4 KiB that it wrote on standard error. Never to be trusted.
        at: UTC, seconds since the epoch.
    """

    user_endpoint: str
    command: str
    exit_code: int | None
    signal: int | None
    tail: str
    at: float


@dataclass(frozen=True, slots=True)
class Listing:
    """The answer to `ListRunning`: what runs, and the last ends, oldest first."""

    running: tuple[Running, ...]
    ended: tuple[Ended, ...]


Answer = Greeting | Admitted | Launched | Listing | None
"""What a granted request is answered with; None where there is nothing to tell."""


class FrameReader:
    """Turns the bytes of one connection into JSON objects, in order."""

    def __init__(self, max_bytes: int = MAX_LAUNCH_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield each object that `data` completes.

        Raises:
            FrameRefusedError: a frame is too long, or no JSON object. Close the connection.
        """
        self._bytes += data
        while len(self._bytes) >= _HEAD.size:
            (size,) = _HEAD.unpack_from(self._bytes)
            if size > self._max_bytes:
                # Refused before a byte of it is kept: nobody makes root hold gigabytes.
                raise FrameRefusedError(f"frame of {size} bytes; {self._max_bytes} is the limit")
            if len(self._bytes) < _HEAD.size + size:
                return
            body = bytes(self._bytes[_HEAD.size : _HEAD.size + size])
            del self._bytes[: _HEAD.size + size]
            yield _parse_object(body)


def frame(document: Mapping[str, Any], max_bytes: int = MAX_LAUNCH_BYTES) -> bytes:
    """Return `document` as one frame.

    Raises:
        FrameRefusedError: it has more than `max_bytes` bytes; the other side would hang up.
    """
    body = json.dumps(document, separators=(",", ":")).encode()
    if len(body) > max_bytes:
        raise FrameRefusedError(
            f"frame of {len(body)} bytes; {max_bytes} is the limit",
            public=f"The request has {len(body)} bytes; the launcher takes {max_bytes}.",
        )
    return _HEAD.pack(len(body)) + body


def request_document(number: int, request: Request) -> dict[str, Any]:
    """Return `request` in the form that travels."""
    return {"id": number, "kind": request.kind, **asdict(request)}


def parse_request(document: dict[str, Any]) -> Request:
    """Return the request in `document`.

    Raises:
        RequestRefusedError: unknown kind, a missing or extra field, or a field of another
            type. Nothing is converted: `"7"` is not a number here.
    """
    values = {name: value for name, value in document.items() if name not in ("id", "kind")}
    kind = document.get("kind")
    shape = _REQUESTS.get(kind) if isinstance(kind, str) else None
    if shape is None:
        raise RequestRefusedError(f"unknown request {str(kind)[:80]!r}")
    wanted = {field.name: str(field.type) for field in fields(shape)}
    if values.keys() != wanted.keys():
        raise RequestRefusedError(f"{kind} takes exactly the fields {sorted(wanted)}")
    for name, kind_of_value in wanted.items():
        if not _is_exactly(values[name], kind_of_value):
            raise RequestRefusedError(f"{name} of {kind} must be {kind_of_value}")
    return shape(**values)


def answer_document(number: int, answer: Answer) -> dict[str, Any]:
    """Return a granted answer in the form that travels."""
    return {"id": number, "ok": True, **({} if answer is None else asdict(answer))}


def refusal_document(number: int, error: ChamberlainError) -> dict[str, Any]:
    """Return a refusal in the form that travels."""
    return {
        "id": number,
        "ok": False,
        "code": str(word_of(error)),
        "public": error.public,
        "detail": str(error),
    }


def notice_document(ended: Ended) -> dict[str, Any]:
    """Return a notice in the form that travels."""
    return {"notice": "ended", **asdict(ended)}


def parse_account(document: Mapping[str, Any]) -> Account:
    """Return the account that `asdict` made `document` of."""
    groups = tuple(Group(**group) for group in document["groups"])
    return Account(**{**document, "groups": groups})


def parse_ended(document: Mapping[str, Any]) -> Ended:
    """Return the end that a notice or a listing tells of."""
    return Ended(**{name: value for name, value in document.items() if name != "notice"})


def _is_exactly(value: object, kind: str) -> bool:
    # type(), not isinstance(): True is an int and must not pass for a number of seconds.
    match kind:
        case "str":
            return type(value) is str
        case "float":
            return type(value) in (int, float)
        case "dict[str, str]":
            return type(value) is dict and all(type(each) is str for each in value.values())
    raise AssertionError(f"no rule for {kind}")


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise FrameRefusedError("frame is not JSON") from None
    if type(document) is not dict:
        raise FrameRefusedError("frame is not a JSON object")
    return document


def _refuse_constant(name: str) -> float:
    # NaN compares with nothing: as a number of seconds it would pass every bound.
    raise ValueError(f"{name} is not JSON")
