"""Parsl's parts without Parsl's front doors, and the front doors still there."""

from __future__ import annotations

import subprocess
import sys

import pytest


def python(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


OPEN = "from chamberlain_endpoint.engine.doors import open_lazily; open_lazily(); import sys; "


@pytest.mark.slow
def test_a_part_loads_without_the_whole() -> None:
    program = OPEN + (
        "import parsl.executors.high_throughput.process_worker_pool; "
        "print('parsl.dataflow.dflow' in sys.modules, 'parsl.config' in sys.modules)"
    )
    assert python(program) == "False False"


@pytest.mark.slow
@pytest.mark.parametrize(
    "use",
    [
        "from parsl import python_app; print(python_app.__name__)",
        "import parsl; print(parsl.python_app.__name__)",
        "from parsl.providers import SlurmProvider; import parsl; print(parsl.python_app.__name__)",
        "from parsl import curvezmq; from parsl import python_app; print(python_app.__name__)",
    ],
)
def test_user_code_finds_the_whole_when_it_asks(use: str) -> None:
    before = "import parsl.executors.high_throughput.process_worker_pool; "
    assert python(OPEN + before + use) == "python_app"


@pytest.mark.slow
def test_an_unknown_name_is_still_an_import_error() -> None:
    program = OPEN + (
        "\ntry:\n    from parsl import no_such_thing\nexcept ImportError:\n    print('told')"
    )
    assert python(program) == "told"
