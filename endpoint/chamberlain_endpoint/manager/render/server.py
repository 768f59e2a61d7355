"""The render server: a small process that forks one child per render.

It has the template, YAML and schema libraries imported, so a render costs a fork and not an
interpreter; it reads nothing that came from outside, so nothing can happen to it. The child
gets the one socket of its request, and a leash: processor time, memory, wall clock, no file,
no socket, no process. Threads instead of processes cannot be stopped in an endless loop.

Started by `client.py` with a packet socket as standard input; each packet brings the socket
of one request. It ends when that socket is closed, that is, when the manager is gone, and when
nothing was asked for a while: an endpoint that nobody uses need not hold its 28 MB.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import select
import signal
import socket
import sys
import time
from typing import NoReturn

import msgspec

from chamberlain_endpoint.manager.render import framing
from chamberlain_endpoint.manager.render.job import (
    Answer,
    Refusal,
    RenderJob,
    RenderRefusedError,
    Who,
)
from chamberlain_endpoint.manager.render.pipeline import render
from chamberlain_endpoint.manager.render.template import TimeUpError
from chamberlain_wire.errors import ErrorCode

_CPU_S = 3
_WALL_S = 3.0
_KILL_S = 4.0
_IDLE_S = 20.0
_MEMORY_BYTES = 256 * 1024 * 1024


def main() -> None:
    """Serve until standard input ends."""
    control = socket.socket(fileno=os.dup(0))
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nowhere, standard)
    # A key press in the terminal is the manager's to answer; we end when it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _warm_up()
    gc.collect()
    gc.freeze()
    _serve(control, nowhere, float(sys.argv[1]) if len(sys.argv) > 1 else _IDLE_S)


def _serve(control: socket.socket, nowhere: int, idle_s: float) -> None:
    limit_bytes = _virtual_bytes() + _MEMORY_BYTES
    children: dict[int, float] = {}
    wake, wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_writer)
    while True:
        waiting = (control.fileno(), wake)
        ready, _, _ = select.select(waiting, [], [], 0.5 if children else idle_s)
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
        if not ready and not children:
            return
        _reap(children)
        if control.fileno() not in ready:
            continue
        packet, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not packet:
            _kill(children)
            return
        pid = os.fork()
        if pid == 0:
            control.close()
            os.close(wake)
            os.close(wake_writer)
            _answer_and_exit(descriptors[0], nowhere, limit_bytes)
        os.close(descriptors[0])
        children[pid] = time.monotonic() + _KILL_S


def _reap(children: dict[int, float]) -> None:
    now = time.monotonic()
    for pid, deadline in list(children.items()):
        if now > deadline:
            # A child that is deaf to its own alarms: inside one long call of the C library.
            os.kill(pid, signal.SIGKILL)
        if os.waitpid(pid, os.WNOHANG)[0]:
            del children[pid]


def _kill(children: dict[int, float]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answer_and_exit(descriptor: int, nowhere: int, limit_bytes: int) -> NoReturn:
    """Carry out the request that comes on `descriptor`; runs in the child."""
    try:
        os.dup2(nowhere, 2)
        os.close(nowhere)
        signal.set_wakeup_fd(-1)
        _shorten_leash(limit_bytes)
        with socket.socket(fileno=descriptor) as peer:
            # The time for the answer counts from here, not from the start of this server.
            framing.send(peer, b"")
            job = msgspec.json.decode(framing.receive(peer), type=RenderJob)
            framing.send(peer, msgspec.json.encode(_answer(job)))
    finally:
        os._exit(0)


def _answer(job: RenderJob) -> Answer:
    try:
        return Answer(rendered=render(job))
    except RenderRefusedError as error:
        return Answer(refusal=Refusal(code=error.word, public=error.public))
    except (TimeUpError, MemoryError, RecursionError) as error:
        cause = type(error).__name__.removesuffix("Error")
        return Answer(
            refusal=Refusal(
                code=ErrorCode.TEMPLATE_FAILED,
                public="The configuration cannot be made from these options: "
                f"it needs more time or memory than it may have ({cause}).",
            )
        )


def _shorten_leash(limit_bytes: int) -> None:
    def time_up(*_: object) -> None:
        # Once: a second one would strike while the first is being answered.
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        signal.setitimer(signal.ITIMER_REAL, 0)
        raise TimeUpError

    signal.signal(signal.SIGXCPU, time_up)
    signal.signal(signal.SIGALRM, time_up)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, _WALL_S)
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S + 1))
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    for nothing in (
        resource.RLIMIT_NOFILE,
        resource.RLIMIT_NPROC,
        resource.RLIMIT_FSIZE,
        resource.RLIMIT_CORE,
    ):
        resource.setrlimit(nothing, (0, 0))


def _virtual_bytes() -> int:
    with open("/proc/self/statm") as statm:  # noqa: PTH123 - before pathlib is worth it
        return int(statm.read().split()[0]) * resource.getpagesize()


def _warm_up() -> None:
    """Render once in every way that can go wrong: a child cannot open a file to import from."""
    who = Who(identity="", uname="", uid=0, gid=0, groups=[], gecos="", shell="", dir="")
    good = "engine: {type: ThreadPoolEngine}\nnames: {{ a | tojson }} {{ a | shell_escape }}"
    schema = {"properties": {"a": {"type": "string", "pattern": "^x"}}}
    samples = (
        good,
        "{{ b }}",
        "{% if %}",
        "{{ a.__class__ }}",
        "{{ 1 / 0 }}",
        "a: [",
        "a: &a [*a]",
    )
    for source in (*samples, "engine: {type: ThreadPoolEngine}", "{% include 'c' %}", "{{ [a] }}"):
        for options in ({"a": "x"}, {"a": "y"}):
            job = RenderJob(
                options=dict(options),
                runtime={},
                template="warm-up",
                sources={"warm-up": source},
                json_schema=schema,
                who=who,
                parent_config={},
                environment={},
            )
            msgspec.json.encode(
                _answer(msgspec.json.decode(msgspec.json.encode(job), type=RenderJob))
            )


if __name__ == "__main__":
    main()
    sys.exit(0)
