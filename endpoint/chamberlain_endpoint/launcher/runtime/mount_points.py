"""Makes the places in an unpacked image where things of the host are mounted.

The runtime below the engine acts as the container's root, who owns nothing in the image and
so cannot make them. They are empty folders and files, made once, by the host's root.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from chamberlain_endpoint.launcher.runtime.faults import NoImageError

_LOOK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def prepare(root: Path, target: Path, *, is_folder: bool) -> None:
    """Make `target` below `root` unless it is there.

    Raises:
        NoImageError: something else is in the way. A link of the image is never followed: it
            would lead out of the image, as root.
    """
    steps = target.parts[1:]
    here = os.open(root, _LOOK)
    try:
        for step in steps[:-1] if not is_folder else steps:
            with contextlib.suppress(FileExistsError):
                os.mkdir(step, 0o755, dir_fd=here)
            below = os.open(step, _LOOK, dir_fd=here)
            os.close(here)
            here = below
        if not is_folder:
            with contextlib.suppress(FileExistsError):
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                os.close(os.open(steps[-1], flags, 0o444, dir_fd=here))
    except OSError as error:
        raise NoImageError(
            f"nothing can be mounted at {target}: the image has something else there ({error})."
        ) from error
    finally:
        os.close(here)
