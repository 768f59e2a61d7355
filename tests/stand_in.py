"""Stands in for a user endpoint: standard library only, run by path, told what to do.

Usage: stand_in.py BEHAVIOUR [FILE]. What it finds out goes to FILE, as JSON.
"""

import json
import os
import resource
import signal
import sys
import time
from pathlib import Path


def leave(_):
    sys.stderr.write("bye\n")
    sys.exit(3)


def serve(_):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    sys.stderr.write("serving\n")
    sys.stderr.flush()
    signal.pause()


def stubborn(path):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    tell(path or "../told.json", {})
    sys.stderr.write("serving\n")
    sys.stderr.flush()
    while True:
        time.sleep(60)


def patient(path):
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1) if not asked else os._exit(0))
    tell(path or "../told.json", {})
    sys.stderr.write("serving\n")
    sys.stderr.flush()
    while True:
        time.sleep(60)


def chatty(_):
    for stream in (sys.stderr, sys.stdout):
        for _ in range(1000):
            stream.write("x" * 999 + "\n")
        stream.write("last words\n")


def flood_and_serve(path):
    chatty(path)
    serve(path)


def babble(path):
    """Write something to standard output that is no record; then serve."""
    os.write(1, b"hello, world\n" * 20)
    serve(path)


def flood_of_records(_):
    """Write valid records as fast as the pipe takes them, until the other end is closed."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    record = b"\x01\x01" + bytes(6) + b"t" * 16 + b"f" * 16 + b"c" * 32 + bytes(32)
    while True:
        sys.stdout.buffer.write(100 * record)


def killed(_):
    os.kill(os.getpid(), signal.SIGSEGV)


def listen(path):
    """Note the first line and who got it, in a file beside the state folder; then serve."""
    first = json.loads(sys.stdin.readline())
    tell(path or "../told.json", {"first": first, "uid": os.getuid(), "env": dict(os.environ)})
    serve(path)


def describe(path):
    """Note what the kernel and the environment say of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    arguments = Path("/proc/self/cmdline").read_text().split("\0")
    tell(
        path,
        {
            "uids": os.getresuid(),
            "gids": os.getresgid(),
            "groups": sorted(os.getgroups()),
            "environment": dict(os.environ),
            "arguments": arguments,
            "cwd": str(Path.cwd()),
            "umask": os.umask(0o077),
            "session": os.getsid(0) == os.getpid(),
            "status": {k: v for k, v in status.items() if k.startswith(("Cap", "NoNewPrivs"))},
            "processes": sorted(int(each.name) for each in Path("/proc").glob("[0-9]*")),
            "descriptors": [each.name for each in Path("/proc/self/fd").iterdir()],
            "masked": status["SigBlk"],
            "ignored": status["SigIgn"],
            "core": resource.getrlimit(resource.RLIMIT_CORE),
            "files": resource.getrlimit(resource.RLIMIT_NOFILE),
            "first": json.loads(sys.stdin.readline()),
            "attempts": [attempt(os.setuid), attempt(os.setgid), attempt(os.seteuid)],
            "stderr_opens": can_open("/dev/stderr"),
        },
    )


def breed(path):
    """Leave grandchildren behind that nobody's parent is: double fork, own session."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                signal.signal(signal.SIGHUP, signal.SIG_IGN)
                while True:
                    time.sleep(60)
            os._exit(0)
    for _ in range(3):
        os.wait()
    tell(path or "../told.json", {"bred": True})
    serve(path)


def breed_and_leave(path):
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.alarm(1)
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(0))
        breed(path)
    finally:
        os._exit(0)


def attempt(change):
    try:
        change(0)
    except PermissionError:
        return "refused"
    return "allowed"


def can_open(path):
    try:
        with Path(path).open("w"):
            return True
    except OSError:
        return False


def tell(path, document):
    """Write the document where whoever reads it finds all of it, or none."""
    draft = Path(path + ".new")
    draft.write_text(json.dumps(document))
    draft.rename(path)


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else "")
