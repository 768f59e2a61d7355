"""The template and its values -> text. Sandboxed, strict, bounded, without a file system."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final

import jinja2
from jinja2 import compiler, meta, nodes
from jinja2.sandbox import SandboxedEnvironment

from chamberlain_endpoint.manager.render.job import RenderJob, RenderRefusedError
from chamberlain_endpoint.manager.render.options import RESERVED
from chamberlain_endpoint.manager.render.quoted import (
    Null,
    QuotedMap,
    dump_json,
    look_up,
    plain_or_quoted,
    shell_escape,
)
from chamberlain_endpoint.manager.render.taint import Written, scheduler_lines, shell_text, state
from chamberlain_wire.errors import ErrorCode

MAX_TEXT_CHARS: Final = 256 * 1024
"""Longest text that a template may write."""

_CAUSE_CHARS: Final = 400


class TimeUpError(BaseException):
    """The render used up its time. Raised from a signal, wherever it happens to be.

    No `Exception`: templates swallow those (`x is defined` does), and Jinja rewrites their
    tracebacks, which fails for one that strikes between two lines.
    """


class _CodeGenerator(compiler.CodeGenerator):
    """Gives each dict literal of a template to `look_up`."""

    def visit_Dict(self, node: nodes.Dict, frame: compiler.Frame) -> None:  # noqa: N802
        self.write("environment.look_up(")
        super().visit_Dict(node, frame)
        self.write(")")


class _Environment(SandboxedEnvironment):
    code_generator_class = _CodeGenerator
    look_up = staticmethod(look_up)


def render_text(job: RenderJob, written: Written | None = None) -> tuple[str, list[str]]:
    """Return what the template writes, and the deprecated names that it uses.

    Args:
        written: takes note of the texts from outside.

    Raises:
        RenderRefusedError: with the template's line and the cause.
    """
    environment = _environment(job, written or Written())
    template = None
    try:
        template = environment.get_template(job.template)
        stated = state(job.options, job.json_schema)
        text = _bounded(template, QuotedMap(job.options), _given(job) | stated)
    except RenderRefusedError:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise _failed(error.name or job.template, error.lineno, error.message or "") from None
    except jinja2.TemplateNotFound as error:
        raise _failed(
            job.template, None, f"it includes {error.name!r}, which is not there"
        ) from None
    except TimeUpError as error:
        name, line = _place(error.__traceback__, job)
        if template is not None and template.name == name and line is not None:
            line = template.get_corresponding_lineno(line)
        raise _failed(name, line, "it does not come to an end") from None
    except Exception as error:  # noqa: BLE001 - a template can raise anything
        name, line = _place(error.__traceback__, job)
        raise _failed(name, line, _cause(error)) from None
    return text, _deprecated(environment, job)


def _deprecated(environment: SandboxedEnvironment, job: RenderJob) -> list[str]:
    """Return the reserved names outside `_GC` in the template and in all that it refers to."""
    older = set(RESERVED) - {"_GC"}
    if not any(name in source for source in job.sources.values() for name in older):
        return []
    names: set[str] = set()
    seen: set[str] = set()
    unread = [job.template]
    while unread:
        name = unread.pop()
        if name in seen or name not in job.sources:
            continue
        seen.add(name)
        tree = environment.parse(job.sources[name], name)
        names |= meta.find_undeclared_variables(tree)
        unread += filter(None, meta.find_referenced_templates(tree))
    return sorted(names & older)


def _environment(job: RenderJob, written: Written) -> SandboxedEnvironment:
    def load(name: str) -> tuple[str, str, None] | None:
        # With a file name, a traceback tells which of several templates it was.
        return (job.sources[name], name, None) if name in job.sources else None

    environment = _Environment(
        undefined=jinja2.StrictUndefined,
        finalize=written.finalize,
        # The optimizer would make constants of dict literals before `_CodeGenerator` sees them.
        optimized=False,
        loader=jinja2.FunctionLoader(load),
        cache_size=0,
    )
    environment.filters["shell_escape"] = shell_escape
    environment.filters["shell_text"] = shell_text
    environment.filters["scheduler_lines"] = scheduler_lines
    environment.tests["none"] = lambda value: value is None or isinstance(value, Null)
    environment.policies["json.dumps_function"] = dump_json
    return environment


def _given(job: RenderJob) -> dict[str, Any]:
    who = job.who
    reserved = {
        "parent_config": job.parent_config,
        "user_runtime": QuotedMap(job.runtime),
        "mapped_identity": {
            "local": {
                "uname": plain_or_quoted(who.uname),
                "uid": who.uid,
                "gid": who.gid,
                "groups": who.groups,
                "gecos": plain_or_quoted(who.gecos),
                "shell": plain_or_quoted(who.shell),
                "dir": plain_or_quoted(who.dir),
            },
            "globus": {"id": plain_or_quoted(who.identity)},
        },
    }
    # The site's own texts are as it wrote them; those of the account are not the site's.
    own = {"HOME": who.dir, "USER": who.uname, "LOGNAME": who.uname, "SHELL": who.shell}
    environment = {
        name: plain_or_quoted(text) if own.get(name) == text else text
        for name, text in job.environment.items()
    }
    return {**reserved, "_GC": {**reserved, "env": environment}}


def _bounded(template: jinja2.Template, options: QuotedMap, given: dict[str, Any]) -> str:
    values = {name: options[name] for name in options._values}
    pieces: list[str] = []
    length = 0
    for piece in template.generate(values | given):
        length += len(piece)
        if length > MAX_TEXT_CHARS:
            raise RenderRefusedError(
                ErrorCode.TEMPLATE_FAILED,
                f"The endpoint's template ({template.name}) writes more than "
                f"{MAX_TEXT_CHARS} characters.",
            )
        pieces.append(piece)
    return "".join(pieces)


def _place(traceback: TracebackType | None, job: RenderJob) -> tuple[str, int | None]:
    """Return the template and line that were being rendered last."""
    name, line = job.template, None
    while traceback is not None:
        file_name = traceback.tb_frame.f_code.co_filename
        if file_name in job.sources:
            name, line = file_name, _line(traceback)
        traceback = traceback.tb_next
    return name, line


def _line(traceback: TracebackType) -> int | None:
    """Return the line of `traceback`; the one before, for a signal that struck between two."""
    line = None
    for start, _, number in traceback.tb_frame.f_code.co_lines():
        if start > traceback.tb_lasti:
            break
        line = number or line
    return line


def _cause(error: Exception) -> str:
    match error:
        case jinja2.UndefinedError():
            return f"{error.message}, and the template gives no default"
        case jinja2.exceptions.SecurityError():
            return f"it may not do this: {error.message}"
        case MemoryError():
            return "it needs too much memory"
        case _:
            return f"{type(error).__name__}: {error}"


def _failed(name: str, line: int | None, cause: str) -> RenderRefusedError:
    where = name if line is None else f"{name}, line {line}"
    return RenderRefusedError(
        ErrorCode.TEMPLATE_FAILED,
        f"The endpoint's template cannot be rendered ({where}): "
        f"{cause.rstrip('.')[:_CAUSE_CHARS]}.",
    )
