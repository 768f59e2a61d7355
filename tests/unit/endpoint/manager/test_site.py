"""The site's own files: an edit counts at once, and nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.manager_builders import endpoint_folder

from chamberlain_endpoint.manager.config import settle as check
from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_endpoint.manager.site import SiteFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return endpoint_folder(tmp_path / "site").parent


def files(folder: Path) -> SiteFiles:
    return SiteFiles(check(folder / "config.yaml"))


def test_variables_are_the_texts_that_were_written(folder: Path) -> None:
    (folder / "user_environment.yaml").write_text("A: yes\nB: 010\nC: 1e3\nD:\nE: 'x y'\n")
    assert files(folder).environment() == {"A": "yes", "B": "010", "C": "1e3", "D": "", "E": "x y"}


@pytest.mark.parametrize("content", ["", "# only a comment\n"])
def test_no_variables_are_no_fault(folder: Path, content: str) -> None:
    (folder / "user_environment.yaml").write_text(content)
    assert files(folder).environment() == {}


@pytest.mark.parametrize("content", ["- A", "A: {B: c}", "A=B: c", "'': c", "A: [", 'A: "x\\0y"'])
def test_what_is_no_environment_lets_nobody_in(folder: Path, content: str) -> None:
    (folder / "user_environment.yaml").write_text(content)
    with pytest.raises(RenderRefusedError, match="environment file"):
        files(folder).environment()


def test_a_template_may_include_its_neighbours_and_not_the_token(folder: Path) -> None:
    (folder / "templates").mkdir()
    (folder / "templates" / "slurm.j2").write_text("slurm")
    (folder / "init.sh").write_text("init")
    name, sources = files(folder).template()
    assert name == "user_config_template.yaml.j2"
    assert sources["templates/slurm.j2"] == "slurm"
    assert sources["init.sh"] == "init"
    assert "token" not in sources


def test_a_template_that_is_gone_refuses(folder: Path) -> None:
    site = files(folder)
    (folder / "user_config_template.yaml.j2").unlink()
    with pytest.raises(RenderRefusedError, match="template cannot be used"):
        site.template()


def test_a_schema_that_was_broken_lets_nobody_in(folder: Path) -> None:
    site = files(folder)
    assert site.json_schema() is None
    (folder / "user_config_schema.json").write_text("{")
    with pytest.raises(RenderRefusedError, match="options schema"):
        site.json_schema()
