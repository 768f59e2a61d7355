"""Where only the site's own text may stand, no text of a caller's may. Pure.

A shell reads `worker_init`; a scheduler reads the lines of `scheduler_options`. What stands
there must be the template's own words, with callers' values in them at most as words. A text
of a caller's is known in two ways: the template wrote it and nothing else into the field, or
it brought a character that means something there, which the renderer has written as its number
(`quoted`) and YAML has read back.

The site may still let callers in, and says so: by an `enum` or a narrow `pattern` of the
schema; for shell text by the filter `shell_text`; and for a scheduler's lines by the filter
`scheduler_lines`, which lets directives of a list through and no others.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_endpoint.manager.render.quoted import Part, Quoted, finalize
from chamberlain_wire.errors import ErrorCode

SHELL_KEYS: Final = frozenset(
    {
        "endpoint_setup",
        "endpoint_teardown",
        "worker_init",
        "prepend",
        "overrides",
        "container_cmd_options",
    }
)
"""Keys whose value a shell reads."""

LINE_KEYS: Final = frozenset({"scheduler_options"})
"""Keys whose value becomes lines that a scheduler reads. Others are words by themselves."""

_SBATCH: Final = """
-A --account -C --constraint -c --cpus-per-task --exclusive --gpus -G --gpus-per-node
--gpus-per-task --gres --hint -L --licenses --mem --mem-per-cpu --mem-per-gpu
--ntasks-per-node -p --partition -q --qos --reservation --switches
"""
DIRECTIVES: Final[Mapping[str, frozenset[str]]] = {
    "#SBATCH": frozenset(_SBATCH.split()),
    "#PBS": frozenset(("-A", "-P", "-l", "-q")),
    "#BSUB": frozenset(("-G", "-P", "-gpu", "-q", "-sla")),
    "#$": frozenset(("-P", "-l", "-pe", "-q")),
}
"""What `scheduler_lines` lets through: what a job asks for, not what it runs, writes or mails."""

_LINE: Final = re.compile(
    r"(#SBATCH|#PBS|#BSUB|#\$) +(--?[A-Za-z-]+)(?:[= ] *[A-Za-z0-9_][A-Za-z0-9_.,:&|()*@%+=/-]*)?"
)
_NUMBERED: Final = re.compile(r"\\u[0-9a-f]{4}")
_SAMPLES: Final = (";id", "a;id", "$(id)", "`id`", "a|id", "a&id", "a\nid", "'", '"', ">x", "#x")
_SHOWN_CHARS: Final = 60


class Stated(Quoted):
    """A value that the site's schema lists, or describes narrowly: as good as its own text."""

    __slots__ = ()


class ShellText(Quoted):
    """A value that the template says may be any shell text: `{{ x | shell_text }}`."""

    __slots__ = ()


def shell_text(value: object) -> object:
    """Say that callers may give shell text here: the filter of that name."""
    return ShellText(value.raw) if isinstance(value, Quoted) else value


class SchedulerLines(Quoted):
    """A value that may be directives of the list: `{{ x | scheduler_lines }}`."""

    __slots__ = ()


def scheduler_lines(value: object) -> object:
    """Say that callers may give directives of the list here: the filter of that name."""
    return SchedulerLines(value.raw) if isinstance(value, Quoted) else value


@dataclass(slots=True)
class Written:
    """The texts from outside that one render wrote, by what the site says of them."""

    free: set[str] = field(default_factory=set)
    stated: set[str] = field(default_factory=set)
    shell: set[str] = field(default_factory=set)
    lines: set[str] = field(default_factory=set)

    def finalize(self, value: object) -> object:
        """Take note of what `{{ value }}` writes, and return it as `quoted.finalize` does."""
        if isinstance(value, Quoted):
            match value:
                case Stated():
                    self.stated.add(value.raw)
                case ShellText():
                    self.shell.add(value.raw)
                case SchedulerLines():
                    self.lines.add(value.raw)
                case _:
                    self.free.add(value.raw)
        elif isinstance(value, Part):
            self.free.add(str(value))
        return finalize(value)


def state(options: Mapping[str, Any], schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return those of the caller's `options` that the schema states, marked as such."""
    about: Any = (schema or {}).get("properties")
    if not isinstance(about, dict):
        return {}
    return {
        name: Stated(value)
        for name, value in options.items()
        if isinstance(value, str) and _states(about.get(name))
    }


def _states(about: Any) -> bool:
    if not isinstance(about, dict):
        return False
    if "enum" in about or "const" in about:
        return True
    pattern = about.get("pattern")
    if not isinstance(pattern, str):
        return False
    try:
        return not any(re.search(pattern, sample) for sample in _SAMPLES)
    except re.error:
        return False


def refuse_foreign_text(text: str, written: Written, *, functions_limited: bool) -> None:
    """Look through the rendered `text`, which is known to be YAML.

    Args:
        functions_limited: callers may run some functions only; then no shell text of theirs
            either, whatever the template says.

    Raises:
        RenderRefusedError: a caller's text stands where the site's own belongs.
    """
    if not (written.free or written.shell or written.lines):
        return
    shell = set() if functions_limited else written.shell
    for path, node in _guarded(yaml.compose(text, yaml.CSafeLoader), ()):
        value = str(node.value)
        key = path[-1]
        if value in written.stated or not value.strip():
            continue
        if key in SHELL_KEYS and value in shell:
            continue
        if key in LINE_KEYS and value in written.lines:
            _check_lines(path, value)
            continue
        raw = text[node.start_mark.index : node.end_mark.index]
        odd = node.style == '"' and _NUMBERED.search(raw) is not None
        if odd or value in written.free | written.shell | written.lines:
            raise _refused(path, value, functions_limited and value in written.shell)


def _check_lines(path: tuple[str, ...], text: str) -> None:
    for line in text.split("\n"):
        found = _LINE.fullmatch(line.strip(" "))
        if line.strip(" ") and (found is None or found[2] not in DIRECTIVES[found[1]]):
            prefix = line.split(" ", 1)[0]
            known = ", ".join(sorted(DIRECTIVES.get(prefix, DIRECTIVES["#SBATCH"])))
            raise RenderRefusedError(
                ErrorCode.OPTIONS_REFUSED,
                f"user_endpoint_config is not accepted: {'.'.join(path)}: "
                f"{line[:_SHOWN_CHARS]!r} is no directive that callers may give here; these are, "
                f"with one word as their value: {known}.",
            )


def _guarded(
    node: yaml.Node | None, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], yaml.ScalarNode]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _guarded(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _guarded(value, path)
    elif isinstance(node, yaml.ScalarNode) and path and path[-1] in SHELL_KEYS | LINE_KEYS:
        yield path, node


def _refused(path: tuple[str, ...], value: str, limited: bool) -> RenderRefusedError:
    what = "a scheduler reads this" if path[-1] in LINE_KEYS else "a shell runs this"
    todo = (
        "allowed_functions is in force here, so callers cannot give commands"
        if limited
        else "its administrator can list the values in the schema (enum, or a narrow pattern)"
        + f", or write | {'scheduler_lines' if path[-1] in LINE_KEYS else 'shell_text'} behind it"
    )
    return RenderRefusedError(
        ErrorCode.OPTIONS_REFUSED,
        f"user_endpoint_config is not accepted: {'.'.join(path)}: {what}, and only the site's own "
        f"text may stand here, not {value[:_SHOWN_CHARS]!r} of a caller's; {todo}.",
    )
