"""Which address a request came from: only the site's own proxies are believed."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from chamberlain_hub.domain.source import source_of

TRUSTED = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "source"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9", "198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.9, 198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["198.51.100.1, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1, "], "10.0.0.1"),
        ("::1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("::ffff:192.0.2.1", ["198.51.100.1"], "::ffff:192.0.2.1"),
        ("", ["198.51.100.1"], ""),
        ("10.0.0.1", ['198.51.100.1", "x": "'], "10.0.0.1"),
    ],
)
def test_what_a_client_wrote_itself_is_never_believed(
    peer: str, forwarded: list[str], source: str
) -> None:
    assert source_of(peer, forwarded, TRUSTED) == source
