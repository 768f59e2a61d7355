"""The user endpoint's image: built without a registry, and the same wherever it goes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from devtools.image import build as builds
from devtools.image import engines
from devtools.image.build import Image
from devtools.image.registry import Access
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import put
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]

REGISTRY = f"{HUB}:5001"
SETTINGS = """\
version: 0.1
storage: {filesystem: {rootdirectory: /var/lib/docker-registry}}
http: {addr: ":5001"}
"""
LOOK = """\
import json, os, pathlib, stat
secret, risen = [], []
for folder, names, files in os.walk("/"):
    if folder.startswith(("/proc", "/sys", "/dev")):
        names.clear()
        continue
    for name in files:
        mode = os.lstat(os.path.join(folder, name)).st_mode
        if not stat.S_ISREG(mode):
            continue
        if not mode & 0o004:
            secret.append(os.path.join(folder, name))
        if mode & 0o6000:
            risen.append(os.path.join(folder, name))
try:
    pathlib.Path("/opt/chamberlain/new").touch()
    writes = True
except OSError as error:
    writes = False
import chamberlain_endpoint.user.main
print(json.dumps({"uid": os.getuid(), "secret": secret, "risen": risen, "writes": writes}))
"""


@pytest.fixture(scope="module")
def image(lab: Lab) -> Image:
    return builds.build(Reporter(), lab)


@pytest.fixture(scope="module")
def loaded(image: Image, lab: Lab) -> str:
    return engines.load(image, lab)


def test_the_image_runs_as_nobody_and_holds_nothing_that_only_some_may_read(
    lab: Lab, loaded: str
) -> None:
    words = ["podman", "run", "--rm", "--network=none", "--read-only", "--cap-drop=all"]
    python = ["--entrypoint", "/opt/chamberlain/bin/python", loaded, "-I", "-c", LOOK]
    seen = json.loads(lab.run(LOGIN, [*words, *python]).stdout)
    assert seen == {"uid": 65534, "secret": [], "risen": [], "writes": False}


@pytest.mark.parametrize("tool", ["sbatch", "squeue", "scancel", "srun", "munge", "unmunge"])
def test_the_schedulers_commands_are_in_it(lab: Lab, loaded: str, tool: str) -> None:
    words = ["podman", "run", "--rm", "--network=none", "--read-only", "--cap-drop=all"]
    lab.run(LOGIN, [*words, "--entrypoint", "/usr/bin/which", loaded, tool])


def test_its_labels_say_what_it_is(lab: Lab, image: Image, loaded: str) -> None:
    asked = lab.run(LOGIN, ["podman", "image", "inspect", loaded]).stdout
    (about,) = json.loads(asked)
    labels = about["Labels"]
    assert labels["org.opencontainers.image.title"] == "chamberlain-user-endpoint"
    assert labels["org.opencontainers.image.version"] == image.about["version"]
    assert about["User"] == "65534:65534"


def test_its_parts_are_listed_under_its_digest(image: Image) -> None:
    document = json.loads(image.parts.read_text())
    parts = {one["purl"].partition("@")[0] for one in document["components"]}
    assert {"pkg:pypi/chamberlain", "pkg:pypi/parsl", "pkg:deb/debian/munge"} <= parts
    assert "pkg:pypi/pip" not in parts
    (sealed,) = document["metadata"]["component"]["hashes"]
    assert f"sha256:{sealed['content']}" == image.about["digest"]


def test_it_is_saved_with_digest_and_parts(image: Image, tmp_path: Path) -> None:
    archive, parts, digest = engines.save(image, tmp_path)
    assert archive.stat().st_size == image.about["bytes"]
    assert json.loads(parts.read_text())["bomFormat"] == "CycloneDX"
    assert digest.read_text() == f"{image.about['digest']}\n"
    shutil.rmtree(tmp_path)


def test_what_is_pulled_from_a_registry_by_digest_is_what_was_built(image: Image, lab: Lab) -> None:
    put(lab, HUB, "/etc/docker/registry/config.yml", SETTINGS, mode="0644")
    lab.run(HUB, ["systemctl", "restart", "docker-registry"])
    up = ["curl", "-sf", "--retry", "300", "--retry-connrefused", "--retry-max-time", "60"]
    lab.run(LOGIN, [*up, "--retry-delay", "1", f"http://{REGISTRY}/v2/"])
    name = engines.push(image, f"{REGISTRY}/site/user-endpoint:1", lab, Access(plain=True))
    assert name == f"{REGISTRY}/site/user-endpoint@{image.about['digest']}"
    lab.run(LOGIN, ["podman", "pull", "--quiet", "--tls-verify=false", name], limit_s=300.0)
    lab.run(LOGIN, ["podman", "image", "exists", name])


def test_the_second_build_is_the_first_one(image: Image, lab: Lab) -> None:
    assert builds.build(Reporter(), lab) == image
