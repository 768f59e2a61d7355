"""A registry with a certificate of the site's own authority, which lets in who has the password."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from devtools.image import build as builds
from devtools.image import engines
from devtools.image.build import Image
from devtools.image.registry import Access, RegistryError
from devtools.lab.lab import Lab
from devtools.lab.plan import HUB, LOGIN
from devtools.lab.rollout import put
from devtools.lab.software import WHERE
from devtools.say import Reporter

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_lab,
    pytest.mark.slow,
    pytest.mark.timeout(1500),
]
PORT = 5443
REGISTRY = f"{HUB}:{PORT}"
TARGET = f"{REGISTRY}/site/user-endpoint:1"
UNIT = "registry-with-tls"
FOLDER = "/etc/registry-with-tls"
USER, PASSWORD = "builder", "a password of this test"
SETTINGS = f"""\
version: 0.1
storage: {{filesystem: {{rootdirectory: /var/lib/{UNIT}}}}}
auth: {{htpasswd: {{realm: site, path: {FOLDER}/htpasswd}}}}
http:
  addr: ":{PORT}"
  tls: {{certificate: {FOLDER}/registry.crt, key: {FOLDER}/registry.key}}
"""


@dataclass(frozen=True, slots=True)
class Registry:
    """A registry that runs.

    Attributes:
        access: as it should be.
        other_ca: the certificate of an authority that has nothing to do with it.
    """

    access: Access
    other_ca: Path


@pytest.fixture(scope="module")
def image(lab: Lab) -> Image:
    return builds.build(Reporter(), lab)


@pytest.fixture(scope="module")
def registry(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("registry")
    for name in ("site", "other"):
        make_authority(folder, name)
    make_certificate(folder, HUB)
    for name in ("registry.crt", "registry.key"):
        put(lab, HUB, f"{FOLDER}/{name}", (folder / name).read_text())
    put(lab, HUB, f"{FOLDER}/config.yml", SETTINGS)
    put(lab, HUB, f"{FOLDER}/htpasswd", f"{USER}:{hashed(PASSWORD)}\n")
    (folder / "password").write_text(f"{PASSWORD}\n")
    serve = ["docker-registry", "serve", f"{FOLDER}/config.yml"]
    lab.run(HUB, ["systemd-run", "--quiet", f"--unit={UNIT}", *serve])
    up = ["curl", "-s", "--retry", "300", "--retry-connrefused", "--retry-max-time", "60"]
    lab.run(LOGIN, [*up, "--retry-delay", "1", "--insecure", f"https://{REGISTRY}/v2/"])
    yield Registry(
        Access(ca=folder / "site.crt", user=USER, password_file=folder / "password"),
        folder / "other.crt",
    )
    lab.run(HUB, ["systemctl", "stop", UNIT])


def make_authority(folder: Path, name: str) -> None:
    openssl(
        *("req", "-x509", "-nodes", "-days", "2", "-newkey", "ec"),
        *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN=authority {name}"),
        *("-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.crt")),
    )


def make_certificate(folder: Path, host: str) -> None:
    """Make `registry.crt` for `host`, signed by the authority `site`."""
    openssl(
        *("req", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-subj", f"/CN={host}", "-keyout", str(folder / "registry.key")),
        *("-out", str(folder / "registry.csr")),
    )
    (folder / "names").write_text(f"subjectAltName=DNS:{host}\n")
    openssl(
        *("x509", "-req", "-days", "2", "-in", str(folder / "registry.csr")),
        *("-CA", str(folder / "site.crt"), "-CAkey", str(folder / "site.key")),
        *("-CAcreateserial", "-extfile", str(folder / "names")),
        *("-out", str(folder / "registry.crt")),
    )


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def hashed(password: str) -> str:
    """Return bcrypt's hash, the only one that this registry takes; Perl is part of every Debian."""
    words = ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, "$2b$05$" + "a" * 22]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def refusal(image: Image, lab: Lab, access: Access, target: str = TARGET) -> str:
    """Return the sentence with which a push ends."""
    with pytest.raises(RegistryError) as caught:
        engines.push(image, target, lab, access)
    said = str(caught.value)
    assert PASSWORD not in said
    assert len(said.splitlines()) == 1
    return said


def test_what_was_pushed_is_pulled_by_digest_and_installed(
    image: Image, lab: Lab, registry: Registry
) -> None:
    name = engines.push(image, TARGET, lab, registry.access)
    digest = image.about["digest"]
    assert name == f"{REGISTRY}/site/user-endpoint@{digest}"
    # As the guide tells an administrator.
    assert registry.access.ca is not None
    trusted = f"/etc/containers/certs.d/{REGISTRY}/ca.crt"
    put(lab, LOGIN, trusted, registry.access.ca.read_text(), mode="0644")
    words = ["skopeo", "login", "--username", USER, "--password-stdin", REGISTRY]
    lab.run(LOGIN, words, given=PASSWORD)
    try:
        archive = "/root/user-endpoint.tar"
        lab.run(LOGIN, ["skopeo", "copy", "--quiet", f"docker://{name}", f"oci-archive:{archive}"])
        install = [str(WHERE / "bin/chamberlain-endpoint"), "image", "install", archive]
        lab.run(LOGIN, [*install, "--digest", digest], limit_s=300.0)
        lab.run(LOGIN, ["podman", "pull", "--quiet", name], limit_s=300.0)
        # Neither certificate nor password need be named now.
        assert engines.push(image, TARGET, lab) == name
    finally:
        lab.run(LOGIN, ["skopeo", "logout", REGISTRY])
        lab.run(LOGIN, ["rm", "-r", str(Path(trusted).parent), archive])


def test_a_certificate_of_another_authority_is_told_in_a_sentence(
    image: Image, lab: Lab, registry: Registry
) -> None:
    for ca in (registry.other_ca, None):
        said = refusal(image, lab, replace(registry.access, ca=ca))
        assert said.startswith(f"{REGISTRY}'s certificate is not of an authority")
        assert "--ca FILE" in said


def test_a_certificate_for_another_name_is_told_in_a_sentence(
    image: Image, lab: Lab, registry: Registry
) -> None:
    address = lab.host(HUB).address
    said = refusal(image, lab, registry.access, TARGET.replace(HUB, address))
    assert said.startswith(f"{address}:{PORT}'s certificate is for another name")


def test_a_wrong_password_is_told_in_a_sentence(
    image: Image, lab: Lab, registry: Registry, tmp_path: Path
) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("guessed\n")
    said = refusal(image, lab, replace(registry.access, password_file=wrong))
    assert said.startswith(f"{REGISTRY} does not let this user in")
    nobody = Access(ca=registry.access.ca)
    assert refusal(image, lab, nobody) == said


def test_a_registry_that_is_not_there_is_told_in_a_sentence(
    image: Image, lab: Lab, registry: Registry
) -> None:
    said = refusal(image, lab, registry.access, f"{HUB}:5999/site/user-endpoint:1")
    assert said.startswith(f"{HUB}:5999 cannot be reached")
