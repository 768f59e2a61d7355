"""What an image lists as its parts, and what its Debian may hold."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from devtools.image import base, engines, sbom
from devtools.image.build import Image, ImageError

STATUS = """\
Package: zlib1g
Status: install ok installed
Architecture: amd64
Version: 1:1.3.1+really1.3.1-1
Description: a library
 that goes on: here

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: base-files
Status: install ok installed
Architecture: amd64
Version: 13.8
"""


def test_installed_packages_are_parts_and_removed_ones_are_not() -> None:
    parts = sbom.debian_parts(STATUS)
    assert [(one.name, one.version) for one in parts] == [
        ("base-files", "13.8"),
        ("zlib1g", "1:1.3.1+really1.3.1-1"),
    ]
    assert parts[1].purl == "pkg:deb/debian/zlib1g@1%3A1.3.1%2Breally1.3.1-1?arch=amd64"


def test_a_python_part_is_named_as_the_index_names_it() -> None:
    (part,) = sbom.python_parts([("Typing_Extensions", "4.0")])
    assert part.purl == "pkg:pypi/typing-extensions@4.0"


def test_the_same_image_has_the_same_document() -> None:
    parts = sbom.debian_parts(STATUS)
    first = sbom.document("image", "1.0", "sha256:" + "a" * 64, parts)
    assert first == sbom.document("image", "1.0", "sha256:" + "a" * 64, parts)
    assert first["serialNumber"] != sbom.document("image", "1.0", "sha256:b", parts)["serialNumber"]
    assert first["metadata"]["component"]["hashes"][0]["content"] == "a" * 64
    assert len(first["components"]) == 2


def test_everybody_may_read_the_base_and_nobody_becomes_another_by_it(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "var/log/munge").mkdir(parents=True)
    (tmp_path / "root").mkdir(mode=0o700)
    for name, mode in (("etc/shadow", 0o600), ("su", 0o4755), ("private", 0o600), ("x", 0o700)):
        (tmp_path / name).touch()
        (tmp_path / name).chmod(mode)
    (tmp_path / "link").symlink_to("/nowhere")
    base.open_to_all(tmp_path)
    assert not (tmp_path / "etc/shadow").exists()
    assert not (tmp_path / "var/log/munge").exists()
    modes = {
        one: (tmp_path / one).stat().st_mode & 0o7777 for one in ("su", "private", "x", "root")
    }
    assert modes == {"su": 0o755, "private": 0o644, "x": 0o755, "root": 0o755}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _image(folder: Path, config: bytes, *, named: str) -> Image:
    """Write an image whose manifest names its configuration `named`."""
    manifest = json.dumps({"config": {"digest": named}}).encode()
    blobs = {_digest(manifest): manifest, named: config}
    with tarfile.open(folder / "image.oci.tar", "w") as archive:
        for digest, content in blobs.items():
            member = tarfile.TarInfo(f"blobs/{digest.replace(':', '/')}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    (folder / "image.json").write_text(json.dumps({"digest": _digest(manifest)}))
    return Image(folder)


def test_docker_knows_an_image_by_the_digest_of_its_configuration(tmp_path: Path) -> None:
    assert engines.docker_id(_image(tmp_path, b"{}", named=_digest(b"{}"))) == _digest(b"{}")


def test_an_archive_that_holds_something_else_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is something else"):
        engines.docker_id(_image(tmp_path, b"[]", named=_digest(b"{}")))
    (tmp_path / "image.json").write_text(json.dumps({"digest": _digest(b"of another build")}))
    with pytest.raises(ImageError, match="build the image again"):
        engines.docker_id(Image(tmp_path))
