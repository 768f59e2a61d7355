"""Tells what a host has, as one JSON object; changes nothing. Needs nothing but Python 3.11.

Standard input: {"connect": ["HOST:PORT", ...], "folder": "/opt/chamberlain", "endpoints", "images",
"certificates": [files beside those of the site's own authority], "repository": URL or nothing,
"services": [names of units that this host has for us], "port": one that the proxy is to have, or 0,
"pair": {"certificate", "key", "name"} of a certificate of the site's, or {}}.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import tomllib
import urllib.request
from pathlib import Path

UNITS = ("chamberlain*.service", "rabbitmq-server.service", "munge.service", "podman.socket")
SCHEDULER = ("slurmctld.service", "slurmd.service")
CERTIFICATES = Path("/etc/chamberlain/tls")
NOBODY = 65534


def said(*words, given=None):
    """Return (worked, what was said) of a command that may be absent."""
    try:
        done = subprocess.run(
            words, input=given, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, (done.stdout or done.stderr).strip()


def text(path):
    """Return what a file says; nothing when it cannot be read."""
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def system():
    """Return the distribution's id, version and name."""
    pairs = (line.partition("=") for line in text("/etc/os-release").splitlines())
    known = {key: value.strip('"') for key, _, value in pairs}
    return [known.get(key, "") for key in ("ID", "VERSION_ID", "VERSION_CODENAME")]


def repository(url, suite):
    """Return the hash of what is signed in an apt repository, or why it cannot be had."""
    if not url:
        return {"hash": "", "why": ""}
    try:
        with urllib.request.urlopen(f"{url}/dists/{suite}/InRelease", timeout=20) as answer:  # noqa: S310
            return {"hash": hashlib.sha256(answer.read()).hexdigest(), "why": ""}
    except (OSError, ValueError) as error:
        return {"hash": "", "why": str(error)}


def packages():
    """Return the names of the distribution's packages that are installed."""
    _, listed = said("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n")
    return [line.split()[0] for line in listed.splitlines() if line.endswith(" installed")]


def munge():
    """Return nothing when a credential made here is read here, else why not."""
    if not shutil.which("munge"):
        return "the package munge is not installed"
    worked, made = said("munge", "-n")
    if not worked:
        return made
    worked, read = said("unmunge", given=made)
    return "" if worked else read


def ranges(path):
    """Return [name, first id, last id] for each range of subordinate ids."""
    found = []
    for line in text(path).splitlines():
        name, _, rest = line.partition(":")
        first, _, count = rest.partition(":")
        if first.isdecimal() and count.isdecimal():
            found.append([name, int(first), int(first) + int(count) - 1])
    return found


def endpoints(below):
    """Return name -> what is known of an endpoint that was configured."""
    found = {}
    for toml in below.glob("*/launcher.toml"):
        try:
            known = tomllib.loads(toml.read_text())
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
            known = {}
        name = toml.parent.name
        units = Path("/etc/systemd/system")
        own = units / f"chamberlain-endpoint-{name}.service"
        packaged = units / f"multi-user.target.wants/chamberlain-endpoint@{name}.service"
        found[name] = {
            "endpoint_id": known.get("endpoint_id", ""),
            "hub_keys": known.get("hub_keys", []),
            "has_token": (toml.parent / "token").exists(),
            "has_unit": own.exists() or packaged.is_symlink(),
        }
    return found


def units(services):
    """Return unit -> state, for those of ours and of what we stand on that run or ought to."""
    shown = ("--no-legend", "--plain", "--all")
    worked, listed = said("systemctl", "list-units", *UNITS, *services, *SCHEDULER, *shown)
    rows = [line.split() for line in listed.splitlines()] if worked else []
    known = {row[0]: row[2] for row in rows if len(row) > 3 and row[1] == "loaded"}
    # Others' units name some that are installed here and are for nothing here.
    return {name: state for name, state in known.items() if state != "inactive" or wanted(name)}


def wanted(unit):
    """Tell whether `unit` is one that starts at boot."""
    return said("systemctl", "is-enabled", "--quiet", unit)[0]


def version(folder):
    """Return the version of Chamberlain in the environment `folder`; nothing without one."""
    for above in ("", "endpoint/", "hub/"):
        pattern = f"{above}lib/python3*/site-packages/chamberlain-*.dist-info"
        for found in folder.glob(pattern):
            return found.name.removeprefix("chamberlain-").removesuffix(".dist-info")
    return ""


