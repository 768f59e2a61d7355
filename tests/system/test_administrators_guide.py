"""The administrators' guide, typed into a shell on a real site."""

from __future__ import annotations

import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
from tests.system.conftest import ALICE

from devtools.programs import Programs
from devtools.site import Site

pytestmark = [pytest.mark.needs_rabbit, pytest.mark.slow, pytest.mark.timeout(300)]

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "administrators.md"
BLOCKS = re.findall(r"(?ms)^```sh\n(.*?)^```$", GUIDE.read_text())


def test_every_block_of_the_guide_does_what_it_says(
    programs: Programs, public_folder: Path, site: Site
) -> None:
    folder, desk = public_folder / "guide", public_folder / "desk"
    for one in (folder, desk):
        one.mkdir()
    token = desk / "token"
    token.write_text(site.tokens[ALICE])
    token.chmod(0o600)
    environment = {
        "PATH": f"{programs.endpoint.parent}:{os.environ['PATH']}",
        "HOME": str(desk),
        "LANG": "C.UTF-8",
        "HUB": site.hub_url,
        "TOKEN_FILE": str(token),
        "CHAMBERLAIN_ENDPOINT_CONFIG_DIR": str(folder),
    }

    def shell(text: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["timeout", "60", "bash", "-euo", "pipefail", "-c", text],
            cwd=desk,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    assert len(BLOCKS) == 10
    said = []
    try:
        for block in BLOCKS:
            done = shell(block)
            assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
            said.append(done.stdout)
    finally:
        if (folder / "cluster").exists():
            shell("chamberlain-endpoint stop cluster; chamberlain-endpoint delete cluster --yes")
    assert "max_workers: 2" in said[2]
    assert "refused, and it says by which rule and why" in said[2]
    last_look = said[3][said[3].rindex("files:") :]
    assert "bad" not in last_look
    for link in ("manager", "hub", "clock", "token", "broker", "heartbeat", "account"):
        assert f" {link}: " in last_look
    with tarfile.open(desk / "cluster.tar.gz") as bundle:
        texts = [
            bundle.extractfile(member).read()  # type: ignore[union-attr] # all are plain files
            for member in bundle.getmembers()
        ]
    assert not any(site.tokens[ALICE].encode() in text for text in texts)
    assert "translated config.yaml:3 engine: moved into the template" in said[8]
    assert not folder.joinpath("cluster").exists()
