"""Functions, payloads, results and exceptions as they travel in tasks and results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chamberlain_wire import strategy_names
from chamberlain_wire.errors import DeserializationError, SerializationError
from chamberlain_wire.serialize import buffers
from chamberlain_wire.serialize.strategies import (
    BY_NAME,
    DILL_CODE,
    DILL_DATA,
    PICKLE_CODE,
    STRATEGIES,
    Strategy,
    body,
    named,
)


@dataclass(frozen=True, slots=True)
class Serializer:
    """Which strategies to write with, and which to read.

    Attributes:
        code: for functions.
        data: for arguments and results.
        allowed: what may be read; None allows every strategy.
    """

    code: Strategy = DILL_CODE
    data: Strategy = DILL_DATA
    allowed: frozenset[Strategy] | None = None


DEFAULT: Final = Serializer()


def serializer(
    *, code: str = DILL_CODE.name, data: str = DILL_DATA.name, allowed: Iterable[str] = ()
) -> Serializer:
    """Return the serializer with these strategies.

    Args:
        code: name of a strategy for functions, such as `"AllCodeStrategies"`.
        data: name of a strategy for data, such as `"JSONData"`.
        allowed: see `parse_allowed`; empty allows all.

    Raises:
        SerializationError: a name is unknown or of the other kind. The text lists the names.
    """
    return Serializer(
        strategy(code, for_code=True), strategy(data, for_code=False), parse_allowed(allowed)
    )


def strategy(name: str, *, for_code: bool | None = None) -> Strategy:
    """Return the strategy called `name`: its name, or any import path that ends in it.

    Raises:
        SerializationError: unknown, only readable, or for code where data is meant.
    """
    found = BY_NAME.get(name.rpartition(".")[2])
    fitting = [
        one.name
        for one in STRATEGIES
        if one is not PICKLE_CODE and for_code in (None, one.for_code)
    ]
    if found is None or found.name not in fitting:
        kind = {True: "function", False: "data", None: ""}[for_code]
        raise SerializationError(
            public=f"{name!r} is no {kind} serialization strategy. Use one of: "
            + ", ".join(fitting)
            + "."
        )
    return found


def parse_allowed(names: Iterable[str]) -> frozenset[Strategy] | None:
    """Return the strategies that `names` allow; None (all) when it is empty.

    Args:
        names: names or import paths; `*Code` and `*Data` (with any prefix) stand for all
            of a kind. At least one of each kind is needed.

    Raises:
        SerializationError: an unknown name, or a kind is missing.
    """
    wanted = list(names)
    if not wanted:
        return None
    return frozenset(BY_NAME[name] for name in strategy_names.allowed(wanted))


def pack_function(function: Callable[..., Any], using: Serializer = DEFAULT) -> str:
    """Return `function` as `function_code` of a registration.

    Raises:
        SerializationError: it cannot travel; the text names the cause and a way out.
    """
    name = getattr(function, "__name__", type(function).__name__)
    return buffers.join([_write(function, using.code, f"The function {name!r}")])


def pack_source(name: str, source: str) -> str:
    """Return the function `name` of the program text `source` as `function_code`."""
    return buffers.join([f"st\n{name}:{source}"])


def pack_payload(
    args: Sequence[Any], kwargs: Mapping[str, Any], using: Serializer = DEFAULT
) -> str:
    """Return the arguments of one call as a payload of submit.

    Raises:
        SerializationError: an argument cannot travel; the text names it.
    """
    try:
        packed = [using.data.pack(tuple(args)), using.data.pack(dict(kwargs))]
    except Exception as error:
        named_args = [(f"argument {place}", value) for place, value in enumerate(args, 1)]
        for what, value in named_args + [(f"argument {key!r}", v) for key, v in kwargs.items()]:
            _write(value, using.data, f"The {what} ({type(value).__name__})")
        raise _refusal("The arguments", using.data, error) from error
    return buffers.join(packed)


def unpack_task(
    task_buffer: str, allowed: frozenset[Strategy] | None = None
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return function, positional and keyword arguments of a task. Runs the sender's code.

    With `allowed`, nothing is opened unless all three parts came by an allowed strategy of
    their kind: a function is no data, and arguments are no code.

    Raises:
        SerializationError: not three buffers, a strategy that is not allowed, or an object
            that cannot be made here (a missing package, another Python). Fail the task with
            the error's `public`.
    """
    texts = buffers.split(task_buffer)
    if len(texts) != 3:
        raise SerializationError(
            public=f"A task needs function, arguments and keyword arguments; it has {len(texts)} "
            "parts. Register the function again."
        )
    _check_strategies(texts, allowed)
    function = _read(texts[0], allowed, "The function", home=False)
    args = _read(texts[1], allowed, "The arguments", home=False)
    kwargs = _read(texts[2], allowed, "The keyword arguments", home=False)
    if not (callable(function) and isinstance(args, list | tuple) and isinstance(kwargs, dict)):
        raise SerializationError(
            public="A task's parts are not a function, a list and a dictionary. "
            "Register the function again."
        )
    return function, tuple(args), kwargs


