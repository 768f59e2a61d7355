"""What a throwaway site's people need of it, kept in a file: addresses and tokens."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from devtools.programs import Programs
from devtools.say import Reporter


class KnownSite(ABC):
    """A site below `folder`, as somebody sees it who calls.

    Args:
        people: username at the hub -> local account; None is nobody.
    """

    name = "demo"

    def __init__(self, folder: Path, programs: Programs, people: Mapping[str, str | None]) -> None:
        self.folder = folder
        self.programs = programs
        self.people = people
        self.hub_url = ""
        self.endpoint_id = ""
        self.tokens: dict[str, str] = {}
        self._facts_file = folder / "site.json"
        self._load()

    @property
    @abstractmethod
    def runs(self) -> bool:
        """Whether hub and endpoint run."""

    @abstractmethod
    def start(self, report: Reporter) -> None:
        """Make and start everything. Call `stop` in any case.

        Raises:
            CannotGoOnError: which part failed, and what it said.
        """

    @abstractmethod
    def stop(self) -> None:
        """Stop everything, whoever started it.

        Raises:
            CannotGoOnError: something could not be stopped.
        """

    @property
    def config_dir(self) -> Path:
        """Parent of the endpoint's folder."""
        return self.folder / "endpoints"

    def get(self, path: str, person: str | None = None) -> Any:
        """Return the hub's JSON answer to GET `path`, or None when it gives none."""
        headers = {"Authorization": f"Bearer {self.tokens[person]}"} if person else {}
        request = urllib.request.Request(self.hub_url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except (OSError, urllib.error.URLError, ValueError):
            return None

    def is_online(self, owner: str) -> bool:
        """Tell whether the hub says so of the endpoint to its owner."""
        status = self.get(f"/v2/endpoints/{self.endpoint_id}/status", owner)
        return isinstance(status, dict) and status.get("status") == "online"

    def environment_of(self, person: str) -> dict[str, str]:
        """Return the environment of a laptop of `person`."""
        return {
            **clean_environment(),
            "CHAMBERLAIN_HUB_URL": self.hub_url,
            "CHAMBERLAIN_TOKEN": self.tokens[person],
        }

    def _save(self) -> None:
        self._facts_file.touch(mode=0o600)
        facts = {"hub_url": self.hub_url, "endpoint_id": self.endpoint_id, "tokens": self.tokens}
        self._facts_file.write_text(json.dumps(facts))

    def _load(self) -> None:
        if self._facts_file.exists():
            facts = json.loads(self._facts_file.read_text())
            self.hub_url = facts["hub_url"]
            self.endpoint_id = facts["endpoint_id"]
            self.tokens = facts["tokens"]


def clean_environment() -> dict[str, str]:
    """Return an environment without anything of the caller's but the home."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
    }
