"""An endpoint that was imported from the public agent's folder is one that can be started."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.integration.cli.conftest import ENDPOINT, IS_ROOT, KEY, OWNER, TOKEN, Ran, Run
from tests.integration.cli.test_import import folder_of
from tests.site_examples import EXAMPLES

from devtools.programs import Programs

pytestmark = [pytest.mark.slow]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that the service account can pass; pytest's own are closed to it."""
    with tempfile.TemporaryDirectory(prefix="chimport-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def run(programs: Programs) -> Run:
    """Run the installed `chamberlain-endpoint`, whose Python every account can execute."""

    def once(*arguments: str | Path, given: str = "") -> Ran:
        done = subprocess.run(
            [programs.endpoint, *map(str, arguments)],
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            cwd="/",
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return once


def test_the_endpoint_that_is_made_is_good_and_keeps_its_id(run: Run, open_folder: Path) -> None:
    [site] = [one for one in EXAMPLES if one.name == "polaris"]
    mapping = [
        {
            "DATA_TYPE": "expression_identity_mapping#1.0.0",
            "mappings": [{"source": "{username}", "match": "(.*)@example\\.edu", "output": "{0}"}],
        }
    ]
    folder = folder_of(site, open_folder, **{"mapping.json": json.dumps(mapping)})
    before = {file: file.read_bytes() for file in folder.iterdir()}
    for name, text in (("key", f"{KEY}\n"), ("token", f"{TOKEN}\n")):
        (open_folder / name).write_text(text)
    form = () if IS_ROOT else ("--owner", OWNER)
    ran = run(
        *("import", folder, "--name", "mine", "-c", open_folder / "made", *form, "--json"),
        *("--hub", "http://127.0.0.1:9", "--token-file", open_folder / "token"),
        *("--hub-key-file", open_folder / "key"),
    )
    assert ran.code == 0, ran.err
    assert (ran.document["made"], ran.document["id_kept"]) == (True, True)
    assert ran.document["endpoint_id"] == ENDPOINT
    made = open_folder / "made" / "mine"
    assert yaml.safe_load((made / "config.yaml").read_text())["display_name"] == "A cluster"
    assert "| shell_text }}" in (made / "user_config_template.yaml.j2").read_text()
    assert f'endpoint_id = "{ENDPOINT}"' in (made / "launcher.toml").read_text()
    checked = run("check-config", made)
    assert checked.code == 0, checked.out
    ran = run("render-user-config", "-e", made, "-o", "-", given=json.dumps(site.options))
    assert ran.code == 0, ran.err
    assert {file: file.read_bytes() for file in folder.iterdir()} == before
    again = run(
        *("import", folder, "--name", "mine", "-c", open_folder / "made", *form),
        *("--hub", "http://127.0.0.1:9", "--token-file", open_folder / "token"),
        *("--hub-key-file", open_folder / "key"),
    )
    assert again.code == 1
    assert "exists already" in again.err