def has(folder, part):
    """Tell whether the program of `part` is in `folder`, from wheels or from a package."""
    name = f"bin/chamberlain-{part}"
    return (folder / name).exists() or (folder / part / name).exists()


def source(folder, installed):
    """Return what the programs came from; nothing without programs."""
    if {"chamberlain-endpoint", "chamberlain-hub"} & set(installed):
        return "packages"
    return "wheels" if (folder / "bin/chamberlain-endpoint").exists() else ""


def unreachable(addresses):
    """Return address -> why nothing answers there."""
    found = {}
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, ValueError) as error:
            found[address] = str(error)
    return found


def days_left(path):
    """Return how many days a certificate is good; none where there is no certificate."""
    worked, told = said("openssl", "x509", "-noout", "-enddate", "-in", str(path))
    if not worked:
        return None
    # Without strptime's names of months, which are the locale's.
    return int((ssl.cert_time_to_seconds(told.partition("=")[2]) - time.time()) // 86400)


def certificates(more):
    """Return file -> days, for what the site's own authority signed and for `more`."""
    return {str(path): days_left(path) for path in [*sorted(CERTIFICATES.glob("*.pem")), *more]}


def pair(asked):
    """Return what is wrong with a certificate, its key and its name; nothing without one."""
    if not asked:
        return {}
    certificate = asked["certificate"]
    _, told = said("openssl", "x509", "-noout", "-pubkey", "-in", certificate)
    _, own = said("openssl", "pkey", "-pubout", "-passin", "pass:", "-in", asked["key"])
    what = "-checkip" if re.fullmatch(r"[0-9.]+|.*:.*", asked["name"]) else "-checkhost"
    _, fits = said("openssl", "x509", "-noout", what, asked["name"], "-in", certificate)
    return {
        "days": days_left(certificate),
        "is_for_name": "does match" in fits,
        "fits_key": told == own,
    }


def port_holder(port):
    """Return who listens on `port`, unless it is our own proxy."""
    _, listed = said("ss", "-Hltnp", f"sport = :{port}")
    for line in listed.splitlines() if port else ():
        found = re.search(r'\(\("([^"]+)",pid=([0-9]+)', line)
        group = text(f"/proc/{found[2]}/cgroup") if found else ""
        if "chamberlain-proxy.service" not in group:
            return f"{found[1]} (process {found[2]})" if found else "Somebody"
    return ""


def uids():
    """Return the uids of the host's own account file."""
    return [int(line.split(":")[2]) for line in text("/etc/passwd").splitlines() if ":" in line]


def main():
    """Answer the question on standard input."""
    asked = json.load(sys.stdin)
    folder = Path(asked["folder"])
    name, release, suite = system()
    installed = packages()
    seen = {
        "time": time.time(),
        "hostname": socket.gethostname().partition(".")[0],
        "os": name,
        "os_version": release,
        "os_name": suite,
        "repository": repository(asked.get("repository", ""), suite),
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "is_root": os.geteuid() == 0,
        "has_systemd": Path("/run/systemd/system").is_dir(),
        "packages": installed,
        "munge": munge(),
        "user_namespaces": int(text("/proc/sys/user/max_user_namespaces") or 0),
        "subuid": ranges("/etc/subuid"),
        "subgid": ranges("/etc/subgid"),
        "highest_uid": max(uid for uid in uids() if uid < NOBODY),
        "free_mib": shutil.disk_usage("/var").free // 2**20,
        "version": version(folder),
        "units": units(asked["services"]),
        "software": text(folder / ".installed").strip(),
        "source": source(folder, installed),
        "has_programs": has(folder, "endpoint"),
        "has_hub": has(folder, "hub"),
        "endpoints": endpoints(Path(asked["endpoints"])),
        "images": [
            path.name.replace("sha256-", "sha256:")
            for path in Path(asked["images"]).glob("sha256-*")
        ],
        "certificates": certificates(asked["certificates"]),
        "pair": pair(asked.get("pair", {})),
        "port_holder": port_holder(asked.get("port", 0)),
        "unreachable": unreachable(asked["connect"]),
    }
    json.dump(seen, sys.stdout)


main()
