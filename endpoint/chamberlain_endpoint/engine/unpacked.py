"""Workers inside an unpacked image on a compute node, without an engine. The script is pure text.

Whatever has a scheduler's job as its parent must stay its child, or the job's end does not end it:
Podman's monitor and its pause process do not, and its store does not bear a home that nodes share.
So the job enters the image by itself, with the kernel's namespaces and util-linux, as the account
it is; what it mounts is gone with its last process. See ADR 0034.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from chamberlain_endpoint.scheduler.port import BlockRefusedError

KIND: Final = "unpacked"
VARIABLE: Final = "CHAMBERLAIN_IMAGE"
"""Set by the launcher: the root folder of the image that the user endpoint runs in."""

_NAME: Final = "enter-image.sh"
_SCRIPT: Final = """\
# Runs a command inside an unpacked image: sh enter-image.sh ROOT COMMAND...
set -eu
say() {
    echo "chamberlain: $1" >&2
    exit 78
}
if [ "$1" != --inside ]; then
    here="the node $(uname -n)"
    [ -x "$1/usr/bin/unshare" ] && [ -d "$1/mnt" ] ||
        say "$here has no image in $1. Ask the site's administrators to install it there."
    command -v unshare >/dev/null && command -v pivot_root >/dev/null ||
        PATH=$PATH:/usr/sbin:/sbin
    command -v unshare >/dev/null && command -v pivot_root >/dev/null ||
        say "$here has no unshare or pivot_root (util-linux), which workers in an image need."
    unshare --map-root-user --mount true 2>/dev/null ||
        say "$here lets accounts make no user namespaces, which workers in an image need."
    exec unshare --map-root-user --mount --propagation slave \\
        sh "$0" --inside "$(id -u)" "$(id -g)" "$PWD" "$@"
fi
uid=$2 gid=$3 folder=$4 image=$5
shift 5
new=$image/mnt
mount -t tmpfs -o mode=0755 image "$new"
for one in "$image"/* /*; do
    name=${one##*/}
    [ ! -e "$new/$name" ] && [ ! -L "$new/$name" ] || continue
    # What is the node's own stays so; of all else the image's comes first.
    case $name in
    dev | home | media | mnt | proc | run | srv | sys | tmp) one=/$name ;;
    esac
    if [ -L "$one" ]; then
        cp -P "$one" "$new/$name"
    elif [ "$name" = etc ]; then
        mkdir "$new/etc" "$new/.etc"
        mount --rbind "$one" "$new/.etc"
        (cd "$new/etc" && ln -s ../.etc/* .)
    elif [ -d "$one" ]; then
        mkdir "$new/$name"
        mount --rbind "$one" "$new/$name"
    fi
done
# Who people are, how hosts are found, and which scheduler this is, the node knows.
for name in group hosts localtime munge passwd resolv.conf slurm; do
    [ -r "/etc/$name" ] || continue
    rm -f "$new/etc/$name"
    if [ -d "/etc/$name" ]; then mkdir "$new/etc/$name"; else : >"$new/etc/$name"; fi
    mount --rbind "/etc/$name" "$new/etc/$name"
done
mkdir "$new/.host"
cd "$new"
pivot_root . .host
cd "$folder" 2>/dev/null || cd /
umount --lazy /.host && rmdir /.host
export PATH=/opt/chamberlain/bin:/usr/local/bin:/usr/bin:/bin
# The account's own id again, and no capability.
exec unshare --user --map-user="$uid" --map-group="$gid" -- "$@"
"""


def write_script(run_dir: Path) -> None:
    """Write into `run_dir`, which the nodes see, what enters images there."""
    (run_dir / _NAME).write_text(_SCRIPT)


def command_inside(image: str, command: str, *, run_dir: Path) -> str:
    """Return `command` as it runs inside the image whose root folder is `image`.

    Raises:
        BlockRefusedError: none is named, and the user endpoint has none to name.
    """
    if not image:
        raise BlockRefusedError(
            public=f"The site's template has container_type: {KIND} without container_uri, and "
            "the user endpoint does not run in a container whose image workers could have, too. "
            "Tell the site's administrators."
        )
    return f"sh {shlex.quote(str(run_dir / _NAME))} {shlex.quote(image)} {command}"