def pack_result(value: object, strategies: Sequence[str] | None = None) -> str:
    """Return what a function returned as `data` of a Result.

    Args:
        strategies: names in the order of preference, as the caller sent them; the first that
            works is taken. None or empty: DillDataBase64, for callables DillCode.

    Raises:
        SerializationError: none works; fail the task with the error's `public`.
    """
    is_code = callable(value)
    default = DILL_CODE if is_code else DILL_DATA
    wanted = [strategy(name) for name in strategies or ()] or [default]
    fitting = [one for one in wanted if one.for_code == is_code]
    if not fitting:
        kind = "functions" if is_code else "data"
        raise SerializationError(
            public=f"The result is a {type(value).__name__}, and none of the result serializers "
            f"{', '.join(one.name for one in wanted)} is for {kind}. Add {default.name}."
        )
    faults: list[SerializationError] = []
    for one in fitting:
        try:
            return _write(value, one, f"The result ({type(value).__name__})")
        except SerializationError as error:
            faults.append(error)
    raise faults[-1]


def unpack_result(text: str, allowed: frozenset[Strategy] | None = None) -> Any:
    """Return the object in `data` of a Result. Runs code that the worker chose.

    Raises:
        SerializationError: it cannot be made here; the text says what to do.
    """
    return _read(text, allowed, "The result", home=True)


def pack_exception(error: BaseException) -> str | None:
    """Return `error` as `exception` of a Result, or None when it cannot travel.

    Its traceback does not travel with it: that is the text in `data`.
    """
    try:
        text = DILL_DATA.pack(error)
        # Exceptions with an __init__ of their own often write well and then do not read.
        return text if isinstance(DILL_DATA.read(body(text), False), BaseException) else None
    except Exception:  # noqa: BLE001 - a user's class may raise anything; the text remains
        return None


def unpack_exception(
    text: str | None, allowed: frozenset[Strategy] | None = None
) -> BaseException | None:
    """Return the exception in `exception` of a Result, or None when there is none to be had.

    The public agent puts a plain traceback there: that is None, too, and so is one that came
    by a strategy that is not in `allowed`.
    """
    if not text:
        return None
    try:
        found = _read(text, allowed, "The exception", home=True)
    except SerializationError:
        return None
    return found if isinstance(found, BaseException) else None


def _write(value: object, using: Strategy, what: str) -> str:
    try:
        return using.pack(value)
    except SerializationError as error:
        raise SerializationError(f"{what}: {error}", public=error.public) from error
    except Exception as error:
        raise _refusal(what, using, error) from error


def _refusal(what: str, using: Strategy, error: Exception) -> SerializationError:
    advice = (
        "JSON knows text, numbers, lists, dictionaries, true, false and null: use DillDataBase64 "
        "for anything else."
        if using.name == "JSONData"
        else "Open files, connections, locks and other handles inside the function instead of "
        "passing them."
    )
    return SerializationError(
        public=f"{what} cannot be sent with {using.name}: {type(error).__name__}: {error}. {advice}"
    )


_PARTS: Final = (("The function", True), ("The arguments", False), ("The keyword arguments", False))


def _check_strategies(texts: Sequence[str], allowed: frozenset[Strategy] | None) -> None:
    if allowed is None:
        return
    for text, (what, for_code) in zip(texts, _PARTS, strict=True):
        one = named(text)
        if one not in allowed or one.for_code != for_code:
            fitting = ", ".join(sorted(each.name for each in allowed if each.for_code == for_code))
            raise DeserializationError(
                public=f"{what} came by {one.name}, which this endpoint does not allow. "
                f"Send it with one of: {fitting}."
            )


def _read(text: str, allowed: frozenset[Strategy] | None, what: str, *, home: bool) -> Any:
    one = named(text)
    if allowed is not None and one not in allowed:
        fitting = ", ".join(sorted(each.name for each in allowed if each.for_code == one.for_code))
        advice = (
            f"which your serializer does not allow; it allows {fitting}. Name one of these in "
            "`result_serializers`."
            if home
            else f"which this endpoint does not allow. Send it with one of: {fitting}."
        )
        raise DeserializationError(public=f"{what} came by {one.name}, {advice}")
    try:
        return one.read(body(text), home)
    except SerializationError as error:
        raise DeserializationError(
            f"{what}: {error}", public=f"{what} cannot be read: {error}"
        ) from (error)
    except ModuleNotFoundError as error:
        raise DeserializationError(
            public=f"{what} needs the module {error.name!r}, which is not installed here. Install "
            "it here, or import it inside a function that handles its absence."
        ) from error
    except Exception as error:
        raise DeserializationError(
            public=f"{what} cannot be read with {one.name}: {type(error).__name__}: {error}. "
            "Most often the Python or package versions on both sides differ: use the strategy "
            "AllCodeStrategies for functions, and plain data for arguments and results."
        ) from error
