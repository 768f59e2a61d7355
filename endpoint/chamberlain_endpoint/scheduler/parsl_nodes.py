"""Parsl's own provider and launcher, made of a checked configuration. The only place that does.

The keys of a configuration are the arguments of Parsl's class (a test compares them), so what
remains is what we add: the user endpoint's id in each job's name, and in a comment where the
scheduler has room for one, so that whoever looks at a queue, or cleans it up, knows whose it is.
"""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import msgspec

from chamberlain_endpoint.rendered.settled_nodes import (
    BatchProvider,
    CloudProvider,
    CondorProvider,
    KubernetesProvider,
    Launcher,
)
from chamberlain_endpoint.scheduler.job_notes import PREFIX
from chamberlain_endpoint.scheduler.port import BlockRefusedError

_WHERE: Final = {
    "SlurmProvider": "parsl.providers.slurm.slurm",
    "PBSProProvider": "parsl.providers.pbspro.pbspro",
    "TorqueProvider": "parsl.providers.torque.torque",
    "LSFProvider": "parsl.providers.lsf.lsf",
    "GridEngineProvider": "parsl.providers.grid_engine.grid_engine",
    "CondorProvider": "parsl.providers.condor.condor",
    "KubernetesProvider": "parsl.providers.kubernetes.kube",
    "AWSProvider": "parsl.providers.aws.aws",
    "AzureProvider": "parsl.providers.azure.azure",
    "GoogleCloudProvider": "parsl.providers.googlecloud.googlecloud",
}
_MOST_WORDS: Final = 2_000
_LINES: Final = {
    # A block that was lost with its node is replaced by us; put back as well, it would be two.
    "SlurmProvider": "#SBATCH --comment=chamberlain:{name}\n#SBATCH --no-requeue",
    # PBS and Torque have no room for a comment: their jobs have the name alone.
    "PBSProProvider": "#PBS -r n",
    "TorqueProvider": "#PBS -r n",
    "LSFProvider": "#BSUB -Jd chamberlain:{name}",
    "GridEngineProvider": "#$ -N chamberlain.{name}\n#$ -ac chamberlain={name}",
    "CondorProvider": 'JobBatchName = chamberlain.{name}\n+Chamberlain = "{name}"',
}


def job_name(name: str, block: str) -> str:
    """Return the name of the job of one block; Parsl puts a number behind it.

    Args:
        name: id of the user endpoint.
    """
    return ".".join(part for part in (PREFIX, name, block) if part)


def parsl_class(kind: str) -> Any:
    """Return Parsl's class of a provider, without loading those beside it."""
    return getattr(import_module(_WHERE[kind]), kind)


def make_launcher(config: Launcher) -> Any:
    """Return Parsl's launcher for `config`."""
    from parsl import launchers

    return getattr(launchers, config.type)(**msgspec.structs.asdict(config))


def make_provider(config: BatchProvider | CloudProvider, *, name: str, script_dir: Path) -> Any:
    """Return Parsl's provider for `config`, ready to submit.

    Args:
        name: id of the user endpoint.
        script_dir: absolute, for job scripts and what jobs print; made if absent.

    Raises:
        BlockRefusedError: it cannot be made here; a package is missing, for example.
    """
    given: dict[str, Any] = msgspec.structs.asdict(signed(config, name))
    try:
        kind = parsl_class(config.type)
        taken = inspect.signature(kind.__init__).parameters
        if (launcher := getattr(config, "launcher", None)) is not None:
            given["launcher"] = make_launcher(launcher)
        if isinstance(config, CondorProvider):
            given["project"] = config.project or ""
        script_dir.mkdir(parents=True, exist_ok=True)
        provider = bounded(kind)(**{key: value for key, value in given.items() if key in taken})
    except Exception as error:
        # Parsl's classes look for packages, accounts and files when they are made.
        raise BlockRefusedError(
            public=f"{config.type} cannot be used on this host: {error}."
        ) from error
    provider.script_dir = str(script_dir)
    return provider


def bounded(kind: Any) -> Any:
    """Return `kind`, its scheduler's programs ended when their time is over.

    Parsl gives up waiting for them, and leaves them running: an `sbatch` that was given up
    on submits its job when the controller is back.
    """
    if not hasattr(kind, "execute_wait"):
        return kind

    class Bounded(kind):  # type: ignore[misc]
        def execute_wait(self, cmd: str, timeout: float | None = None) -> Any:
            if cmd == "sacct -X":
                # Asked when the provider is made, to choose how to ask for states; we do not.
                return 1, "", ""
            limit_s = timeout or self.cmd_timeout
            answer = super().execute_wait(f"timeout --kill-after=1 {limit_s:g} {cmd}", limit_s + 5)
            self.last_answer = answer
            return answer

    return Bounded


def last_words(provider: Any) -> str:
    """Return what the program printed that Parsl's `provider` ran last, on one line."""
    _, out, err = getattr(provider, "last_answer", (0, "", ""))
    return " ".join(f"{err or out}".split())[:_MOST_WORDS]


def signed(config: BatchProvider | CloudProvider, name: str) -> BatchProvider | CloudProvider:
    """Return `config` with the user endpoint's id wherever its jobs have room for a comment."""
    if not name:
        return config
    if isinstance(config, KubernetesProvider):
        note = {**(config.annotations or {}), f"{PREFIX}/user-endpoint": name}
        return msgspec.structs.replace(config, annotations=note)
    lines = _LINES.get(config.type)
    before = getattr(config, "scheduler_options", None)
    if lines is None or before is None:
        return config
    text = f"{before.rstrip()}\n{lines.format(name=name)}".lstrip("\n")
    return msgspec.structs.replace(config, scheduler_options=text)
