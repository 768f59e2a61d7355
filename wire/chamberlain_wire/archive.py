"""One file that holds others: a tar archive whose last members say what the rest must be.

Hub and endpoint write their backups in this form. Whoever reads one learns of a flipped bit, a
member that is missing and a member too many before anything is done with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SUM: Final = "manifest.sha256"

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_CHUNK: Final = 1 << 20
_MAX_MANIFEST: Final = 1 << 20
_PRIVATE: Final = 0o600


class ArchiveError(ChamberlainError):
    """An archive cannot be written or believed. Nothing was done with it; `public` says why."""

    code = ErrorCode.CONFLICT


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive.

    Attributes:
        mode: the permissions that it had where it comes from.
    """

    name: str
    path: Path
    mode: int = _PRIVATE


@dataclass(frozen=True, slots=True)
class Opened:
    """An archive that was found good, unpacked.

    Attributes:
        made_at: when it was made, ISO 8601.
        version: of the program that made it.
        facts: what else it said of itself.
    """

    made_at: str
    version: str
    facts: Mapping[str, Any]
    members: tuple[Member, ...]

    def member(self, name: str) -> Member | None:
        """Return the member `name`."""
        return next((one for one in self.members if one.name == name), None)


def is_name(text: str) -> bool:
    """Tell whether a member may be called `text`."""
    return _NAME.fullmatch(text) is not None and text not in (MANIFEST, SUM)


def write(
    path: Path, kind: str, version: str, members: Iterable[Member], facts: Mapping[str, Any]
) -> None:
    """Write a new archive, mode 0600, whole or not at all.

    Args:
        kind: what it is a backup of, in one word; `read` asks for it.
        version: of the program that writes it.

    Raises:
        ArchiveError: there is such a file already, or it cannot be written.
    """
    try:
        with _new_file(path) as file, tarfile.open(fileobj=file, mode="w") as tar:
            listed = {one.name: _add(tar, one) for one in members}
            manifest = {
                "format": FORMAT,
                "kind": kind,
                "version": version,
                "made_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "facts": dict(facts),
                "members": listed,
            }
            text = json.dumps(manifest, indent=1).encode() + b"\n"
            _add_text(tar, MANIFEST, text)
            _add_text(tar, SUM, hashlib.sha256(text).hexdigest().encode() + b"\n")
    except FileExistsError:
        raise ArchiveError(public=f"{path} exists already. Name another file.") from None
    except OSError as error:
        raise ArchiveError(public=f"{path} cannot be written: {error.strerror}.") from error


def read(path: Path, kind: str, version: str, into: Path) -> Opened:
    """Unpack the archive `path` into the empty folder `into`, and check all of it.

    Args:
        version: of the program that reads it: the first number must be that of the writer.

    Raises:
        ArchiveError: it is missing or damaged, or it is another's. What is in `into` then
            is worth nothing.
    """
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            sums = {one.name: (one, *_unpack(tar, one, into)) for one in tar}
    except (tarfile.TarError, EOFError):
        raise _damaged(path, "it is no archive, or it ends too early") from None
    except OSError as error:
        raise ArchiveError(public=f"{path} cannot be read: {error.strerror}.") from error
    manifest = _manifest(path, into, {name: digest for name, (_, _, digest) in sums.items()})
    _check_kind(path, manifest, kind, version)
    listed = manifest["members"]
    for name in sorted(listed.keys() ^ (sums.keys() - {MANIFEST, SUM})):
        raise _damaged(path, f"its list and its content differ: {name}")
    for name, said in listed.items():
        _, size, digest = sums[name]
        if (size, digest) != (said["bytes"], said["sha256"]):
            raise _damaged(path, f"{name} is not what was put in")
    return Opened(
        made_at=str(manifest["made_at"]),
        version=str(manifest["version"]),
        facts=manifest["facts"],
        members=tuple(Member(name, into / name, sums[name][0].mode & 0o777) for name in listed),
    )


@contextlib.contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    if path.exists() or path.is_symlink():
        raise FileExistsError
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        path.hardlink_to(aside)
    finally:
        aside.unlink()


def _add(tar: tarfile.TarFile, member: Member) -> dict[str, Any]:
    if not is_name(member.name):
        raise ArchiveError(public=f"{member.path}: no file of a backup may have such a name.")
    with member.path.open("rb") as file:
        info = tarfile.TarInfo(member.name)
        info.mode, info.size = member.mode, os.fstat(file.fileno()).st_size
        counted = _Counting(file)
        tar.addfile(info, counted)
    return {"bytes": info.size, "sha256": counted.sum.hexdigest()}


def _add_text(tar: tarfile.TarFile, name: str, text: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.mode, info.size = _PRIVATE, len(text)
    tar.addfile(info, io.BytesIO(text))


class _Counting(io.RawIOBase):
    """Reads another file and sums what it reads."""

    def __init__(self, inner: IO[bytes]) -> None:
        super().__init__()
        self._inner = inner
        self.sum = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._inner.read(size)
        self.sum.update(data)
        return data


def _unpack(tar: tarfile.TarFile, one: tarfile.TarInfo, into: Path) -> tuple[int, str]:
    content = tar.extractfile(one) if one.isreg() else None
    if content is None or not (is_name(one.name) or one.name in (MANIFEST, SUM)):
        raise tarfile.ReadError(one.name)
    digest = hashlib.sha256()
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with content, os.fdopen(os.open(into / one.name, flags, _PRIVATE), "wb") as file:
        while data := content.read(_CHUNK):
            digest.update(data)
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return one.size, digest.hexdigest()


def _manifest(path: Path, into: Path, sums: Mapping[str, str]) -> dict[str, Any]:
    try:
        wanted = (into / SUM).read_text().strip()
        if (into / MANIFEST).stat().st_size > _MAX_MANIFEST or sums[MANIFEST] != wanted:
            raise ValueError(MANIFEST)
        manifest: dict[str, Any] = json.loads((into / MANIFEST).read_text())
        return manifest
    except (OSError, ValueError, KeyError) as error:
        raise _damaged(path, "its list of contents is missing or damaged") from error


def _check_kind(path: Path, manifest: Mapping[str, Any], kind: str, version: str) -> None:
    if manifest.get("format") != FORMAT or manifest.get("kind") != kind:
        raise ArchiveError(
            public=f"{path} is a backup of {manifest.get('kind')!s:.40} (form "
            f"{manifest.get('format')!s:.10}); one of {kind} (form {FORMAT}) is needed."
        )
    made_by = str(manifest.get("version"))
    if made_by.partition(".")[0] != version.partition(".")[0]:
        raise ArchiveError(
            public=f"{path} was made by version {made_by:.40}, and this is {version}. Restore it "
            "with a program of the same major version, and upgrade then."
        )


def _damaged(path: Path, how: str) -> ArchiveError:
    return ArchiveError(public=f"{path} is damaged: {how}. Take another backup.")
