"""`lint`: what in a template and its schema gives callers more than the site means to give."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import yaml
from jinja2 import nodes

from chamberlain_endpoint.cli import lint_schema, lint_template
from chamberlain_endpoint.cli.check_files import schema_findings
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.findings import Finding, in_order, yaml_line
from chamberlain_endpoint.cli.lint_schema import option_schema
from chamberlain_endpoint.cli.template_source import parse, referred

SHELL_KEYS: Final = frozenset(
    {
        "endpoint_setup",
        "endpoint_teardown",
        "worker_init",
        "launch_cmd",
        "interchange_launch_cmd",
        "container_cmd_options",
        "container_uri",
        "mpi_launcher",
        "prepend",
        "append",
        "overrides",
    }
)
"""Keys whose value a shell reads, in a user endpoint or in a batch job."""

LINE_KEYS: Final = frozenset({"scheduler_options"})
"""Keys whose value becomes lines of a batch script: a line break begins a line of its own."""


@dataclass(frozen=True, slots=True)
class Look:
    """What is looked at.

    Attributes:
        sources: name below the template's folder -> text of what can be included.
        schema: None: there is none.
        limits_functions: config.yaml has `allowed_functions`.
    """

    template: Path
    sources: dict[str, str]
    schema_file: Path
    schema: dict[str, Any] | None
    limits_functions: bool


def look(template: Path, sources: dict[str, str], schema_file: Path, config: Path | None) -> Look:
    """Read what `lint` needs beside the template.

    Raises:
        CommandFailedError: the schema is none; `check-config` says more.
    """
    schema = None
    if schema_file.is_file():
        faults = list(schema_findings(schema_file))
        if faults:
            raise CommandFailedError(faults[0].text())
        schema = json.loads(schema_file.read_text())
    return Look(template, sources, schema_file, schema, _limits_functions(config))


def findings(at: Look) -> list[Finding]:
    """Return everything that is worth a second look, file by file.

    Raises:
        CommandFailedError: a template does not compile.
    """
    found: list[Finding] = []
    used: set[str] = set()
    limited = at.limits_functions
    free_shell: list[Finding] = []
    for name, tree in _trees(at):
        file = at.template.parent / name
        uses = lint_template.uses(tree)
        used |= uses.first_line.keys()
        limited = limited or "allowed_functions" in uses.keys
        reached = list(_reaching_a_shell(file, uses, at.schema))
        free_shell += reached
        found += reached
        found += _never(file, uses, at.schema)
        found += _without_schema(file, uses, at.schema)
        found += _old_names(file, uses)
    found += _never_used(at, used)
    if limited and free_shell:
        found.append(_no_boundary(free_shell[0]))
    return in_order(found)


def _trees(at: Look) -> Iterator[tuple[str, nodes.Template]]:
    """Yield the template and whatever it can include, each once."""
    waiting, seen = [at.template.name], set()
    while waiting:
        name = waiting.pop(0)
        if name in seen or name not in at.sources:
            continue
        seen.add(name)
        try:
            tree = parse(at.sources[name], name)
        except jinja2.TemplateSyntaxError as error:
            place = f"{at.template.parent / name}:{error.lineno}"
            raise CommandFailedError(f"{place}: the template does not compile: {error}") from None
        waiting += [wanted for _, wanted in referred(tree)]
        yield name, tree


def _reaching_a_shell(
    file: Path, uses: lint_template.Uses, schema: dict[str, Any] | None
) -> Iterator[Finding]:
    for place in uses.written:
        for option in sorted(place.options):
            about = option_schema(schema, option)
            if place.key in LINE_KEYS and not about.is_free_of_lines():
                yield Finding(
                    file,
                    place.line,
                    f"option {option} writes lines of a batch script through {place.key}",
                    f'give {option} an "enum", or a "pattern" that lets no line break in, in the '
                    "schema; shell_escape does not help in a #SBATCH or #PBS line, "
                    "| scheduler_lines lets directives of a list in",
                )
            elif place.key in SHELL_KEYS and not place.escaped and about.is_free_text():
                yield Finding(
                    file,
                    place.line,
                    f"option {option} reaches a shell through {place.key}",
                    f"write {{{{ {option} | shell_escape }}}} within text of the site's own, or "
                    f'give {option} an "enum" or a narrow "pattern" in the schema; | shell_text '
                    "lets callers run any command",
                )


def _never(
    file: Path, uses: lint_template.Uses, schema: dict[str, Any] | None
) -> Iterator[Finding]:
    for one in uses.compared:
        about = option_schema(schema, one.option)
        if not about.known:
            continue
        if any(about.can_be(each) or each == one.default for each in one.constants):
            continue
        shown = ", ".join(repr(each) for each in one.constants)
        word = "always" if one.is_negated else "never"
        values = about.values
        todo = (
            f"the schema lets in {', '.join(json.dumps(value) for value in values)}"
            if values is not None
            else f"the schema lets in {', '.join(sorted(about.types))} only"
        )
        what = f"the comparison of {one.option} with {shown} {word} holds"
        yield Finding(file, one.line, what, todo)


def _without_schema(
    file: Path, uses: lint_template.Uses, schema: dict[str, Any] | None
) -> Iterator[Finding]:
    for option, line in sorted(uses.first_line.items()):
        about = option_schema(schema, option)
        if not about.known and lint_schema.is_closed(schema):
            todo = "add it to the schema, or take it out of the template"
            yield Finding(file, line, f"no caller can give option {option}", todo)
        elif not about.known:
            todo = f'add {option} to "properties", with the narrowest type that serves'
            yield Finding(file, line, f"option {option} is not in the schema", todo)
        elif not about.required and option not in uses.optional:
            todo = f'write {option} | default(...), or add it to "required" in the schema'
            what = f"a caller who leaves {option} out is refused: the template has no default"
            yield Finding(file, line, what, todo)


def _old_names(file: Path, uses: lint_template.Uses) -> Iterator[Finding]:
    for name, line in uses.reserved.items():
        yield Finding(file, line, f"{name} is an older name", f"write _GC.{name}")


def _never_used(at: Look, used: set[str]) -> Iterator[Finding]:
    text = at.schema_file.read_text() if at.schema is not None else ""
    for option in lint_schema.names(at.schema):
        if option not in used:
            line = yaml_line(text, ["properties", option])
            todo = "take it out of the schema, or use it"
            yield Finding(at.schema_file, line, f"no template uses option {option}", todo)


def _no_boundary(first: Finding) -> Finding:
    return Finding(
        first.file,
        first.line,
        "allowed_functions is no boundary here: callers can run any command in a shell",
        "close the shell text first (see the other findings)",
    )


def _limits_functions(config: Path | None) -> bool:
    if config is None:
        return False
    try:
        document = yaml.safe_load(config.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(document, dict) and document.get("allowed_functions") is not None
