"""A child without privilege that tries the way to the broker: `doctor` runs as root.

Asks the hub for a session as the SDK would, opens a connection to the broker that it names,
says AMQP's first eight bytes, and ends the session again. Reads one JSON object on standard
input (`url`, `token`), writes one on standard output: `broker` or `error`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import sys
from typing import Any, Final
from urllib.parse import urlsplit

from chamberlain_endpoint.cli import ask_hub

_TIMEOUT_S: Final = 10.0
_GREETING: Final = b"AMQP\x00\x00\x09\x01"
_PORTS: Final = {"amqp": 5672, "amqps": 5671}


def try_broker(url: str, token: str) -> dict[str, Any]:
    """Return `{"broker": "host:port"}`, or `{"error": sentence}`."""
    session = ask_hub.ask(f"{url}/v2/get_amqp_result_connection_url", token)
    if "error" in session:
        return {"error": f"the hub gave no address of the broker: {session['error']}"}
    try:
        return _speak(str(session.get("connection_url", "")))
    finally:
        ask_hub.ask(f"{url}/v3/sessions/{session.get('session_id', '')}", token, "DELETE")


def _speak(address: str) -> dict[str, Any]:
    parts = urlsplit(address)
    if parts.scheme not in _PORTS or not parts.hostname:
        return {"error": "the hub gave no address of the broker"}
    port = parts.port or _PORTS[parts.scheme]
    where = f"{parts.hostname}:{port}"
    try:
        with contextlib.ExitStack() as stack:
            plain = stack.enter_context(
                socket.create_connection((parts.hostname, port), timeout=_TIMEOUT_S)
            )
            connection: socket.socket = plain
            if parts.scheme == "amqps":
                context = ssl.create_default_context()
                connection = stack.enter_context(
                    context.wrap_socket(plain, server_hostname=parts.hostname)
                )
            connection.sendall(_GREETING)
            answer = connection.recv(8)
    except OSError as error:
        return {"error": f"{where}: {error}"}
    # The broker's first frame is a method on channel 0; a refusal is its own eight bytes.
    if answer[:1] != b"\x01":
        return {"error": f"{where} does not speak AMQP 0-9-1"}
    return {"broker": where}


def main() -> None:
    """Answer the question on standard input."""
    question = json.load(sys.stdin)
    json.dump(try_broker(question["url"], question["token"]), sys.stdout)


if __name__ == "__main__":
    main()
