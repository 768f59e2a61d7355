"""The workers' command inside a container."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine.containers import in_container, worker_python
from chamberlain_endpoint.rendered import settled

FOLDER = Path("/home/a b/run")


def htex(**changes: Any) -> settled.HtexEngine:
    checked = rendered.parse({"engine": {"type": "GlobusComputeEngine", **changes}})
    engine = settled.read(checked.model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    return engine


def test_without_a_container_nothing_changes() -> None:
    assert in_container(htex(), "pool --x", run_dir=FOLDER) == "pool --x"
    assert worker_python(htex(), "/our/python") == "/our/python"


@pytest.mark.parametrize("kind", ["apptainer", "singularity"])
def test_one_that_shares_the_home_gets_options_and_image(kind: str) -> None:
    config = htex(container_type=kind, container_uri="/x.sif", container_cmd_options="-H $HOME")
    command = in_container(config, "pool --x", run_dir=FOLDER)
    assert command == f"{kind} run -H $HOME /x.sif pool --x"
    assert worker_python(config, "/our/python") == "python3"


@pytest.mark.parametrize("kind", ["docker", "podman", "podman-hpc"])
def test_one_that_shares_nothing_is_given_the_folder_of_keys(kind: str) -> None:
    config = htex(container_type=kind, container_uri="r.example/w:1")
    words = shlex.split(in_container(config, "pool --x", run_dir=FOLDER))
    assert words == [kind, "run", "-v", f"{FOLDER}:{FOLDER}", "-t", "r.example/w:1", "pool", "--x"]


def test_a_custom_command_has_folder_and_command_where_it_wants_them() -> None:
    text = "awk '{print}' </dev/null; box --bind {EXECUTOR_RUNDIR} {EXECUTOR_LAUNCH_CMD}"
    config = htex(container_type="custom", container_cmd_options=text)
    command = in_container(config, "pool --x", run_dir=Path("/run"))
    assert command == "awk '{print}' </dev/null; box --bind /run pool --x"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"container_type": "docker"}, "needs container_uri"),
        ({"container_uri": "x"}, "need a container_type"),
        ({"container_type": "custom", "container_cmd_options": "x"}, "EXECUTOR_LAUNCH_CMD"),
        ({"container_type": "docker", "container_uri": "x; id"}, "letters, digits and"),
        ({"container_type": "lxc", "container_uri": "x"}, "'apptainer'"),
        (
            {
                "container_type": "docker",
                "container_uri": "x",
                "provider": {"type": "KubernetesProvider", "image": "x"},
            },
            "has an image of its own",
        ),
    ],
)
def test_what_cannot_be_started_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(rendered.ConfigInvalidError) as refused:
        htex(**changes)
    assert sentence in refused.value.public


def test_worker_init_may_choose_the_interpreter() -> None:
    provider = {"type": "LocalProvider", "worker_init": "source ~/venv/bin/activate"}
    chosen = worker_python(htex(provider=provider), "/our/venv/bin/python")
    for given, python in (
        ({}, "/our/venv/bin/python3"),
        ({"VIRTUAL_ENV": "/their env"}, "/their env/bin/python3"),
        ({"CONDA_PREFIX": "/conda"}, "/conda/bin/python3"),
        ({"CHAMBERLAIN_PYTHON": "/x/py", "VIRTUAL_ENV": "/v"}, "/x/py"),
    ):
        words = ["/bin/sh", "-c", f"printf %s {chosen}"]
        said = subprocess.run(words, env=given, capture_output=True, text=True, check=True)
        assert said.stdout == python
    assert worker_python(htex(), "/our/venv/bin/python") == "/our/venv/bin/python"
    # A place whose name a shell would read otherwise is taken as it is.
    assert worker_python(htex(provider=provider), "/our $x/bin/python") == "'/our $x/bin/python'"
