"""Shell commands as functions: what they return, how they end, and that they travel alone."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chamberlain import MPIFunction, ShellFunction, ShellResult
from chamberlain_wire.ids import new_id
from chamberlain_wire.serialize import (
    pack_function,
    pack_payload,
    pack_result,
    serializer,
    unpack_result,
    unpack_task,
)


@pytest.fixture(autouse=True)
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "sandbox"
    monkeypatch.setenv("GC_TASK_SANDBOX_DIR", str(folder))
    monkeypatch.delenv("PARSL_MPI_PREFIX", raising=False)
    return folder


def result(function: ShellFunction, **values: object) -> ShellResult:
    done = function(**values)
    assert isinstance(done, ShellResult)
    return done


def test_a_command_returns_output_and_exit_code(sandbox: Path) -> None:
    done = result(ShellFunction("echo hello {name}; echo oh >&2; pwd; exit 3"), name="you")
    assert done.stdout == f"hello you\n{sandbox}\n"
    assert (done.stderr, done.returncode) == ("oh\n", 3)
    assert done.cmd == "echo hello you; echo oh >&2; pwd; exit 3"
    assert done.exception_name == "subprocess.CalledProcessError"
    assert result(ShellFunction("true")).exception_name is None


def test_values_go_into_the_command_as_they_are() -> None:
    assert result(ShellFunction("echo {x} {{a,b}}"), x="$((1 + 1))").stdout == "2 a b\n"


def test_a_missing_value_is_told_with_the_fields() -> None:
    with pytest.raises(ValueError, match=r"fields a, b and the call gave a; write \{\{ and \}\}"):
        ShellFunction("echo {a} {b}")(a=1)


def test_only_the_last_lines_come_back() -> None:
    assert result(ShellFunction("seq 5", snippet_lines=2)).stdout == "4\n5\n"
    assert result(ShellFunction("seq 5", snippet_lines=0)).stdout == ""
    assert len(result(ShellFunction("seq 2000")).stdout.splitlines()) == 1000


def test_a_flood_of_output_does_not_flood_the_result() -> None:
    done = result(ShellFunction("head -c 3000000 /dev/zero; printf '\\377'"))
    assert done.stdout[-1] == "\N{REPLACEMENT CHARACTER}"
    assert len(done.stdout) == 1024 * 1024


def test_named_files_are_appended_to_and_the_snippet_is_of_this_run(sandbox: Path) -> None:
    function = ShellFunction("echo {n}; echo e{n} >&2", stdout="logs/out", stderr="logs/err")
    assert result(function, n=1).stdout == "1\n"
    assert result(function, n=2).stdout == "2\n"
    assert (sandbox / "logs/out").read_text() == "1\n2\n"
    assert (sandbox / "logs/err").read_text() == "e1\ne2\n"
    assert [one.name for one in sandbox.iterdir()] == ["logs"]


def test_a_dictionary_for_callers_without_chamberlain() -> None:
    assert ShellFunction("echo 1", return_dict=True)() == {
        "cmd": "echo 1",
        "stdout": "1\n",
        "stderr": "",
        "returncode": 0,
        "exception_name": None,
    }


def test_no_terminal_waits_for_an_answer() -> None:
    assert result(ShellFunction("cat; echo end")).stdout == "end\n"


@pytest.mark.parametrize(
    "command",
    [
        "sleep {s}",
        "sleep {s} & sleep {s}; wait",
        "bash -c 'bash -c \"sleep {s}; true\"; true'; true",
        "setsid sleep {s}; true",
        "(setsid setsid sleep {s} &); sleep {s}",
        "setsid bash -c 'env -i sleep {s}; true'; true",
        "trap '' TERM; sleep {s}; sleep {s}",
    ],
)
def test_walltime_ends_the_command_and_all_that_it_started(command: str) -> None:
    # The number of seconds tells our processes from everybody else's.
    seconds = f"3{int(new_id()[:6], 16)}"
    done = result(ShellFunction(f"echo begun; {command}", walltime=0.3), s=seconds)
    assert (done.returncode, done.exception_name) == (124, "subprocess.TimeoutExpired")
    assert done.stdout == "begun\n"
    assert alive(seconds) == []


def test_a_command_may_clean_up_before_it_is_killed() -> None:
    command = "trap 'echo cleaned; exit' TERM; sleep 600 & wait"
    assert result(ShellFunction(command, walltime=0.3)).stdout == "cleaned\n"


def test_who_interrupts_the_worker_ends_the_command() -> None:
    seconds = f"3{int(new_id()[:6], 16)}"
    code = (
        "import signal, sys; from chamberlain import ShellFunction;"
        "signal.signal(signal.SIGALRM, signal.default_int_handler); signal.setitimer(0, 0.5);"
        f"ShellFunction('sleep {seconds}; true')()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in done.stderr
    assert alive(seconds) == []


def test_walltime_that_is_enough_costs_nothing() -> None:
    began = time.monotonic()
    assert result(ShellFunction("echo 1", walltime=60)).returncode == 0
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"walltime": 0}, "walltime is 0; it must be more than 0"),
        ({"walltime": -1}, "walltime is -1"),
        ({"snippet_lines": -1}, "snippet_lines is -1"),
        ({"name": "no name"}, "name is 'no name'"),
        ({"name": "class"}, "name is 'class'"),
    ],
)
def test_impossible_arguments_are_refused_at_once(arguments: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ShellFunction("true", **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", ["DillCode", "AllCodeStrategies"])
def test_it_comes_back_as_the_callers_own_class(code: str) -> None:
    packed = pack_function(ShellFunction("echo {x}", name="say"), serializer(code=code))
    function, args, kwargs = unpack_task(packed + pack_payload((), {"x": 5}))
    assert function.__name__ == "say"
    # What it is there is a copy; as a copy it may travel on.
    again = unpack_result(pack_result(copy.deepcopy(function)))
    for one in (function, again):
        done = unpack_result(pack_result(one(*args, **kwargs)))
        assert type(done) is ShellResult
        assert done.stdout == "5\n"


def test_it_runs_where_chamberlain_is_not_installed() -> None:
    packed = pack_function(ShellFunction("echo {x}"))
    pickled = packed.partition("01\n")[2]
    code = (
        "import base64, sys, dill\n"
        "sys.modules.update(dict.fromkeys(['chamberlain', 'chamberlain_wire']))\n"
        "function = dill.loads(base64.b64decode(sys.argv[1]))\n"
        "sys.stdout.write(base64.b64encode(dill.dumps(function(x='there'))).decode())\n"
    )
    there = subprocess.run(
        [sys.executable, "-c", code, pickled], capture_output=True, text=True, check=True
    )
    done = unpack_result(f"00\n{there.stdout}")
    assert type(done) is ShellResult
    assert done.stdout == "there\n"


class OwnShell(ShellFunction):
    def __call__(self, **values: object) -> str:  # type: ignore[override]
        return "own"


def test_a_subclass_of_ones_own_travels_as_classes_do() -> None:
    function, _, _ = unpack_task(pack_function(OwnShell("true")) + pack_payload((), {}))
    assert function() == "own"
    assert function.cmd == "true"


def test_mpi_puts_the_launcher_in_front(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PARSL_MPI_PREFIX", "echo mpiexec -n 4")
    function, _, kwargs = unpack_task(
        pack_function(MPIFunction("./lammps {x}")) + pack_payload((), {"x": "in.lj"})
    )
    done = function(**kwargs)
    assert done.cmd == "$PARSL_MPI_PREFIX ./lammps in.lj"
    assert done.stdout == "mpiexec -n 4 ./lammps in.lj\n"


def test_mpi_without_a_launcher_says_that_it_is_the_endpoints_engine() -> None:
    with pytest.raises(RuntimeError, match="engine is not one for MPI"):
        MPIFunction("true")()


def test_a_result_is_shown_with_its_last_lines() -> None:
    text = str(result(ShellFunction("seq 12; echo bad >&2; exit 2")))
    assert text.startswith("exit code 2 of: seq 12")
    assert "[... 2 lines more in .stdout]\n  3\n" in text
    assert text.endswith("stderr:\n  bad")


def alive(argument: str) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            zombie = (entry / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            if not zombie and argument in (entry / "cmdline").read_text().split("\0"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found
