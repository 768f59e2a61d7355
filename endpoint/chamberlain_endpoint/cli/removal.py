"""`delete`: the hub forgets the endpoint first, then its unit and its folders go."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from chamberlain_endpoint.cli import boot, daemons, processes, tokens
from chamberlain_endpoint.cli.daemons import Known
from chamberlain_endpoint.cli.errors import CommandFailedError


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was done.

    Attributes:
        at_hub: what became of it there, a few words.
    """

    folders: tuple[Path, ...]
    at_hub: str


def delete(endpoint: Known, *, force: bool) -> Deleted:
    """Remove `endpoint` from the hub and from this host.

    Args:
        force: stop it when it runs, and go on when the hub says no.

    Raises:
        CommandFailedError: it runs, the hub says no, or a folder could not be removed. A
            second try goes on where this one ended.
    """
    where = endpoint.layout
    runs = daemons.runs(endpoint)
    if runs and not force:
        raise CommandFailedError(
            f"{where.name} runs. Stop it first, or give --force (its user endpoints end)."
        )
    if runs or processes.user_endpoints(endpoint.settings.accounts_dir):
        daemons.stop(endpoint)
    at_hub = _at_hub(endpoint, force=force)
    boot.forget(where)
    # The settings go last: as long as they are there, a second try finds the rest.
    parts = (where.manager, where.launcher, where.accounts, where.run, where.log, where.config)
    removed = []
    for folder in parts:
        if not folder.is_dir():
            continue
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise CommandFailedError(f"{error.filename}: {error.strerror}") from error
        removed.append(folder)
    return Deleted(tuple(removed), at_hub)


def _at_hub(endpoint: Known, *, force: bool) -> str:
    try:
        known = tokens.forget(endpoint)
    except CommandFailedError as error:
        if not force:
            raise CommandFailedError(
                f"{error.public} Nothing was deleted. With --force it is deleted here only."
            ) from None
        return f"still there: {error.public}"
    return "deleted" if known else "was not known"
