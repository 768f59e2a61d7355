"""Where the workers of one engine meet its interchange."""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import random
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chamberlain_endpoint.engine.doors import open_lazily
from chamberlain_endpoint.engine.port import EngineStartError
from chamberlain_endpoint.rendered.settled import HtexEngine
from chamberlain_endpoint.scheduler.choose import is_elsewhere

_LOCAL_HEARTBEAT_S: Final = 2
_LOCAL_THRESHOLD_S: Final = 15
_LOOPBACK: Final = "127.0.0.1"
_PORT_TRIES: Final = 50


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where workers meet the interchange, and how patient both are.

    Attributes:
        addresses: to try, until one answers.
        certificates: folder with the keys; None is without encryption.
        heartbeat_period_s: also how late the death of one worker may be noticed.
        heartbeat_threshold_s: silence after which the other side counts as dead.
        log_dir: for logs of workers and interchange.
        recall_port: for orders to end running tasks; 0 is none.
        held: keeps the ports ours until they are listened on; closed by `release`.
    """

    addresses: tuple[str, ...]
    port: int
    certificates: Path | None
    heartbeat_period_s: int
    heartbeat_threshold_s: int
    log_dir: Path
    recall_port: int = 0
    held: tuple[socket.socket, ...] = ()

    def release(self) -> None:
        """Let go of ports that nobody listened on. Safe to call twice."""
        for held in self.held:
            held.close()

    @property
    def recall_url(self) -> str:
        """Where pools hear which running tasks to end."""
        address = self.addresses[0]
        return f"tcp://{f'[{address}]' if ':' in address else address}:{self.recall_port}"


def arrange(config: HtexEngine, folder: Path) -> Meeting:
    """Return where workers and interchange will meet; makes `folder` and the keys in it.

    Raises:
        EngineStartError: there is no such address, or no free port.
    """
    folder.mkdir(parents=True, exist_ok=True)
    address = config.address or (None if is_elsewhere(config.provider) else _LOOPBACK)
    if address is None:
        address = _likely_address()
    elif not isinstance(address, str):
        address = _find_address(address)
    period_s = config.heartbeat_period or _LOCAL_HEARTBEAT_S
    threshold_s = config.heartbeat_threshold or max(_LOCAL_THRESHOLD_S, 2 * period_s)
    certificates = _make_certificates(folder) if config.encrypted else None
    recall = _hold_port(address, config.worker_port_range, but=config.worker_port)
    held = [recall]
    # A site's own choice is not held: it may be in its minutes of rest after the last use.
    if config.worker_port is None:
        held.append(_hold_port(address, config.worker_port_range))
    return Meeting(
        addresses=(address,),
        port=config.worker_port or _port_of(held[-1]),
        recall_port=_port_of(recall),
        certificates=certificates,
        heartbeat_period_s=period_s,
        heartbeat_threshold_s=threshold_s,
        log_dir=folder,
        held=tuple(held),
    )


def _make_certificates(folder: Path) -> Path:
    open_lazily()
    from parsl import curvezmq

    return Path(curvezmq.create_certificates(str(folder)))


def _find_address(wanted: Mapping[str, str]) -> str:
    open_lazily()
    from parsl import addresses

    # The configuration's check lets functions pass that ask nobody outside, and no others.
    arguments = dict(wanted)
    find = getattr(addresses, arguments.pop("type"))
    try:
        return str(find(**arguments))
    except Exception as error:
        raise EngineStartError(
            public=f"The engine's address ({find.__name__}) cannot be found: {error}."
        ) from error


def _likely_address() -> str:
    """Return the address that other hosts most likely reach us at.

    That of the way out first, as in the field; a cluster's own network often has none, and then
    it is what our name stands for, or the first network's.

    Raises:
        EngineStartError: this host has none but its own.
    """
    open_lazily()
    from parsl import addresses

    interfaces = [name for _, name in socket.if_nameindex()]
    ways: list[Callable[[], str]] = [addresses.address_by_route, addresses.address_by_hostname]
    ways += [functools.partial(addresses.address_by_interface, name) for name in interfaces]
    for way in ways:
        with contextlib.suppress(OSError):
            found = ipaddress.ip_address(way())
            if not (found.is_loopback or found.is_link_local):
                return str(found)
    raise EngineStartError(
        public="This host has no address at which compute nodes could reach it. Name it in the "
        "template: `address`, below `engine`."
    )


def _hold_port(address: str, span: tuple[int, int], *, but: int | None = None) -> socket.socket:
    """Return a socket on a port that nobody else gets from here until it is closed.

    Many user endpoints start on one host at the same time, and workers are told the port before
    the interchange listens there. Whoever looks for a free port binds without SO_REUSEADDR and is
    refused; ZeroMQ binds with it, which the kernel lets pass while nobody listens.

    Args:
        but: not this one.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in random.sample(range(*span), k=min(_PORT_TRIES, span[1] - span[0])):
        if port == but:
            continue
        held = socket.socket(family)
        try:
            held.bind((address, port))
        except OSError:
            held.close()
            continue
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return held
    raise EngineStartError(
        public=f"No port of {address} between {span[0]} and {span[1]} is free for the workers."
    )


def _port_of(held: socket.socket) -> int:
    return int(held.getsockname()[1])
