"""A short word for what a site makes user endpoints of: template, schema, environment, the
functions that it allows, and the manager's settings where a template looks at them.

The hub takes it into the id of a user endpoint, so that a change of the site's files makes a
new one, and the old one, which nobody asks for any more, finishes and idles away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from chamberlain_endpoint.manager.settled import Settings
from chamberlain_endpoint.manager.site import includable_paths

_DIGEST_CHARS: Final = 32
_PARENT_CONFIG: Final = b"parent_config"
"""A template that does not name it sees none of the manager's settings."""

_Stamp = tuple[tuple[str, int, int, int], ...]


class SiteDigest:
    """Follows the files of one endpoint. For one thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stamp: _Stamp | None = None
        self._digest = ""

    def now(self) -> str:
        """Return the digest of the files as they are; they are read only when they changed."""
        stamp = tuple(_stamps(self._files()))
        if stamp != self._stamp:
            self._digest = self._read()
            self._stamp = stamp
        return self._digest

    def _files(self) -> list[Path]:
        settings = self._settings
        named = {settings.template_file, settings.schema_file, settings.environment_file}
        return sorted(named.union(includable_paths(settings)))

    def _read(self) -> str:
        whole = hashlib.sha256()
        asks_settings = False
        for path in self._files():
            try:
                content = path.read_bytes()
            except OSError:
                # One that is not there differs from an empty one.
                continue
            whole.update(f"{path.name}\0{len(content)}\0".encode() + content)
            asks_settings = asks_settings or _PARENT_CONFIG in content
        # No list allows all, an empty one none.
        whole.update(json.dumps(self._settings.allowed_functions).encode())
        if asks_settings:
            told = json.dumps(self._settings.parent_config, sort_keys=True, default=str)
            whole.update(told.encode())
        return whole.hexdigest()[:_DIGEST_CHARS]


def _stamps(paths: list[Path]) -> Iterator[tuple[str, int, int, int]]:
    for path in paths:
        try:
            seen = path.stat()
        except OSError:
            continue
        yield str(path), seen.st_ino, seen.st_mtime_ns, seen.st_size
