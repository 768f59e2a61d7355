"""No value of a caller's adds a directive or a command to a job: seen in Parsl's own scripts."""

from __future__ import annotations

import contextlib
import json
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chamberlain_endpoint.manager.render.job import RenderJob, RenderRefusedError, Who
from chamberlain_endpoint.manager.render.pipeline import render
from chamberlain_endpoint.rendered import settled
from chamberlain_endpoint.scheduler.parsl_nodes import job_name, make_provider

NAME = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"
COMMAND = "python -m pool --port 54321"
WHO = Who(
    identity="i-1", uname="alice", uid=1, gid=1, groups=[], gecos="", shell="/bin/sh", dir="/h"
)
HEAD = "engine:\n  type: GlobusComputeEngine\n  provider:\n"

SLURM = """\
    type: SlurmProvider
    partition: {{ a | default("cpu") }}
    account: {{ b | default("chem") }}
    qos: {{ c | default("normal") }}
    constraint: {{ d | default("gpu&a100") }}
    gres: {{ e | default("gpu:2") }}
    walltime: {{ f | default("01:00:00") }}
    clusters: {{ g | default("one") }}
    scheduler_options: |
      #SBATCH --mail-type=NONE
      #SBATCH --reservation={{ h | default("x") }}
    worker_init: |
      module load {{ h | default("x") }}
      export WHO={{ h | default("x") }} BOTH='{{ h | default("x") }}'
    launcher: {type: SrunLauncher, overrides: -c {{ i | default(4) }} --gres={{ j | default("x") }}}
"""
PBS = """\
    type: PBSProProvider
    queue: {{ a | default("debug") }}
    account: {{ b | default("chem") }}
    select_options: ngpus=4:{{ c | default("x") }}
    walltime: {{ f | default("01:00:00") }}
    scheduler_options: "#PBS -l filesystems=home:{{ h | default("x") }}"
    worker_init: "module load {{ h | default("x") | shell_escape }}"
    launcher: {type: MpiExecLauncher, bind_cmd: {{ d | default("--cpu-bind") }}}
"""
TORQUE = """\
    type: TorqueProvider
    queue: {{ a | default("debug") }}
    account: {{ b | default("chem") }}
    walltime: {{ f | default("01:00:00") }}
    worker_init: {{ h | default("") }}
    launcher: {type: MpiRunLauncher, bash_location: {{ d | default("/bin/bash") }}}
"""
LSF = """\
    type: LSFProvider
    queue: {{ a | default("debug") }}
    project: {{ b | default("chem") }}
    walltime: {{ f | default("01:00:00") }}
    scheduler_options: {{ h | default("") }}
    launcher: {type: JsrunLauncher, overrides: {{ i | default("") }}}
"""
GRID = """\
    type: GridEngineProvider
    queue: {{ a | default("all.q") }}
    walltime: {{ f | default("01:00:00") }}
    launcher: {type: WrappedLauncher, prepend: nice {{ h | default("x") }}}
"""
CONDOR = """\
    type: CondorProvider
    project: {{ b | default("chem") }}
    requirements: {{ a | default("HAS_X == True") }}
    environment: {SITE: {{ h | default("x") }}}
    transfer_input_files: [{{ d | default("/data/x") }}]
    walltime: {{ f | default("01:00:00") }}
    scheduler_options: |
      +ProjectName = {{ c | default("x") }}
"""
SITES = {"slurm": SLURM, "pbs": PBS, "torque": TORQUE, "lsf": LSF, "grid": GRID, "condor": CONDOR}
DIRECTIVE = ("#SBATCH", "#PBS", "#BSUB", "#$ ", "+")

PIECES = st.sampled_from(
    [
        "\n#SBATCH --uid=0",
        "\r#PBS -u root",
        "\n#BSUB -u x",
        "\n#$ -u x",
        "\n+Evil = 1\nqueue 5\n",
        "\u2028#SBATCH -x",
        "\x85#PBS -x",
        "; touch X",
        " && touch X",
        "$(touch X)",
        "`touch X`",
        "| sh",
        "\n",
        "\\\n",
        "'",
        '"',
        "\\",
        "#",
        "%",
        "{0}",
        "$USER",
        "${a}",
        " --wrap=x",
        "--uid=0",
        "EOF",
        "\nSLURM_EOF\ntouch X\n",
        "a",
        "gpu",
        "01:00:00",
        "é",
        "\0",
    ]
)
HOSTILE = st.lists(PIECES, min_size=1, max_size=4).map("".join) | st.text(max_size=12)
# An empty value leaves a directive out, which is no matter here.
HOSTILE = HOSTILE.filter(lambda text: text.strip() != "")


