"""Request bodies of the routes that are not hot. Unknown keys are ignored: clients differ."""

from __future__ import annotations

from typing import Annotated, Any, Final
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from chamberlain_wire.limits import MAX_ENDPOINT_NAME_CHARS

_MAX_TEXT_CHARS: Final = 256 * 1024
_MAX_SHORT_CHARS: Final = 1024
_MAX_IDS: Final = 10_000


def is_storable(text: str) -> bool:
    """Tell whether every database can store `text`: no NUL, nothing that is not Unicode."""
    try:
        text.encode()
    except UnicodeEncodeError:
        # A lone surrogate, which is JSON but not UTF-8.
        return False
    return "\0" not in text


def _storable(text: str) -> str:
    if not is_storable(text):
        raise ValueError("a NUL character or a lone surrogate is not allowed")
    return text


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, UUID) else value


Text = Annotated[str, Field(max_length=_MAX_TEXT_CHARS), AfterValidator(_storable)]
ShortText = Annotated[str, Field(max_length=_MAX_SHORT_CHARS), AfterValidator(_storable)]
Code = Annotated[str, Field(min_length=1), AfterValidator(_storable)]


class Body(BaseModel):
    """What all bodies have in common."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class FunctionBody(Body):
    """A function to register.

    Attributes:
        function_code: packed code, or plain source when `serialized` is false.
        group: known to the public service; functions are shared by `public` here.
    """

    function_name: Annotated[ShortText, Field(min_length=1)]
    function_code: Code
    serialized: bool = True
    meta: dict[str, Any] | None = None
    description: Text | None = None
    public: bool = False
    group: UUID | None = None
    ha_endpoint_id: UUID | None = None


class EndpointBody(Body):
    """An endpoint to register, or to register again.

    Attributes:
        metadata: what the agent says of itself; `user_config_template` and
            `user_config_schema` are read from it.
    """

    endpoint_name: Annotated[
        str,
        Field(min_length=1, max_length=MAX_ENDPOINT_NAME_CHARS),
        AfterValidator(_storable),
    ] = "endpoint"
    endpoint_uuid: UUID | None = None
    display_name: ShortText | None = None
    multi_user: bool | None = None
    metadata: dict[str, Any] | None = None
    allowed_functions: Annotated[list[UUID], Field(max_length=_MAX_IDS)] | None = None
    authentication_policy: ShortText | None = None
    subscription_uuid: ShortText | None = None
    public: bool | None = None
    high_assurance: bool | None = None
    admins: Annotated[list[UUID], Field(max_length=_MAX_IDS)] | None = None


class BatchStatusBody(Body):
    """Ids of tasks whose state is asked."""

    task_ids: Annotated[list[Annotated[str, BeforeValidator(_as_text)]], Field(max_length=_MAX_IDS)]


class CancelBody(BatchStatusBody):
    """Ids of tasks that are to be cancelled."""
