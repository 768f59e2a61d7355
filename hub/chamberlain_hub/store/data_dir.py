"""The folder with the hub's own files, which nobody else may look into."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path
from typing import Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode

_MODE: Final = 0o700


class DataDirError(ChamberlainError):
    """The data folder cannot be used. Start nothing; `public` says what to do."""

    code = ErrorCode.CONFIG_INVALID


def prepare_data_dir(path: Path) -> None:
    """Make the folder, mode 0700, if it is not there.

    Raises:
        DataDirError: it cannot be made, others may look into it, or it is another user's:
            what we would write there, the hub could then not read.
    """
    try:
        path.mkdir(mode=_MODE, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise DataDirError(
            public=f"The data folder {path} cannot be made: {error.strerror}."
        ) from None
    if status.st_uid != os.geteuid():
        owner = _name_of(status.st_uid)
        raise DataDirError(
            public=(
                f"The data folder {path} belongs to {owner}. Run the command as {owner}: "
                f"runuser -u {owner} -- chamberlain-hub ..."
            )
        )
    if stat.S_IMODE(status.st_mode) & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise DataDirError(
            public=f"Others may look into the data folder {path} (mode {mode:04o}). "
            f"Run: chmod 700 {path}"
        )


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
