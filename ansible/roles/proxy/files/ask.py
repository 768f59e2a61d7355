"""Asks a hub through its proxy, with TLS that is verified; says what came as one JSON object.

Standard input: {"host", "port" (where to connect), "name" (as the certificate has it), "ca" (file),
"path"}. Output: {"status", "hsts", "why"}; `why` says what stood in the way.
"""

import http.client
import json
import socket
import ssl
import sys

_PATIENCE_S = 20


def main():
    """Ask once."""
    wish = json.load(sys.stdin)
    seen = {"status": 0, "hsts": "", "why": ""}
    try:
        trusted = ssl.create_default_context(cafile=wish["ca"])
        link = socket.create_connection((wish["host"], wish["port"]), _PATIENCE_S)
        asked = http.client.HTTPConnection(wish["name"], wish["port"], timeout=_PATIENCE_S)
        asked.sock = trusted.wrap_socket(link, server_hostname=wish["name"])
        asked.request("GET", wish["path"])
        answer = asked.getresponse()
        seen |= {"status": answer.status, "hsts": answer.getheader("Strict-Transport-Security")}
    except (OSError, http.client.HTTPException) as error:
        seen["why"] = str(error) or type(error).__name__
    json.dump(seen, sys.stdout)


main()
