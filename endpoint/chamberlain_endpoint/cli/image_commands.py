"""`chamberlain-endpoint image`: the images that containers of user endpoints are made of."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import Progress

from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import cli
from chamberlain_endpoint.cli.image_archive import Image, OciArchive

_USUAL_DIR: Final = Path("/var/lib/chamberlain/images")
_ROOT: Final = "root"
_NOTE: Final = "image.json"


@cli.group("image")
def image() -> None:
    """Install, list and remove images for user endpoints in containers.

    An image is unpacked once and used by all accounts, read-only; the container engine keeps
    no copy. Its name in launcher.toml is its digest.
    """


def _dir_option(command: Any) -> Any:
    return click.option(
        "--images-dir",
        type=click.Path(file_okay=False, path_type=Path),
        default=_USUAL_DIR,
        show_default=True,
        help="Folder with the images; runtime.images_dir in launcher.toml.",
    )(command)


@image.command("install")
@click.argument("archive", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--digest", help="Refuse the archive unless its image has this digest.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_dir_option
def install(archive: Path, digest: str | None, as_json: bool, images_dir: Path) -> None:
    """Unpack an OCI archive (podman save --format oci-archive). A second time changes nothing."""
    if os.geteuid() != 0:
        raise CommandFailedError(
            "Only root can install images: containers trust what is in them. Use sudo."
        )
    with OciArchive.opened(archive) as opened:
        found = opened.image()
        if digest is not None and found.digest != digest:
            raise CommandFailedError(
                f"{archive} holds {found.digest}, not {digest}; nothing was installed."
            )
        place = images_dir / found.digest.replace(":", "-")
        is_new = not (place / _NOTE).exists()
        if is_new:
            _unpack(opened, found, place)
    if as_json:
        click.echo(json.dumps({"digest": found.digest, "path": str(place), "installed": is_new}))
        return
    click.echo(f"{'installed' if is_new else 'was there'}: {found.digest}")
    click.echo("To use it, in launcher.toml:", err=True)
    click.echo(f'  [runtime.images]\n  usual = "{found.digest}"', err=True)


@image.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON list.")
@_dir_option
def list_command(as_json: bool, images_dir: Path) -> None:
    """Show what is installed."""
    rows = [json.loads(note.read_text()) for note in sorted(images_dir.glob(f"sha256-*/{_NOTE}"))]
    if as_json:
        click.echo(json.dumps(rows))
        return
    if not rows:
        click.echo(f"no images in {images_dir}", err=True)
    for row in rows:
        click.echo(f"{row['digest']}  {row['installed_at']}  {row['labels'].get(_TITLE, '')}")


_TITLE: Final = "org.opencontainers.image.title"


@image.command("remove")
@click.argument("digest")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@_dir_option
def remove(digest: str, as_json: bool, images_dir: Path) -> None:
    """Remove an image. Containers that run of it go on; new ones do not start."""
    place = images_dir / digest.replace(":", "-")
    if not (place / _NOTE).exists():
        raise CommandFailedError(f"There is no image {digest} in {images_dir}.")
    (place / _NOTE).unlink()
    shutil.rmtree(place)
    click.echo(json.dumps({"removed": digest}) if as_json else f"removed: {digest}")


def _unpack(opened: OciArchive, found: Image, place: Path) -> None:
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".new-", dir=place.parent))
    try:
        root = draft / _ROOT
        root.mkdir()
        console = Console(stderr=True)
        with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
            job = bar.add_task("unpacking", total=len(found.layers))
            opened.unpack(found, root, lambda number: bar.update(job, completed=number))
        note = {
            "digest": found.digest,
            "installed_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "labels": found.labels,
        }
        (draft / _NOTE).write_text(json.dumps(note))
        for each in (draft, root):
            each.chmod(0o755)
        if place.exists():
            shutil.rmtree(place)  # left by a removal that was cut off
        draft.rename(place)
    except OSError as error:
        raise CommandFailedError(f"The image could not be unpacked: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
