"""Writes the reference of all keys that a rendered template may have, from the models themselves.

`python -m devtools.template_reference FILE`
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from chamberlain_endpoint.rendered import config, engines, launchers, providers, words

PAGE: Final = Path(__file__).parents[1] / "docs/reference/template-keys.md"
_INTRO: Final = """\
# Every key of a rendered template

Made from the models by `python -m devtools.template_reference docs/reference/template-keys.md`;
a test compares the two. What a template may do to get here is told in
[templates](../templates.md).

An unknown key is refused with the nearest known name, a wrong value with its path, and all faults
are told at once. **required** means that there is no default. *Site's text* is what a shell or a
scheduler reads: a caller's text is refused there unless the schema lists it or the template says
otherwise. *Word* and its like are lists of characters that cannot end a line, begin a directive or
mean anything to a shell.
"""
_SECTIONS: Final[tuple[tuple[str, tuple[type[BaseModel], ...]], ...]] = (
    ("The whole", (config.UserEndpointConfig, config.Paths)),
    (
        "Engines",
        (
            engines.ThreadPoolEngine,
            engines.ProcessPoolEngine,
            engines.HtexEngine,
            engines.MpiEngine,
            providers.JobStatusKwargs,
        ),
    ),
    ("Addresses", (providers.AddressByInterface, providers.AddressByHost)),
    ("Providers", providers.PROVIDERS),
    ("Launchers", launchers.LAUNCHERS),
)
_KINDS: Final = {
    words.Word: "word",
    words.Image: "image",
    words.MaybeWord: "word",
    words.Expression: "expression",
    words.Options: "word",
    words.ClassAd: "ClassAd",
    words.Folder: "path",
    words.AbsolutePath: "absolute path",
    words.Host: "address",
    words.DnsName: "DNS name",
    words.MaybeDnsName: "DNS name",
    words.Quantity: "amount",
    words.Variable: "variable",
    words.PlainText: "one line",
    words.Walltime: "time",
    words.JobIdPattern: "pattern",
    words.ShellText: "site's text",
    words.Accelerator: "name",
    providers.Address: "address, or a mapping with `type`",
    providers.Provider: "a provider",
    launchers.Launcher: "a launcher",
    launchers.LocalLauncher: "a launcher",
    engines.Engine: "an engine",
}
_PLAIN: Final = {bool: "true, false", int: "whole number", float: "number", str: "text"}


def page() -> str:
    """Return the page."""
    parts = [_INTRO]
    for title, models in _SECTIONS:
        parts.append(f"## {title}\n")
        parts += [_section(model) for model in models]
    return "\n".join(parts)


def _section(model: type[BaseModel]) -> str:
    hints = typing.get_type_hints(model, include_extras=True)
    told = engines.REFUSED | _attributes(model)
    rows = []
    # The keys that both engines on Parsl have stand once.
    above = set(engines.HtexEngine.model_fields) if model is engines.MpiEngine else {"type"}
    for name, field in model.model_fields.items():
        if name in above:
            continue
        kind = _kind(hints[name])
        rows.append(f"| `{name}` | {kind} | {_default(field)} | {told.get(name, '')} |")
    types_of = hints.get("type")
    names = typing.get_args(types_of) if types_of is not None else (model.__name__,)
    head = ", ".join(f"`{name}`" for name in names)
    about = re.split(r"\n\s*Attributes:", inspect.getdoc(model) or "")[0].strip()
    table = ["| key | value | default | meaning |", "|---|---|---|---|", *rows] if rows else []
    if model is engines.MpiEngine:
        about += " It has all keys of `GlobusComputeEngine`, and these."
    return "\n".join([f"### {head}\n", about + "\n", *table, ""])


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings of the model and of those above it say of each key."""
    found: dict[str, str] = {}
    for one in reversed(model.__mro__):
        doc = inspect.cleandoc(one.__dict__.get("__doc__") or "")
        _, _, attributes = doc.partition("Attributes:")
        entries = re.findall(r"^    (\w+(?:, \w+)*): (.+(?:\n {8}.+)*)", attributes, re.M)
        for names, text in entries:
            said = " ".join(text.split()).replace("|", "\\|")
            found |= dict.fromkeys(names.split(", "), said)
    return found


def _kind(hint: Any) -> str:
    try:
        if hint in _KINDS:
            return _KINDS[hint]
    except TypeError:
        pass
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        text = "site's lines" if "directives" in repr(inner[1:]) else _kind(inner[0])
    elif origin in (typing.Union, types.UnionType):
        parts = [_kind(one) for one in inner if one is not type(None)]
        text = " or ".join(dict.fromkeys(parts)) or "none"
    elif origin is typing.Literal:
        text = ", ".join(f"`{one}`" if one != "" else "empty" for one in inner)
    elif origin in (list, tuple):
        text = "list of " + ", ".join(dict.fromkeys(_kind(one) for one in inner))
    elif origin is dict:
        text = f"mapping of {_kind(inner[0])} to {_kind(inner[1])}"
    elif hint is type(None):
        text = "must be left out"
    else:
        text = _PLAIN.get(hint, f"a mapping: {getattr(hint, '__name__', hint)}")
    return text.replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return f"`{getattr(value, 'type', 'its defaults')}`"
    if value is None or value in ("", [], {}):
        return "none"
    shown = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{shown}`"


def main() -> None:
    """Write the page to the file that the first argument names."""
    Path(sys.argv[1]).write_text(page())


if __name__ == "__main__":
    main()
