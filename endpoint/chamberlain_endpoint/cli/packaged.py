"""The units that a package brings: `chamberlain-endpoint@NAME` and its launcher's.

The launcher's unit is closed for containers. Where user endpoints are the launcher's own
children, what holds for the unit holds for people's programs: a drop-in opens what those need.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.layout import SYSTEM_CONFIG_DIR, Layout
from chamberlain_endpoint.launcher.settings import LauncherSettings

HOME: Final = Path("/opt/chamberlain/endpoint")
UNITS: Final = Path("/usr/lib/systemd/system")
DROP_IN: Final = "50-enable-on-boot.conf"

_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*(-[A-Za-z0-9_.]+)*")

_FOR_PROCESSES: Final = """\
# User endpoints are processes of people's own accounts, and the launcher's children, or have a
# session of PAM, whose modules are the site's: all of this holds for their programs, too.
Environment=CHAMBERLAIN_CLOSED_FOR=
# Beside what the launcher does: its end of a process space and /proc (SYS_ADMIN), the account's
# limits (SYS_RESOURCE), its logins in the audit (AUDIT_WRITE).
CapabilityBoundingSet=CAP_SYS_ADMIN CAP_SYS_RESOURCE CAP_AUDIT_WRITE
# They speak to the hub's broker, to nodes and schedulers.
PrivateNetwork=no
IPAddressDeny=
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# They work in their homes and on the site's other file systems, such as /scratch.
ProtectHome=no
ProtectSystem=full
# What a task writes to /tmp, its user finds in /tmp.
PrivateTmp=no
# Accelerators are devices.
PrivateDevices=no
# Numba, PyTorch, Julia and other compilers at run time.
MemoryDenyWriteExecute=no
# The launcher's process spaces, and rootless containers of tasks.
RestrictNamespaces=no
# Shared folders of a group are made with chmod g+s.
RestrictSUIDSGID=no
RemoveIPC=no
SystemCallFilter=
SystemCallFilter=~@clock @cpu-emulation @module @obsolete @raw-io @reboot @swap
"""
_FOR_MAPPING_PROGRAM: Final = """\
# The mapping program runs in this unit, and may ask a directory.
PrivateNetwork=no
IPAddressDeny=
RestrictAddressFamilies=AF_INET AF_INET6
"""


def unit_of(layout: Layout) -> str:
    """Return the unit of the package that runs this endpoint; empty: none of them can."""
    fits = layout.multi and layout.config == SYSTEM_CONFIG_DIR / layout.name
    is_there = (UNITS / "chamberlain-endpoint@.service").exists()
    # Another name would be escaped in the unit's, and then not be the folder's.
    if fits and is_there and Path(sys.prefix) == HOME and _PLAIN.fullmatch(layout.name):
        return f"chamberlain-endpoint@{layout.name}.service"
    return ""


def launcher_of(unit: str) -> str:
    """Return the launcher's unit beside the manager's."""
    return unit.replace("chamberlain-endpoint@", "chamberlain-launcher@", 1)


def drop_in(settings: LauncherSettings) -> str:
    """Return what has to be opened in the launcher's unit for `settings`; empty: nothing."""
    text = ""
    if settings.needs_open_unit:
        text = _FOR_PROCESSES
    elif settings.mapping.external_account:
        text = _FOR_MAPPING_PROGRAM
    if not text:
        return ""
    return (
        "# Written by `chamberlain-endpoint enable-on-boot`, which writes it anew each time.\n"
        f"[Service]\n{text}"
    )


def is_active(unit: str, scope: tuple[str, ...] = ()) -> bool:
    """Tell whether systemd runs `unit`, or is about to.

    Args:
        scope: words for systemctl before the verb.
    """
    if not unit or not Path("/run/systemd/system").is_dir():
        return False
    said = systemctl(*scope, "show", "--property=ActiveState", "--value", unit)
    return said.strip() in ("active", "activating", "reloading", "deactivating")


def systemctl(*words: str) -> str:
    """Have systemctl do it; return what it says.

    Raises:
        CommandFailedError: it could not.
    """
    command = ["systemctl", *words]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise CommandFailedError(f"{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise CommandFailedError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
