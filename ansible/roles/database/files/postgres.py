"""Keeps the hub's role and database in PostgreSQL, and the role's password in a file of root's.

Standard input: {"do": "version" | "make" | "renew" | "try" | "others" | "drop", "port", "user",
"name", "password" (empty: make one), "looks_only"}. Says one JSON object. PostgreSQL never sees the
password, only what proves it.
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


def sql(wish, text):
    """Return what PostgreSQL answers its own superuser, over the socket.

    psql itself puts role and database in: :'user' as a text, :"user" as a name.
    """
    given = ("-v", f"user={wish['user']}", "-v", f"name={wish['name']}", "-v", "ON_ERROR_STOP=1")
    psql = ("psql", "-X", "-q", "-A", "-t", "-d", "postgres", "-p", str(wish["port"]), *given)
    words = ["runuser", "-u", "postgres", "--", *psql]
    done = subprocess.run(words, input=text, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode != 0:
        sys.exit(f"PostgreSQL at port {wish['port']}: {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


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


ROLE = "SELECT 1 FROM pg_roles WHERE rolname = :'user';"
PROOF = "SELECT rolpassword FROM pg_authid WHERE rolname = :'user';"
OWNER = """\
SELECT rolname FROM pg_database JOIN pg_roles r ON datdba = r.oid WHERE datname = :'name';
"""
# The cluster's own encoding is that of whoever installed it.
CREATE = """\
CREATE DATABASE :"name" OWNER :"user" TEMPLATE template0
    ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
"""
OTHERS = """\
SELECT count(*) FROM pg_database
    WHERE datname NOT IN ('postgres', 'template0', 'template1', :'name');
"""
DROP = 'DROP DATABASE IF EXISTS :"name" WITH (FORCE);\nDROP ROLE IF EXISTS :"user";'


def make(wish):
    """Make what is missing: the password's file, the role, the database."""
    had = PASSWORD.read_text().strip() if PASSWORD.exists() else ""
    password = wish["password"] or had or secrets.token_urlsafe(32)
    owner = sql(wish, OWNER)
    if owner not in ("", wish["user"]):
        sys.exit(f"The database {wish['name']} is {owner}'s. Choose another database_name.")
    steps = []
    if not sql(wish, ROLE):
        steps.append('CREATE ROLE :"user" LOGIN;')
    if not is_of(password, sql(wish, PROOF)):
        proof = verifier(password, secrets.token_bytes(16), ROUNDS)
        steps.append(f"ALTER ROLE :\"user\" LOGIN PASSWORD '{proof}';")
    if not owner:
        steps.append(CREATE)
    is_same = not steps and password == had
    if not is_same and not wish["looks_only"]:
        write(password)
        sql(wish, "\n".join(steps))
    return {"changed": not is_same}


def renew(_wish):
    """Write another password; PostgreSQL takes it from the next `make`."""
    write(secrets.token_urlsafe(32))
    return {"changed": True}


def drop(wish):
    """Remove database, role and password."""
    sql(wish, DROP)
    PASSWORD.unlink(missing_ok=True)
    return {"changed": True}


def others(wish):
    """Tell how many databases are neither the hub's nor PostgreSQL's own."""
    return {"others": int(sql(wish, OTHERS))}


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
    steps = {
        "version": version,
        "make": make,
        "renew": renew,
        "drop": drop,
        "others": others,
        "try": attempt,
    }
    json.dump(steps[wish["do"]](wish), sys.stdout)


main()
