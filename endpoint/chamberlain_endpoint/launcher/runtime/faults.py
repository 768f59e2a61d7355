"""Why a container could not be had: one sentence for the user, one for the administrator."""

from __future__ import annotations

import errno
import re
from typing import Final

from chamberlain_endpoint.launcher.runtime.port import StartFailedError


class EngineError(StartFailedError):
    """The engine would not do as asked. The detail is its answer.

    Attributes:
        word: what kind of trouble, for a log line.
        remedy: what the administrator can do.
    """

    word = "engine"
    remedy = "Look at the engine's own log."
    public = "The site could not start the container of your user endpoint."


class EngineDownError(EngineError):
    """Nobody answers at the engine's socket."""

    word = "engine_down"
    remedy = "Start it: systemctl start podman.socket (or docker.socket)."
    public = "The site's container engine does not answer; tell its administrator."


class NoImageError(EngineError):
    """The image is not there."""

    word = "no_image"
    remedy = "Bring it: chamberlain-endpoint image install ARCHIVE."
    public = "The site's container image is missing; tell its administrator."


class NoSpaceError(EngineError):
    """A disk is full."""

    word = "no_space"
    remedy = "Make room where the engine keeps its containers (df -h)."
    public = "The site has no disk space left for your user endpoint; tell its administrator."


class NoUserNamespaceError(EngineError):
    """The kernel gives no user namespaces, or not the ids that were asked for."""

    word = "no_user_namespace"
    remedy = "Check: sysctl user.max_user_namespaces; runtime.subordinate_first and _count."
    public = "The site cannot isolate your user endpoint now; tell its administrator."


class NoSubordinateIdsError(EngineError):
    """Every range of subordinate ids is given to some account."""

    word = "no_subordinate_ids"
    remedy = "Raise runtime.subordinate_count; ranges that were given stay."
    public = "The site has no more subordinate ids for new accounts; tell its administrator."


class NoSuchLimitError(EngineError):
    """The account's session sets a limit that the engine has no word for."""

    word = "no_such_limit"
    remedy = (
        "Docker Engine bounds no address space: set another limit in limits.conf, or use Podman."
    )
    public = "The site's limits cannot be set for your container; tell its administrator."


class NoMountError(EngineError):
    """Something of the host that containers are to see is not there."""

    word = "no_mount"
    remedy = (
        "Start what makes it (munged makes /run/munge), or take it out of runtime.mounts or "
        "runtime.scheduler_paths."
    )
    public = "Something that the site's containers need is missing; tell its administrator."


class NoNetworkError(EngineError):
    """The engine has no network of the name that the site chose."""

    word = "no_network"
    remedy = "Make it (podman network create NAME), or correct runtime.network."
    public = "The network of the site's containers is missing; tell its administrator."


class NotIsolatedError(EngineError):
    """The container ran otherwise than asked, and was killed."""

    word = "not_isolated"
    remedy = "Do not use this engine: it does not keep to the id maps that it is given."
    public = "The site could not isolate your user endpoint, so it was not started."


_SIGNS: Final[tuple[tuple[type[EngineError], tuple[str, ...]], ...]] = (
    (
        NoUserNamespaceError,
        (
            # The kernel says so when user.max_user_namespaces is reached, or 0.
            "clone: no space left",
            "fork/exec /proc/self/exe: no space left",
            "user namespace",
            "newuidmap",
            "newgidmap",
            "gid_map",
            "uid_map",
            "setgroups",
            "unshare",
            "not enough unused ids",
            "max_user_namespaces",
        ),
    ),
    (NoSpaceError, ("no space left", "disk quota exceeded")),
    (NoImageError, ("no such image", "image not known", "rootfs", "no such object")),
)


_NO_NETWORK: Final = re.compile(r"unable to find network|network (\S+ )?not found")


def of_text(status: int, text: str) -> EngineError:
    """Return the error that an engine's answer means."""
    low = text.lower()
    if _NO_NETWORK.search(low):
        return NoNetworkError(f"{status}: {text}")
    for kind, signs in _SIGNS:
        if any(sign in low for sign in signs):
            return kind(f"{status}: {text}")
    return EngineError(f"{status}: {text}")


def of_os_error(what: str, error: OSError) -> EngineError:
    """Return the error that a call of the kernel's means; `what` was wanted."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return (NoSpaceError if is_full else EngineError)(f"{what}: {error}")


def by_word(word: str, detail: str) -> EngineError:
    """Return the error that another process raised."""
    kinds = (
        EngineDownError,
        NoImageError,
        NoMountError,
        NoNetworkError,
        NoSpaceError,
        NoSubordinateIdsError,
        NoSuchLimitError,
        NoUserNamespaceError,
        NotIsolatedError,
    )
    for kind in kinds:
        if kind.word == word:
            return kind(detail)
    return EngineError(detail)
