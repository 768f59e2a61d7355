"""A folder of the public agent's becomes an endpoint of ours, and every key is accounted for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.integration.cli.conftest import ENDPOINT, Run
from tests.site_examples import EXAMPLES, Example

from chamberlain_endpoint.cli import import_site
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.import_report import Outcome
from chamberlain_endpoint.manager.render.job import RenderJob, Who
from chamberlain_endpoint.manager.render.pipeline import render
from chamberlain_endpoint.rendered import settled

CONFIG = """\
display_name: A cluster
email: hpc@example.edu
public: true
amqp_port: 443
identity_mapping_config_path: mapping.json
audit_log_path: /var/log/audit.log
pam:
  enable: false
high_assurance: false
"""
WHO = Who(
    identity="i-1", uname="alice", uid=1, gid=1, groups=[], gecos="", shell="/bin/sh", dir="/h"
)
LISTS = ("available_accelerators", "persistent_volumes")


def folder_of(example: Example, above: Path, **files: str) -> Path:
    folder = above / example.name
    folder.mkdir()
    template = f"{example.top}engine:\n{example.engine}"
    all_files = {
        "config.yaml": CONFIG,
        "user_config_template.yaml.j2": template,
        "mapping.json": "[]",
        "user_environment.yaml": "SITE: here\n",
        "endpoint.json": json.dumps({"endpoint_id": ENDPOINT}),
        **files,
    }
    for name, text in all_files.items():
        (folder / name).write_text(text)
    return folder


def profile(plan: import_site.Plan, options: dict[str, Any]) -> Any:
    """Return the checked profile that a caller with `options` gets of the imported template."""
    job = RenderJob(
        options=options,
        runtime={},
        template="t",
        sources={"t": plan.template, **plan.beside},
        json_schema=None,
        who=WHO,
        parent_config={},
        environment={},
    )
    document = json.loads(render(job).config)
    settled.read(document)
    return document


def at(document: Any, path: str) -> Any:
    for key in path.split("."):
        document = document[key]
    return document


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_a_published_kind_of_site_is_imported_rendered_and_parsed(
    example: Example, tmp_path: Path
) -> None:
    plan = import_site.read(folder_of(example, tmp_path))
    assert [item.text() for item in plan.refused] == []
    document = profile(plan, example.options)
    for path, value in example.expected.items():
        assert at(document["engine"], path) == value, path


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_key_is_accounted_for(example: Example, tmp_path: Path) -> None:
    plan = import_site.read(folder_of(example, tmp_path))
    said = {(item.file, item.key.rpartition(".")[2]) for item in plan.items}
    core = yaml.safe_load(CONFIG)
    assert {("config.yaml", key) for key in (*core, *core["pam"])} <= said
    template = "user_config_template.yaml.j2"
    written = {
        line.split(":")[0].strip(" -{")
        for line in f"{example.top}engine:\n{example.engine}".splitlines()
        if ":" in line and not line.strip().startswith(("#", "{%", "module", "+", "-", "["))
    }
    assert {key for key in written if key.isidentifier()} - {key for _, key in said} == set()
    assert (template, "type") in said
    assert ("user_environment.yaml", "SITE") in said
    assert ("endpoint.json", "endpoint_id") in said
    assert plan.endpoint_id == ENDPOINT


def test_what_a_caller_may_not_do_is_refused_after_an_import_too(tmp_path: Path) -> None:
    [anvil] = [one for one in EXAMPLES if one.name == "anvil"]
    plan = import_site.read(folder_of(anvil, tmp_path))
    for lines in ("#SBATCH --uid=0", "touch x", "#SBATCH -C x\ntouch x", "#SBATCH -q a b"):
        with pytest.raises(Exception, match="no directive that callers may give"):
            profile(plan, {**anvil.options, "DIRECTIVES": lines})


def test_commands_of_callers_end_where_functions_are_limited(tmp_path: Path) -> None:
    [anvil] = [one for one in EXAMPLES if one.name == "anvil"]
    limited = f"{CONFIG}allowed_functions: [{ENDPOINT}]\n"
    plan = import_site.read(folder_of(anvil, tmp_path, **{"config.yaml": limited}))
    [item] = plan.refused
    assert item.key == "worker_init"
    assert "allowed_functions is in force" in item.why
    assert "shell_text" not in plan.template


def test_the_older_form_with_its_engine_in_one_file_is_split(tmp_path: Path) -> None:
    text = """\
