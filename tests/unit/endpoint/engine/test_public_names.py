"""What a task of the public SDK finds on a worker that has not got that package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from chamberlain_endpoint.engine.public_names import (
    MPIFunction,
    ShellFunction,
    ShellResult,
    run_hardware_report,
)
from devtools.processes import started_at, wait_until


def shell(cmd: str, **state: object) -> ShellFunction:
    """As it is when it was unpickled: state without a constructor."""
    function = ShellFunction.__new__(ShellFunction)
    vars(function).update({"cmd": cmd, "walltime": None, "snippet_lines": 1000, **state})
    return function


def ran(function: ShellFunction, **values: object) -> ShellResult:
    result = function(**values)
    assert isinstance(result, ShellResult)
    return result


def test_a_command_runs_with_the_callers_values() -> None:
    result = ran(shell("echo {what}; echo oops >&2; exit 3"), what="hello")
    assert (result.stdout, result.stderr, result.returncode) == ("hello\n", "oops\n", 3)
    assert result.cmd == "echo hello; echo oops >&2; exit 3"
    assert result.exception_name == "subprocess.CalledProcessError"
    assert ran(shell("true")).exception_name is None


def test_a_wall_time_ends_all_that_was_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    result = ran(shell(f"sleep 60 & echo $! > {note}; echo begun; wait", walltime=0.5))
    assert (result.returncode, result.stdout) == (124, "begun\n")
    assert result.exception_name == "subprocess.TimeoutExpired"
    child = int(note.read_text())
    assert wait_until(lambda: started_at(child) is None, 10.0)


def test_output_goes_to_files_where_they_are_named(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    out.parent.mkdir()
    out.write_text("before\n")
    assert ran(shell("echo after", stdout=str(out))).stdout == "after\n"
    assert out.read_text() == "before\nafter\n"


def test_the_last_lines_are_told() -> None:
    assert ran(shell("seq 10", snippet_lines=2)).stdout == "9\n10\n"


def test_a_dictionary_where_one_is_wished() -> None:
    told = shell("echo 1", return_dict=True)()
    assert isinstance(told, dict)
    assert told["stdout"] == "1\n"


def test_mpi_goes_behind_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARSL_MPI_PREFIX", "echo mpiexec -n 2")
    function = MPIFunction.__new__(MPIFunction)
    vars(function).update({"cmd": "hostname"})
    assert ran(function).stdout == "mpiexec -n 2 hostname\n"


def test_the_hardware_report_tells_of_this_machine() -> None:
    text = run_hardware_report("worker")
    assert sys.version in text
    assert text.startswith("== worker == ")


NAMES = """
import pickle
from chamberlain_endpoint.engine import public_names
public_names.offer()
public_names.offer()
from globus_compute_sdk.sdk.shell_function import ShellFunction, ShellResult
from globus_compute_sdk.sdk.mpi_function import MPIFunction
from globus_compute_sdk.sdk.hardware_report import run_hardware_report
packed = pickle.dumps(ShellResult("a", "b", "c", 0))
assert b"globus_compute_sdk.sdk.shell_function" in packed
assert vars(pickle.loads(packed))["stdout"] == "b"
from chamberlain_wire.serialize import pack_result, unpack_result
assert vars(unpack_result(pack_result(ShellResult("a", "b", "c", 0))))["stderr"] == "c"
try:
    from globus_compute_sdk import Client
except ImportError as error:
    assert "Client" in str(error)
"""

REAL = """
from chamberlain_endpoint.engine import public_names
public_names.offer()
import globus_compute_sdk
assert globus_compute_sdk.REAL
try:
    import globus_compute_sdk.sdk
except ModuleNotFoundError:
    pass
else:
    raise AssertionError("a part of ours in a package of theirs")
"""


@pytest.mark.parametrize(("program", "with_package"), [(NAMES, False), (REAL, True)])
def test_the_names_are_there_unless_the_package_is(
    program: str, with_package: bool, tmp_path: Path
) -> None:
    if with_package:
        (tmp_path / "globus_compute_sdk").mkdir()
        (tmp_path / "globus_compute_sdk" / "__init__.py").write_text("REAL = True\n")
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join([str(tmp_path), *(one for one in sys.path if one)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


FIRST_RESULT = """\
import base64, pickle
from chamberlain_endpoint.engine import public_names
from chamberlain_wire.serialize.packing import pack_result

public_names.offer()
# What the public SDK packs of an MPIFunction: the name of its class, and state.
state = b"cglobus_compute_sdk.sdk.mpi_function\\nMPIFunction\\n)\\x81}(Vcmd\\nVtrue\\nub."
result = pickle.loads(b"\\x80\\x02" + state)()
print(b"chamberlain" in base64.b64decode(pack_result(result).partition("\\n")[2]))
"""


def test_the_result_of_an_mpi_function_names_no_module_of_ours() -> None:
    # In a process of its own: whether the result's module was imported before decides.
    words = [sys.executable, "-c", FIRST_RESULT]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.stdout == "False\n", done.stderr
