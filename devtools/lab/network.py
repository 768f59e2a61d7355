"""The lab's private network: a bridge in the lab's own namespace, one more namespace per host.

None has a name on the machine, so two labs use the same addresses side by side, and a namespace
is gone with its last process.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Final

from devtools.lab.plan import BRIDGE_ADDRESS, Host

_BRIDGE: Final = "lab0"
_PREFIX: Final = 24


def make_bridge() -> None:
    """Make the bridge in the namespace that this process is in."""
    _ip("link", "set", "lo", "up")
    _ip("link", "add", _BRIDGE, "type", "bridge")
    _ip("address", "add", f"{BRIDGE_ADDRESS}/{_PREFIX}", "dev", _BRIDGE)
    _ip("link", "set", _BRIDGE, "up")


def connect(host: Host, handle: Path) -> None:
    """Make the namespace of `host` and plug it into the bridge.

    Args:
        handle: file that will stand for the namespace, in mounts of our own.
    """
    handle.touch()
    _run("unshare", f"--net={handle}", "true")
    ours = plug_of(host.name)
    _ip("link", "add", ours, "type", "veth", "peer", "name", "eth0", "netns", str(handle))
    _ip("link", "set", ours, "master", _BRIDGE, "up")
    inside = ("nsenter", f"--net={handle}", "ip")
    _run(*inside, "link", "set", "lo", "up")
    _run(*inside, "address", "add", f"{host.address}/{_PREFIX}", "dev", "eth0")
    _run(*inside, "link", "set", "eth0", "up")


def plug_of(host: str) -> str:
    """Return the name of the bridge's end of a host's cable."""
    return f"to-{host}"


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
