"""`enable-on-boot` and `disable-on-boot`: writes the unit, and tells systemd if it is there.

Where a package brought units, those are enabled; what is written is a drop-in, if any.
"""

from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chamberlain_endpoint.cli import packaged
from chamberlain_endpoint.cli.boot_service import SYSTEM_UNITS, has_own_unit, unit_file
from chamberlain_endpoint.cli.boot_unit import unit_name, unit_text
from chamberlain_endpoint.cli.daemons import Known
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.layout import Layout

_RUNS: Final = Path("/run/systemd/system")
"""There when systemd is the init of this host; its own test of that."""


@dataclass(frozen=True, slots=True)
class Booted:
    """What was done.

    Attributes:
        did: commands that were run, as one would type them.
        following: commands that are left to the administrator.
    """

    unit: Path
    did: tuple[str, ...]
    following: tuple[str, ...]


def enable(endpoint: Known, config_dir: Path | None, unit_dir: Path | None) -> Booted:
    """Write the unit, or what the package's lacks, and enable it.

    Args:
        unit_dir: write it here and tell nobody: for images and packages.

    Raises:
        CommandFailedError: it could not be written, or systemd refused it.
    """
    layout = endpoint.layout
    unit = packaged.unit_of(layout)
    if unit and unit_dir is None:
        _leave_old(layout)
        file = _enable_packaged(endpoint, unit)
    else:
        unit = unit_name(layout.name)
        file = unit_dir / unit if unit_dir else unit_file(layout)
        is_open = endpoint.settings.needs_open_unit
        _write(file, unit_text(layout, config_dir, has_processes=is_open))
    enabling = [["daemon-reload"], ["enable", unit]]
    starting = [["start", unit]]
    linger = [] if layout.multi else ["loginctl enable-linger"]
    if unit_dir is not None or not _is_init():
        return Booted(file, (), (*_typed(layout, enabling + starting), *linger))
    return Booted(file, _told(layout, enabling), (*_typed(layout, starting), *linger))


def _enable_packaged(endpoint: Known, unit: str) -> Path:
    folder = SYSTEM_UNITS / f"{packaged.launcher_of(unit)}.d"
    text = packaged.drop_in(endpoint.settings)
    if text:
        _write(folder / packaged.DROP_IN, text)
        return folder / packaged.DROP_IN
    _remove(folder)
    return packaged.UNITS / "chamberlain-endpoint@.service"


def _leave_old(layout: Layout) -> None:
    """Take away the unit that was written before the package brought its own."""
    old = SYSTEM_UNITS / unit_name(layout.name)
    if old.exists():
        raise CommandFailedError(
            f"{old} starts {layout.name} already, from before the package. Take it away first: "
            f"systemctl disable --now {old.name}; rm {old}"
        )


def _write(file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(file.name + ".new")
        new.write_text(text)
        new.chmod(0o644)
        new.replace(file)
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from error


def _remove(folder: Path) -> None:
    with contextlib.suppress(OSError):
        (folder / packaged.DROP_IN).unlink()
        folder.rmdir()  # unless the site has drop-ins of its own


def disable(layout: Layout, unit_dir: Path | None) -> Booted:
    """Take the unit away again. What runs goes on running until it is stopped.

    Raises:
        CommandFailedError: there is none, or systemd refused.
    """
    unit = packaged.unit_of(layout)
    if unit and unit_dir is None:
        return _disable_packaged(layout, unit)
    file = unit_dir / unit_name(layout.name) if unit_dir else unit_file(layout)
    if not file.exists():
        raise CommandFailedError(f"{file} is not there: {layout.name} does not start on boot.")
    told = unit_dir is None and _is_init()
    did = _told(layout, [["disable", file.name]]) if told else ()
    try:
        file.unlink()
    except OSError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}") from error
    if told:
        return Booted(file, did + _told(layout, [["daemon-reload"]]), ())
    return Booted(file, (), _typed(layout, [["daemon-reload"]]))


def forget(layout: Layout) -> None:
    """Take away what starts an endpoint on boot, if anything does. It is stopped already.

    Raises:
        CommandFailedError: a file could not be removed, or systemd refused.
    """
    unit = packaged.unit_of(layout)
    if not unit:
        if has_own_unit(layout):
            disable(layout, None)
        return
    if _wanted(unit).is_symlink():
        _disable_packaged(layout, unit)
    _remove(SYSTEM_UNITS / f"{packaged.launcher_of(unit)}.d")


def _wanted(unit: str) -> Path:
    return SYSTEM_UNITS / "multi-user.target.wants" / unit


def _disable_packaged(layout: Layout, unit: str) -> Booted:
    wanted = _wanted(unit)
    if not wanted.is_symlink():
        raise CommandFailedError(f"{layout.name} does not start on boot.")
    # The drop-in stays: what runs may be started again by hand.
    words = [["disable", unit]]
    if _is_init():
        return Booted(wanted, _told(layout, words), ())
    return Booted(wanted, (), _typed(layout, words))


def _is_init() -> bool:
    return _RUNS.is_dir()


def _command(layout: Layout, words: list[str]) -> list[str]:
    return ["systemctl", *([] if layout.multi else ["--user"]), *words]


def _typed(layout: Layout, commands: list[list[str]]) -> tuple[str, ...]:
    # A unit's name may hold a backslash, which a shell takes away.
    return tuple(
        " ".join(f"'{word}'" if "\\" in word else word for word in _command(layout, words))
        for words in commands
    )


def _told(layout: Layout, commands: list[list[str]]) -> tuple[str, ...]:
    for words in commands:
        command = _command(layout, words)
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except OSError as error:
            raise CommandFailedError(f"{command[0]}: {error.strerror}") from error
        if done.returncode != 0:
            raise CommandFailedError(f"{' '.join(command)}: {done.stderr.strip()}")
    return _typed(layout, commands)
