"""A template of the public agent: what must be said in other words, and what each key comes to.

A key is judged in a rendered document, because only there its value is known: the template is
rendered with sample options, one kind of value after the other until the checks have no more
to say about what the samples brought in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2

from chamberlain_endpoint import rendered
from chamberlain_endpoint.cli import lint_template
from chamberlain_endpoint.cli.findings import line_in
from chamberlain_endpoint.cli.import_report import Item, Outcome
from chamberlain_endpoint.cli.lint_schema import option_schema
from chamberlain_endpoint.cli.render_offline import this_runtime
from chamberlain_endpoint.cli.template_source import parse
from chamberlain_endpoint.manager.render.document import load_document
from chamberlain_endpoint.manager.render.job import RenderJob, RenderRefusedError, Who
from chamberlain_endpoint.manager.render.taint import LINE_KEYS, SHELL_KEYS
from chamberlain_endpoint.manager.render.template import render_text
from chamberlain_endpoint.rendered.engines import older_keys

_ALONE: Final = re.compile(
    r"^(?P<before>\s*(?:- +)?(?P<key>[a-z_]+):\s*)\{\{-?\s*(?P<value>[^{}]*?)\s*-?\}\}"
    r"(?P<after>\s*(?:#.*)?)$"
)
_SAMPLES: Final[tuple[Any, ...]] = ("sample", 1, "01:00:00", "1Gi", "/sample", True)
_WHO: Final = Who(  # noqa: S604 - the account's shell; nothing is run
    identity="00000000-0000-0000-0000-000000000000",
    uname="sample",
    uid=1000,
    gid=1000,
    groups=[1000],
    gecos="",
    shell="/bin/bash",
    dir="/home/sample",
)


@dataclass(frozen=True, slots=True)
class Template:
    """What a template comes to.

    Attributes:
        text: in our words.
        options: samples that it was rendered with.
        config: what the samples gave, checked; None: the items say why not.
    """

    text: str
    options: Mapping[str, Any]
    config: rendered.UserEndpointConfig | None
    items: tuple[Item, ...]


def translate(
    name: str,
    sources: Mapping[str, str],
    schema: dict[str, Any] | None,
    parent_config: Mapping[str, Any],
) -> Template:
    """Return the template `name` of `sources` in our words, and what its keys come to."""
    limited = bool(parent_config.get("allowed_functions"))
    text, items = _in_our_words(name, sources[name], limited)
    try:
        tree = parse(text, name)
    except jinja2.TemplateSyntaxError as error:
        why = f"it is no template: {error.message}"
        todo = "correct it, and import again"
        return Template(text, {}, None, (*items, Item(name, "", _NO, why, todo, error.lineno)))
    uses = lint_template.uses(tree)
    job = RenderJob(
        options={},
        runtime=this_runtime(),
        template=name,
        sources={**sources, name: text},
        json_schema=schema,
        who=_WHO,
        parent_config=dict(parent_config),
        environment={"HOME": _WHO.dir, "USER": _WHO.uname, "LOGNAME": _WHO.uname},
    )
    found = _samples(job, uses, schema)
    lines = _Lines(text)
    items += _keys(name, found, lines, {item.key for item in items})
    config = found.config
    return Template(text, found.options, config, tuple(items))


_NO: Final = Outcome.REFUSED


@dataclass(frozen=True, slots=True)
class _Found:
    options: dict[str, Any]
    document: Any
    config: rendered.UserEndpointConfig | None
    faults: tuple[str, ...]


class _Lines:
    """Finds the line of a key by its last name."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines()

    def of(self, key: str) -> int | None:
        """Return the first line with the last name of the path `key`."""
        wanted = re.compile(rf"(?:^|[\s{{,]){re.escape(key.rpartition('.')[2])}\s*:")
        return next((n for n, line in enumerate(self._lines, 1) if wanted.search(line)), None)


def _in_our_words(name: str, text: str, limited: bool) -> tuple[str, list[Item]]:
    lines, items = [], []
    for number, line in enumerate(text.splitlines(keepends=True), start=1):
        new, item = _line_in_our_words(name, line, number, limited)
        lines.append(new)
        items += [item] if item else []
    return "".join(lines), items


def _line_in_our_words(name: str, line: str, number: int, limited: bool) -> tuple[str, Item | None]:
    body = line.rstrip("\r\n")
    found = _ALONE.match(body)
    if found is None or found["key"] not in SHELL_KEYS | LINE_KEYS:
        return line, None
    key, value = found["key"], found["value"]
    if any(word in value for word in ("shell_escape", "shell_text", "scheduler_lines")):
        return line, None
    if key in SHELL_KEYS and limited:
        why = "callers cannot give commands where allowed_functions is in force"
        return line, Item(name, key, _NO, why, "write the site's own text here", number)
    word = "scheduler_lines" if key in LINE_KEYS else "shell_text"
    new = f"{found['before']}{{{{ {value} | {word} }}}}{found['after']}"
    why, todo = _SAID[word]
    return new + line[len(body) :], Item(name, key, Outcome.TRANSLATED, why, todo, number)


