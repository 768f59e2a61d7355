"""Which network address a request came from. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network


def source_of(peer: str, forwarded: Sequence[str], trusted: Sequence[Network]) -> str:
    """Return the address of the client itself.

    Each proxy appends the address that it saw, so only what a trusted one appended counts:
    what a client wrote there itself is never believed.

    Args:
        peer: address of whoever holds the connection.
        forwarded: the values of the headers `X-Forwarded-For`, in their order.
        trusted: the site's own reverse proxies.
    """
    found = peer
    hops = [hop.strip() for value in forwarded for hop in value.split(",")]
    while hops and _is_trusted(found, trusted):
        hop = _address(hops.pop())
        if hop is None:
            break
        found = str(hop)
    return found


def _is_trusted(text: str, trusted: Sequence[Network]) -> bool:
    address = _address(text)
    return address is not None and any(address in network for network in trusted)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    # A socket for both families shows an IPv4 peer as ::ffff:192.0.2.1.
    return getattr(address, "ipv4_mapped", None) or address
