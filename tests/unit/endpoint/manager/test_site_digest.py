"""The digest follows the site's files, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.manager_builders import endpoint_folder

from chamberlain_endpoint.manager.config import settle as check
from chamberlain_endpoint.manager.site_digest import SiteDigest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    endpoint_folder(tmp_path / "e")
    return tmp_path / "e"


def test_it_stays_while_the_files_stay(folder: Path) -> None:
    digest = SiteDigest(check(folder / "config.yaml"))
    first = digest.now()
    (folder / "token").write_text("chp_" + "u" * 43)
    assert digest.now() == first
    assert SiteDigest(check(folder / "config.yaml")).now() == first


@pytest.mark.parametrize(
    "name",
    [
        "user_config_template.yaml.j2",
        "user_config_schema.json",
        "user_environment.yaml",
        "included.j2",
        "templates/base.yaml",
    ],
)
def test_a_change_of_any_of_them_changes_it(folder: Path, name: str) -> None:
    digest = SiteDigest(check(folder / "config.yaml"))
    seen = [digest.now()]
    (folder / name).parent.mkdir(exist_ok=True)
    for content in ("{}", "{ }"):
        (folder / name).write_text(content)
        seen.append(digest.now())
    (folder / name).unlink()
    seen.append(digest.now())
    assert len(set(seen[:3])) == 3
    assert seen[3] not in seen[1:3]


def test_settings_count_for_a_template_that_looks_at_them_alone(tmp_path: Path) -> None:
    def digests(template: str) -> set[str]:
        seen = set()
        for name in ("One", "Two"):
            endpoint_folder(folder := tmp_path / str(len(template)) / name, display_name=name)
            (folder / "user_config_template.yaml.j2").write_text(template)
            seen.add(SiteDigest(check(folder / "config.yaml")).now())
        return seen

    assert len(digests("engine: {type: ThreadPoolEngine}")) == 1
    assert len(digests("name: {{ _GC.parent_config.display_name }}")) == 2


def test_another_list_of_functions_is_another_digest(tmp_path: Path) -> None:
    lists = (None, [], ["00000000-0000-4000-8000-000000000001"])
    seen = []
    for number, functions in enumerate(lists):
        folder = tmp_path / str(number)
        extra = {} if functions is None else {"allowed_functions": functions}
        endpoint_folder(folder, **extra)
        seen.append(SiteDigest(check(folder / "config.yaml")).now())
    assert len(set(seen)) == len(lists)
