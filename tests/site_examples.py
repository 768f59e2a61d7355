"""Templates in the shapes in which sites publish theirs, written for the tests with other values.

The names tell which published kind has the same keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True)
class Example:
    """One site.

    Attributes:
        engine: below `engine:`, indented by two.
        options: what a caller gives.
        expected: path below the checked engine -> value.
        top: lines beside `engine:`.
    """

    name: str
    engine: str
    options: dict[str, Any] = field(default_factory=dict)
    expected: dict[str, Any] = field(default_factory=dict)
    top: str = ""


def _slurm(name: str, ifname: str, more: str, **expected: Any) -> Example:
    """The most frequent kind: caller's account, options of sbatch and commands."""
    return Example(
        name,
        f"""\
  type: GlobusComputeEngine
  max_workers_per_node: 3
  worker_debug: False
  address:
    type: address_by_interface
    ifname: {ifname}
  provider:
    type: SlurmProvider
    account: {{{{ PROJECT }}}}
    launcher:
      type: SrunLauncher
    # directives of the caller
    scheduler_options: {{{{ DIRECTIVES }}}}
    worker_init: {{{{ PREPARE }}}}
    init_blocks: 0
    min_blocks: 0
    max_blocks: 2
{more}""",
        {
            "PROJECT": "bio-12",
            "DIRECTIVES": "#SBATCH --constraint=fast&big\n#SBATCH -q short",
            "PREPARE": "module load conda; conda activate work",
        },
        {
            "provider.account": "bio-12",
            "provider.worker_init": "module load conda; conda activate work",
            "address.ifname": ifname,
            **{key.replace("__", "."): value for key, value in expected.items()},
        },
    )


