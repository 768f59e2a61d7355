"""Are the caller's options acceptable? Size, depth, reserved names, then the site's schema."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Final

import jsonschema
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_wire.errors import ErrorCode
from chamberlain_wire.limits import MAX_OPTIONS_BYTES, MAX_OPTIONS_DEPTH

RESERVED: Final = ("_GC", "mapped_identity", "parent_config", "user_runtime")
"""Names that templates have for the manager's own values."""

_MOST_FAULTS: Final = 10
_FAULT_CHARS: Final = 300


def check_options(options: dict[str, Any], schema: dict[str, Any] | None) -> None:
    """Check `options` against our limits and the site's schema.

    Raises:
        RenderRefusedError: with every fault, each with its path; or the schema itself is
            none (then the site's administrator must act).
    """
    if _deeper_than(options, MAX_OPTIONS_DEPTH):
        raise _refused(f"it is nested more than {MAX_OPTIONS_DEPTH} levels deep")
    size_bytes = len(json.dumps(options, separators=(",", ":")))
    if size_bytes > MAX_OPTIONS_BYTES:
        raise _refused(f"it has {size_bytes} bytes; the limit is {MAX_OPTIONS_BYTES}")
    reserved = [name for name in RESERVED if name in options]
    if reserved:
        raise _refused(f"{', '.join(reserved)}: reserved, and cannot be given")
    if schema is not None:
        _check_schema(options, schema)


def _check_schema(options: dict[str, Any], schema: dict[str, Any]) -> None:
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise RenderRefusedError(
            ErrorCode.TEMPLATE_FAILED,
            f"The endpoint's options schema is wrong at {error.json_path}: "
            f"{error.message:.{_FAULT_CHARS}}. Tell its administrator.",
        ) from None
    # An empty registry: a `$ref` to an address is refused, never fetched.
    validator = kind(schema, registry=Registry())
    try:
        faults = list(islice(validator.iter_errors(options), _MOST_FAULTS))
    except Unresolvable as error:
        raise RenderRefusedError(
            ErrorCode.TEMPLATE_FAILED,
            f"The endpoint's options schema refers to {error.ref[:_FAULT_CHARS]}, which is not "
            "in it. Tell its administrator.",
        ) from None
    if faults:
        raise _refused("; ".join(_sentence(fault) for fault in faults))


def _sentence(fault: jsonschema.ValidationError) -> str:
    where = fault.json_path.removeprefix("$").removeprefix(".")
    text = f"{fault.message:.{_FAULT_CHARS}}"
    return f"{where}: {text}" if where else text


def _refused(reason: str) -> RenderRefusedError:
    return RenderRefusedError(
        ErrorCode.OPTIONS_REFUSED, f"user_endpoint_config is not accepted: {reason}."
    )


def _deeper_than(value: object, levels: int) -> bool:
    match value:
        case dict():
            inner = list(value.values())
        case list():
            inner = value
        case _:
            return False
    return levels == 0 or any(_deeper_than(each, levels - 1) for each in inner)
