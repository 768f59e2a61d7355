#!/usr/bin/env python3
"""Makes the passwords of compose.yaml: files that the containers' accounts alone may read.

`hub.toml` holds the hub's passwords for broker and database. RabbitMQ and PostgreSQL get only what
proves them. Run it again at any time: it makes what is missing, and mends what does not belong
together. Needs Python 3.11 and nothing else.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import sys
import tomllib
from pathlib import Path
from urllib.parse import unquote, urlsplit

HUB_UID = 10001
SERVICE_UID = 999
"""Of RabbitMQ and PostgreSQL, in our images as in the public ones."""

HUB, BROKER, DATABASE, ADMIN = "hub.toml", "broker.json", "database.sql", "database-admin"
OWNERS = {HUB: HUB_UID, BROKER: SERVICE_UID, DATABASE: SERVICE_UID, ADMIN: SERVICE_UID}

BROKER_USER, VHOST, ROLE = "chamberlain-hub", "chamberlain", "chamberlain"
ADDRESSES = {
    "database_url": f"postgresql://{ROLE}:%s@database/{ROLE}",
    "broker_url": f"amqp://{BROKER_USER}:%s@broker:5672/{VHOST}",
    "broker_management_url": f"http://{BROKER_USER}:%s@broker:15672",
}
SETTINGS = """\
# The hub of compose.yaml. Passwords are in the last three lines; `make_secrets.py --renew` changes
# them and keeps the rest. What .env can say goes before this file.
data_dir = "/var/lib/chamberlain-hub"
listen_host = "0.0.0.0"
metrics_listen = ""
"""
# Bears a repeat: it is run at each start.
SQL = """\
SELECT 'CREATE ROLE {role} LOGIN'
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') \\gexec
ALTER ROLE {role} LOGIN PASSWORD '{proof}';
SELECT 'CREATE DATABASE {role} OWNER {role} TEMPLATE template0
        ENCODING ''UTF8'' LC_COLLATE ''C.UTF-8'' LC_CTYPE ''C.UTF-8'''
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '{role}') \\gexec
REVOKE ALL ON DATABASE {role} FROM PUBLIC;
"""
ROUNDS = 4096


def broker_hash(password: str, salt: bytes) -> str:
    """Return RabbitMQ's hash of a password."""
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def database_proof(password: str, salt: bytes) -> str:
    """Return what PostgreSQL keeps of a password (RFC 5803)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ROUNDS)

    def written(value: bytes) -> str:
        return base64.b64encode(value).decode()

    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${ROUNDS}:{written(salt)}${written(stored)}:{written(server)}"


def definitions(password: str) -> str:
    """Return what RabbitMQ loads: one user, one virtual host, the one's rights in the other."""
    user = {
        "name": BROKER_USER,
        "password_hash": broker_hash(password, secrets.token_bytes(4)),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": ["administrator"],  # it makes the users of endpoints and laptops
    }
    every = {"configure": ".*", "write": ".*", "read": ".*"}
    right = {"user": BROKER_USER, "vhost": VHOST, **every}
    document = {"users": [user], "vhosts": [{"name": VHOST}], "permissions": [right]}
    return json.dumps(document, indent=1) + "\n"


def settings(text: str, broker: str, database: str) -> str:
    """Return the hub's settings `text` with these passwords; all other lines stay."""
    lines = [one for one in text.splitlines() if one.partition("=")[0].strip() not in ADDRESSES]
    for name, address in ADDRESSES.items():
        password = database if name == "database_url" else broker
        lines.append(f"{name} = {json.dumps(address % password)}")
    return "\n".join(lines) + "\n"


def passwords(text: str) -> tuple[str, str]:
    """Return broker's and database's password of the hub's settings.

    Raises:
        ValueError: they are not there, or not in one form; the message says which.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{HUB} is not TOML: {error}") from None
    found = {}
    for name in ADDRESSES:
        found[name] = unquote(urlsplit(str(values.get(name, ""))).password or "")
        if not found[name]:
            raise ValueError(f"{HUB} has no password in {name}")
    if found["broker_url"] != found["broker_management_url"]:
        raise ValueError(
            f"{HUB} has one password in broker_url and another in broker_management_url"
        )
    return found["broker_url"], found["database_url"]


def knows(name: str, text: str, password: str) -> bool:
    """Tell whether RabbitMQ's or PostgreSQL's file was made of `password`."""
    try:
        if name == BROKER:
            known = str(json.loads(text)["users"][0]["password_hash"])
            return known == broker_hash(password, base64.b64decode(known)[:4])
        match = re.search(r"SCRAM-SHA-256\$\d+:([^$]+)\$[^']+", text)
        return match is not None and match[0] == database_proof(
            password, base64.b64decode(match[1])
        )
    except (ValueError, LookupError, TypeError):
        return False


def read(path: Path) -> str:
    """Return what a file says; nothing when there is none."""
    return path.read_text() if path.is_file() else ""


def write(path: Path, text: str) -> None:
    """Replace a file in one step; nobody but its container can read it at any moment."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "w") as file:
        file.write(text)
        os.fchown(file.fileno(), OWNERS[path.name], OWNERS[path.name])
    new.rename(path)


def faults(folder: Path) -> list[str]:
    """Return what is wrong with the secrets in `folder`, a sentence each."""
    found = []
    for name, uid in OWNERS.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path} is missing.")
            continue
        about = path.stat()
        if about.st_uid != uid or about.st_mode & 0o077:
            found.append(
                f"{path} is uid {about.st_uid}'s with mode {about.st_mode & 0o777:04o}; its "
                f"container runs as uid {uid}, which alone must be able to read it: mode 0400."
            )
    try:
        broker, database = passwords(read(folder / HUB))
    except ValueError as error:
        return [*found, *([] if not read(folder / HUB) else [f"{error}."])]
    for name, password in ((BROKER, broker), (DATABASE, database)):
        text = read(folder / name)
        if text and not knows(name, text, password):
            found.append(f"{folder / name} is of another password than the one in {HUB}.")
    return found


def make(folder: Path, *, renews: bool) -> list[str]:
    """Make what is missing or wrong; return the names of the files that changed.

    Raises:
        ValueError: `hub.toml` is not one that could be mended.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    before = {name: read(folder / name) for name in OWNERS}
    if renews or not before[HUB]:
        broker, database = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        wanted = {HUB: settings(before[HUB] or SETTINGS, broker, database)}
    else:
        broker, database = passwords(before[HUB])
        wanted = {HUB: before[HUB]}
    wanted[BROKER] = before[BROKER]
    if not knows(BROKER, before[BROKER], broker):
        wanted[BROKER] = definitions(broker)
    wanted[DATABASE] = before[DATABASE]
    if not knows(DATABASE, before[DATABASE], database):
        proof = database_proof(database, secrets.token_bytes(16))
        wanted[DATABASE] = SQL.format(role=ROLE, proof=proof)
    wanted[ADMIN] = before[ADMIN] or secrets.token_urlsafe(32)
    wrong = " ".join(faults(folder))
    changed = [
        name
        for name, text in wanted.items()
        if text != before[name] or f"{folder / name} " in wrong
    ]
    for name in changed:
        write(folder / name, wanted[name])
    return changed


def main() -> int:
    """Do what the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(
        description="Make the passwords of compose.yaml, in files that its containers alone read.",
        epilog="As root; for Podman without root: podman unshare ./make_secrets.py. "
        "Exit codes: 0 done, 1 something is wrong and said.",
    )
    here = Path(__file__).resolve().parent / "secrets"
    parser.add_argument("--folder", type=Path, default=here, help="where; default: %(default)s")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--check", action="store_true", help="only say what is missing or wrong")
    what.add_argument(
        "--renew",
        action="store_true",
        help="other passwords; then: podman-compose up --detach --force-recreate",
    )
    given = parser.parse_args()
    try:
        if given.check:
            found = faults(given.folder)
            said = (
                [*found, "Make or mend them with: make_secrets.py"] if found else ["All is well."]
            )
        elif os.geteuid() != 0:
            found = said = [
                "The files belong to the containers' accounts. Run it as root; for Podman without "
                "root: podman unshare ./make_secrets.py"
            ]
        else:
            changed, found = make(given.folder, renews=given.renew), []
            said = [f"Wrote {given.folder / name}" for name in changed] or ["Nothing to do."]
    except OSError as error:
        where = error.filename or given.folder
        found = said = [f"{where} cannot be used: {error.strerror}. Name another with --folder."]
    except ValueError as error:
        found = said = [f"{error}."]
    (sys.stderr if found else sys.stdout).write("\n".join(said) + "\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
