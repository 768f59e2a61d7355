"""What starts the workers on the nodes of a block: one model per launcher of Parsl."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from chamberlain_endpoint.rendered.base import Checked
from chamberlain_endpoint.rendered.words import AbsolutePath, ShellText


class _Launcher(Checked):
    """What all launchers know.

    Attributes:
        debug: the job's output tells what was started.
    """

    debug: bool = True


class SimpleLauncher(_Launcher):
    """Run the worker command as it is, once."""

    type: Literal["SimpleLauncher"] = "SimpleLauncher"


class SingleNodeLauncher(_Launcher):
    """Run the worker command on the one node of the block.

    Attributes:
        fail_on_any: the job fails when one of several commands did.
    """

    type: Literal["SingleNodeLauncher"] = "SingleNodeLauncher"
    fail_on_any: bool = False


class WrappedLauncher(_Launcher):
    """Put a command in front of the worker command.

    Attributes:
        prepend: shell text of the site's.
    """

    type: Literal["WrappedLauncher"] = "WrappedLauncher"
    prepend: ShellText


class _Overridden(_Launcher):
    """A launcher that takes more words for its program.

    Attributes:
        overrides: shell text of the site's, put behind the program's name.
    """

    overrides: ShellText = ""


class SrunLauncher(_Overridden):
    """Start with Slurm's `srun`, once on each node."""

    type: Literal["SrunLauncher"] = "SrunLauncher"


class SrunMPILauncher(_Overridden):
    """Start with an `srun` of its own for each worker command."""

    type: Literal["SrunMPILauncher"] = "SrunMPILauncher"


class AprunLauncher(_Overridden):
    """Start with Cray's `aprun`."""

    type: Literal["AprunLauncher"] = "AprunLauncher"


class JsrunLauncher(_Overridden):
    """Start with LSF's `jsrun`."""

    type: Literal["JsrunLauncher"] = "JsrunLauncher"


class MpiExecLauncher(_Overridden):
    """Start with `mpiexec` on the nodes of `$PBS_NODEFILE`.

    Attributes:
        bind_cmd: the option that turns binding off, such as `--cpu-bind`.
    """

    type: Literal["MpiExecLauncher"] = "MpiExecLauncher"
    bind_cmd: Annotated[str, Field(pattern=r"^-{1,2}[A-Za-z][A-Za-z0-9_-]{0,63}$")] = "--bind-to"


class MpiRunLauncher(_Overridden):
    """Start with `mpirun`.

    Attributes:
        bash_location: the shell on the nodes.
    """

    type: Literal["MpiRunLauncher"] = "MpiRunLauncher"
    bash_location: AbsolutePath = "/bin/bash"


class GnuParallelLauncher(_Launcher):
    """Start with GNU parallel over SSH on the nodes of `$PBS_NODEFILE`."""

    type: Literal["GnuParallelLauncher"] = "GnuParallelLauncher"


LAUNCHERS = (
    SimpleLauncher,
    SingleNodeLauncher,
    WrappedLauncher,
    SrunLauncher,
    SrunMPILauncher,
    AprunLauncher,
    JsrunLauncher,
    MpiExecLauncher,
    MpiRunLauncher,
    GnuParallelLauncher,
)
"""Every launcher, in the order of the reference."""

Launcher = Annotated[
    SimpleLauncher
    | SingleNodeLauncher
    | WrappedLauncher
    | SrunLauncher
    | SrunMPILauncher
    | AprunLauncher
    | JsrunLauncher
    | MpiExecLauncher
    | MpiRunLauncher
    | GnuParallelLauncher,
    Field(discriminator="type"),
]

LocalLauncher = Annotated[
    SimpleLauncher | SingleNodeLauncher | WrappedLauncher, Field(discriminator="type")
]
"""Launchers for a block that is a process of this host."""

__all__ = ["LAUNCHERS", "Launcher", "LocalLauncher"]
