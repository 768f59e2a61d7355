"""What a template does with callers' options, read off its syntax tree.

The text of all branches is laid out one after the other, as it stands in the file; so each
place where a value is written has a YAML key above it. Options are followed through
`{% set %}`, `{% for %}` and filters; a macro's parameters count as options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from jinja2 import meta, nodes

from chamberlain_endpoint.manager.render.options import RESERVED

_KEY: Final = re.compile(r"^(\s*)(?:- +)*[\"']?([A-Za-z_][\w-]*)[\"']?\s*:(?:\s|$)")
_SLOT: Final = re.compile("\x01(\\d+)\x02")
_BLOCK: Final = re.compile(r":\s*[|>][+-]?\d*[+-]?\s*(?:#.*)?$")
_HARMLESS_FILTERS: Final = frozenset(
    {"shell_escape", "int", "float", "length", "count", "abs", "round"}
)


@dataclass(frozen=True, slots=True)
class Written:
    """One place where a template writes a value.

    Attributes:
        key: the YAML key whose value it becomes; empty: none, or it is a key itself.
        options: options of the caller that reach it.
        escaped: each passes `shell_escape`, or a filter that makes a number of it.
    """

    line: int
    key: str
    options: frozenset[str]
    escaped: bool


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison of an option with constants.

    Attributes:
        default: the constant that stands for an absent option; None: there is none.
        is_negated: `!=` or `not in`.
    """

    line: int
    option: str
    constants: tuple[Any, ...]
    default: Any
    is_negated: bool


@dataclass(frozen=True, slots=True)
class Uses:
    """All that a template does with options.

    Attributes:
        first_line: option -> the first line that names it.
        optional: options that the template can do without: it gives a default, or asks
            whether they are defined.
    """

    first_line: dict[str, int]
    optional: frozenset[str]
    written: tuple[Written, ...]
    compared: tuple[Compared, ...]
    keys: dict[str, int]
    reserved: dict[str, int]


def uses(tree: nodes.Template) -> Uses:
    """Return what the template behind `tree` does with options."""
    undeclared = meta.find_undeclared_variables(tree)
    options = undeclared - set(RESERVED)
    lines: dict[str, int] = {}
    for name in tree.find_all(nodes.Name):
        if name.name in undeclared:
            lines[name.name] = min(lines.get(name.name, name.lineno), name.lineno)
    tainted = _tainted(tree, options)
    text, slots = _laid_out(tree)
    keys: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _KEY.match(line):
            keys.setdefault(found[2], number)
    return Uses(
        first_line={name: lines[name] for name in options if name in lines},
        optional=frozenset(_optional(tree)),
        written=tuple(_written(text, slots, tainted)),
        compared=tuple(_compared(tree, options)),
        keys=keys,
        reserved={name: lines[name] for name in RESERVED if name != "_GC" and name in lines},
    )


def _tainted(tree: nodes.Template, options: set[str]) -> dict[str, frozenset[str]]:
    """Return name -> the options whose text it can hold."""
    found = {name: frozenset({name}) for name in options}
    for macro in tree.find_all(nodes.Macro):
        found |= {one.name: frozenset({one.name}) for one in macro.args}
    edges: list[tuple[nodes.Node, nodes.Node]] = []
    edges += [(node.target, node.node) for node in tree.find_all(nodes.Assign)]
    edges += [(node.target, node.iter) for node in tree.find_all(nodes.For)]
    edges += [(node.target, node) for node in tree.find_all(nodes.AssignBlock)]
    for _ in range(len(edges) + 1):
        before = dict(found)
        for target, source in edges:
            reach = _reach(source, found)
            for name in _names(target):
                found[name] = found.get(name, frozenset()) | reach
        if found == before:
            break
    return found


def _names(node: nodes.Node) -> Iterator[str]:
    every = [node] if isinstance(node, nodes.Name) else []
    yield from (one.name for one in [*every, *node.find_all(nodes.Name)])


def _reach(node: nodes.Node, tainted: dict[str, frozenset[str]]) -> frozenset[str]:
    return frozenset().union(*(tainted.get(name, frozenset()) for name in _names(node)))


