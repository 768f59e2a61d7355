"""Unpacks an OCI archive into one folder of files that every account can read.

What is unpacked is what the digest names: every blob is hashed before it is used. Members
are made one by one: a link in an image can point anywhere, and must not lead a later member
out of the folder while root unpacks it. Owners are dropped (all is root's), set-uid bits and
devices, too: containers of ours can use neither.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, cast

from chamberlain_endpoint.cli.errors import CommandFailedError

_INDEX: Final = "index.json"
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_PLAIN: Final = "application/vnd.oci.image.layer.v1.tar"
_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
_MOST_JSON: Final = 4 * 1024 * 1024
_CHUNK: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Image:
    """What an archive holds.

    Attributes:
        digest: of the image's manifest; that is its name everywhere.
        layers: digest and media type of each, lowest first.
        labels: the image's own description.
    """

    digest: str
    layers: tuple[tuple[str, str], ...]
    labels: dict[str, str]


class OciArchive:
    """One image in a tar file, as `podman save --format oci-archive` writes it."""

    def __init__(self, file: tarfile.TarFile, name: str) -> None:
        self._file = file
        self._name = name

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path) -> Iterator[OciArchive]:
        """Open the archive at `path`.

        Raises:
            CommandFailedError: it is not there, or no tar file.
        """
        try:
            file = tarfile.open(path, "r:")  # noqa: SIM115 (closed below)
        except (OSError, tarfile.TarError) as error:
            raise CommandFailedError(f"{path} is no OCI archive: {error}") from None
        with file:
            yield cls(file, str(path))

    def image(self) -> Image:
        """Return what it holds.

        Raises:
            CommandFailedError: it holds no image, or several, or one that was changed.
        """
        index = self._json(self._member(_INDEX).read(_MOST_JSON))
        manifests = [
            each
            for each in index.get("manifests", [])
            if each.get("mediaType", _MANIFEST) == _MANIFEST
        ]
        if len(manifests) != 1:
            raise self._broken(f"it holds {len(manifests)} images, not one")
        digest = str(manifests[0]["digest"])
        manifest = self._json(self._small_blob(digest))
        config = self._json(self._small_blob(manifest["config"]["digest"]))
        return Image(
            digest=digest,
            layers=tuple((each["digest"], each["mediaType"]) for each in manifest["layers"]),
            labels=config.get("config", {}).get("Labels") or {},
        )

    def unpack(self, image: Image, root: Path, on_layer: Callable[[int], None]) -> None:
        """Write the files of `image` below `root`, an empty folder.

        Args:
            on_layer: called with the number of each layer that is done.

        Raises:
            CommandFailedError: a layer was changed, or leads out of the image.
        """
        for number, (digest, kind) in enumerate(image.layers, start=1):
            self._check(digest)
            with self._layer(digest, kind) as layer:
                for member in layer:
                    _write(layer, member, root, self._broken)
            on_layer(number)

    @contextlib.contextmanager
    def _layer(self, digest: str, kind: str) -> Iterator[tarfile.TarFile]:
        if kind not in (_PLAIN, _GZIP):
            raise self._broken(f"layer {digest} is {kind}; save it with gzip")
        with contextlib.ExitStack() as stack:
            blob: IO[bytes] = stack.enter_context(self._member(_path_of(digest)))
            if kind == _GZIP:
                blob = cast(IO[bytes], stack.enter_context(gzip.open(blob)))
            try:
                layer = stack.enter_context(tarfile.open(fileobj=blob, mode="r|"))
            except (OSError, tarfile.TarError) as error:
                raise self._broken(f"layer {digest}: {error}") from None
            yield layer

    def _check(self, digest: str) -> None:
        hashed = hashlib.sha256()
        with self._member(_path_of(digest)) as blob:
            while chunk := blob.read(_CHUNK):
                hashed.update(chunk)
        if f"sha256:{hashed.hexdigest()}" != digest:
            raise self._broken(f"blob {digest} has other content than its name says")

    def _small_blob(self, digest: str) -> bytes:
        self._check(digest)
        with self._member(_path_of(digest)) as blob:
            return blob.read(_MOST_JSON)

    def _member(self, name: str) -> IO[bytes]:
        try:
            found = self._file.extractfile(name)
        except KeyError:
            found = None
        if found is None:
            raise self._broken(f"it has no {name}")
        return found

    def _json(self, text: bytes) -> dict[str, Any]:
        try:
            document = json.loads(text)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._broken("one of its descriptions is no JSON object")
        return document

    def _broken(self, why: str) -> CommandFailedError:
        return CommandFailedError(
            f"{self._name} cannot be used: {why}. Save it again with: "
            "podman save --format oci-archive"
        )


def _path_of(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    if algorithm != "sha256" or not digits.isalnum():
        raise CommandFailedError(f"The archive uses the digest {digest!r}; sha256 is needed.")
    return f"blobs/sha256/{digits}"


def _write(
    layer: tarfile.TarFile,
    member: tarfile.TarInfo,
    root: Path,
    broken: Callable[[str], CommandFailedError],
) -> None:
    parts = [part for part in PurePosixPath(member.name).parts if part not in ("/", ".")]
    if not parts:
        return
    if ".." in parts:
        raise broken(f"{member.name} leads out of the image")
    folder = _real_folder(root, parts[:-1], broken)
    if parts[-1].startswith(_WHITEOUT):
        _white_out(folder, parts[-1])
        return
    target = folder / parts[-1]
    if member.isdir():
        if target.is_symlink() or not target.is_dir():
            _remove(target)
            target.mkdir()
        target.chmod(_open_to_all(member.mode, is_folder=True))
        return
    _remove(target)
    if member.issym():
        target.symlink_to(member.linkname)
    elif member.islnk():
        link = [part for part in PurePosixPath(member.linkname).parts if part not in ("/", ".")]
        if ".." in link or not link:
            raise broken(f"{member.name} links to {member.linkname}")
        source = _real_folder(root, link[:-1], broken) / link[-1]
        os.link(source, target, follow_symlinks=False)
    elif member.isreg():
        content = layer.extractfile(member)
        assert content is not None
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
            shutil.copyfileobj(content, file, _CHUNK)
            file.flush()
            # Python compares it with what its compiled files remember: with another time each
            # start would compile the whole library again.
            os.utime(file.fileno(), (member.mtime, member.mtime))
        target.chmod(_open_to_all(member.mode, is_folder=False))


def _real_folder(root: Path, parts: list[str], broken: Callable[[str], CommandFailedError]) -> Path:
    """Return the folder that `parts` name, made where missing, after all links.

    A link is read as the container would read it: from the image's root, not the host's.
    """
    here: list[str] = []
    waiting = list(parts)
    links = 0
    while waiting:
        step = waiting.pop(0)
        if step == "..":
            here = here[:-1]
            continue
        place = root.joinpath(*here, step)
        if place.is_symlink():
            links += 1
            if links > 40:
                raise broken(f"{'/'.join(parts)} is a circle of links")
            to = PurePosixPath(str(place.readlink()))
            waiting = [part for part in to.parts if part != "/"] + waiting
            here = [] if to.is_absolute() else here
            continue
        if not place.is_dir():
            _remove(place)
            place.mkdir()
            place.chmod(0o755)
        here.append(step)
    return root.joinpath(*here)


def _open_to_all(mode: int, *, is_folder: bool) -> int:
    """Return `mode` readable for all, writable for root alone, without set-uid and set-gid."""
    executable = 0o555 if is_folder or mode & 0o111 else 0o444
    return executable | (0o200 & mode) | (0o200 if is_folder else 0)


def _white_out(folder: Path, name: str) -> None:
    if name == _OPAQUE:
        for each in folder.iterdir():
            _remove(each)
    else:
        _remove(folder / name.removeprefix(_WHITEOUT))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
