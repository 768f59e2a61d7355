"""About thirty templates, written for the tests in the shapes that sites publish."""

from __future__ import annotations

from importlib import resources
from typing import Final

from tests.template_corpus import Sample

_DEFAULT: Final = (
    resources.files("chamberlain_endpoint.cli") / "defaults" / "user_config_template.yaml.j2"
).read_text()

_SLURM: Final = """\
engine:
  type: GlobusComputeEngine
  max_workers_per_node: {{ workers | default(4) }}
  address: {type: address_by_interface, ifname: ib0}
  provider:
    type: SlurmProvider
    partition: {{ partition }}
    account: {{ account | default("none") }}
    qos: {{ qos | default("normal") }}
    walltime: {{ walltime | default("01:00:00") }}
    scheduler_options: {{ scheduler_options }}
    worker_init: {{ worker_init }}
    launcher: {type: SrunLauncher}
idle_heartbeats_soft: 10
"""

_PBS: Final = """\
engine:
  type: GlobusComputeEngine
  provider:
    type: PBSProProvider
    queue: {{ queue }}
    account: "{{ account[1:-1] }}"
    select_options: ngpus={{ gpus | default(1) }}
    scheduler_options: |
      #PBS -l filesystems=home:eagle
      #PBS -N {{ name }}
    worker_init: |
      module load conda
      conda activate {{ environment | shell_escape }}
      cd {{ _GC.mapped_identity.local.dir }}
"""

_KUBERNETES: Final = """\
engine:
  type: GlobusComputeEngine
  provider:
    type: KubernetesProvider
    namespace: {{ namespace_ }}
    image: {{ image }}
    pod_name: worker-{{ name[1:-1] }}
    labels: {{ labels }}
    annotations: {{ annotations | tojson }}
    node_selector: { pool: pool-{{ pool }}, zone: {{ zone }} }
    env:
{% for key, value in env.items() %}
      - name: {{ key }}
        value: {{ value }}
{% endfor %}
"""

_CHOICE: Final = """\
{% set sizes = {"debug": {"nodes": 1, "time": "00:30:00"}, '"prod"': {"nodes": 8, "time": "1"}} %}
{% set size = sizes.get(partition, sizes["debug"]) %}
{% if partition in ["debug", "prod"] or partition == '"gpu"' %}
partition: {{ partition }}
{% else %}
partition: debug
{% endif %}
nodes_per_block: {{ size.nodes }}
walltime: {{ size.time }}
exact: {{ exact }}
"""

_LOOPS: Final = """\
modules:
{% for module in modules %}
  - {{ module }}
{% endfor %}
options:
{% for key, value in more.items() %}
  {{ key }}: {{ value }}
{% endfor %}
sorted: {{ more | dictsort | length }}
exact: {{ exact }}
"""

_SHELL: Final = """\
engine: {type: ThreadPoolEngine}
endpoint_setup: |
  export NAME={{ name }}
  export QUOTED="{{ name }}"
  export SINGLE='{{ name }}'
  export BARE={{ name[1:-1] }}
  echo "{{ name[1:-1] }}" {{ name | upper }} {{ name | shell_escape }} >&2
  echo $(true {{ name }}) ${X:-{{ name }}}
  cat <<END >&2
  {{ name }}
  END
"""

_FLOW: Final = """\
a: {x: pre-{{ one }}, y: {{ two }}, z: [{{ one }}, {{ two }}, {{ one[1:-1] }}-x]}
b: "{{ one[1:-1] }}/{{ two[1:-1] }}"
c: '{{ one }}'
d: pre-{{ two }}
"""

_FILTERS: Final = """\
a: {{ one | lower }}
b: {{ one | upper }}
c: {{ one | title }}
d: {{ one | replace('"', '') }}
e: {{ one | trim('"') }}
g: {{ [one, two] | join(",") | shell_escape }}
h: {{ one | default("x", true) }}
i: {{ one | list | length }}
j: {{ one | length }}
k: {{ (one ~ two) | tojson }}
l: {{ [one, two] }}
m: {{ (one, two) }}
n: {{ {"x": one, "y": [two]} }}
o: {{ dict(x=one) }}
"""

