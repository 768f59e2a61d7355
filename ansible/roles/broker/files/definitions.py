"""Keeps the hub's password and the definitions that RabbitMQ loads when it starts.

Standard input: {"user", "vhost", "password" (empty: make one), "looks_only", "folder", "renews"
(make another than there is)}. Says `changed` or `same`. The password itself is in a file of
root's, and its salted hash in the definitions.
"""

import base64
import grp
import hashlib
import json
import os
import secrets
import sys
from pathlib import Path

DEFINITIONS = "chamberlain.json"
PASSWORD = "chamberlain-password"  # noqa: S105 - the name of a file


def hashed(password, salt):
    """Return RabbitMQ's hash of a password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def is_of(password, known):
    """Tell whether `known` is a hash of `password`."""
    return hashed(password, base64.b64decode(known)[:4]) == known


def read(path):
    """Return what a file says; nothing when there is none."""
    return path.read_text() if path.exists() else ""


def write(path, text, mode, group):
    """Replace a file in one step; nobody else can read it at any moment."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        os.fchown(file.fileno(), 0, group)
        os.fchmod(file.fileno(), mode)
    new.rename(path)


def wanted(wish, known_hash):
    """Return the definitions: one user, one virtual host, all rights of the one in the other."""
    every = {"configure": ".*", "write": ".*", "read": ".*"}
    user = {
        "name": wish["user"],
        "password_hash": known_hash,
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator"],
    }
    right = {"user": wish["user"], "vhost": wish["vhost"], **every}
    document = {"users": [user], "vhosts": [{"name": wish["vhost"]}], "permissions": [right]}
    return json.dumps(document, indent=1) + "\n"


def main():
    """Carry out the wish on standard input."""
    wish = json.load(sys.stdin)
    folder = Path(wish["folder"])
    had, text = read(folder / PASSWORD).strip(), read(folder / DEFINITIONS)
    kept = "" if wish.get("renews") else had
    password = wish["password"] or kept or secrets.token_urlsafe(32)
    try:
        known_hash = json.loads(text)["users"][0]["password_hash"]
        if not is_of(password, known_hash):
            raise ValueError("another password")
    except (ValueError, KeyError, IndexError):
        known_hash = hashed(password, secrets.token_bytes(4))
    new = wanted(wish, known_hash)
    is_same = (new, password) == (text, had)
    if not is_same and not wish["looks_only"]:
        write(folder / PASSWORD, password + "\n", 0o600, 0)
        write(folder / DEFINITIONS, new, 0o640, grp.getgrnam("rabbitmq").gr_gid)
    sys.stdout.write("same\n" if is_same else "changed\n")


main()
