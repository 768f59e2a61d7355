"""A site's templates as the command line looks at them: parsed, compiled, never rendered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import jinja2
from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment

from chamberlain_endpoint.cli.findings import Finding
from chamberlain_endpoint.manager.render.quoted import shell_escape
from chamberlain_endpoint.manager.render.taint import scheduler_lines, shell_text

TEMPLATE_ENDINGS: Final = (".j2", ".jinja", ".jinja2")


def parse(source: str, name: str = "template") -> nodes.Template:
    """Return the syntax tree of a template.

    Raises:
        jinja2.TemplateSyntaxError: it does not compile.
    """
    environment = _environment()
    tree = environment.parse(source, name)
    # Unknown filters and tests are only met when code is made of the tree.
    environment.compile(environment.parse(source, name), name)
    return tree


def syntax_findings(main: Path, sources: Mapping[str, str]) -> list[Finding]:
    """Return why the template `main`, or a template beside it, does not compile.

    Args:
        sources: name below the folder of `main` -> text, of all that can be included.
    """
    found = []
    for name, source in sources.items():
        if name != main.name and not name.endswith(TEMPLATE_ENDINGS):
            continue
        file = main.parent / name
        try:
            tree = parse(source, name)
        except jinja2.TemplateSyntaxError as error:
            found.append(Finding(file, error.lineno, f"the template does not compile: {error}"))
            continue
        found += [
            Finding(file, line, f"{wanted!r} is not there, or not a file that may be included")
            for line, wanted in referred(tree)
            if wanted not in sources
        ]
    return found


def referred(tree: nodes.Template) -> Iterator[tuple[int, str]]:
    """Yield line and name of each other template that `tree` names and needs."""
    for kind in (nodes.Extends, nodes.Include, nodes.Import, nodes.FromImport):
        for node in tree.find_all(kind):
            name = getattr(node, "template", None)
            optional = getattr(node, "ignore_missing", False)
            if isinstance(name, nodes.Const) and isinstance(name.value, str) and not optional:
                yield node.lineno, name.value


def _environment() -> SandboxedEnvironment:
    environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters["shell_escape"] = shell_escape
    environment.filters["shell_text"] = shell_text
    environment.filters["scheduler_lines"] = scheduler_lines
    return environment
