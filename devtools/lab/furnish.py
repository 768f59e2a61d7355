"""What makes one host of the common base: names, keys, accounts, Slurm, RabbitMQ.

All of it is written into the host's own layer before it boots; the host itself runs no set-up.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import subprocess
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from devtools.lab.plan import BRIDGE_ADDRESS, HUB, Host, Plan

BROKER_USER: Final = "chamberlain-hub"
_HIDDEN_HASH: Final = "*"  # nobody logs in by password

_SLURM: Final = """\
ClusterName=lab
SlurmctldHost={hub}
SlurmUser=slurm
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/lib/slurm/slurmctld
SlurmdSpoolDir=/var/lib/slurm/slurmd
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
# Control groups of a host in the lab are its systemd's.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# Nodes say that they have more processors than the machine.
SlurmdParameters=config_overrides
ReturnToService=2
# What Debian's MPICH speaks.
MpiDefault=pmi2
SchedulerParameters=sched_min_interval=0,batch_sched_delay=0
NodeName={nodes} CPUs=4 RealMemory=1024 State=UNKNOWN
# Of a job whose time is over, and of one that must make room, for tests of just that.
KillWait=2
PreemptType=preempt/partition_prio
PreemptMode=CANCEL
PartitionName=lab Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=5
PartitionName=short Nodes=ALL MaxTime=2 State=UP PriorityTier=5
PartitionName=closed Nodes=ALL AllowGroups=root State=UP PriorityTier=5
PartitionName=spare Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1
"""

_BROKER: Final = """\
listeners.tcp.1 = 0.0.0.0:5672
management.tcp.ip = 0.0.0.0
management.tcp.port = 15672
management.load_definitions = /etc/rabbitmq/definitions.json
disk_free_limit.absolute = 50MB
log.file.level = warning
"""


@dataclass(frozen=True, slots=True)
class Secrets:
    """The keys of one lab, made when it comes up.

    Attributes:
        folder: holds `id` (root's key into every host), `host` (every host's key) and their
            public parts.
    """

    folder: Path
    munge: bytes
    broker_password: str

    @property
    def identity(self) -> Path:
        """The private key that opens root's account on every host."""
        return self.folder / "id"

    @property
    def known_hosts(self) -> Path:
        """What ssh must believe."""
        return self.folder / "known_hosts"


def make_secrets(folder: Path, plan: Plan) -> Secrets:
    """Make a lab's keys below `folder`."""
    folder.mkdir(mode=0o700)
    for name in ("id", "host"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", folder / name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
    made = Secrets(folder, secrets.token_bytes(128), secrets.token_urlsafe(24))
    public = (folder / "host.pub").read_text()
    made.known_hosts.write_text(
        "".join(f"{host.name},{host.address} {public}" for host in plan.hosts)
    )
    return made


def furnish(root: Path, host: Host, plan: Plan, keys: Secrets) -> None:
    """Write into `root`, a copy of the base, what makes it the host `host`."""
    etc = root / "etc"
    (etc / "hostname").write_text(f"{host.name}\n")
    (etc / "machine-id").write_text(f"{uuid.uuid4().hex}\n")  # empty would mean: a first boot
    (etc / "hosts").write_text(_hosts(plan))
    _write_accounts(etc, plan)
    _write_ssh(root, keys)
    _write(etc / "munge/munge.key", keys.munge, 0o400, _owner(etc, "munge"))
    _write_slurm(root, plan)
    if host.name == HUB and not plan.bare:
        _write_broker(etc, keys)
    for unit in host.units:
        _enable(root, unit)


def _hosts(plan: Plan) -> str:
    lines = ["127.0.0.1 localhost", "::1 localhost", f"{BRIDGE_ADDRESS} laptop"]
    return "\n".join([*lines, *(f"{one.address} {one.name}" for one in plan.hosts)]) + "\n"


def _write_accounts(etc: Path, plan: Plan) -> None:
    with (
        (etc / "passwd").open("a") as passwd,
        (etc / "group").open("a") as group,
        (etc / "shadow").open("a") as shadow,
    ):
        for name, uid in plan.accounts.items():
            passwd.write(f"{name}:x:{uid}:{uid}::/home/{name}:/bin/bash\n")
            group.write(f"{name}:x:{uid}:\n")
            shadow.write(f"{name}:{_HIDDEN_HASH}:20000:0:99999:7:::\n")


def make_homes(folder: Path, plan: Plan) -> None:
    """Make the homes that all hosts share."""
    folder.mkdir(mode=0o755)
    for name, uid in plan.accounts.items():
        home = folder / name
        home.mkdir(mode=0o700)
        os.chown(home, uid, uid)


def _write_ssh(root: Path, keys: Secrets) -> None:
    ssh = root / "etc/ssh"
    for name, mode in (("host", 0o600), ("host.pub", 0o644)):
        target = ssh / f"ssh_host_ed25519_key{name.removeprefix('host')}"
        _write(target, (keys.folder / name).read_bytes(), mode)
    folder = root / "root/.ssh"
    folder.mkdir(mode=0o700, exist_ok=True)
    _write(folder / "authorized_keys", (keys.folder / "id.pub").read_bytes(), 0o600)


def _write_slurm(root: Path, plan: Plan) -> None:
    etc = root / "etc"
    text = _SLURM.format(hub=HUB, nodes=",".join(plan.node_names))
    (etc / "slurm/slurm.conf").write_text(text)
    (etc / "slurm/cgroup.conf").write_text("CgroupPlugin=disabled\n")
    owner = _owner(etc, "slurm")
    for name in ("lib/slurm/slurmctld", "lib/slurm/slurmd", "log/slurm"):
        folder = root / "var" / name
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, *owner)


def _write_broker(etc: Path, keys: Secrets) -> None:
    owner = _owner(etc, "rabbitmq")
    salt = secrets.token_bytes(4)
    hashed = salt + hashlib.sha256(salt + keys.broker_password.encode()).digest()
    right = {"configure": ".*", "write": ".*", "read": ".*"}
    definitions = {
        "users": [
            {
                "name": BROKER_USER,
                "password_hash": base64.b64encode(hashed).decode(),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": ["administrator"],
            }
        ],
        "vhosts": [{"name": "/"}],
        "permissions": [{"user": BROKER_USER, "vhost": "/", **right}],
    }
    files = {
        "rabbitmq.conf": _BROKER,
        "definitions.json": json.dumps(definitions),
        "enabled_plugins": "[rabbitmq_management].\n",
        # A task is acknowledged when its result is out, which may take days.
        "advanced.config": "[{rabbit, [{consumer_timeout, undefined}]}].\n",
    }
    for name, text in files.items():
        _write(etc / "rabbitmq" / name, text.encode(), 0o640, owner)


def _enable(root: Path, unit: str) -> None:
    target = "sockets" if unit.endswith(".socket") else "multi-user"
    link = root / f"etc/systemd/system/{target}.target.wants/{unit}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(f"/usr/lib/systemd/system/{unit}")


def _owner(etc: Path, account: str) -> tuple[int, int]:
    for line in (etc / "passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == account:
            return int(fields[2]), int(fields[3])
    raise KeyError(account)


def _write(file: Path, content: bytes, mode: int, owner: tuple[int, int] = (0, 0)) -> None:
    file.unlink(missing_ok=True)
    file.touch(mode=mode)
    file.write_bytes(content)
    os.chown(file, *owner)
    file.chmod(mode)
