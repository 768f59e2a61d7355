"""Templates in the shapes that sites publish, hostile options for them, and the proof.

A template is `Sample`: the text, and what kind of value it expects under which name. `hostile`
makes options of those kinds, `harmless` the same options with every text exchanged for a plain
word. What a template writes for both must have the same keys in the same places: then no text
of the caller became a key. Shell texts of a document that its author did not hand over to the
caller are run by a real shell, which must not find anything to do in them.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SHELL_KEYS: Final = frozenset(
    {"endpoint_setup", "endpoint_teardown", "worker_init", "scheduler_options", "prepend", "image"}
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One template.

    Attributes:
        options: name -> kind: `text`, `int`, `bool`, `list`, `map` or `any`.
        gives_shell: its author lets the caller write shell text; it is not run.
        exact: dotted path of a value that must be the option `exact`, unchanged.
    """

    name: str
    text: str
    options: dict[str, str]
    gives_shell: bool = False
    exact: str = ""
    others: dict[str, str] = field(default_factory=dict)


# What a caller could send to become a key, a command, a tag, an anchor, or a program.
ATTACKS: Final = (
    'x"\nevil: 1',
    "x\nevil: 1\n",
    "x, evil: 1",
    "x}, evil: {a: 1",
    "x], evil: [1",
    "'\nevil: 1\n'",
    "x: y",
    "evil:",
    "- evil: 1",
    "? evil\n: 1",
    "x #",
    "{{ 7 * 7 }}",
    "{% for i in range(10 ** 9) %}x{% endfor %}",
    "{{ cycler.__init__.__globals__.os.system('echo > PWNED') }}",
    "{{ self }}{{ _GC }}",
    "{0.__class__}%s%(x)s",
    "!!python/object/apply:os.system ['echo > PWNED']",
    "!!python/object/new:type {args: [x]}",
    "!evil x",
    "&a [*a, *a]",
    "*a",
    "<<: *a",
    "<<",
    "=",
    "---\nevil: 1\n...\n",
    "%YAML 9.9",
    "| \n evil",
    ">-",
    "$(echo > PWNED)",
    "`echo > PWNED`",
    "x; echo > PWNED;",
    "x && echo > PWNED",
    "x\necho > PWNED\n",
    "x | echo > PWNED",
    "' ; echo > PWNED ; '",
    '" ; echo > PWNED ; "',
    "'\"; echo > PWNED; \"'",
    "\\'; echo > PWNED; \\'",
    "\\",
    "x\\",
    '\\"; echo > PWNED #',
    "> PWNED",
    "${x:=$(echo > PWNED)}",
    "$((a[$(echo > PWNED)]))",
    "<(echo > PWNED)",
    "#SBATCH --wrap='echo > PWNED'",
    "\\u0022\\nevil: 1",
    "\\x22\\x0aevil: 1",
    "\x00",
    "a\x00b",
    "\x07\x1b[31m",
    "\r\nevil: 1",
    "\x85evil: 1",
    "\u2028evil: 1",
    "\u2029evil: 1",
    "\ufeff\ufffe\uffff",
    "\u202eevil",
    "\xa0evil: 1",
    "e\u0301vil\U0001f600\U0010ffff",
    "\uff25\uff36\uff29\uff2c\uff1a\uff11",
    "123",
    "0x1f",
    "1e400",
    "01:30:00",
    "-.inf",
    "null",
    "~",
    "yes",
    "2024-01-01",
    "",
    " ",
    "\t",
    '""',
    '"debug"',
)
# Names that a template, Jinja or YAML might take for its own.
NAMES: Final = (
    "evil",
    "engine",
    "endpoint_setup",
    "range",
    "dict",
    "self",
    "loop",
    "caller",
    "lipsum",
    "namespace",
    "items",
    "keys",
    "__class__",
    "__init__",
    "_values",
    "<<",
    "1",
    "true",
    "a.b",
    "a b",
)


def hostile_text(dice: random.Random) -> str:
    """Return one attack, several joined, rubbish, or a very long one."""
    match dice.randrange(20):
        case 0:
            return "".join(dice.choices(ATTACKS, k=dice.randint(2, 4)))
        case 1:
            return "".join(chr(dice.randrange(0x20, 0x250)) for _ in range(dice.randint(1, 40)))
        case 2:
            return "".join(dice.choices("'\"\\`$(){}[]:,#&*!|>%@;\n \t-?=<~ax", k=12))
        case 3:
            return dice.choice(ATTACKS) * dice.choice([2, 10, 50, 400])
        case _:
            return dice.choice(ATTACKS)


