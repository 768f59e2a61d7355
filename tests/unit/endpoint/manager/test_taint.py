"""Where only the site's own text may stand."""

from __future__ import annotations

import json
from typing import Any

import pytest

from chamberlain_endpoint.manager.render.job import RenderJob, RenderRefusedError, Who
from chamberlain_endpoint.manager.render.pipeline import render
from chamberlain_wire.errors import ErrorCode

WHO = Who(
    identity="i-1", uname="alice", uid=1, gid=1, groups=[], gecos="", shell="/bin/sh", dir="/h"
)
ID = "00000000-0000-4000-8000-000000000000"


def rendered(
    line: str, options: dict[str, Any], *, schema: Any = None, limited: bool = False
) -> dict[str, Any]:
    template = f"{line}\nengine:\n  type: ThreadPoolEngine\n"
    if line.startswith("scheduler_options"):
        template = (
            "engine:\n  type: GlobusComputeEngine\n  provider:\n    type: SlurmProvider\n"
            f"    {line}\n"
        )
    job = RenderJob(
        options=options,
        runtime={},
        template="t",
        sources={"t": template},
        json_schema=schema,
        who=WHO,
        parent_config={"allowed_functions": [ID]} if limited else {},
        environment={},
    )
    document: dict[str, Any] = json.loads(render(job).config)
    return document


@pytest.mark.parametrize(
    "line",
    [
        "endpoint_setup: {{ x }}",
        'endpoint_setup: "{{ x[1:-1] }}"',
        "endpoint_setup: {{ x | upper }}",
        "endpoint_setup: {{ x | shell_escape }}",
        'endpoint_setup: "module load a; {{ x[1:-1] }}"',
        "endpoint_setup: {{ [x][0] }}",
        "scheduler_options: {{ x }}",
        'scheduler_options: "#SBATCH -C {{ x[1:-1] }}"',
        "scheduler_options: {{ x | shell_text }}",
    ],
)
@pytest.mark.parametrize("text", ["touch X; id", "a\n#SBATCH --uid=0", "$(id)"])
def test_a_callers_text_is_refused_in_every_form(line: str, text: str) -> None:
    with pytest.raises(RenderRefusedError) as refused:
        rendered(line, {"x": text})
    assert refused.value.word is ErrorCode.OPTIONS_REFUSED
    assert line.split(":", maxsplit=1)[0] in refused.value.public


def test_a_command_of_plain_words_is_refused_as_well() -> None:
    with pytest.raises(RenderRefusedError, match="only the site's own text"):
        rendered("endpoint_setup: {{ x }}", {"x": "touch X"})


def test_a_word_within_the_sites_own_text_is_let_in() -> None:
    config = rendered('endpoint_setup: "module load {{ x[1:-1] }}"', {"x": "python/3.12"})
    assert config["endpoint_setup"] == "module load python/3.12"
    block = "endpoint_setup: |\n  module load {{ x }}"
    assert rendered(block, {"x": "a; id"})["endpoint_setup"] == 'module load "a\\u003b id"\n'


@pytest.mark.parametrize(
    "about", [{"enum": ["module load a; true"]}, {"const": "module load a; true"}]
)
def test_what_the_schema_lists_is_the_sites_own(about: dict[str, Any]) -> None:
    schema = {"properties": {"x": about}}
    config = rendered("endpoint_setup: {{ x }}", {"x": "module load a; true"}, schema=schema)
    assert config["endpoint_setup"] == "module load a; true"


@pytest.mark.parametrize(("pattern", "is_narrow"), [("^[a-z/ ]+$", True), ("^.*$", False)])
def test_a_pattern_counts_when_it_is_narrow(pattern: str, is_narrow: bool) -> None:
    schema = {"properties": {"x": {"type": "string", "pattern": pattern}}}
    if is_narrow:
        config = rendered("endpoint_setup: {{ x }}", {"x": "module load a"}, schema=schema)
        assert config["endpoint_setup"] == "module load a"
    else:
        with pytest.raises(RenderRefusedError):
            rendered("endpoint_setup: {{ x }}", {"x": "module load a"}, schema=schema)


def test_the_template_may_say_that_callers_give_commands() -> None:
    line = "endpoint_setup: {{ x | default() | shell_text }}"
    assert rendered(line, {"x": "a; b\nc"})["endpoint_setup"] == "a; b\nc"
    assert rendered(line, {})["endpoint_setup"] is None
    with pytest.raises(RenderRefusedError, match="allowed_functions is in force"):
        rendered(line, {"x": "a; b"}, limited=True)


@pytest.mark.parametrize(
    ("lines", "is_let_in"),
    [
        ("#SBATCH -C cpu\n#SBATCH --qos=short\n\n", True),
        ("#SBATCH --gres=gpu:a100:2", True),
        ("#SBATCH --uid=0", False),
        ("#SBATCH --wrap=id", False),
        ("#SBATCH -C cpu --uid=0", False),
        ("#SBATCH -C $(id)", False),
        ("#SBATCH -C cpu\rtouch X", False),
        ("#SBATCH -C cpu\u2028#SBATCH --uid=0", False),
        ("touch X", False),
        ("# a comment", False),
    ],
)
def test_directives_of_the_list_and_no_others(lines: str, is_let_in: bool) -> None:
    line = "scheduler_options: {{ x | scheduler_lines }}"
    if is_let_in:
        provider = rendered(line, {"x": lines})["engine"]["provider"]
        assert provider["scheduler_options"] == lines
    else:
        with pytest.raises(RenderRefusedError, match="is no directive that callers may give"):
            rendered(line, {"x": lines})


def test_empty_values_and_numbers_are_no_matter() -> None:
    assert rendered("endpoint_setup: {{ x }}", {"x": ""})["endpoint_setup"] == ""
    assert rendered('endpoint_setup: "sleep {{ x }}"', {"x": 3})["endpoint_setup"] == "sleep 3"
