"""Who runs an endpoint for systemd: the package's two units, or the one that we wrote.

A unit with `Restart=always` starts again what ends without systemd's knowing why: what a unit
runs is stopped and started by systemctl alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chamberlain_endpoint.cli import packaged
from chamberlain_endpoint.cli.boot_unit import is_for, unit_name
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.layout import Layout

SYSTEM_UNITS: Final = Path("/etc/systemd/system")

_CLOSED: Final = "CHAMBERLAIN_CLOSED_FOR=containers"


@dataclass(frozen=True, slots=True)
class Service:
    """Units of systemd that run an endpoint.

    Attributes:
        lower: what is started; it brings the other one up.
        upper: what is stopped: all of the endpoint goes with it.
        scope: words for systemctl before the verb.
    """

    lower: str
    upper: str
    scope: tuple[str, ...] = ()

    def stop(self) -> None:
        """Stop all of it, and wait for it.

        Raises:
            CommandFailedError: systemd could not; so do the others.
        """
        packaged.systemctl(*self.scope, "stop", self.upper)

    def start(self) -> None:
        """Start all of it; it may not serve yet."""
        packaged.systemctl(*self.scope, "start", *dict.fromkeys((self.upper, self.lower)))

    def is_closed(self) -> bool:
        """Tell whether user endpoints as processes would not work in it."""
        show = ("show", "--property=Environment", "--value", self.upper)
        return _CLOSED in packaged.systemctl(*self.scope, *show).split()


def unit_file(layout: Layout) -> Path:
    """Return where `enable-on-boot` writes the unit of an endpoint."""
    folder = SYSTEM_UNITS
    if not layout.multi:
        above = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        folder = above / "systemd" / "user"
    return folder / unit_name(layout.name)


def has_own_unit(layout: Layout) -> bool:
    """Tell whether there is a unit that was written for this very endpoint."""
    try:
        return is_for(unit_file(layout).read_text(), layout)
    except OSError:
        return False


def active(layout: Layout) -> Service | None:
    """Return what runs the endpoint for systemd, or will in a moment; None: systemd does not."""
    unit = packaged.unit_of(layout)
    if packaged.is_active(unit):
        return Service(unit, packaged.launcher_of(unit))
    if not has_own_unit(layout):
        return None
    unit = unit_name(layout.name)
    scope = () if layout.multi else ("--user",)
    try:
        return Service(unit, unit, scope) if packaged.is_active(unit, scope) else None
    except CommandFailedError:
        if layout.multi:
            raise
        return None  # nobody is logged in, so no systemd of the account's runs
