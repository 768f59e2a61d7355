"""Gives root's power away, and proves that it is gone. The only setuid in the tree.

The kernel's calls that Python 3.11 lacks (`prctl`, `unshare`, `setns`, `mount`) are called
through ctypes here and nowhere else.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from chamberlain_wire.errors import ChamberlainError, ErrorCode

_PR_SET_PDEATHSIG: Final = 1
_PR_CAPBSET_DROP: Final = 24
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_CLONE_NEWNS: Final = 0x00020000
_CLONE_NEWPID: Final = 0x20000000
_MS_NOSUID_NODEV_NOEXEC: Final = 2 | 4 | 8
_MS_REC_SLAVE: Final = 0x4000 | 0x80000
_MOST_CAPABILITIES: Final = 64
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPABILITY_LINES: Final = (b"CapInh:", b"CapPrm:", b"CapEff:", b"CapBnd:", b"CapAmb:")


class PrivilegeError(ChamberlainError):
    """A step of giving power away failed, or the power could be taken back.

    End the process and run nothing else in it.
    """

    code = ErrorCode.START_FAILED
    public = "The endpoint could not start a process for your account."


def become(uid: int, gid: int, groups: tuple[int, ...]) -> None:
    """Turn this process into the account `uid`; there is no way back.

    Call it in a fresh single-threaded child, right before exec. After it the process has no
    capability, and no program that it runs can get one: set-uid bits are without effect.

    Raises:
        PrivilegeError: see there.
    """
    if uid == 0:
        raise PrivilegeError("refused to become root")
    try:
        _drop_capabilities()
        os.setgroups(groups)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        _clear_capability_sets()
        forbid_new_privileges()
    except OSError as error:
        raise PrivilegeError(f"could not become uid {uid}: {error}") from error
    _assert_is(uid, gid, groups)


def forbid_new_privileges() -> None:
    """Make set-uid and file capabilities powerless for this process and all below it."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def end_with_parent(number: signal.Signals) -> None:
    """Have the kernel send this process `number` when its parent ends.

    A change of uid undoes it: call it after `become`. A parent that ended before this call
    is not noticed; look yourself, afterwards.
    """
    _prctl(_PR_SET_PDEATHSIG, number)


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


@contextmanager
def new_process_space() -> Iterator[None]:
    """Let children that are forked inside the block start a PID namespace of their own.

    The first one is its init: when it ends, the kernel kills all that is in it.

    Raises:
        OSError: the kernel does not allow it.
    """
    own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", _CLONE_NEWPID)
        try:
            yield
        finally:
            _call("setns", own, _CLONE_NEWPID)
    finally:
        os.close(own)


def show_own_processes_only() -> None:
    """Give this process a /proc with the processes of its own PID namespace.

    Mounts that the host makes later (home folders that come on demand) still arrive here.

    Raises:
        OSError: the kernel does not allow it.
    """
    _call("unshare", _CLONE_NEWNS)
    _call("mount", None, b"/", None, _MS_REC_SLAVE, None)
    _call("mount", b"proc", b"/proc", b"proc", _MS_NOSUID_NODEV_NOEXEC, None)


def _drop_capabilities() -> None:
    # The uid change clears what is permitted now; the bounding set would still offer
    # capabilities to whoever finds a way around no_new_privs.
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(_MOST_CAPABILITIES):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            return  # one above the last that this kernel knows


def _clear_capability_sets() -> None:
    # The uid change leaves the inheritable set, and all sets when root was only a name.
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("capset", head, (ctypes.c_uint32 * 6)())


def _assert_is(uid: int, gid: int, groups: tuple[int, ...]) -> None:
    # Asking is not having: read back what the kernel says, then try to return.
    seen = (set(os.getresuid()), set(os.getresgid()), set(os.getgroups()))
    if seen != ({uid}, {gid}, set(groups)):
        raise PrivilegeError(f"ids are {seen} after becoming uid {uid}")
    for attempt in (os.setuid, os.setgid):
        try:
            attempt(0)
        except PermissionError:
            continue
        if attempt is os.setgid and gid == 0:
            continue  # the account's own group has that number
        raise PrivilegeError("root could be taken back")
    with open("/proc/self/status", "rb") as status:  # noqa: PTH123 (no path to build)
        held = [line.split()[1] for line in status if line.startswith(_CAPABILITY_LINES)]
    if len(held) != len(_CAPABILITY_LINES) or any(int(mask, 16) for mask in held):
        raise PrivilegeError(f"capabilities are left: {held}")


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, *(ctypes.c_ulong(each) for each in (value, 0, 0, 0)))


def _call(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
