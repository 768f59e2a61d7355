"""The public agent (`globus-compute-endpoint`), unmodified, driven by its own command line.

    agent = PublicAgent(folder, hub_url, account, AgentPlan(people={"alice@example.edu": "alice"}))
    endpoint_id = agent.start()    # configures it the first time; returns when the hub sees it
    ...
    agent.stop()                   # and its user endpoints; a second call changes nothing

It takes the hub to be on port 5000 of the loopback: call it inside an `OwnNetwork`. As root it
is the multi-user form, as somebody else (`AgentPlan.account`) the form of one user. It is an
environment of its own (`devtools.public`); `release` chooses which.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from devtools import public
from devtools.processes import Daemon, NotUpError, wait_until
from devtools.site import Site, identity_mapping

NAME = "public"
ONLINE_S = 60.0
COMMAND_S = 60.0
STALE_S = 16.0
"""It takes its own pid file for true for three heartbeats of 5 s."""

TEMPLATE = """\
heartbeat_period: {{ HEARTBEAT | default(5) }}
idle_heartbeats_soft: {{ SOFT | default(0) }}
{% if BREAK is defined %}
display_name: {{ no_such_name }}
{% endif %}
engine:
  type: ThreadPoolEngine
  max_workers: {{ MAX_WORKERS | default(2) }}
"""
SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "HEARTBEAT": {"type": "integer", "minimum": 5},
        "SOFT": {"type": "integer", "minimum": 1},
        "MAX_WORKERS": {"type": "integer", "minimum": 1},
        "BREAK": {"type": "boolean"},
        "NUMBER": {"type": "integer"},
    },
    "additionalProperties": False,
}


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What `chamberlain-hub service-account create` gave."""

    client_id: str
    secret: str

    @classmethod
    def create(cls, site: Site, name: str, *options: str) -> ServiceAccount:
        """Make one at the hub of `site`."""
        made = site.hub_command("service-account", "create", name, *options)
        return cls(made["client_id"], made["client_secret"])


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """What kind of agent.

    Attributes:
        people: username at the hub -> local account, as its mapping file says; None: no file.
        account: local account that it runs as; None: root.
        config: further keys of its `config.yaml`.
        template: its template for user endpoints.
        schema: of the options that its template takes.
        environment: its environment file.
        release: packages of its environment.
        owner: who may ask the hub about it, because its service account is linked to them.
    """

    people: Mapping[str, str | None] | None = None
    account: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    template: str = TEMPLATE
    schema: Mapping[str, Any] = field(default_factory=lambda: SCHEMA)
    environment: Mapping[str, str] = field(default_factory=dict)
    release: Sequence[str] = public.AGENT_NEWEST
    owner: str = "admin@example.edu"