display_name: Old
# how tasks run
engine:
  type: GlobusComputeEngine
  provider:
    type: LocalProvider
    worker_init: echo '{{ not Jinja }}'
heartbeat_threshold: 200
idle_heartbeats_soft: 4
detach_endpoint: true
funcx_service_address: https://api.example.org/v2
"""
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "config.yaml").write_text(text)
    plan = import_site.read(folder)
    by_key = {item.key: item for item in plan.items if item.file == "config.yaml"}
    assert by_key["engine"].outcome is Outcome.TRANSLATED
    assert by_key["detach_endpoint"].outcome is Outcome.TRANSLATED
    assert [item.key for item in plan.refused] == ["funcx_service_address"]
    assert plan.more == {"display_name": "Old"}
    document = profile(plan, {})
    assert document["heartbeat_threshold"] == 200
    assert document["engine"]["provider"]["worker_init"] == "echo '{{ not Jinja }}'"
    assert "# how tasks run" in plan.template
    assert (folder / "config.yaml").read_text() == text


def test_faults_are_told_with_key_line_and_what_was_meant(tmp_path: Path) -> None:
    bad = Example(
        "bad",
        "  type: GlobusComputeEngine\n  max_worker_per_node: 2\n  launch_cmd: x\n"
        "  provider:\n    type: SlurmProvider\n    walltime: soon\n    channel: {type: Local}\n",
    )
    config = "display_nam: x\nhigh_assurance: true\nheartbeat_period: 1\n"
    plan = import_site.read(folder_of(bad, tmp_path, **{"config.yaml": config}))
    told = {item.key: item for item in plan.refused}
    assert "display_name" in told["display_nam"].why
    assert "rented service" in told["high_assurance"].why
    assert "greater than or equal to 5" in told["heartbeat_period"].why
    assert 'did you mean "max_workers_per_node"' in told["engine.max_worker_per_node"].why
    assert told["engine.max_worker_per_node"].line == 3
    assert "Chamberlain's own" in told["engine.launch_cmd"].why
    assert "01:30:00" in told["engine.provider.walltime"].why
    assert "not a known key" in told["engine.provider.channel"].why


def test_python_and_empty_folders_are_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CommandFailedError, match=r"has no config\.yaml"):
        import_site.read(tmp_path)
    (tmp_path / "config.py").write_text("config = 1\n")
    with pytest.raises(CommandFailedError, match="is Python, which is a program"):
        import_site.read(tmp_path)
    (tmp_path / "config.yaml").write_text("display_name: x\n")
    with pytest.raises(CommandFailedError, match="nothing that a user endpoint could run"):
        import_site.read(tmp_path)


def test_the_template_may_have_its_older_name_and_include_files(tmp_path: Path) -> None:
    folder = tmp_path / "older"
    (folder / "templates").mkdir(parents=True)
    (folder / "config.yaml").write_text("display_name: x\n")
    (folder / "user_config_template.yaml").write_text("{% include 'templates/engine.j2' %}\n")
    (folder / "templates" / "engine.j2").write_text("engine: {type: ThreadPoolEngine}\n")
    (folder / "notes.txt").write_text("not asked for\n")
    plan = import_site.read(folder)
    assert plan.refused == []
    assert list(plan.beside) == ["templates/engine.j2"]
    assert profile(plan, {})["engine"]["type"] == "ThreadPoolEngine"


def test_a_dry_run_makes_nothing_and_says_everything(run: Run, tmp_path: Path) -> None:
    folder = folder_of(EXAMPLES[0], tmp_path)
    before = {file: file.read_bytes() for file in folder.iterdir()}
    ran = run("import", folder, "--name", "mine", "--dry-run", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["id_kept"]
    assert not ran.document["made"]
    assert {each["outcome"] for each in ran.document["keys"]} == {"kept", "translated"}
    assert not (tmp_path / "mine").exists()
    assert {file: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("--dry-run",), 1, "correct it, or leave it out"),
        ((), 2, "--hub and --token-file are needed"),
        (("--dry-run", "--name", "a/b"), 2, "holds a slash"),
        (("--hub", "x", "--token-file", "-"), 2, "is not an address"),
    ],
)
def test_exit_codes(
    run: Run, tmp_path: Path, words: tuple[str, ...], code: int, sentence: str
) -> None:
    folder = folder_of(EXAMPLES[0], tmp_path, **{"config.yaml": "display_nam: x\n"})
    ran = run("import", folder, *words, given="t\n")
    assert ran.code == code
    assert sentence in " ".join((ran.out + ran.err).split())
