"""The demo's multi-user site: `ansible/site.yml` with the inventory `demo`, on this machine.

The roles are the one way to install. What makes it a demo is in variables: everything below one
folder, free ports on 127.0.0.1, supervisord whatever the machine boots with.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from devtools import environment, programs, rabbit
from devtools.known_site import KnownSite, clean_environment
from devtools.paths import ROOT
from devtools.processes import started_at, wait_until
from devtools.programs import Programs
from devtools.say import CannotGoOnError, Reporter
from devtools.site import identity_mapping

HUB_ACCOUNT: Final = "chamberlain-hub"
_COLLECTION: Final = ROOT / "ansible"
_PLAY_S: Final = 900.0
_COMMAND_S: Final = 240.0
_END_S: Final = 200.0


class PlayFailedError(CannotGoOnError):
    """A run of the playbook failed; the message holds the end of what it said."""


class DemoSite(KnownSite):
    """One site below `where/site`, of the programs below `where/programs`.

    Args:
        people: username at the hub -> local account; None is nobody. The first owns the endpoint.
    """

    def __init__(self, where: Path, people: Mapping[str, str | None]) -> None:
        super().__init__(where / "site", Programs(where / "programs"), people)
        self.where = where
        self.owner = next(iter(people))
        self._deploy = Programs(where / "deploy")

    @property
    def launcher_toml(self) -> Path:
        """The launcher's settings."""
        return self.config_dir / self.name / "launcher.toml"

    @property
    def runs(self) -> bool:
        """Whether hub and endpoint run."""
        return bool(self.endpoint_id) and self.is_online(self.owner)

    def prepare(self, report: Reporter) -> None:
        """Get Ansible and the wheels of the checkout, unless just these are there.

        Raises:
            CannotGoOnError: no usable Python, or pip failed.
        """
        stamp = self.where / "prepared"
        packaging, source = environment.packaging_hash(), programs.source_hash()
        had = stamp.read_text().split() if stamp.exists() else []
        if had == [packaging, source]:
            return
        wheels = self.where / "wheels"
        with programs.readable_by_all():
            if had[:1] != [packaging]:
                python = programs.base_python(report)
                with report.step("Getting Ansible, and the wheels of all that Chamberlain needs"):
                    for folder in (self._deploy.folder, wheels):
                        shutil.rmtree(folder, ignore_errors=True)
                    programs.make_environment(python, self._deploy.folder)
                    environment.pip_install([str(self._deploy.python)], _ansible())
            with report.step("Building the wheel of the checkout"):
                for old in wheels.glob("chamberlain-*.whl"):
                    old.unlink()
                only = ["--no-deps", str(ROOT)]
                what = only if had[:1] == [packaging] else [f"{ROOT}[endpoint,hub]"]
                self._pip_wheel(wheels, what)
        stamp.write_text(f"{packaging} {source}")

    def start(self, report: Reporter) -> None:
        """Play `site.yml`, and make the people and their tokens. Call `stop` in any case.

        Raises:
            CannotGoOnError: a task of the playbook or a command failed.
        """
        self.folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._write_variables()
        with report.step("Playing ansible/site.yml: RabbitMQ, hub, endpoint"):
            self.play("site.yml")
        with report.step("Making the people and their tokens"):
            known = json.loads(self._variables_file.read_text())
            self.hub_url = known["hub_url"]
            self.endpoint_id = str(tomllib.loads(self.launcher_toml.read_text())["endpoint_id"])
            for person in self.people:
                if person != self.owner:
                    self._hub("user", "add", person)
                self.tokens[person] = str(self._hub("token", "create", person)["token"])
            self._save()

    def change(self, variables: Mapping[str, object]) -> None:
        """Play `site.yml` again, with more variables.

        Raises:
            PlayFailedError: a task failed.
        """
        known = json.loads(self._variables_file.read_text())
        self._variables_file.write_text(json.dumps({**known, **variables}))
        self.play("site.yml")

    def play(self, playbook: str, *words: str) -> None:
        """Play a playbook of the collection with the demo's variables.

        Raises:
            PlayFailedError: a task failed, or it took too long.
        """
        command = [str(self._deploy.folder / "bin/ansible-playbook"), "-i", "inventories/demo"]
        own = {
            # Its Python is the one for which the wheels were built.
            "PATH": f"{self._deploy.folder / 'bin'}:{clean_environment()['PATH']}",
            "ANSIBLE_CONFIG": str(_COLLECTION / "ansible.cfg"),
            "ANSIBLE_HOME": str(self.where / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(self.where / "ansible/tmp"),
            "ANSIBLE_REMOTE_TEMP": str(self.where / "ansible/tmp"),
            "ANSIBLE_NOCOLOR": "1",
        }
        with subprocess.Popen(
            [*command, "--extra-vars", f"@{self._variables_file}", playbook, *words],
            cwd=_COLLECTION,
            env={**clean_environment(), **own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as running:
            try:
                said, _ = running.communicate(timeout=_PLAY_S)
            except subprocess.TimeoutExpired:
                raise PlayFailedError(f"{playbook}: not done within {_PLAY_S:g} s") from None
            finally:
                if running.poll() is None:
                    running.kill()
                    self._end_plays()  # its workers have sessions of their own, and would go on
        if running.returncode != 0:
            raise PlayFailedError(f"{playbook} failed:\n{said[-6000:]}")

    def stop(self) -> None:
        """Stop everything, whoever started it: user endpoints first, the broker last."""
        self._end_plays()
        if self.launcher_toml.exists() and self.programs.endpoint.exists():
            where = ["--config-dir", str(self.config_dir)]
            self._run([str(self.programs.endpoint), "stop", self.name, *where, "--json"])
        # supervisord ends what it runs before itself.
        for pid_file in ("hub/hub-run/supervisord.pid", "rabbit/run/supervisord.pid"):
            _end(self.folder / pid_file)

    def _end_plays(self) -> None:
        """End what runs of Ansible, and nothing that a playbook started to stay."""
        programs_of_it = f"{self._deploy.folder}/bin/".encode()

        def none_left() -> bool:
            pids = [
                int(entry.parent.name)
                for entry in Path("/proc").glob("[0-9]*/cmdline")
                if programs_of_it in _read(entry)
            ]
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return not pids

        if not wait_until(none_left, _END_S):
            raise CannotGoOnError(f"Processes of {self._deploy.folder} do not end.")

    @property
    def _variables_file(self) -> Path:
        return self.folder / "variables.json"

    def _write_variables(self) -> None:
        amqp, management, distribution, epmd, port = rabbit.free_ports(5)
        base = self.folder
        variables = {
            "software_wheels": str(self.where / "wheels"),
            "software_folder": str(self.programs.folder),
            "broker_folder": str(base / "rabbit"),
            "broker_port": amqp,
            "broker_management_port": management,
            "broker_distribution_port": distribution,
            "broker_epmd_port": epmd,
            "hub_broker_port": amqp,
            "hub_broker_management_port": management,
            "hub_url": f"http://127.0.0.1:{port}",
            "hub_listen_port": port,
            "hub_account": HUB_ACCOUNT,
            "hub_config_folder": str(base / "hub"),
            "hub_data_folder": str(base / "hub/data"),
            "endpoint_config_folder": str(self.config_dir),
            "endpoint_images_folder": str(self.where / "images"),
            "endpoint_owner": self.owner,
            "endpoint_mapping": [identity_mapping(self.people)],
        }
        self._variables_file.write_text(json.dumps(variables))

    def _hub(self, *words: str) -> Any:
        settings = str(self.folder / "hub/hub.toml")
        as_hub = ["runuser", "--user", HUB_ACCOUNT, "--"]
        return self._run([*as_hub, str(self.programs.hub), "--config", settings, *words, "--json"])

    def _pip_wheel(self, wheels: Path, what: list[str]) -> None:
        quiet = ["--quiet", "--disable-pip-version-check", "--wheel-dir", str(wheels)]
        self._run([str(self._deploy.python), "-m", "pip", "wheel", *quiet, *what], is_json=False)

    def _run(self, command: list[str], *, is_json: bool = True) -> Any:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            # pip reads which index it is to use from the caller's own environment.
            env=clean_environment() if is_json else None,
            cwd="/",
            timeout=_COMMAND_S,
            check=False,
        )
        if done.returncode != 0:
            shown = " ".join(command[:4])
            raise CannotGoOnError(
                f"{shown} ended with {done.returncode}:\n{done.stderr[-3000:]}{done.stdout[-3000:]}"
            )
        return json.loads(done.stdout) if is_json else None


def _ansible() -> list[str]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [str(one) for one in document["project"]["optional-dependencies"]["deploy"]]


def _read(file: Path) -> bytes:
    """Return what a file of a process says; nothing when the process is gone."""
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _end(pid_file: Path) -> None:
    """End the supervisord that wrote `pid_file`, and wait until it is gone.

    Raises:
        CannotGoOnError: it does not end.
    """
    try:
        pid = int(pid_file.read_text())
        ours = str(pid_file.parent.parent).encode()
        if ours not in Path(f"/proc/{pid}/cmdline").read_bytes():
            return  # the number belongs to another process by now
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return
    if not wait_until(lambda: started_at(pid) is None, _END_S):
        raise CannotGoOnError(f"supervisord, process {pid}, does not end.")
