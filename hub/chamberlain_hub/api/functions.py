"""Routes for functions."""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from starlette.responses import Response

from chamberlain_hub.api.answers import json_answer
from chamberlain_hub.api.bodies import FunctionBody
from chamberlain_hub.api.errors import RequestInvalidError, TooLargeError
from chamberlain_hub.api.services import Asker, Caller, Hub
from chamberlain_hub.audit.entry import ACCEPTED, Action, Entry
from chamberlain_hub.domain.access import may_read_function, owns
from chamberlain_hub.domain.errors import FunctionNotFoundError
from chamberlain_hub.domain.function import Function
from chamberlain_wire.allowed import is_one_part, sha256_of
from chamberlain_wire.ids import FunctionId, new_id, parse_function_id

router = APIRouter(tags=["functions"])

_MAX_META_BYTES: Final = 64 * 1024
_MAX_LISTED: Final = 1000


@router.post("/v3/functions", summary="Register a function")
@router.post("/v2/functions", summary="Register a function", include_in_schema=False)
def add_function(hub: Hub, caller: Caller, who: Asker, body: FunctionBody) -> Response:
    """Answers `function_uuid`. A function never changes; register again for new code."""
    code = body.function_code
    size_bytes = len(code.encode())
    if size_bytes > hub.settings.max_function_bytes:
        raise TooLargeError.of("The function", size_bytes, hub.settings.max_function_bytes)
    if body.ha_endpoint_id is not None:
        raise RequestInvalidError(public="$.ha_endpoint_id: this hub has no such functions")
    meta = body.meta or {}
    if len(json.dumps(meta)) > _MAX_META_BYTES:
        raise RequestInvalidError(public=f"$.meta: more than {_MAX_META_BYTES} bytes")
    code = code if body.serialized else _packed_source(body.function_name, code)
    if not is_one_part(code):
        raise RequestInvalidError(
            public="$.function_code: it is not one packed function (a length, a newline, and as "
            "many characters). Pack it with an SDK, or send source with serialized: false."
        )
    function = Function(
        id=FunctionId(new_id()),
        owner=caller.identity.id,
        name=body.function_name,
        code=code,
        sha256=sha256_of(code),
        meta=meta,
        description=body.description or "",
        public=body.public,
        created_at=time.time(),
    )
    hub.audit.note(_entry(Action.FUNCTION_REGISTERED, who, function))
    hub.store.add_function(function)
    return json_answer({"function_uuid": function.id})


@router.get("/v3/functions", summary="Own functions, newest first")
def list_functions(
    hub: Hub, caller: Caller, limit: Annotated[int, Query(ge=1, le=_MAX_LISTED)] = 50
) -> Response:
    """Without their code, and without those that were deleted."""
    return json_answer(
        {
            "functions": [
                {
                    "function_uuid": function.id,
                    "function_name": function.name,
                    "description": function.description,
                    "public": function.public,
                    "sha256": function.sha256,
                    "created_at": function.created_at,
                }
                for function in hub.store.functions_of(caller.identity.id, limit)
            ]
        }
    )


@router.get("/v2/functions/{function_id}", summary="A function")
def get_function(hub: Hub, caller: Caller, function_id: str) -> Response:
    """404 also for other people's functions that are not public."""
    function = hub.store.function(parse_function_id(function_id))
    if function is None or not may_read_function(caller, function):
        raise FunctionNotFoundError(public=f"There is no function {function_id}.")
    return json_answer(_document(function))


@router.delete("/v2/functions/{function_id}", summary="Delete a function")
def delete_function(hub: Hub, caller: Caller, who: Asker, function_id: str) -> Response:
    """Tasks that were accepted before still run."""
    function = hub.store.function(parse_function_id(function_id))
    if function is None or not owns(caller, function.owner):
        raise FunctionNotFoundError(public=f"There is no function {function_id}.")
    hub.audit.note(_entry(Action.FUNCTION_DELETED, who, function))
    hub.store.delete_function(function.id, function.owner)
    hub.submissions.functions.forget(function.id)
    return json_answer({"status": "ok", "function_uuid": function.id})


def _entry(action: Action, who: Asker, function: Function) -> Entry:
    hashes = ({"id": function.id, "sha256": function.sha256},)
    return Entry(action=action, outcome=ACCEPTED, who=who, functions=hashes)


def _packed_source(name: str, source: str) -> str:
    """Return plain source in the form of the strategy `st`.

    Not by `chamberlain_wire.serialize`, which brings dill along: the hub runs nobody's code
    and loads nothing that could.
    """
    if not name.isidentifier():
        raise RequestInvalidError(public="$.function_name: not a name that Python code can define")
    buffer = f"st\n{name}:{source}"
    return f"{len(buffer)}\n{buffer}"


def _document(function: Function) -> dict[str, Any]:
    return {
        "function_uuid": function.id,
        "function_name": function.name,
        "function_code": function.code,
        "function_source": "",
        "description": function.description,
        "public": function.public,
        "owner": function.owner,
        "sha256": function.sha256,
        "meta": function.meta,
        "metadata": function.meta,
        "timestamp": function.created_at,
    }
