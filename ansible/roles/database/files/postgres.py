"""Keeps the hub's role and database in PostgreSQL, and the role's password in a file of root's.

Standard input: {"do": "version" | "make" | "try" | "others" | "drop", "port", "user", "name", "password" (empty: make
one), "looks_only"}. Says one JSON object. PostgreSQL never sees the password, only what proves it.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

PASSWORD = Path("/etc/postgresql/chamberlain-password")
ROUNDS = 4096


def verifier(password, salt, rounds):
    """Return what PostgreSQL keeps of a password (RFC 5803)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)

    def key(word):
        return hmac.digest(salted, word, "sha256")

    def written(value):
        return base64.b64encode(value).decode()

    stored = hashlib.sha256(key(b"Client Key")).digest()
    return f"SCRAM-SHA-256${rounds}:{written(salt)}${written(stored)}:{written(key(b'Server Key'))}"


def is_of(password, known):
    """Tell whether `known` was made from `password`."""
    found = re.match(r"SCRAM-SHA-256\$(\d+):([^$]+)\$", known)
    if found is None:
        return False
    return verifier(password, base64.b64decode(found[2]), int(found[1])) == known


def sql(wish, text, database="postgres"):
    """Return what PostgreSQL answers its own superuser, over the socket."""
    psql = ("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-p", str(wish["port"]))
    done = subprocess.run(
        ["runuser", "-u", "postgres", "--", *psql, "-d", database],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    if done.returncode != 0:
        sys.exit(f"PostgreSQL at port {wish['port']}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def quoted(value, mark="'"):
    """Return a text as SQL writes it."""
    return mark + value.replace(mark, mark * 2) + mark


def write(password):
    """Keep the password; nobody else can read it at any moment."""
    new = PASSWORD.with_name(PASSWORD.name + ".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(password + "\n")
    new.rename(PASSWORD)


def version(_wish):
    """Return the newest PostgreSQL with a cluster `main`; nothing when there is none."""
    found = [int(path.parent.name) for path in Path("/etc/postgresql").glob("[0-9]*/main")]
    return {"version": max(found, default=0)}


def make(wish):
    """Make what is missing: the password's file, the role, the database."""
    had = PASSWORD.read_text().strip() if PASSWORD.exists() else ""
    password = wish["password"] or had or secrets.token_urlsafe(32)
    user, name = quoted(wish["user"], '"'), quoted(wish["name"], '"')
    known = sql(wish, f"SELECT rolpassword FROM pg_authid WHERE rolname = {quoted(wish['user'])};")
    owner = (
        "SELECT rolname FROM pg_database JOIN pg_roles r ON datdba = r.oid "
        f"WHERE datname = {quoted(wish['name'])};"
    )
    owned_by = sql(wish, owner)
    is_role = sql(wish, f"SELECT 1 FROM pg_roles WHERE rolname = {quoted(wish['user'])};") == "1"
    if owned_by not in ("", wish["user"]):
        sys.exit(f"The database {wish['name']} is {owned_by}'s. Choose another database_name.")
    steps = []
    if not is_role:
        steps.append(f"CREATE ROLE {user} LOGIN;")
    if not is_of(password, known):
        proof = quoted(verifier(password, secrets.token_bytes(16), ROUNDS))
        steps.append(f"ALTER ROLE {user} LOGIN PASSWORD {proof};")
    if not owned_by:
        # The cluster's own encoding is that of whoever installed it.
        how = "TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'"
        steps += [
            f"CREATE DATABASE {name} OWNER {user} {how};",
            f"REVOKE ALL ON DATABASE {name} FROM PUBLIC;",
        ]
    is_same = not steps and password == had
    if not is_same and not wish["looks_only"]:
        write(password)
        sql(wish, "\n".join(steps))
    return {"changed": not is_same}


def drop(wish):
    """Remove database, role and password; tell whether somebody else's databases are here."""
    user, name = quoted(wish["user"], '"'), quoted(wish["name"], '"')
    sql(wish, f"DROP DATABASE IF EXISTS {name} WITH (FORCE);\nDROP ROLE IF EXISTS {user};")
    PASSWORD.unlink(missing_ok=True)
    return {"changed": True}


def others(wish):
    """Tell how many databases are neither the hub's nor PostgreSQL's own."""
    own = f"'postgres', 'template0', 'template1', {quoted(wish['name'])}"
    return {"others": int(sql(wish, f"SELECT count(*) FROM pg_database WHERE datname NOT IN ({own});"))}


def attempt(wish):
    """Log in as the hub would over the socket; PostgreSQL refuses where the hub is elsewhere."""
    words = ("psql", "-X", "-w", "-A", "-t", "-c", "SELECT 1", "-p", str(wish["port"]))
    done = subprocess.run(
        [*words, "-U", wish["user"], "-d", wish["name"]],
        env={**os.environ, "PGPASSFILE": "/dev/null", "PGPASSWORD": PASSWORD.read_text().strip()},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )
    return {"worked": done.returncode == 0, "said": done.stderr.strip()}


def main():
    """Carry out the wish on standard input."""
    wish = json.load(sys.stdin)
    steps = {"version": version, "make": make, "drop": drop, "others": others, "try": attempt}
    json.dump(steps[wish["do"]](wish), sys.stdout)


main()