SAMPLES: Final = (
    Sample("default", _DEFAULT, {"ENGINE": "text", "MAX_WORKERS": "int"}),
    Sample(
        "slurm",
        _SLURM,
        dict.fromkeys(
            ("partition", "account", "qos", "walltime", "scheduler_options", "worker_init"), "text"
        )
        | {"workers": "int"},
        gives_shell=True,
        exact="engine.provider.worker_init",
    ),
    Sample("pbs", _PBS, dict.fromkeys(("queue", "account", "name", "environment"), "text")),
    Sample(
        "kubernetes",
        _KUBERNETES,
        dict.fromkeys(("namespace_", "image", "name", "pool", "zone"), "text")
        | {"labels": "map", "annotations": "map", "env": "flat"},
        gives_shell=True,
    ),
    Sample("choice", _CHOICE, {"partition": "text", "exact": "text"}, exact="exact"),
    Sample("loops", _LOOPS, {"modules": "texts", "more": "map", "exact": "text"}, exact="exact"),
    Sample("shell", _SHELL, {"name": "text"}),
    Sample("flow", _FLOW, {"one": "text", "two": "text"}),
    Sample("filters", _FILTERS, {"one": "text", "two": "text"}),
    Sample("whole map", "a: {{ o }}\nb: 1\n", {"o": "map"}),
    Sample("whole list", "a: {{ o }}\nb: 1\n", {"o": "list"}),
    Sample("deep", "a: {{ o }}\nb: {{ o | tojson }}\n", {"o": "deep"}),
    Sample("anything", "a: {{ o }}\nb: [{{ o }}]\nc: {x: {{ o }}}\n", {"o": "any"}),
    Sample("indented json", "a: {{ o | tojson(indent=2) | indent(4) }}\nb: 1\n", {"o": "map"}),
    Sample("items", "a: {{ o.items() | list }}\nb: {{ o.keys() | list }}\n", {"o": "map"}),
    Sample("key from a text", "a:\n  {{ o }}: 1\nb: {{ {o: 1} }}\n", {"o": "text"}),
    Sample("numbers", "a: {{ n + 1 }}\nb: {{ n * 2 }}\nc: {{ [n, 1] | max }}\n", {"n": "int"}),
    Sample("flag", "{% if f %}\na: 1\n{% else %}\na: 2\n{% endif %}\nb: {{ f }}\n", {"f": "bool"}),
    Sample(
        "macro",
        "{% macro line(k, v) %}{{ k }}: {{ v }}{% endmacro %}\n"
        "{{ line('a', t) }}\n{{ line('b', t | shell_escape) }}\n",
        {"t": "text"},
    ),
    Sample(
        "filter block",
        "{% filter indent(2) %}\n  a: {{ t }}\n  b: {{ t }}\n{% endfilter %}\n",
        {"t": "text"},
    ),
    Sample(
        "set block", "{% set x %}{{ t }}-{{ t }}{% endset %}\na: {{ x | tojson }}\n", {"t": "text"}
    ),
    Sample(
        "extends",
        "{% extends 'base.j2' %}{% block provider %}partition: {{ t }}{% endblock %}",
        {"t": "text", "name": "text"},
        others={
            "base.j2": "engine: {type: ThreadPoolEngine}\nprovider:\n"
            "  {% block provider %}{% endblock %}\ndisplay_name: {{ name }}\n"
        },
    ),
    Sample(
        "include",
        "{% include 'common.yaml' %}\n{% import 'm.j2' as m with context %}{{ m.init(t) }}\n",
        {"t": "text"},
        others={
            "common.yaml": "idle_heartbeats_soft: 3\nname: {{ t }}\n",
            "m.j2": "{% macro init(x) %}worker_init: |\n  activate {{ x }}\n{% endmacro %}",
        },
    ),
    Sample(
        "account",
        "a: {{ _GC.mapped_identity.local.gecos }}\n"
        "b: [{{ mapped_identity.local.dir }}, {{ _GC.mapped_identity.local.uname }}]\n"
        "c: x/{{ _GC.env.HOME }}\nd: {{ _GC.env }}\ne: {{ _GC.parent_config }}\n"
        "f: {{ _GC.user_runtime }}\nt: {{ t }}\n",
        {"t": "text"},
    ),
    Sample(
        "python version",
        "{% if _GC.user_runtime.python.version_tuple[1] == 12 %}\na: conda activate py312\n"
        "{% else %}\na: {{ t }}\n{% endif %}\nworker_init: |\n  activate "
        "py{{ _GC.user_runtime.python.version_tuple | join('.') }} {{ t[1:-1] }}\n",
        {"t": "text"},
    ),
    Sample(
        "mpi",
        "engine:\n  type: GlobusMPIEngine\n  mpi_launcher: {{ launcher }}\n  provider:\n"
        "    type: SlurmProvider\n    nodes_per_block: {{ nodes }}\n"
        "    launcher: {type: WrappedLauncher, prepend: 'srun -n 1 {{ launcher[1:-1] }}'}\n"
        "    scheduler_options: |\n      #SBATCH --constraint={{ constraint[1:-1] }}\n",
        {"launcher": "text", "nodes": "int", "constraint": "text"},
    ),
    Sample(
        "quoted scheduler options",
        'scheduler_options: "#SBATCH --constraint={{ constraint[1:-1] }}"\n',
        {"constraint": "text"},
        # YAML reads the numbers of odd characters inside its own quotes.
        gives_shell=True,
    ),
    Sample(
        "container",
        "engine:\n  container_type: apptainer\n  container_uri: docker://{{ image }}\n"
        "  container_cmd_options: -B {{ bind }}:/data\n  image: {{ image | shell_escape }}\n",
        {"image": "text", "bind": "text"},
    ),
    Sample(
        "comment",
        "# made for {{ t }}\na: 1 # {{ t }}\nb: {{ t }} # {{ t[1:-1] }}\n",
        {"t": "text"},
    ),
    Sample(
        "folded",
        "endpoint_setup: >-\n  export A={{ t }};\n  export B={{ t[1:-1] }}\nb: 1\n",
        {"t": "text"},
    ),
    Sample(
        "heartbeats",
        "heartbeat_period: {{ n }}\nidle_heartbeats_soft: {{ n | default(10) }}\n"
        "name: {{ t | default(none) }}\nlabels: [{{ t }}, {{ n }}]\n",
        {"n": "int", "t": "text"},
    ),
    Sample(
        "slices",
        'a: {{ t[1:5] }}\nb: {{ t[3:-1] }}\nc: {{ t[:-1] }}"\nd: pre{{ t[1:] }}\n',
        {"t": "text"},
    ),
    Sample(
        "pieces",
        "a: {{ t.split(' ') | last | tojson }}\nb: {{ 'x%s-%s' | format(t, t) }}\n"
        "c: {{ 'x{0}/{1}'.format(t, t) }}\nd: {{ t.strip('\"') }}\n",
        {"t": "text"},
    ),
)