@pytest.fixture(scope="module")
def asked() -> Iterator[list[str]]:
    """The commands that Parsl would have given to a shell; none is run."""
    commands: list[str] = []

    def record(command: str, walltime: float | None = None) -> tuple[int, str, str]:
        commands.append(command)
        return 0, "Submitted batch job 7\nJob <7> is submitted to x\n", ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("parsl.providers.cluster_provider.execute_wait", record)
        yield commands


def job_of(site: str, options: dict[str, Any], asked: list[str]) -> list[str]:
    """Return the lines of a job's files, and the commands that submit it.

    Raises:
        RenderRefusedError: the options are refused.
    """
    job = RenderJob(
        options=options,
        runtime={},
        template="t",
        sources={"t": HEAD + SITES[site]},
        json_schema=None,
        who=WHO,
        parent_config={},
        environment={},
    )
    engine = settled.read(json.loads(render(job).config)).engine
    assert isinstance(engine, settled.HtexEngine)
    assert not isinstance(engine.provider, settled.LocalProvider)
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above)
        provider = make_provider(engine.provider, name=NAME, script_dir=folder)
        asked.clear()
        with contextlib.suppress(IndexError):  # of condor's, which wants another answer
            provider.submit(COMMAND, 1, job_name=job_name(NAME, "0"))
        files = sorted(folder.iterdir())
        assert len(files) == (2 if site == "condor" else 1)
        # As a scheduler reads lines: a carriage return or an odd separator ends none.
        lines = [line for file in files for line in file.read_text().split("\n")]
    return [*lines, *asked]


def shape(line: str) -> tuple[Any, ...]:
    """Return what a line does, without the words it does it with."""
    text = line.strip()
    if text.startswith(DIRECTIVE):
        words = shlex.split(text, comments=False)
        return (len(words), *(word.partition("=")[0] for word in words[:2]))
    reader = shlex.shlex(text, posix=True, punctuation_chars=True)
    try:
        control = [word for word in reader if word and set(word) <= set("();<>|&")]
    except ValueError:  # a quote that another line closes
        control = ["open"]
    return (*control, text.count("$"), text.count("`"), text.endswith("\\"), text[:1] == "#")


@pytest.mark.parametrize("site", SITES)
def test_no_value_adds_a_directive_or_a_command(site: str, asked: list[str]) -> None:
    plain = [shape(line) for line in job_of(site, {}, asked)]
    seen = {"rendered": 0, "refused": 0}

    @settings(max_examples=50, deadline=None, derandomize=True)
    @given(st.dictionaries(st.sampled_from("abcdefghij"), HOSTILE, min_size=1, max_size=3))
    def hold(options: dict[str, str]) -> None:
        try:
            lines = job_of(site, options, asked)
        except RenderRefusedError:
            seen["refused"] += 1
            return
        seen["rendered"] += 1
        assert [shape(line) for line in lines] == plain, (options, lines)

    hold()
    # A no to everything would prove little.
    assert min(seen.values()) >= 3, seen


@pytest.mark.parametrize("site", SITES)
def test_plain_words_get_where_they_should(site: str, asked: list[str]) -> None:
    options = {"a": "words1", "b": "words2", "f": "00:17:00"}
    text = "\n".join(job_of(site, options, asked))
    for word in ("words1", "words2"):
        assert (word in text) == (word in str(_used(site, options))), word


def _used(site: str, options: dict[str, str]) -> list[str]:
    return [value for name, value in options.items() if f"{{{{ {name} |" in SITES[site]]


@pytest.mark.parametrize("site", SITES)
def test_a_job_says_whose_it_is(site: str, asked: list[str]) -> None:
    assert NAME in "\n".join(job_of(site, {}, asked))
