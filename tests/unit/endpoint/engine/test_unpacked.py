"""Workers inside an unpacked image: what is refused, and the command of a job."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from chamberlain_endpoint import rendered
from chamberlain_endpoint.engine import unpacked
from chamberlain_endpoint.engine.containers import in_container, worker_python
from chamberlain_endpoint.launcher.settings import RuntimeKind, RuntimeSettings
from chamberlain_endpoint.rendered import settled
from chamberlain_endpoint.scheduler.port import BlockRefusedError

FOLDER = Path("/home/a b/run")
DIGEST = f"sha256:{'0' * 64}"


def htex(**changes: Any) -> settled.HtexEngine:
    given = {"type": "GlobusComputeEngine", "container_type": "unpacked"}
    given |= {"provider": {"type": "SlurmProvider"}, **changes}
    engine = settled.read(rendered.parse({"engine": given}).model_dump(mode="json")).engine
    assert isinstance(engine, settled.HtexEngine)
    return engine


@pytest.mark.parametrize(
    ("named", "root"), [("/images/a/root", "/images/a/root"), (None, "/own/root")]
)
def test_the_image_is_the_named_folder_or_the_user_endpoints_own(
    named: str | None, root: str
) -> None:
    config = htex(container_uri=named)
    command = in_container(config, "python3 pool", run_dir=FOLDER, image="/own/root")
    assert shlex.split(command) == ["sh", f"{FOLDER}/enter-image.sh", root, "python3", "pool"]
    assert worker_python(config, "/our/python") == "python3"


def test_without_any_image_the_block_is_refused() -> None:
    with pytest.raises(BlockRefusedError) as refused:
        in_container(htex(), "python3 pool", run_dir=FOLDER)
    assert "without container_uri" in refused.value.public


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"provider": {"type": "LocalProvider"}}, "is for the nodes of a scheduler"),
        ({"container_cmd_options": "--nv"}, "no engine that container_cmd_options go to"),
        ({"container_uri": "r.example/w:1"}, "takes a folder as container_uri"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(rendered.ConfigInvalidError) as refused:
        htex(**changes)
    assert sentence in refused.value.public


def test_a_folder_without_an_image_is_named(tmp_path: Path) -> None:
    unpacked.write_script(tmp_path)
    command = unpacked.command_inside("/nosuch", "true", run_dir=tmp_path)
    ended = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert ended.returncode == 78
    assert "has no image in /nosuch" in ended.stderr


def test_the_launcher_knows_the_folder_of_what_it_allows() -> None:
    settings = RuntimeSettings(
        kind=RuntimeKind.CONTAINER, images=(("usual", DIGEST),), image="usual"
    )
    root = Path("/var/lib/chamberlain/images") / DIGEST.replace(":", "-") / "root"
    assert settings.root_of("") == settings.root_of("usual") == root
    assert settings.root_of("other") is None