_SAID: Final = {
    "shell_text": (
        "callers' commands run here as before; the template says so with | shell_text",
        "take | shell_text away if callers should not",
    ),
    "scheduler_lines": (
        "callers may give directives of a list here; the template says so with | scheduler_lines",
        "see the list in docs/templates.md",
    ),
}


def _samples(job: RenderJob, uses: lint_template.Uses, schema: dict[str, Any] | None) -> _Found:
    """Return the document that fits best, with the samples that gave it."""
    tried: dict[str, int] = {}
    places = {option: place.key for place in uses.written for option in place.options}
    options = {
        option: _first(option, places.get(option, ""), schema)
        for option in sorted(uses.first_line)
        if option not in uses.optional
    }
    best = found = _look(job, options)
    for _ in range(len(_SAMPLES)):
        blamed = {
            option
            for option in options
            for fault in found.faults
            if places.get(option) and f".{places[option]}" in f".{fault.partition(':')[0]}"
        }
        if not blamed:
            break
        for option in blamed:
            tried[option] = tried.get(option, 0) + 1
            options = {**options, option: _SAMPLES[tried[option] % len(_SAMPLES)]}
        found = _look(job, options)
        if len(found.faults) < len(best.faults):
            best = found
    return best


def _first(option: str, key: str, schema: dict[str, Any] | None) -> Any:
    about = option_schema(schema, option)
    if about.values:
        return about.values[0]
    if key in SHELL_KEYS | LINE_KEYS:
        return ""
    if about.types & {"integer", "number"}:
        return 1
    if "boolean" in about.types:
        return True
    return "sample"


def _look(job: RenderJob, options: dict[str, Any]) -> _Found:
    document: Any = None
    try:
        given = RenderJob(**{**_fields(job), "options": options})
        document = load_document(render_text(given)[0])
        config = rendered.parse(document)
    except RenderRefusedError as error:
        return _Found(options, document, None, (error.public,))
    except rendered.ConfigInvalidError as error:
        return _Found(options, document, None, error.faults)
    return _Found(options, document, config, ())


def _fields(job: RenderJob) -> dict[str, Any]:
    return {name: getattr(job, name) for name in job.__struct_fields__}


def _keys(name: str, found: _Found, lines: _Lines, said: set[str]) -> list[Item]:
    items = []
    faults = dict(_by_key(found.faults))
    became: dict[str, str] = {}
    if isinstance(found.document, dict) and isinstance(found.document.get("engine"), dict):
        _, names = older_keys(found.document["engine"])
        became = {f"engine.{old}": new for old, new in names.items()}
    for path in _paths(found.document, ""):
        if path.rpartition(".")[2] in said:
            continue
        if path in faults:
            items.append(Item(name, path, _NO, faults.pop(path), "correct it", lines.of(path)))
        elif path in became:
            why = f"read as {became[path]}"
            items.append(Item(name, path, Outcome.TRANSLATED, why, "", lines.of(path)))
        else:
            items.append(Item(name, path, Outcome.KEPT, "", "", lines.of(path)))
    items += [
        Item(name, path if path != _WHOLE else "", _NO, fault, "correct it", line_in(fault))
        for path, fault in faults.items()
    ]
    return items


_WHOLE: Final = "the configuration"


def _by_key(faults: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Yield each fault's key, and the fault without it."""
    for fault in faults:
        found = re.match(r"([A-Za-z_][\w.]*)(?::| is )", fault)
        path = found[1] if found else _WHOLE
        rest = fault[len(path) :].lstrip(": ") if found else fault
        yield path.removesuffix(".type") if path.count(".") > 1 else path, rest


def _paths(value: Any, above: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        path = f"{above}.{key}" if above else str(key)
        yield path
        yield from _paths(inner, path)


def files_referred(folder: Path, sources: Mapping[str, str], name: str) -> list[str]:
    """Return the files beside the template that it includes, directly or not."""
    from chamberlain_endpoint.cli.template_source import referred

    waiting, seen = [name], []
    while waiting:
        one = waiting.pop()
        try:
            tree = parse(sources[one], one)
        except (jinja2.TemplateSyntaxError, KeyError):
            continue
        for _, wanted in referred(tree):
            if wanted in sources and wanted not in seen and (folder / wanted).is_file():
                seen.append(wanted)
                waiting.append(wanted)
    return seen
