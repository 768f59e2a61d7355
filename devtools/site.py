"""A throwaway site on this machine: private broker, hub on SQLite, one endpoint.

The demo, the benchmarks and the system tests use it. Everything is below one folder, listens
on 127.0.0.1 on free ports, has a pid file, and is ended by `stop()`, also by another process
and after a crash of the one that started it. The programs are driven as an administrator
would drive them: by their command lines.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from devtools.known_site import KnownSite, clean_environment
from devtools.processes import Daemon, NotUpError, wait_until
from devtools.programs import Programs
from devtools.rabbit import PrivateRabbit, free_ports
from devtools.say import CannotGoOnError, Reporter

_HUB_UP_S = 60.0
_ONLINE_S = 60.0
_COMMAND_S = 240.0


class CommandError(CannotGoOnError):
    """One of our own command lines failed; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What kind of site.

    Attributes:
        multi: the multi-user form (needs root), or the single-account form.
        people: username at the hub -> local account; None is nobody.
        owner: whose token the endpoint registers with; one of `people`.
        hub_account: account that the hub runs as; None is ourselves.
        options: further arguments of `chamberlain-endpoint configure`.
        hub_settings: further settings of the hub.
        policy: settings of the launcher's policy, instead of what `configure` writes.
    """

    multi: bool
    people: Mapping[str, str | None]
    owner: str
    hub_account: str | None = None
    options: Sequence[str] = ()
    hub_settings: Mapping[str, str | int | float] = field(default_factory=dict)
    policy: Mapping[str, object] = field(default_factory=dict)


class Site(KnownSite):
    """One site below `folder`.

    Args:
        folder: made if absent; other accounts must be able to enter it in the multi-user form.
        rabbit: a running broker to share; None: one of its own, started and stopped with it.
    """

    def __init__(
        self, folder: Path, programs: Programs, plan: Plan, rabbit: PrivateRabbit | None = None
    ) -> None:
        super().__init__(folder, programs, plan.people)
        self.plan = plan
        self.rabbit = rabbit or PrivateRabbit(folder / "rabbit")
        self._own_rabbit = rabbit is None
        self._hub = Daemon("hub", folder)

    @property
    def runs(self) -> bool:
        """Whether hub and endpoint run."""
        return (
            bool(self.endpoint_id) and self._hub.pid is not None and self.is_online(self.plan.owner)
        )

    def start(self, report: Reporter) -> None:
        """Start everything and return when the endpoint is online. Call `stop` in any case.

        Raises:
            RabbitNotStartedError, NotUpError, CommandError: which part failed, and its log.
        """
        self.start_services(report)
        self.start_agent(report)

    def start_services(self, report: Reporter) -> None:
        """Start broker and hub, add the people: all but the endpoint. Call `stop` in any case.

        Raises:
            RabbitNotStartedError, NotUpError, CommandError: which part failed, and its log.
        """
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        if self._own_rabbit:
            with report.step("Starting a private RabbitMQ node"):
                self.rabbit.start()
        with report.step("Starting the hub on SQLite, with its people and their tokens"):
            self.start_hub()
            self._add_people()

    def start_agent(self, report: Reporter) -> None:
        """Start the endpoint at a hub that runs, and return when it is online.

        Raises:
            NotUpError, CommandError: which part failed, and its log.
        """
        with report.step("Configuring the endpoint and starting it under supervisord"):
            self._configure()
            self.start_endpoint()

    def start_hub(self) -> None:
        """Start the hub, the first time with new settings; return when it answers."""
        settings = self.folder / "hub.toml"
        if not settings.exists():
            self._write_hub_settings(settings)
        self._hub.start(
            [self.programs.hub, "--config", settings, "serve"],
            account=self._hub_account,
            environment=clean_environment(),
        )
        self._hub.expect(lambda: self.get("/v2/version") is not None, _HUB_UP_S)

    def stop_hub(self) -> None:
        """Stop the hub; its database stays."""
        self._hub.stop()

    def start_endpoint(self) -> None:
        """Start the configured endpoint and return when the hub sees it online."""
        self.endpoint_command("start", self.name, "--detach")
        if not wait_until(lambda: self.is_online(self.plan.owner), _ONLINE_S):
            log = self.config_dir / self.name / "log" / "manager.log"
            tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
            raise NotUpError(f"The endpoint did not come online:\n{tail}")

    def stop_endpoint(self) -> None:
        """Stop the endpoint and its user endpoints."""
        configured = (self.config_dir / self.name / "launcher.toml").exists()
        if configured and self.programs.endpoint.exists():
            self.endpoint_command("stop", self.name)

    def stop(self) -> None:
        """Stop everything, whoever started it; what failed to stop is told at the end.

        Raises:
            CommandError: the endpoint could not be stopped; hub and broker are.
        """
        try:
            self.stop_endpoint()
        finally:
            try:
                self._hub.stop()
            finally:
                if self._own_rabbit and self.rabbit.folder.exists():
                    self.rabbit.stop()

    def hub_command(self, *arguments: str) -> Any:
        """Run `chamberlain-hub` with `arguments` and `--json`; return what it printed."""
        settings = str(self.folder / "hub.toml")
        return self._run([self.programs.hub, "--config", settings, *arguments, "--json"], None)

    def endpoint_command(self, *arguments: str, given: str | None = None) -> Any:
        """Run `chamberlain-endpoint` with `arguments` and `--json`; return what it printed."""
        where = ["--config-dir", str(self.config_dir)]
        return self._run([self.programs.endpoint, *arguments, *where, "--json"], given)

    @property
    def _hub_account(self) -> pwd.struct_passwd | None:
        return pwd.getpwnam(self.plan.hub_account) if self.plan.hub_account else None

    def _write_hub_settings(self, path: Path) -> None:
        (port,) = free_ports(1)
        data = self.folder / "hub"
        data.mkdir(mode=0o700, exist_ok=True)
        values = {
            "data_dir": str(data),
            "listen_port": port,
            "broker_url": self.rabbit.amqp_url,
            "broker_management_url": self.rabbit.management_url,
            **self.plan.hub_settings,
        }
        path.touch(mode=0o600)
        # JSON's texts and numbers are TOML's.
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
        if account := self._hub_account:
            os.chown(data, account.pw_uid, account.pw_gid)
            os.chown(path, account.pw_uid, account.pw_gid)
        self.hub_url = f"http://127.0.0.1:{values['listen_port']}"
        self._save()

    def _add_people(self) -> None:
        for person in self.plan.people:
            if person not in self.tokens:
                self.hub_command("user", "add", person)
                made = self.hub_command("token", "create", person)
                self.tokens[person] = str(made["token"])
        self._save()

    def _configure(self) -> None:
        if self.endpoint_id:
            return
        form = ["--multi-user", "true" if self.plan.multi else "false"]
        if self.plan.multi:
            mapping = self.folder / "identity_mapping.json"
            mapping.write_text(json.dumps([identity_mapping(self.plan.people)], indent=2))
            form += ["--contact-email", self.plan.owner, "--id-mapping-config", str(mapping)]
        hub = ["--hub", self.hub_url, "--token-file", "-"]
        made = self.endpoint_command(
            "configure",
            self.name,
            *form,
            *hub,
            *self.plan.options,
            given=self.tokens[self.plan.owner],
        )
        self._set_policy(Path(made["folder"]) / "launcher.toml")
        self.endpoint_id = str(made["endpoint_id"])
        self._save()

    def _set_policy(self, settings: Path) -> None:
        """Change lines of the launcher's settings as an administrator's editor would."""
        text = settings.read_text()
        for key, value in self.plan.policy.items():
            text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {json.dumps(value)}", text)
        settings.write_text(text)

    def _run(self, command: Sequence[str | Path], given: str | None) -> Any:
        is_hub = command[0] == self.programs.hub
        account = self._hub_account if is_hub else None
        done = subprocess.run(
            [str(word) for word in command],
            input=given or "",
            capture_output=True,
            text=True,
            env=clean_environment(),
            cwd="/",
            timeout=_COMMAND_S,
            check=False,
            user=account.pw_uid if account else None,
            group=account.pw_gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            shown = " ".join(str(word) for word in command[:4])
            raise CommandError(f"{shown} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
        return json.loads(done.stdout)


def identity_mapping(people: Mapping[str, str | None]) -> dict[str, Any]:
    """Return a mapping document that maps just these people to just these accounts."""
    return {
        "DATA_TYPE": "expression_identity_mapping#1.0.0",
        "mappings": [
            {
                "source": "{username}",
                "match": person.replace(".", r"\."),
                "output": account,
            }
            for person, account in people.items()
            if account is not None
        ],
    }