def hostile_value(dice: random.Random, kind: str, depth: int = 0) -> Any:
    """Return a value of `kind`, as JSON could bring it."""
    if kind == "any":
        kind = dice.choice(["text"] * 4 + ["int", "bool", "none", "float"])
        kind = dice.choice(["list", "map"]) if depth < 3 and dice.random() < 0.3 else kind
    makers: dict[str, Callable[[], Any]] = {
        "text": lambda: hostile_text(dice),
        "int": lambda: dice.choice([0, 1, 7, -1, 2**53, 10**30]),
        "float": lambda: dice.choice([0.5, 1e22, -1e-7, 1e300]),
        "bool": lambda: dice.random() < 0.5,
        "none": lambda: None,
        "list": lambda: [hostile_value(dice, "any", depth + 1) for _ in range(dice.randrange(4))],
        "texts": lambda: [hostile_text(dice) for _ in range(dice.randint(1, 3))],
        "map": lambda: {
            hostile_key(dice): hostile_value(dice, "any", depth + 1)
            for _ in range(dice.randrange(4))
        },
        "flat": lambda: {hostile_key(dice): hostile_text(dice) for _ in range(dice.randrange(4))},
        "deep": lambda: _deep(dice),
    }
    return makers[kind]()


def _deep(dice: random.Random) -> Any:
    value: Any = hostile_text(dice)
    for _ in range(dice.choice([1, 5, 18, 19, 40])):
        value = {hostile_key(dice): value} if dice.random() < 0.5 else [value]
    return value


def hostile_key(dice: random.Random) -> str:
    """Return a key of any kind."""
    return dice.choice(NAMES) if dice.random() < 0.4 else hostile_text(dice)


def hostile(dice: random.Random, sample: Sample) -> dict[str, Any]:
    """Return options for `sample`, and some that it did not ask for."""
    options = {name: hostile_value(dice, kind) for name, kind in sample.options.items()}
    for _ in range(dice.choice([0, 0, 1, 2])):
        name = hostile_key(dice)
        if name not in options:
            options[name] = hostile_value(dice, "any")
    return options


def harmless(value: Any, words: dict[str, str]) -> Any:
    """Return `value` with every text exchanged for a plain word, and keys by `words`."""
    match value:
        case str():
            return "word"
        case list():
            return [harmless(each, words) for each in value]
        case dict():
            return {
                words.setdefault(key, f"k{len(words)}"): harmless(each, words)
                for key, each in value.items()
            }
        case _:
            return value


def harmless_options(
    options: dict[str, Any], sample: Sample
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the harmless counterpart of `options`, and hostile key -> plain key."""
    words: dict[str, str] = {}
    made = {name: harmless(options[name], words) for name in sample.options}
    # For templates that make a key of a text.
    for name in sample.options:
        if isinstance(options[name], str):
            words.setdefault(options[name], "word")
    return made, words


def fits(document: Any, plain: Any, words: dict[str, str]) -> bool:
    """Tell whether `document` has the keys of `plain`, and each one where it has them.

    Args:
        words: key of the caller -> the plain word for it.
    """
    match document, plain:
        case dict(), dict():
            keys = [key if key in plain else words.get(str(key)) for key in document]
            return sorted(map(str, keys)) == sorted(map(str, plain)) and all(
                fits(value, plain[key], words)
                for key, value in zip(keys, document.values(), strict=True)
            )
        case list(), list():
            return len(document) == len(plain) and all(
                fits(one, other, words) for one, other in zip(document, plain, strict=True)
            )
        case _:
            return not isinstance(document, dict | list) and not isinstance(plain, dict | list)


def shell_texts(document: Any, plain: Any, key: str = "") -> Iterator[str]:
    """Yield what a batch system or an engine would give to a shell, under keys of `plain`."""
    match document, plain:
        case dict(), dict():
            for name in document.keys() & plain.keys():
                yield from shell_texts(document[name], plain[name], name)
        case list(), list():
            for each, other in zip(document, plain, strict=True):
                yield from shell_texts(each, other, key)
        case str(), _ if key in SHELL_KEYS:
            yield document


# Each text in a subshell of its own, so that the end of one is not the end of all.
_DRIVER: Final = 'while IFS= read -r -d "" text; do (eval "$text") </dev/null; done'


def run_in_shell(texts: list[str], folder: Path) -> bool:
    """Run every text by bash in `folder`, with no program in reach; tell if one did anything."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        ["/bin/bash", "--norc", "-c", _DRIVER],
        input=b"".join(text.replace("\0", "").encode() + b"\0" for text in texts),
        cwd=folder,
        env={"PATH": "/nowhere"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return any(folder.iterdir())
