"""Validation errors as sentences: every fault, where it is, and the nearest known name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from chamberlain_wire.errors import ChamberlainError, ErrorCode

MAX_FAULTS: Final = 20
_SHOWN_CHARS: Final = 60
_ASK_OUTSIDE: Final = ("address_by_query",)


class ConfigInvalidError(ChamberlainError):
    """The rendered configuration cannot be used. Tell the caller `public`; do not retry.

    Attributes:
        faults: one sentence per fault, each beginning with the path of the key.
    """

    code = ErrorCode.CONFIG_INVALID

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        shown = list(self.faults[:MAX_FAULTS])
        if len(self.faults) > MAX_FAULTS:
            shown.append(f"and {len(self.faults) - MAX_FAULTS} more")
        super().__init__(
            public=f"The user endpoint's configuration is not valid: {'; '.join(shown)}."
        )


def sentences(
    errors: Iterable[ErrorDetails], root: type[BaseModel], tagged: Mapping[str, type[BaseModel]]
) -> list[str]:
    """Return one sentence for each of `errors`.

    Args:
        root: the model that was validated.
        tagged: the model behind each `type` word, to tell which names are known where.
    """
    return [_sentence(error, root, tagged) for error in errors]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean "..."?` for the nearest of `known`, or nothing when none is near."""
    by_lower = {word.lower(): word for word in known}
    matches = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return f', did you mean "{by_lower[matches[0]]}"?' if matches else ""


def _sentence(
    error: ErrorDetails, root: type[BaseModel], tagged: Mapping[str, type[BaseModel]]
) -> str:
    loc, kind = error["loc"], error["type"]
    if kind == "extra_forbidden":
        path, model = _walk(loc[:-1], root, tagged)
        key = str(loc[-1])
        hint = nearest(key, model.model_fields)
        return f"{'.'.join([*path, _short(key)])} is not a known key{hint}"
    path, _ = _walk(loc, root, tagged)
    return _at(".".join(path) or "the configuration", error)


def _at(where: str, error: ErrorDetails) -> str:
    context = error.get("ctx", {})
    match error["type"]:
        case "union_tag_invalid":
            sentence = _unknown_type(where, str(context["tag"]), str(context["expected_tags"]))
        case "literal_error" if where.endswith(".type"):
            word, expected = str(error["input"]), str(context["expected"])
            sentence = _unknown_type(where.removesuffix(".type"), word, expected)
        case "union_tag_not_found":
            sentence = f"{where}.type is missing"
        case "missing":
            sentence = f"{where} is required"
        case "value_error":
            sentence = f"{where}: {context['error']}"
        case _:
            message = error["msg"]
            shown = _short(repr(error["input"]))
            sentence = f"{where}: {message[:1].lower()}{message[1:]}, not {shown}"
    return sentence


def _unknown_type(where: str, word: str, expected: str) -> str:
    known = [part.strip(" '") for part in expected.replace(" or ", ", ").split(",")]
    if word in _ASK_OUTSIDE:
        return (
            f"{where}.type: {word} asks a web service outside the site, which is never done; "
            "address_by_interface, address_by_route and address_by_hostname do not"
        )
    hint = nearest(word, known) or f", known are {', '.join(known)}"
    return f"{where}.type: {_short(word)} is not known{hint}"


def _walk(
    loc: Iterable[int | str], root: type[BaseModel], tagged: Mapping[str, type[BaseModel]]
) -> tuple[list[str], type[BaseModel]]:
    """Return the path as its author wrote it, and the innermost model on it."""
    path: list[str] = []
    model = root
    for part in loc:
        if part in tagged:
            # A choice that the validator made; it is no key of the document.
            model = tagged[str(part)]
            continue
        path.append(str(part))
        field = model.model_fields.get(str(part))
        inner: Any = field.annotation if field else None
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return path, model


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}..."
