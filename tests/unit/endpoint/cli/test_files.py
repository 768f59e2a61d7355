from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from chamberlain_endpoint.cli import files
from chamberlain_endpoint.cli.files import Facts, File, Overrides
from chamberlain_endpoint.cli.layout import Layout
from chamberlain_endpoint.launcher import config as launcher_config
from chamberlain_endpoint.manager import config as manager_config
from chamberlain_endpoint.manager.render.job import RenderJob, RenderRefusedError, Who
from chamberlain_endpoint.manager.render.pipeline import render

_ID = "0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4"
_KEY = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def _layout(folder: Path, *, multi: bool) -> Layout:
    parts = ("config", "manager", "launcher", "accounts", "run", "log")
    return Layout("cluster", multi, **{part: folder / part for part in parts})


def _facts(*, multi: bool) -> Facts:
    return Facts(
        endpoint_id=_ID,
        hub_url="https://hub.example.edu",
        token="chp_secret",
        hub_keys=(_KEY,),
        display_name='The "big" cluster: Zürich',
        email="hpc@example.edu",
        owner="" if multi else _ID,
        manager_user="chamberlain" if multi else "",
    )


def _written(folder: Path, *, multi: bool, mapping: Path | None = None) -> dict[str, File]:
    brought = Overrides(identity_mapping=mapping)
    layout = _layout(folder, multi=multi)
    layout.config.mkdir()
    made = files.all_files(layout, _facts(multi=multi), brought)
    for file in made:
        files.write(file, -1)
    return {file.path.name: file for file in made}


def test_the_multi_user_form_has_the_five_files_the_settings_and_the_token(tmp_path: Path) -> None:
    assert set(_written(tmp_path, multi=True)) == {
        "config.yaml",
        "example_identity_mapping_config.json",
        "user_config_template.yaml.j2",
        "user_config_schema.json",
        "user_environment.yaml",
        "launcher.toml",
        "token",
    }


@pytest.mark.parametrize("multi", [True, False])
def test_the_launcher_takes_its_settings(tmp_path: Path, multi: bool) -> None:
    text = _written(tmp_path, multi=multi)["launcher.toml"].content
    settings = launcher_config.parse(text.encode())
    assert settings.endpoint_id == _ID
    assert settings.socket == tmp_path / "run" / "launcher.sock"
    assert settings.mode == ("multi" if multi else "single")
    if multi:
        assert settings.policy.min_uid == 1000
        assert "chamberlain" in settings.policy.denied_accounts


@pytest.mark.parametrize("multi", [True, False])
def test_the_manager_takes_its_settings(tmp_path: Path, multi: bool) -> None:
    _written(tmp_path, multi=multi)
    settings = manager_config.check(tmp_path / "config" / "config.yaml")
    assert str(settings.endpoint_id) == _ID
    assert settings.hub_address == "https://hub.example.edu"
    assert settings.display_name == 'The "big" cluster: Zürich'
    assert settings.token_path.read_text() == "chp_secret\n"
    assert not settings.public


def test_secrets_are_never_readable_by_others(tmp_path: Path) -> None:
    made = _written(tmp_path, multi=True)
    for name in ("launcher.toml", "token"):
        assert not stat.S_IMODE(made[name].path.stat().st_mode) & 0o007
    assert stat.S_IMODE(made["token"].path.stat().st_mode) == 0o640
    single = tmp_path / "single"
    single.mkdir()
    for file in _written(single, multi=False).values():
        assert not stat.S_IMODE(file.path.stat().st_mode) & 0o077


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    made = _written(tmp_path, multi=True)
    with pytest.raises(FileExistsError):
        files.write(made["token"], -1)


def test_brought_files_take_the_place_of_the_defaults(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text('[{"mine": true}]')
    made = _written(tmp_path, multi=True, mapping=mine)
    assert made["identity_mapping_config.json"].content == '[{"mine": true}]'
    assert "example_identity_mapping_config.json" not in made
    settings = launcher_config.parse(made["launcher.toml"].content.encode())
    assert settings.identity_mapping == tmp_path / "config" / "identity_mapping_config.json"


def _render(made: dict[str, File], options: dict[str, Any]) -> dict[str, Any]:
    job = RenderJob(
        options=options,
        runtime={},
        template="t",
        sources={"t": made["user_config_template.yaml.j2"].content},
        json_schema=json.loads(made["user_config_schema.json"].content),
        who=Who(
            identity=_ID, uname="a", uid=1000, gid=1000, groups=[], gecos="", shell="", dir="/"
        ),
        parent_config={},
        environment={},
    )
    config: dict[str, Any] = json.loads(render(job).config)
    return config


def test_the_default_template_runs_threads_when_nothing_is_asked(tmp_path: Path) -> None:
    config = _render(_written(tmp_path, multi=True), {})
    assert config["engine"]["type"] == "ThreadPoolEngine"
    assert (config["idle_heartbeats_soft"], config["idle_heartbeats_hard"]) == (10, 5760)
    assert config["endpoint_setup"] is None


def test_the_default_template_runs_blocks_when_they_are_asked(tmp_path: Path) -> None:
    config = _render(_written(tmp_path, multi=True), {"ENGINE": "htex", "MAX_WORKERS": 3})
    engine = config["engine"]
    assert engine["type"] == "GlobusComputeEngine"
    assert engine["provider"]["type"] == "LocalProvider"
    assert engine["max_workers_per_node"] == 3


@pytest.mark.parametrize(
    "options",
    [
        {"worker_init": "rm -rf /"},
        {"ENGINE": "threads\n  worker_init: sh"},
        {"ENGINE": "ProcessPoolEngine"},
        {"MAX_WORKERS": 0},
        {"MAX_WORKERS": "2"},
        {"MAX_WORKERS": 65},
    ],
)
def test_nothing_but_the_schemas_words_reaches_the_template(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with pytest.raises(RenderRefusedError):
        _render(_written(tmp_path, multi=True), options)


def test_the_default_environment_is_empty(tmp_path: Path) -> None:
    assert yaml.safe_load(_written(tmp_path, multi=True)["user_environment.yaml"].content) is None
