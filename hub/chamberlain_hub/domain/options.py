"""Checks a caller's `user_endpoint_config` against the endpoint's JSON schema. Pure.

The schema comes from whoever registered the endpoint, and runs here, in everybody's hub. So:
nothing is ever fetched (`$ref` reaches the schema itself only), the work is counted and
bounded, and regular expressions are not evaluated, because one bad pattern holds the
interpreter's lock for hours. The endpoint checks the whole schema again, patterns too, in a
bounded process of its own; its verdict reaches the caller the same way.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any, Final, NoReturn

from chamberlain_hub.domain.errors import OptionsRefusedError, SchemaInvalidError
from chamberlain_wire.limits import MAX_OPTIONS_BYTES, MAX_OPTIONS_DEPTH

MAX_SCHEMA_BYTES: Final = 256 * 1024
"""Largest schema that an endpoint may register."""

MAX_STEPS: Final = 10_000
"""Most work that one check does: a keyword is one step, and more when it compares long lists."""

MAX_FAULTS: Final = 20
"""Most faults that one answer lists."""

_MAX_FAULT_CHARS: Final = 300

# These use regular expressions of the schema's author; see the top of this module.
_NOT_EVALUATED: Final = ("pattern", "patternProperties", "unevaluatedProperties")

_steps_left: ContextVar[list[int]] = ContextVar("steps_left")

Keyword = Callable[[Any, Any, Any, Any], Iterable[Any] | None]


class _TooMuchWorkError(Exception):
    """The budget of steps is used up."""


def check_options(options: object, schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `options` when they are acceptable; None counts as no options.

    Args:
        schema: None: only size and shape are checked.

    Raises:
        OptionsRefusedError: `public` names each fault with its path and reason.
    """
    if options is None:
        options = {}
    if not isinstance(options, dict):
        _refuse([f"$: an object is needed, got {type(options).__name__}"])
    faults = list(_shape_faults(options, "$", 1))
    if faults:
        _refuse(faults)
    size_bytes = len(json.dumps(options, separators=(",", ":")))
    if size_bytes > MAX_OPTIONS_BYTES:
        _refuse([f"$: {size_bytes} bytes of JSON, the limit is {MAX_OPTIONS_BYTES}"])
    if schema is not None:
        from referencing import Registry

        # An explicit, empty registry: the default one would fetch a remote `$ref`.
        faults = _faults(_draft_of(schema), schema, Registry(), options)
        if faults:
            _refuse(faults)
    return options


def check_schema(schema: object) -> None:
    """Check at registration that `schema` is one that `check_options` can work with.

    Raises:
        SchemaInvalidError: too large, no object, or no valid JSON schema; `public` says
            where.
    """
    if not isinstance(schema, dict):
        raise SchemaInvalidError(public="The schema for user_endpoint_config is no JSON object.")
    size_bytes = len(json.dumps(schema))
    if size_bytes > MAX_SCHEMA_BYTES:
        raise SchemaInvalidError(
            public=(
                f"The schema for user_endpoint_config has {size_bytes} bytes of JSON; "
                f"the limit is {MAX_SCHEMA_BYTES}."
            )
        )
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    kind = _draft_of(schema)
    # The metaschemas are checked by the same counted keywords: registering is for everybody.
    fault = next(iter(_faults(kind, kind.META_SCHEMA, REGISTRY, schema)), None)
    if fault is not None:
        raise SchemaInvalidError(
            public=f"The schema for user_endpoint_config is not a valid JSON schema: {fault}."
        )


def _refused_by_library(error: Exception) -> str:
    """Return what to say of an error that the library does not document.

    The metaschemas, older drafts' above all, let pass what the library then cannot evaluate,
    such as `"$ref": null` or an `$id` that is no address (found by fuzzing: AttributeError,
    TypeError, ValueError and more). Whatever it is, the schema's author caused it.
    """
    return _short(f"{type(error).__name__}: {error}")