EXAMPLES: Final = (
    _slurm("anvil", "ibs1", "    partition: test\n    walltime: 00:06:00\n"),
    _slurm("delta", "eth3.17", "    partition: cpu\n    walltime: 00:20:00\n"),
    _slurm("expanse", "ib1", "    partition: shared\n", provider__partition="shared"),
    _slurm("frontera", "ib2", "    cmd_timeout: 90\n    nodes_per_block: 4\n"),
    _slurm("stampede3", "ibp2s0", "    cmd_timeout: 45\n", provider__cmd_timeout=45),
    _slurm("bridges-2", "ens1f2", "    partition: small\n    nodes_per_block: 2\n"),
    _slurm("midway", "bond1", "    partition: {{ WHERE | default('any') }}\n"),
    _slurm(
        "perlmutter",
        "hsn1",
        "    qos: debug\n    constraint: gpu&hbm80g\n    exclusive: false\n    walltime: 1:15:00\n",
        provider__walltime="1:15:00",
    ),
    Example(
        "bebop",
        """\
  type: GlobusComputeEngine
  address: {type: address_by_hostname}
  provider:
    type: SlurmProvider
    partition: {{ PARTITION }}   # such as knl
    launcher: {type: SrunLauncher, overrides: -c 64}
    nodes_per_block: 2
    worker_init: |
      module load anaconda
      source activate {{ ENV | default("base") }}
""",
        {"PARTITION": "knl"},
        {"provider.partition": "knl", "provider.launcher.overrides": "-c 64"},
    ),
    Example(
        "expanse-mpi",
        """\
  type: GlobusMPIEngine
  mpi_launcher: srun
  max_workers_per_block: 2
  provider:
    type: SlurmProvider
    partition: compute
    launcher:
      type: SimpleLauncher
    nodes_per_block: 6
    walltime: 00:12:00
""",
        {},
        {"mpi_launcher": "srun", "max_workers_per_block": 2},
    ),
    Example(
        "ai-cluster",
        """\
  type: GlobusComputeEngine
  label: gpu@lab.example
  provider:
    type: SlurmProvider
    partition: gpu
    launcher:
      type: SrunLauncher
      overrides: >
        hostname; srun --ntasks={{ TASKS }}
        --gpus-per-task={{ GPUS }} \\
""",
        {"TASKS": 8, "GPUS": 1},
        {"label": "gpu@lab.example"},
    ),
    Example(
        "midway-apptainer",
        """\
  type: GlobusComputeEngine
  container_type: apptainer
  container_cmd_options: -H /home/$USER --nv
  container_uri: {{ IMAGE }}
  provider:
    type: SlurmProvider
    partition: caslake
    launcher: {type: SrunLauncher}
""",
        {"IMAGE": "docker://registry.example.edu/lab/worker:2"},
        {"container_type": "apptainer", "container_cmd_options": "-H /home/$USER --nv"},
    ),
    Example(
        "polaris",
        """\
  type: GlobusComputeEngine
  available_accelerators: 4
  cpu_affinity: block
  address: {type: address_by_interface, ifname: bond0}
  provider:
    type: PBSProProvider
    launcher:
      type: MpiExecLauncher
      bind_cmd: --cpu-bind
      overrides: --depth=32 --ppn 1
    account: {{ ALLOCATION }}
    queue: debug
    cpus_per_node: 16
    select_options: ngpus=2
    scheduler_options: "#PBS -l filesystems=home:scratch"
    worker_init: {{ PREPARE }}
    walltime: 02:00:00
""",
        {"ALLOCATION": "lab7", "PREPARE": "module use /soft; module load conda"},
        {"provider.select_options": "ngpus=2", "provider.cpus_per_node": 16},
    ),
    Example(
        "kubernetes",
        """\
  type: GlobusComputeEngine
  encrypted: false
  address: {type: address_by_route}
  provider:
    type: KubernetesProvider
    init_blocks: 0
    max_blocks: 3
    init_cpu: 1
    max_cpu: 2
    init_mem: 512Mi
    max_mem: 2Gi
    namespace: {{ NAMESPACE }}
    image: {{ IMAGE }}
    secret: {{ SECRET }}
    worker_init: {{ PREPARE }}
    persistent_volumes:
      - [claim-1, /data]
""",
        {"NAMESPACE": "lab", "IMAGE": "r.example/w:1", "SECRET": "pull", "PREPARE": "true; true"},
        {"provider.namespace": "lab", "provider.max_mem": "2Gi"},
        "heartbeat_period: 20\nheartbeat_threshold: 150\n",
    ),
    Example(
        "faster",
        """\
  type: GlobusComputeEngine
  strategy:
    type: SimpleStrategy
    max_idletime: 77
  max_workers: 5
  provider:
    type: SlurmProvider
    mem_per_node: 64
    launcher: {type: SrunLauncher}
""",
        {},
        {"job_status_kwargs.max_idletime": 77.0, "max_workers_per_node": 5},
    ),
    Example(
        "ospool",
        """\
  type: GlobusComputeEngine
  max_workers_per_node: 1
  worker_logdir_root: /tmp/w/logs
  working_dir: /tmp/w/tasks
  encrypted: False
  provider:
    type: CondorProvider
    scheduler_options: |
      +ProjectName = {{ PROJECT }}
      +SingularityImage = {{ IMAGE }}
    requirements: HAS_SINGULARITY == True && Memory > 100
""",
        {"PROJECT": "lab", "IMAGE": "/cvmfs/x/y.sif"},
        {"encrypted": False, "provider.requirements": "HAS_SINGULARITY == True && Memory > 100"},
    ),
    Example(
        "worker-pinning",
        """\
  type: GlobusComputeEngine
  max_workers_per_node: 2
  available_accelerators: ["0", "1"]
  provider: {type: LocalProvider, init_blocks: 1, min_blocks: 0, max_blocks: 1}
""",
        {},
        {"available_accelerators": ["0", "1"]},
    ),
    Example(
        "lsf",
        """\
  type: GlobusComputeEngine
  provider:
    type: LSFProvider
    queue: {{ QUEUE }}
    project: lab9
    request_by_nodes: false
    cores_per_block: 42
    cores_per_node: 42
    bsub_redirection: true
    scheduler_options: "#BSUB -alloc_flags smt4"
    launcher: {type: JsrunLauncher, overrides: -g 6}
""",
        {"QUEUE": "batch"},
        {"provider.queue": "batch", "provider.bsub_redirection": True},
    ),
    Example(
        "torque",
        """\
  type: GlobusComputeEngine
  provider:
    type: TorqueProvider
    queue: normal
    launcher: {type: AprunLauncher, overrides: -b -- bwpy-environ --}
    scheduler_options: "#PBS -l gres=shifter"
    walltime: 00:40:00
""",
        {},
        {"provider.launcher.overrides": "-b -- bwpy-environ --"},
    ),
    Example(
        "grid-engine",
        """\
  type: GlobusComputeEngine
  provider:
    type: GridEngineProvider
    queue: all.q
    scheduler_options: |
      #$ -pe smp {{ CORES | default(4) }}
    launcher: {type: SingleNodeLauncher}
""",
        {"CORES": 8},
        {"provider.scheduler_options": "#$ -pe smp 8\n"},
    ),
    Example(
        "both-comparisons",
        """\
{% if SIZE == '"large"' or SIZE == "huge" %}
  type: GlobusComputeEngine
  provider: {type: SlurmProvider, partition: big, launcher: {type: SrunLauncher}}
{% else %}
  type: GlobusComputeEngine
  provider: {type: SlurmProvider, partition: tiny, launcher: {type: SrunLauncher}}
{% endif %}
""",
        {"SIZE": "huge"},
        {"provider.partition": "big"},
    ),
)
