"""The text that a template wrote -> a plain document. YAML without its traps.

Duplicate keys are refused (a later one would silently win over the site's own), aliases may
not multiply (a page of text can name a billion nodes), a date stays the text it was, and
`1:30:00` the walltime that it looks like (YAML 1.1 reads 5400).
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_wire.errors import ErrorCode

MAX_NODES: Final = 20_000
"""Most values in a document, each alias counted as what it stands for."""

_SIXTIES: Final = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")
_MERGE: Final = "tag:yaml.org,2002:merge"
_TIMESTAMP: Final = "tag:yaml.org,2002:timestamp"


class _Loader(yaml.CSafeLoader):
    """Safe, without dates, and without numbers of the base 60."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0] and _SIXTIES.fullmatch(value):
            return "tag:yaml.org,2002:str"
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rules if tag != _TIMESTAMP]
    for first, rules in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def load_document(text: str) -> object:
    """Return the document in `text`.

    Raises:
        RenderRefusedError: not YAML, a repeated key, too many values, or a value that JSON
            has no word for; with the line of the rendered text.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _count(node, {})
        document: object = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _bad(error) from None
    finally:
        loader.dispose()
    return document


def _bad(error: yaml.YAMLError) -> RenderRefusedError:
    mark: Any = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    where = "" if mark is None else f" (line {mark.line + 1}, column {mark.column + 1})"
    return _failed(f"the rendered text is not YAML{where}: {problem}")


def _count(node: yaml.Node, known: dict[int, int | None]) -> int:
    """Return how many values `node` stands for; check its keys on the way."""
    if id(node) in known:
        size = known[id(node)]
        if size is None:
            raise _failed(f"line {node.start_mark.line + 1} contains itself")
        return size
    known[id(node)] = None
    size = 1
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
        size += sum(_count(value, known) for _, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        size += sum(_count(value, known) for value in node.value)
    if size > MAX_NODES:
        raise _failed(f"it has more than {MAX_NODES} values")
    known[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[str] = set()
    for key, _ in node.value:
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode):
            raise _failed(f"a key at line {line} is not a text")
        if key.tag == _MERGE:
            continue
        if key.value in seen:
            raise _failed(f"{key.value[:80]!r} is given twice (again at line {line})")
        seen.add(key.value)


def _failed(cause: str) -> RenderRefusedError:
    return RenderRefusedError(
        ErrorCode.TEMPLATE_FAILED,
        f"The endpoint's template gives no usable configuration: {cause}.",
    )
