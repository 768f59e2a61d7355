"""The site's own files, read afresh for each start so that an edit counts at once."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import yaml

from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_endpoint.manager.settled import Settings
from chamberlain_endpoint.manager.site_schema import read_schema
from chamberlain_endpoint.rendered import task_timeout
from chamberlain_wire.errors import ErrorCode

_INCLUDABLE: Final = frozenset({".j2", ".jinja", ".jinja2", ".yaml", ".yml", ".sh", ".txt"})
"""Endings of files that a template may include. The token, say, has none of them."""

_MAX_SOURCE_BYTES: Final = 1024 * 1024
_MAX_SOURCES: Final = 200


class SiteFiles:
    """Reads template, schema and environment of one endpoint."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def template(self) -> tuple[str, dict[str, str]]:
        """Return the template's name, and name -> text of it and of what it may include.

        Raises:
            RenderRefusedError: the template cannot be read.
        """
        file = self._settings.template_file
        try:
            sources = {**_includable(self._settings), file.name: file.read_text()}
        except (OSError, UnicodeDecodeError) as error:
            raise _unusable("template", error) from error
        return file.name, sources

    def json_schema(self) -> dict[str, Any] | None:
        """Return the schema of callers' options, None when there is none.

        Raises:
            RenderRefusedError: it cannot be read. Nobody is let in unchecked.
        """
        try:
            return read_schema(self._settings.schema_file)
        except ValueError as error:
            raise _unusable("options schema", error) from error

    def environment(self) -> dict[str, str]:
        """Return what the site adds to a user endpoint's environment, texts as written.

        Raises:
            RenderRefusedError: the file is there, and is no mapping of names to texts, or its
                GC_TASK_TIMEOUT is no number of seconds.
        """
        try:
            # BaseLoader: `yes`, `010` and `1e3` stay the text that the administrator wrote.
            document = yaml.load(
                self._settings.environment_file.read_text(),
                yaml.BaseLoader,  # noqa: S506 - makes texts, nothing else
            )
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise _unusable("environment file", error) from error
        document = {} if document in (None, "") else document
        if not isinstance(document, dict) or not all(map(_is_variable, document.items())):
            raise _unusable("environment file", ValueError("not a mapping of names to texts"))
        try:
            task_timeout.from_environment(document)
        except task_timeout.BadLimitError as error:
            raise _unusable("environment file", error) from error
        return document


def includable_paths(settings: Settings) -> list[Path]:
    """Return what stands beside the template, and in the folder `templates` beside it.

    Not the manager's own settings: a template sees those that are in force, in `_GC`.
    """
    folder = settings.template_file.parent
    beside = sorted([*folder.glob("*"), *folder.glob("templates/*")])
    taken = (path for path in beside if path.suffix in _INCLUDABLE)
    return [path for path in taken if path != settings.config_file]


def _includable(settings: Settings) -> dict[str, str]:
    folder = settings.template_file.parent
    found: dict[str, str] = {}
    for path in includable_paths(settings):
        if len(found) == _MAX_SOURCES:
            break
        # What we may not read, no template may include.
        with suppress(OSError, UnicodeDecodeError):
            if path.is_file() and path.stat().st_size <= _MAX_SOURCE_BYTES:
                found[path.relative_to(folder).as_posix()] = path.read_text()
    return found


def _is_variable(entry: tuple[object, object]) -> bool:
    name, value = entry
    return (
        isinstance(name, str)
        and isinstance(value, str)
        and name != ""
        and not set(name) & {"=", "\0"}
        and "\0" not in value
    )


def _unusable(what: str, error: Exception) -> RenderRefusedError:
    refused = RenderRefusedError(
        ErrorCode.TEMPLATE_FAILED,
        f"The endpoint's {what} cannot be used. Tell its administrator.",
    )
    refused.add_note(str(error))
    return refused
