"""The service file of PAM that user endpoints' sessions go by: is it there, and root's?"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Final

from chamberlain_endpoint.launcher import trusted_file
from chamberlain_endpoint.launcher.settings import PAM_SERVICE, PamSettings

FOLDER: Final = Path("/etc/pam.d")
_LIBRARY: Final = "libpam.so.0"


def faults(settings: PamSettings, owners: frozenset[int]) -> list[str]:
    """Return what keeps sessions from being opened; nothing where PAM is off.

    Without a file of that name PAM would take the one for all others, which nobody wrote for
    this: so it must be there.
    """
    if not settings.enable:
        return []
    found = []
    try:
        ctypes.CDLL(_LIBRARY)
    except OSError as error:
        found.append(f"pam.enable: {_LIBRARY} cannot be loaded: {error}")
    path = FOLDER / settings.service
    if not path.exists():
        todo = (
            "run: chamberlain-endpoint pam-service --install"
            if settings.service == PAM_SERVICE
            else f"write it, or name {PAM_SERVICE} and run: chamberlain-endpoint pam-service "
            "--install"
        )
        return [*found, f"pam.service: {path} does not exist; {todo}"]
    try:
        text = trusted_file.read(path, owners).decode(errors="replace")
    except trusted_file.UntrustedPathError as error:
        return [*found, f"pam.service: {error}"]
    if not decides(text):
        found.append(
            f"pam.service: {path} has no line of the type account: PAM would go by "
            f"{FOLDER / 'other'}; write who may come in, such as: account required pam_unix.so"
        )
    return found


def decides(text: str) -> bool:
    """Tell whether a service file says itself, or by what it includes, who may come in.

    Of a type without a line PAM takes the file for all others, as if this one were not there.
    """
    words = [line.split()[0].lower() for line in text.splitlines() if line.strip()]
    return any(word in {"account", "-account", "@include"} for word in words)