class PublicAgent:
    """One agent below `folder`, which other accounts can enter."""

    def __init__(self, folder: Path, site: Site, login: ServiceAccount, plan: AgentPlan) -> None:
        self.folder = folder
        self.plan = plan
        self._site = site
        self._login = login
        self._home = folder / ".globus_compute"
        self._daemon = Daemon("agent", folder)
        self._user = pwd.getpwnam(plan.account) if plan.account else None
        python = public.python_for_all(plan.release)
        self._program = python.parent / "globus-compute-endpoint"

    @property
    def endpoint_dir(self) -> Path:
        """The folder that `configure` makes."""
        return self._home / NAME

    @property
    def endpoint_id(self) -> str:
        """As the agent keeps it."""
        return str(json.loads((self.endpoint_dir / "endpoint.json").read_text())["endpoint_id"])

    @property
    def log(self) -> str:
        """All that it said."""
        files = [self._daemon.log, *self.endpoint_dir.glob("endpoint.log")]
        return "\n".join(file.read_text(errors="replace") for file in files if file.exists())

    @property
    def pid(self) -> int | None:
        """Its process, or None."""
        return self._daemon.pid

    def configure(self) -> None:
        """Make its folder with its own `configure`, then write what a site would."""
        if self.endpoint_dir.exists():
            return
        self._home.mkdir(mode=0o755, parents=True)
        if self._user is not None:
            os.chown(self._home, self._user.pw_uid, self._user.pw_gid)
        self.command("configure", NAME, *self._form())
        file = self.endpoint_dir / "config.yaml"
        document = yaml.safe_load(file.read_text()) or {}
        document |= {"local_compute_services": True, "heartbeat_period": 5, **self.plan.config}
        if self._is_old:
            document["identity_mapping_config_path"] = str(self.folder / "mapping.json")
            for name, given in (("template.yaml.j2", "template"), ("schema.json", "schema")):
                shutil.copy(self.folder / given, self.endpoint_dir / f"user_config_{name}")
        file.write_text(yaml.safe_dump(document))
        if self.plan.environment:
            environment = self.endpoint_dir / "user_environment.yaml"
            environment.write_text(yaml.safe_dump(dict(self.plan.environment)))

    def start(self) -> str:
        """Start it and return its endpoint's id when the hub sees it online."""
        self.configure()
        self.launch()
        self._daemon.expect(self.online, ONLINE_S)
        return self.endpoint_id

    def launch(self) -> None:
        """Start it and return at once; after `kill`, when it believes that it is dead."""
        pid_file = self.endpoint_dir / "daemon.pid"
        eventually(lambda: not pid_file.exists() or _age_s(pid_file) > STALE_S)
        self._daemon.start(
            [self._program, "start", NAME], account=self._user, environment=self._environment()
        )

    def ended(self, limit_s: float = ONLINE_S) -> int:
        """Wait until it has ended by itself and return its exit code."""
        child = self._daemon._child
        assert child is not None
        return child.wait(limit_s)

    def online(self) -> bool:
        """Tell whether the hub says so; the agent makes its file before it writes it."""
        file = self.endpoint_dir / "endpoint.json"
        if not file.exists() or file.stat().st_size == 0:
            return False
        status = self.status()
        return status is not None and status["status"] == "online"

    def status(self) -> Any:
        """Return what the hub's status route says of it."""
        return self._site.get(f"/v2/endpoints/{self.endpoint_id}/status", self.plan.owner)

    def stop(self) -> None:
        """Stop it with its own `stop`, and wait until it and its user endpoints are gone."""
        left = self.processes()
        if self._daemon.pid is not None:
            # Its `stop` gives up after 10 s when tasks run; the agent itself does not.
            with contextlib.suppress(NotUpError):
                self.command("stop", NAME)
            if not wait_until(lambda: self._daemon.pid is None, ONLINE_S):
                raise NotUpError(f"the agent did not stop:\n{self.log[-2000:]}")
        self._daemon.stop()
        _all_gone(left)

    def kill(self) -> None:
        """Kill it and all its user endpoints, as a host that dies would."""
        _end(self.processes(), signal.SIGKILL)
        self._daemon.stop()

    def processes(self) -> list[psutil.Process]:
        """Return it and all its descendants."""
        pid = self._daemon.pid
        if pid is None:
            return []
        agent = psutil.Process(pid)
        return [agent, *agent.children(recursive=True)]

    def user_endpoints(self) -> list[psutil.Process]:
        """Return its user endpoints."""
        pid = self._daemon.pid
        return [] if pid is None else psutil.Process(pid).children()

    def command(self, *arguments: str) -> str:
        """Run its program with `arguments` and return what it wrote; a failure raises."""
        said = self.folder / "command.log"
        with said.open("wb") as output:
            process = subprocess.Popen(
                [str(self._program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                cwd="/",
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
                extra_groups=[] if self._user else None,
            )
        # Its `stop` waits for the agent to be gone, which is a child of ours: reap it meanwhile.
        wait_until(lambda: (self._daemon.pid, process.poll())[1] is not None, COMMAND_S)
        if process.poll() is None:
            process.kill()
        text = said.read_text(errors="replace")
        if process.wait() != 0:
            raise NotUpError(f"{arguments} ended with {process.returncode}: {text}")
        return text

    def _form(self) -> list[str]:
        template, schema = self.folder / "template", self.folder / "schema"
        template.write_text(self.plan.template)
        schema.write_text(json.dumps(dict(self.plan.schema)))
        mapping = self.folder / "mapping.json"
        mapping.write_text(json.dumps([identity_mapping(self.plan.people or {})]))
        if self._is_old:
            # Its `configure` takes no files yet: a site wrote them into the folder.
            return ["--multi-user"]
        form = [f"--template-config={template}", f"--schema-config={schema}"]
        if self.plan.people is not None:
            form += ["--multi-user=true", "--contact-email=admin@example.edu"]
            form += [f"--id-mapping-config={mapping}"]
        return form

    @property
    def _is_old(self) -> bool:
        return self.plan.release == public.AGENT_YEAR_BEFORE

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": f"{self._program.parent}:/usr/bin:/bin",
            # The older one takes the other variable for the user endpoints' folder, too.
            **(
                {"HOME": str(self.folder)}
                if self._is_old
                else {
                    "HOME": self._user.pw_dir if self._user else "/root",
                    "GLOBUS_COMPUTE_USER_DIR": str(self._home),
                }
            ),
            "LANG": "C.UTF-8",
            "GLOBUS_COMPUTE_CLIENT_ID": self._login.client_id,
            "GLOBUS_COMPUTE_CLIENT_SECRET": self._login.secret,
            "GLOBUS_SDK_SERVICE_URL_AUTH": "http://localhost:5000/",
        }


def _age_s(file: Path) -> float:
    return time.time() - file.stat().st_mtime


def kill(process: psutil.Process) -> None:
    """Kill one process and wait until it is gone."""
    _end([process], signal.SIGKILL)


def eventually(what: Callable[[], Any], limit_s: float = ONLINE_S) -> Any:
    """Return what `what` returns once it is true; fail when it never is."""
    found: list[Any] = []

    def look() -> bool:
        found.append(what())
        return bool(found[-1])

    assert wait_until(look, limit_s), found[-1:]
    return found[-1]


def _end(processes: Sequence[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        if process.is_running():
            process.send_signal(number)
    _all_gone(processes)


def _all_gone(processes: Sequence[psutil.Process]) -> None:
    _, left = psutil.wait_procs(processes, timeout=ONLINE_S)
    left = [one for one in left if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    assert left == []
