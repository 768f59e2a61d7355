"""Which user endpoints may have batch jobs, on disk: the launcher after us must know it too.

What is kept is what a sweep needs, and root alone may read it: the account, its environment
and folder. No configuration and no credential.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from chamberlain_endpoint.launcher.protocol import Account, Group
from chamberlain_endpoint.launcher.runtime.port import StartFailedError
from chamberlain_endpoint.launcher.settings import PamSettings, RuntimeKind
from chamberlain_endpoint.launcher.spec import LaunchSpec

_MODULE: Final = "chamberlain_endpoint.scheduler.sweep"


def sweep_of(spec: LaunchSpec) -> LaunchSpec:
    """Return what to start, in place of `spec`, to remove the batch jobs that it left. Pure.

    As the same account in the same runtime and image, without its configuration and
    credentials. No PAM session: the jobs of an account that may not come in any more must go
    as well.
    """
    return replace(
        spec,
        arguments=(spec.arguments[0], "-I", "-m", _MODULE, spec.user_endpoint),
        first_line=b"\n",
        pam=PamSettings(),
        tells_tasks=False,
    )


class SweepRecords:
    """One sweep for each user endpoint that may have jobs, in one file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sweeps: dict[str, LaunchSpec] = {}

    def open(self) -> None:
        """Read what the launcher before us knew. What cannot be read is nothing.

        A lost record costs the jobs nothing but time: they end by themselves, and the next
        start of the user endpoint removes those that wait.
        """
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            rows = json.loads(self._path.read_text())
            self._sweeps = {row["user_endpoint"]: _spec(row) for row in rows}

    def all(self) -> tuple[LaunchSpec, ...]:
        """Return the sweeps of all user endpoints that may have jobs."""
        return tuple(self._sweeps.values())

    def of(self, user_endpoint: str) -> LaunchSpec | None:
        """Return the sweep of this one; None: it has no jobs."""
        return self._sweeps.get(user_endpoint)

    def add(self, spec: LaunchSpec) -> None:
        """Write down a user endpoint that will be started.

        Raises:
            StartFailedError: it cannot be written; do not start it.
        """
        before = self._sweeps.get(spec.user_endpoint)
        self._sweeps[spec.user_endpoint] = sweep_of(spec)
        try:
            self._write()
        except OSError as error:
            if before is None:
                del self._sweeps[spec.user_endpoint]
            raise StartFailedError(f"{self._path}: {error}") from error

    def remove(self, user_endpoint: str) -> None:
        """Forget one that has no jobs any more. One too many does no harm: no error is raised."""
        if self._sweeps.pop(user_endpoint, None) is not None:
            with contextlib.suppress(OSError):
                self._write()

    def _write(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps([_row(each) for each in self._sweeps.values()]))
        draft.replace(self._path)


def _row(spec: LaunchSpec) -> dict[str, Any]:
    return {
        "user_endpoint": spec.user_endpoint,
        "command": spec.command,
        "account": asdict(spec.account),
        "arguments": spec.arguments,
        "environment": spec.environment,
        "state_dir": str(spec.state_dir),
        "runtime": spec.runtime,
        "image": spec.image,
    }


def _spec(row: dict[str, Any]) -> LaunchSpec:
    told = row["account"]
    groups = tuple(Group(**group) for group in told["groups"])
    return LaunchSpec(
        user_endpoint=row["user_endpoint"],
        command=row["command"],
        account=Account(**{**told, "groups": groups}),
        arguments=tuple(row["arguments"]),
        environment=dict(row["environment"]),
        state_dir=Path(row["state_dir"]),
        first_line=b"\n",
        runtime=RuntimeKind(row.get("runtime", RuntimeKind.PROCESS)),
        image=row["image"],
        may_have_jobs=True,
    )