def _refuse(faults: list[str]) -> NoReturn:
    shown = faults[:MAX_FAULTS]
    if len(faults) > len(shown):
        shown.append(f"and {len(faults) - len(shown)} more")
    raise OptionsRefusedError(public="user_endpoint_config is not acceptable: " + "; ".join(shown))


def _shape_faults(value: object, path: str, depth: int) -> Iterator[str]:
    if depth > MAX_OPTIONS_DEPTH:
        yield f"{path}: nested deeper than {MAX_OPTIONS_DEPTH} levels"
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _shape_faults(entry, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for place, entry in enumerate(value):
            yield from _shape_faults(entry, f"{path}[{place}]", depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: {value} is not a number that JSON knows"


def _faults(kind: Any, schema: Mapping[str, Any], registry: Any, instance: object) -> list[str]:
    """Return what `schema` finds wrong with `instance`, or that it cannot be asked."""
    from referencing.exceptions import Unresolvable

    budget = _steps_left.set([MAX_STEPS])
    try:
        errors = list(
            _first_errors(_bounded(kind)(schema, registry=registry).iter_errors(instance))
        )
    except _TooMuchWorkError:
        return ["$: the endpoint's schema is too expensive to check; tell its administrator"]
    except RecursionError:
        return ["$: the endpoint's schema is nested without end; tell its administrator"]
    except Unresolvable as error:
        return [f"$: the endpoint's schema refers to {_short(str(error.ref))}, which is not in it"]
    except Exception as error:  # noqa: BLE001 - see _refused_by_library
        return [f"$: the endpoint's schema cannot be evaluated: {_refused_by_library(error)}"]
    finally:
        _steps_left.reset(budget)
    return [f"{_path(error.absolute_path)}: {_short(error.message)}" for error in errors]


def _first_errors(errors: Iterable[Any]) -> Iterator[Any]:
    # One more than is shown, so that the answer can say that there are more.
    for place, error in enumerate(errors):
        if place > MAX_FAULTS:
            return
        yield error


def _draft_of(schema: Mapping[str, Any]) -> Any:
    from jsonschema.validators import Draft202012Validator, validator_for

    if not isinstance(schema.get("$schema", ""), str):
        return Draft202012Validator
    return validator_for(schema, default=Draft202012Validator)


@cache
def _bounded(kind: Any) -> Any:
    """Return the validator class `kind` with its steps counted and without patterns."""
    from jsonschema.validators import extend

    keywords = {
        name: _nothing if name in _NOT_EVALUATED else _counted(function)
        for name, function in kind.VALIDATORS.items()
    }
    keywords["uniqueItems"] = _unique_items(keywords["uniqueItems"])
    keywords["additionalProperties"] = _unless_patterns(keywords["additionalProperties"])
    return extend(kind, validators=keywords)  # type: ignore[no-untyped-call]


def _counted(function: Keyword) -> Keyword:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[Any]:
        _spend(1 + (_length(value) + _length(instance)) // 50)
        for error in function(validator, value, instance, schema) or ():
            # The text of an error repeats the instance, which may be 64 KiB.
            _spend(10)
            yield error

    return counted


def _unique_items(function: Keyword) -> Keyword:
    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[Any]:
        # It compares each pair when the items cannot be sorted.
        _spend(_length(instance) ** 2 // 100)
        return function(validator, value, instance, schema) or ()

    return checked


def _spend(steps: int) -> None:
    left = _steps_left.get()
    left[0] -= steps
    if left[0] < 0:
        raise _TooMuchWorkError


def _length(value: object) -> int:
    return len(value) if isinstance(value, (list, dict)) else 0


def _nothing(_validator: Any, _value: Any, _instance: Any, _schema: Any) -> Iterable[Any]:
    return ()


def _unless_patterns(function: Keyword) -> Keyword:
    def checked(validator: Any, value: Any, instance: Any, schema: Any) -> Iterable[Any]:
        if "patternProperties" in schema:
            return ()
        return function(validator, value, instance, schema) or ()

    return checked


def _path(parts: Iterable[object]) -> str:
    return "$" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_FAULT_CHARS else text[: _MAX_FAULT_CHARS - 3] + "..."
