"""What the launcher knows of its own containers, on disk: a later one must know them again."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from chamberlain_endpoint.launcher.runtime import faults
from chamberlain_endpoint.launcher.runtime.port import Adopted
from chamberlain_endpoint.launcher.spec import LaunchSpec


@dataclass(frozen=True, slots=True)
class Record:
    """One container, written down before it is made.

    Attributes:
        generation: a word that only this start has; it stands in the container's labels.
        started_at: UTC, seconds since the epoch.
        identity: who asked for it, as the hub names them; `username`: likewise.
        tells_tasks: its standard output are records of its tasks.
        has_session: a holder keeps a PAM session open for it.
    """

    generation: str
    user_endpoint: str
    command: str
    account: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    started_at: float
    identity: str = ""
    username: str = ""
    tells_tasks: bool = False
    has_session: bool = False

    def adopted(self, pid: int) -> Adopted:
        """Return what is told of it when it is taken over."""
        return Adopted(
            user_endpoint=self.user_endpoint,
            command=self.command,
            account=self.account,
            uid=self.uid,
            pid=pid,
            started_at=self.started_at,
            identity=self.identity,
            username=self.username,
        )


def of_start(spec: LaunchSpec, generation: str, groups: tuple[int, ...]) -> Record:
    """Return the record of a container that will be made, with these groups of its account's."""
    return Record(
        generation=generation,
        user_endpoint=spec.user_endpoint,
        command=spec.command,
        account=spec.account.uname,
        uid=spec.account.uid,
        gid=spec.account.gid,
        groups=groups,
        started_at=time.time(),
        identity=spec.identity,
        username=spec.username,
        tells_tasks=spec.tells_tasks,
        has_session=spec.pam.enable,
    )


def has_some(state_dir: Path) -> bool:
    """Tell whether an earlier launcher left containers on record."""
    records = ContainerRecords(path_in(state_dir))
    records.open()
    return not records.is_empty


def path_in(state_dir: Path) -> Path:
    """Return where the records are."""
    return state_dir / "containers" / "containers.json"


class ContainerRecords:
    """The records by generation, in one file that is replaced as a whole."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, Record] = {}

    def open(self) -> None:
        """Read what the launcher before us knew. What cannot be read is nothing.

        A lost record costs one user endpoint its life (its lease runs out), nothing more.
        """
        try:
            rows = json.loads(self._path.read_text())
            records = [Record(**{**row, "groups": tuple(row["groups"])}) for row in rows]
        except (OSError, ValueError, TypeError, KeyError):
            return
        self._records = {each.generation: each for each in records}

    @property
    def is_empty(self) -> bool:
        """Whether there is no record."""
        return not self._records

    def of(self, generation: str) -> Record | None:
        """Return the record of that start; None: it is not ours."""
        return self._records.get(generation)

    def add(self, record: Record) -> None:
        """Write down a container that will be made.

        Raises:
            EngineError: it cannot be written; do not make it.
        """
        self._records[record.generation] = record
        try:
            self._write()
        except OSError as error:
            del self._records[record.generation]
            raise faults.of_os_error(str(self._path), error) from error

    def remove(self, generation: str) -> None:
        """Forget a container that is gone. One too many does no harm, so no error is raised."""
        if self._records.pop(generation, None) is None:
            return
        try:
            self._write()
        except OSError:
            return

    def keep_only(self, generations: set[str]) -> None:
        """Forget all others: the engine has no such container."""
        for generation in tuple(self._records):
            if generation not in generations:
                self.remove(generation)

    def _write(self) -> None:
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps([asdict(each) for each in self._records.values()]))
        draft.replace(self._path)
