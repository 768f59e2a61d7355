"""One step on the way to a certificate, by openssl; says what became of it as one JSON object.

Standard input: {"do": STEP, "looks_only": ..., ...}. A service's key never leaves its host, and
the authority's never leaves the authority's: requests and certificates travel.

authority: {"days"} -> {"changed", "ca"}, on the authority's host.
ask: {"service", "names", "renew_days", "ca", "renews"} -> {"changed", "request"}, on the service's
    host.
sign: {"request", "names", "days"} -> {"certificate"}, on the authority's host.
put: {"service", "group", "certificate"} -> {"changed"}, on the service's host.
"""

import fcntl
import ipaddress
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

AUTHORITY = Path("/etc/chamberlain/authority")
SERVICES = Path("/etc/chamberlain/tls")
LOCK = Path("/run/chamberlain-certify.lock")
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
AUTHORITY_IS = """\
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
SERVICE_IS = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


def ran(words, given):
    """Return how openssl ended."""
    command = ["openssl", *map(str, words)]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=False)


def openssl(*words, given=""):
    """Return what openssl printed; end with what it complained of."""
    done = ran(words, given)
    if done.returncode != 0:
        sys.exit(f"openssl {words[0]}: {done.stderr.strip()[-500:]}")
    return done.stdout


def is_good(*words):
    """Tell whether openssl agrees."""
    return ran(words, "").returncode == 0


def alternative(name):
    """Return a name as certificates write it."""
    try:
        return f"IP:{ipaddress.ip_address(name)}"
    except ValueError:
        return f"DNS:{name}"


def folder(path):
    """Make a folder that everybody may enter."""
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    for one in (path, path.parent):
        one.chmod(0o755)


def authority(wish):
    """Return the authority's certificate; make it if there is none."""
    key, ca = AUTHORITY / "ca.key", AUTHORITY / "ca.pem"
    if key.exists() and ca.exists():
        return {"changed": False, "ca": ca.read_text()}
    if wish["looks_only"]:
        return {"changed": True, "ca": ""}
    folder(AUTHORITY)
    subject = f"/CN=Chamberlain site {secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as aside:
        config = Path(aside, "config")
        config.write_text(
            f"[req]\ndistinguished_name = who\nx509_extensions = is\n[who]\n[is]\n{AUTHORITY_IS}"
        )
        new = Path(aside, "ca.pem")
        words = ("-subj", subject, "-days", wish["days"], "-keyout", key, "-out", new)
        openssl("req", "-x509", "-config", config, *CURVE, *words)
        key.chmod(0o600)
        ca.write_text(new.read_text())
        ca.chmod(0o644)
    return {"changed": True, "ca": ca.read_text()}


def has_names(certificate, names):
    """Tell whether a certificate is for these names and no other."""
    said = openssl("x509", "-in", certificate, "-noout", "-ext", "subjectAltName")
    found = {one.strip() for one in said.splitlines()[-1].split(",")}
    return found == {alternative(name).replace("IP:", "IP Address:") for name in names}


def is_still_good(wish, certificate, key):
    """Tell whether a certificate can stay: its authority, its names, its time."""
    if not (certificate.exists() and key.exists() and wish["ca"]):
        return False
    left_s = wish["renew_days"] * 86400
    with tempfile.NamedTemporaryFile("w", suffix=".pem") as ca:
        ca.write(wish["ca"])
        ca.flush()
        return (
            is_good("verify", "-CAfile", ca.name, certificate)
            and is_good("x509", "-in", certificate, "-noout", "-checkend", left_s)
            and has_names(certificate, wish["names"])
        )


def ask(wish):
    """Return a request for a certificate, of a new key; none while the old one is good."""
    certificate, key = (SERVICES / f"{wish['service']}.{end}" for end in ("pem", "key"))
    if not wish["renews"] and is_still_good(wish, certificate, key):
        return {"changed": False, "request": ""}
    if wish["looks_only"]:
        return {"changed": True, "request": ""}
    folder(SERVICES)
    new = key.with_suffix(".key.new")
    new.unlink(missing_ok=True)
    subject = f"/CN={wish['service']}"
    return {
        "changed": True,
        "request": openssl("req", "-new", *CURVE, "-subj", subject, "-keyout", new),
    }


def sign(wish):
    """Return a certificate; its names are the wish's, whatever the request says."""
    names = ", ".join(sorted(alternative(name) for name in wish["names"]))
    with tempfile.NamedTemporaryFile("w", suffix=".ext") as extensions:
        extensions.write(SERVICE_IS.format(names=names))
        extensions.flush()
        by = ("-CA", AUTHORITY / "ca.pem", "-CAkey", AUTHORITY / "ca.key", "-days", wish["days"])
        serial = ("-set_serial", f"0x{secrets.token_hex(16)}", "-extfile", extensions.name)
        made = openssl("x509", "-req", "-sha256", *by, *serial, given=wish["request"])
    return {"certificate": made}


def put(wish):
    """Replace certificate and key, both for the eyes of one group."""
    certificate, key = (SERVICES / f"{wish['service']}.{end}" for end in ("pem", "key"))
    new = certificate.with_suffix(".pem.new")
    new.write_text(wish["certificate"])
    new_key = key.with_suffix(".key.new")
    for path, mode in ((new, 0o644), (new_key, 0o640)):
        shutil.chown(path, "root", wish["group"])
        path.chmod(mode)
    new_key.rename(key)
    new.rename(certificate)
    return {"changed": True}


def main():
    """Carry out one step, alone on this host."""
    wish = json.load(sys.stdin)
    os.umask(0o077)
    steps = {"authority": authority, "ask": ask, "sign": sign, "put": put}
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        json.dump(steps[wish["do"]](wish), sys.stdout)


main()
