"""Blocks as jobs of a batch scheduler: one model per provider of Parsl, with Parsl's names.

`scheduler_options` and `worker_init` are the site's own text. Everything else that reaches a
line of a job's script is a word of a list (`words`).
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from chamberlain_endpoint.rendered.blocks import Batch
from chamberlain_endpoint.rendered.launchers import AprunLauncher, Launcher
from chamberlain_endpoint.rendered.words import (
    ClassAd,
    Expression,
    Folder,
    JobIdPattern,
    MaybeWord,
    Options,
    PlainText,
    ShellText,
    Variable,
    Walltime,
    directives,
)

SbatchLines: Any = directives("#SBATCH")
PbsLines: Any = directives("#PBS")
BsubLines: Any = directives("#BSUB")
GridLines: Any = directives("#$")


class SlurmProvider(Batch):
    """Jobs of Slurm: `sbatch`, `sacct` or `squeue`, `scancel`.

    Attributes:
        partition: where jobs queue; None is the cluster's default.
        account: what is charged.
        qos: quality of service.
        constraint: features that nodes must have, such as `gpu&a100`.
        clusters: of a federation, with commas.
        cores_per_node: asked for on each node.
        mem_per_node: GB asked for on each node.
        gpus_per_node: asked for on each node.
        gres: further resources, such as `gpu:a100:2`.
        scheduler_options: further `#SBATCH` lines of the site's.
        regex_job_id: finds the job's id in what `sbatch` prints.
        status_batch_size: jobs that one question is about.
        exclusive: nodes are not shared.
    """

    type: Literal["SlurmProvider"] = "SlurmProvider"
    partition: MaybeWord = None
    account: MaybeWord = None
    qos: MaybeWord = None
    constraint: Expression = None
    clusters: MaybeWord = None
    cores_per_node: PositiveInt | None = None
    mem_per_node: PositiveInt | None = None
    gpus_per_node: NonNegativeInt | None = None
    gres: Expression = None
    scheduler_options: SbatchLines = ""
    regex_job_id: JobIdPattern = r"Submitted batch job (?P<id>\S*)"
    cmd_timeout: PositiveInt = 10
    status_batch_size: PositiveInt = 50
    exclusive: bool = True


class TorqueProvider(Batch):
    """Jobs of Torque: `qsub`, `qstat`, `qdel`.

    Attributes:
        account: what is charged.
        queue: where jobs queue.
        scheduler_options: further `#PBS` lines of the site's.
    """

    type: Literal["TorqueProvider"] = "TorqueProvider"
    account: MaybeWord = None
    queue: MaybeWord = None
    scheduler_options: PbsLines = ""
    walltime: Walltime = "00:20:00"
    cmd_timeout: PositiveInt = 120
    launcher: Launcher = AprunLauncher()


class PBSProProvider(Batch):
    """Jobs of PBS Pro and OpenPBS: `qsub`, `qstat`, `qdel`.

    Attributes:
        account: what is charged.
        queue: where jobs queue.
        cpus_per_node: asked for on each node.
        select_options: put behind the request for nodes, such as `ngpus=4`.
        scheduler_options: further `#PBS` lines of the site's.
    """

    type: Literal["PBSProProvider"] = "PBSProProvider"
    account: MaybeWord = None
    queue: MaybeWord = None
    cpus_per_node: PositiveInt = 1
    select_options: Options = ""
    scheduler_options: PbsLines = ""
    walltime: Walltime = "00:20:00"
    cmd_timeout: PositiveInt = 120


class LSFProvider(Batch):
    """Jobs of LSF: `bsub`, `bjobs`, `bkill`.

    Attributes:
        project: what is charged.
        queue: where jobs queue.
        request_by_nodes: ask for nodes; else for cores.
        cores_per_block: asked for when not by nodes.
        cores_per_node: asked for when not by nodes.
        bsub_redirection: give the script to `bsub` on standard input.
        scheduler_options: further `#BSUB` lines of the site's.
    """

    type: Literal["LSFProvider"] = "LSFProvider"
    project: MaybeWord = None
    queue: MaybeWord = None
    request_by_nodes: bool = True
    cores_per_block: PositiveInt | None = None
    cores_per_node: PositiveInt | None = None
    bsub_redirection: bool = False
    scheduler_options: BsubLines = ""
    cmd_timeout: PositiveInt = 120

    @model_validator(mode="after")
    def _by_nodes_or_cores(self) -> Self:
        if not self.request_by_nodes and None in (self.cores_per_block, self.cores_per_node):
            raise ValueError(
                "request_by_nodes: false needs cores_per_block and cores_per_node as well"
            )
        return self


class GridEngineProvider(Batch):
    """Jobs of Grid Engine: `qsub`, `qstat`, `qdel`.

    Attributes:
        queue: where jobs queue.
        scheduler_options: further `#$` lines of the site's.
    """

    type: Literal["GridEngineProvider"] = "GridEngineProvider"
    queue: MaybeWord = None
    scheduler_options: GridLines = ""


class CondorProvider(Batch):
    """Jobs of HTCondor: `condor_submit`, `condor_q`, `condor_rm`.

    Attributes:
        cores_per_slot: asked for.
        mem_per_slot: GB asked for.
        environment: variables of a job.
        project: what is charged; empty is nothing.
        requirements: what a machine must have, a ClassAd expression.
        transfer_input_files: more files for the job.
        cmd_chunk_size: jobs that one command is about.
        scheduler_options: further lines of the submit file, the site's own.
    """

    type: Literal["CondorProvider"] = "CondorProvider"
    cores_per_slot: PositiveInt | None = None
    mem_per_slot: PositiveFloat | None = None
    environment: dict[Variable, PlainText] | None = None
    project: MaybeWord = None
    requirements: ClassAd = ""
    transfer_input_files: list[Folder] = Field(default_factory=list)
    cmd_chunk_size: PositiveInt = 100
    scheduler_options: ShellText = ""
