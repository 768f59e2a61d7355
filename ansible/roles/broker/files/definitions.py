"""Keeps the hub's password and the definitions that RabbitMQ loads when it starts.

Standard input: {"user", "vhost", "password" (empty: make one), "looks_only"}. Says `changed` or
`same`. The password itself is in a file of root's, and its salted hash in the definitions.
"""

import base64
import contextlib
import grp
import hashlib
import json
import os
import secrets
import sys

DEFINITIONS = "/etc/rabbitmq/chamberlain.json"
PASSWORD = "/etc/rabbitmq/chamberlain-password"


def hashed(password, salt):
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def is_of(password, known):
    return hashed(password, base64.b64decode(known)[:4]) == known


def read(path):
    with contextlib.suppress(OSError):
        with open(path) as file:
            return file.read()
    return ""


def write(path, text, mode, group):
    new = path + ".new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        os.fchown(file.fileno(), 0, group)
        os.fchmod(file.fileno(), mode)
    os.rename(new, path)


def wanted(wish, known_hash):
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
    wish = json.load(sys.stdin)
    had = read(PASSWORD).strip()
    password = wish["password"] or had or secrets.token_urlsafe(32)
    text = read(DEFINITIONS)
    try:
        known_hash = json.loads(text)["users"][0]["password_hash"]
        if not is_of(password, known_hash):
            raise ValueError("another password")
    except (ValueError, KeyError, IndexError):
        known_hash = hashed(password, secrets.token_bytes(4))
    new = wanted(wish, known_hash)
    if (new, password) == (text, had):
        print("same")
        return
    if not wish["looks_only"]:
        write(PASSWORD, password + "\n", 0o600, 0)
        write(DEFINITIONS, new, 0o640, grp.getgrnam("rabbitmq").gr_gid)
    print("changed")


main()