def _laid_out(tree: nodes.Template) -> tuple[str, list[nodes.Expr]]:
    slots: list[nodes.Expr] = []
    pieces: list[str] = []
    for output in tree.find_all(nodes.Output):
        for part in output.nodes:
            if isinstance(part, nodes.TemplateData):
                pieces.append(part.data)
            else:
                pieces.append(f"\x01{len(slots)}\x02")
                slots.append(part)
    return "".join(pieces), slots


def _written(
    text: str, slots: list[nodes.Expr], tainted: dict[str, frozenset[str]]
) -> Iterator[Written]:
    lines = text.split("\n")
    for number, line in enumerate(lines):
        for found in _SLOT.finditer(line):
            slot = slots[int(found[1])]
            options = _reach(slot, tainted)
            if options:
                key = _key_above(lines, number, found.start())
                yield Written(slot.lineno, key, options, _escaped(slot, tainted))


def _key_above(lines: list[str], number: int, column: int) -> str:
    """Return the key of the value at a place: on its line, or on a line further out above. Of
    a text in a block (`key: |`) it is that block's key, whatever the text looks like."""
    own = _KEY.match(lines[number])
    nearest = own[2] if own and own.end() <= column else ""
    indent = len(lines[number]) - len(lines[number].lstrip())
    for above in reversed(lines[:number]):
        outer = len(above) - len(above.lstrip())
        if not above.strip() or outer >= indent:
            continue
        indent = outer
        found = _KEY.match(above)
        if found and _BLOCK.search(above):
            return found[2]
        nearest = nearest or (found[2] if found else "")
    return nearest


def _escaped(node: nodes.Node, tainted: dict[str, frozenset[str]]) -> bool:
    """Tell whether each option in `node` is made harmless on its way out."""
    if not _reach(node, tainted):
        return True
    match node:
        case nodes.Filter() if node.name in _HARMLESS_FILTERS:
            return True
        case nodes.Compare() | nodes.Test() | nodes.Not():
            return True
        case nodes.Name():
            return False
        case nodes.CondExpr():
            parts: list[nodes.Node] = [node.expr1, *([node.expr2] if node.expr2 else [])]
        case _:
            parts = list(node.iter_child_nodes())
    return all(_escaped(part, tainted) for part in parts)


def _optional(tree: nodes.Template) -> Iterator[str]:
    for test in tree.find_all(nodes.Test):
        if test.name in ("defined", "undefined") and isinstance(test.node, nodes.Name):
            yield test.node.name
    for chosen in tree.find_all(nodes.Filter):
        if chosen.name in ("default", "d") and isinstance(chosen.node, nodes.Name):
            yield chosen.node.name


def _compared(tree: nodes.Template, options: set[str]) -> Iterator[Compared]:
    for node in tree.find_all(nodes.Compare):
        if len(node.ops) != 1 or node.ops[0].op not in ("eq", "ne", "in", "notin"):
            continue
        left, right = _side(node.expr), _side(node.ops[0].expr)
        negated = node.ops[0].op in ("ne", "notin")
        membership = node.ops[0].op in ("in", "notin")
        if isinstance(left, tuple) and left[0] in options:
            constants = _constants(node.ops[0].expr, many=membership)
        elif isinstance(right, tuple) and right[0] in options and not membership:
            left, constants = right, _constants(node.expr, many=False)
        else:
            continue
        if constants and isinstance(left, tuple):
            yield Compared(node.lineno, left[0], constants, left[1], negated)


def _side(node: nodes.Expr) -> tuple[str, Any] | None:
    """Return the option that stands on one side of a comparison, and its default."""
    if isinstance(node, nodes.Name):
        return node.name, None
    if (
        isinstance(node, nodes.Filter)
        and node.name in ("default", "d")
        and isinstance(node.node, nodes.Name)
    ):
        first = node.args[0] if node.args else None
        return node.node.name, first.value if isinstance(first, nodes.Const) else None
    return None


def _constants(node: nodes.Expr, *, many: bool) -> tuple[Any, ...]:
    if isinstance(node, nodes.Const):
        if not many:
            return (node.value,)
        # Jinja has folded a list of constants into one.
        return tuple(node.value) if isinstance(node.value, tuple | list) else ()
    if not many:
        return ()
    if isinstance(node, nodes.Tuple | nodes.List) and all(
        isinstance(item, nodes.Const) for item in node.items
    ):
        return tuple(item.value for item in node.items if isinstance(item, nodes.Const))
    return ()
