"""The command of the workers, inside a container. Pure."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Final

from chamberlain_endpoint.engine import unpacked
from chamberlain_endpoint.rendered.settled import HtexEngine

_PLAIN: Final = re.compile(r"/[A-Za-z0-9_./+-]+")
_WITH_MOUNT: Final = ("docker", "podman", "podman-hpc")


def in_container(config: HtexEngine, command: str, *, run_dir: Path, image: str = "") -> str:
    """Return `command` as it runs in the container of `config`; as it is without one.

    Args:
        run_dir: folder with keys and logs, which the container must have as well.
        image: root folder of the image that the user endpoint runs in; empty: in none.

    Raises:
        BlockRefusedError: no image is named, and there is none of the user endpoint's.
    """
    kind = config.container_type
    if kind is None:
        return command
    if kind == unpacked.KIND:
        return unpacked.command_inside(config.container_uri or image, command, run_dir=run_dir)
    options = (config.container_cmd_options or "").strip()
    folder = shlex.quote(str(run_dir))
    if kind == "custom":
        # Not str.format: the site's text may hold other braces, of awk or of the shell.
        text = options.replace("{EXECUTOR_RUNDIR}", folder)
        return text.replace("{EXECUTOR_LAUNCH_CMD}", command)
    # The same words as the public agent's, so that a site's options go on meaning the same.
    mount = f"-v {folder}:{folder} -t" if kind in _WITH_MOUNT else ""
    parts = (kind, "run", options, mount, shlex.quote(config.container_uri or ""), command)
    return " ".join(part for part in parts if part)


def worker_python(config: HtexEngine, ours: str) -> str:
    """Return the interpreter of the workers, as a word for the shell of the job.

    An image has its own in its PATH. Where `worker_init` is set, it may choose: by
    CHAMBERLAIN_PYTHON, or by the virtual or conda environment that it activates.

    Args:
        ours: the interpreter that runs the user endpoint.
    """
    if config.container_type is not None:
        return "python3"
    init = getattr(config.provider, "worker_init", "")
    home = Path(ours).parent.parent
    if not init.strip() or not _PLAIN.fullmatch(ours):
        return shlex.quote(ours)
    if Path(ours).name not in ("python", "python3"):
        return f'"${{CHAMBERLAIN_PYTHON:-{ours}}}"'
    chosen = f"${{VIRTUAL_ENV:-${{CONDA_PREFIX:-{home}}}}}/bin/python3"
    return f'"${{CHAMBERLAIN_PYTHON:-{chosen}}}"'
