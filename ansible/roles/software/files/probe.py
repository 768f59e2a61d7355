"""Tells what a host has, as one JSON object; changes nothing. Needs nothing but Python.

Standard input: {"connect": ["HOST:PORT", ...], "folder": "/opt/chamberlain"}.
"""

import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import tomllib


def said(*words, given=None):
    """Return (worked, what was said) of a command that may be absent."""
    try:
        done = subprocess.run(words, input=given, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    return done.returncode == 0, (done.stdout or done.stderr).strip()


def text(path):
    try:
        with open(path) as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def system():
    pairs = (line.partition("=") for line in text("/etc/os-release").splitlines())
    known = {key: value.strip('"') for key, _, value in pairs}
    return known.get("ID", ""), known.get("VERSION_ID", "")


def packages():
    worked, listed = said("dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n")
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
    """Return [name, first id, last id] for each range."""
    found = []
    for line in text(path).splitlines():
        parts = line.split(":")
        if len(parts) == 3 and parts[1].isdecimal() and parts[2].isdecimal():
            found.append([parts[0], int(parts[1]), int(parts[1]) + int(parts[2]) - 1])
    return found


def endpoints():
    found = {}
    for toml in glob.glob("/etc/chamberlain/*/launcher.toml"):
        folder = os.path.dirname(toml)
        name = os.path.basename(folder)
        try:
            with open(toml, "rb") as file:
                known = tomllib.load(file)
        except (OSError, tomllib.TOMLDecodeError):
            known = {}
        found[name] = {
            "endpoint_id": known.get("endpoint_id", ""),
            "hub_keys": known.get("hub_keys", []),
            "has_token": os.path.exists(folder + "/token"),
            "has_unit": os.path.exists(
                "/etc/systemd/system/chamberlain-endpoint-%s.service" % name
            ),
        }
    return found


def units():
    """Return unit -> state, for those of ours and of what we stand on that the host knows."""
    names = ["chamberlain*.service", "rabbitmq-server.service", "munge.service", "podman.socket"]
    shown = ["slurmctld.service", "slurmd.service", "--no-legend", "--plain", "--all"]
    worked, listed = said("systemctl", "list-units", *names, *shown)
    rows = [line.split() for line in listed.splitlines()] if worked else []
    return {row[0]: row[2] for row in rows if len(row) > 3 and row[1] == "loaded"}


def version(folder):
    found = glob.glob(folder + "/lib/python3*/site-packages/chamberlain-*.dist-info")
    return os.path.basename(found[0])[len("chamberlain-") : -len(".dist-info")] if found else ""


def unreachable(addresses):
    found = {}
    for address in addresses:
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, ValueError) as error:
            found[address] = str(error)
    return found


def uids():
    return [int(line.split(":")[2]) for line in text("/etc/passwd").splitlines() if ":" in line]


def main():
    asked = json.load(sys.stdin)
    folder = asked["folder"]
    name, version = system()
    seen = {
        "time": time.time(),
        "os": name,
        "os_version": version,
        "python": "%d.%d" % sys.version_info[:2],
        "is_root": os.geteuid() == 0,
        "has_systemd": os.path.isdir("/run/systemd/system"),
        "packages": packages(),
        "munge": munge(),
        "user_namespaces": int(text("/proc/sys/user/max_user_namespaces") or 0),
        "subuid": ranges("/etc/subuid"),
        "subgid": ranges("/etc/subgid"),
        "highest_uid": max(uid for uid in uids() if uid < 65534),
        "free_mib": shutil.disk_usage("/var").free // 2**20,
        "version": version(folder),
        "units": units(),
        "software": text(folder + "/.installed").strip(),
        "has_programs": os.path.exists(folder + "/bin/chamberlain-endpoint"),
        "endpoints": endpoints(),
        "images": [
            os.path.basename(path).replace("sha256-", "sha256:")
            for path in glob.glob("/var/lib/chamberlain/images/sha256-*")
        ],
        "unreachable": unreachable(asked["connect"]),
    }
    json.dump(seen, sys.stdout)


main()
