"""Unpacked images, each below its digest: one copy for all accounts.

The engine copies an image's files for each id map that is new to it, because their owner
would be another. Ours need no owner: they are readable by all, and the container's root is
read-only. So an image is unpacked once, and every container gets the same folder.
"""

from __future__ import annotations

from pathlib import Path

from chamberlain_endpoint.launcher import trusted_file
from chamberlain_endpoint.launcher.runtime.faults import NoImageError

ROOT = "root"
"""Name of the folder with the files, in the folder of an image."""


class ImageShelf:
    """The folder with all images."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder_of(self, digest: str) -> Path:
        """Return where the image `digest` is, or would be."""
        return self._folder / digest.replace(":", "-")

    def root_of(self, digest: str) -> Path:
        """Return the root folder of the image `digest`.

        Raises:
            NoImageError: it is not there, or others than root could have written it.
        """
        root = self.folder_of(digest) / ROOT
        try:
            trusted_file.check_folder(root, frozenset({0}))
        except trusted_file.UntrustedPathError as error:
            raise NoImageError(f"image {digest} is not usable: {error}.") from error
        return root
