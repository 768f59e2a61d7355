"""An archive becomes the files that its digest names, and nothing outside its folder."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.image_archive import OciArchive

Member = tuple[str, bytes, str, int]
"""Type of the member, its name, its content or link target, its mode."""

WRITTEN_AT = 1_700_000_000
_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def _layer(*members: tuple[bytes, str, str, int]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as layer:
        for kind, name, content, mode in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, mode, WRITTEN_AT
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = content
                layer.addfile(info)
            else:
                info.size = len(content)
                layer.addfile(info, io.BytesIO(content.encode()))
    return gzip.compress(out.getvalue(), mtime=0)


def _file(name: str, content: str = "x", mode: int = 0o600) -> tuple[bytes, str, str, int]:
    return (tarfile.REGTYPE, name, content, mode)


def _link(name: str, to: str) -> tuple[bytes, str, str, int]:
    return (tarfile.SYMTYPE, name, to, 0o777)


def _archive(path: Path, *layers: bytes, spoil: str = "", media: str = _LAYER) -> str:
    blobs: dict[str, bytes] = {}

    def add(content: bytes) -> str:
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        blobs[digest] = content
        return digest

    config = add(json.dumps({"config": {"Labels": {"a": "b"}}}).encode())
    rows = [{"digest": add(each), "mediaType": media} for each in layers]
    manifest = add(json.dumps({"config": {"digest": config}, "layers": rows}).encode())
    if spoil == "layer":
        blobs[rows[0]["digest"]] += b"more"
    manifests = [{"digest": manifest}] * (2 if spoil == "two" else 1)
    with tarfile.open(path, "w") as file:
        members = {f"blobs/sha256/{k[7:]}": v for k, v in blobs.items()}
        members["index.json"] = json.dumps({"manifests": manifests}).encode()
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return manifest


def _unpack(tmp_path: Path, *layers: bytes) -> Path:
    _archive(tmp_path / "a.tar", *layers)
    root = tmp_path / "root"
    root.mkdir()
    with OciArchive.opened(tmp_path / "a.tar") as opened:
        opened.unpack(opened.image(), root, lambda _: None)
    return root


def test_files_keep_the_time_that_their_compiled_forms_remember(tmp_path: Path) -> None:
    root = _unpack(tmp_path, _layer(_file("lib/module.py")))
    assert (root / "lib/module.py").stat().st_mtime == WRITTEN_AT


def test_layers_are_laid_over_one_another(tmp_path: Path) -> None:
    root = _unpack(
        tmp_path,
        _layer(_file("a/one", "1"), _file("a/two", "2"), _file("b/three", "3")),
        _layer(_file("a/one", "new"), _file("a/.wh.two"), _file("b/.wh..wh..opq")),
    )
    assert (root / "a/one").read_text() == "new"
    assert not (root / "a/two").exists()
    assert list((root / "b").iterdir()) == []


def test_files_are_readable_by_all_and_writable_by_root_alone(tmp_path: Path) -> None:
    root = _unpack(
        tmp_path, _layer(_file("x", mode=0o4711), _file("y", mode=0o666), _file("z", mode=0o400))
    )
    modes = {each.name: each.stat().st_mode & 0o7777 for each in root.iterdir()}
    assert modes == {"x": 0o755, "y": 0o644, "z": 0o444}


def test_links_are_kept_and_read_from_the_images_root(tmp_path: Path) -> None:
    root = _unpack(
        tmp_path,
        _layer(_link("bin", "usr/bin"), _file("usr/bin/tool", "t"), _link("etc/alt", "/usr/bin")),
        _layer(_file("bin/other", "o"), _file("etc/alt/third", "3")),
    )
    assert (root / "usr/bin/other").read_text() == "o"
    assert (root / "usr/bin/third").read_text() == "3"
    assert (root / "bin").is_symlink()


@pytest.mark.parametrize(
    "members",
    [
        (_file("../outside"),),
        (_link("way", ".."), _file("way/outside")),
        (_link("way", "/.."), _file("way/../outside")),
        (_link("way", "../../../../../.."), _file("way/outside")),
        ((tarfile.LNKTYPE, "copy", "../secret", 0o644),),
        (_link("a", "b"), _link("b", "a"), _file("a/x")),
    ],
)
def test_nothing_is_written_outside_its_folder(
    tmp_path: Path, members: tuple[tuple[bytes, str, str, int], ...]
) -> None:
    (tmp_path / "secret").write_text("s")
    before = {each.name for each in tmp_path.iterdir()} | {"a.tar", "root"}
    with contextlib.suppress(CommandFailedError):
        _unpack(tmp_path, _layer(*members))
    assert {each.name for each in tmp_path.iterdir()} == before
    assert not (tmp_path.parent / "outside").exists()
    assert not (tmp_path / "root/copy").exists()


def test_devices_are_left_out(tmp_path: Path) -> None:
    device = (tarfile.CHRTYPE, "dev/null", "", 0o666)
    assert not (_unpack(tmp_path, _layer(device)) / "dev/null").exists()


@pytest.mark.parametrize(
    ("spoil", "media", "word"),
    [("layer", _LAYER, "other content"), ("two", _LAYER, "2 images"), ("", "x+zstd", "gzip")],
)
def test_a_changed_or_strange_archive_is_refused(
    tmp_path: Path, spoil: str, media: str, word: str
) -> None:
    _archive(tmp_path / "a.tar", _layer(_file("x")), spoil=spoil, media=media)
    root = tmp_path / "root"
    root.mkdir()
    with (
        OciArchive.opened(tmp_path / "a.tar") as opened,
        pytest.raises(CommandFailedError, match=word),
    ):
        opened.unpack(opened.image(), root, lambda _: None)


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_text("hello")
    with (
        pytest.raises(CommandFailedError, match="no OCI archive"),
        OciArchive.opened(tmp_path / "a.tar"),
    ):
        pass
