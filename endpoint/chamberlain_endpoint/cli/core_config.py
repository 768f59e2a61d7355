"""What `configure` adds to config.yaml beside its own keys: a given file, a policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_wire.ids import new_id

OURS: Final = ("endpoint_id", "hub_url", "token_file", "launcher_socket", "state_dir")
"""Keys that only `configure` may choose: root's file must say the same."""

POLICY_NAME: Final = "Chamberlain endpoint policy"


def read(file: Path) -> dict[str, Any]:
    """Return the keys of a config.yaml that the administrator brings.

    Raises:
        CommandFailedError: it is no mapping, or has keys that `configure` chooses.
    """
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise CommandFailedError(f"{file}: {' '.join(str(error).split())}") from None
    document = {} if document is None else document
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise CommandFailedError(f"{file}: must be a mapping of names to values")
    taken = [key for key in OURS if key in document]
    if taken:
        raise CommandFailedError(
            f"{file}: {', '.join(taken)}: configure chooses that; leave it out"
        )
    return document


def policy(auth_policy: str | None, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of an authentication policy: of one that exists, or of a new one.

    Args:
        terms: of the new one; entries that are None or empty were not asked for.

    Raises:
        CommandFailedError: both were asked for.
    """
    wanted = {name: value for name, value in terms.items() if value not in (None, (), False)}
    if auth_policy is not None and wanted:
        raise CommandFailedError(
            "--auth-policy names a policy that exists; the other policy options describe a new "
            "one. Give one or the other."
        )
    if auth_policy is not None:
        return {"authentication_policy": auth_policy}
    if not wanted:
        return {}
    named = {"display_name": POLICY_NAME, **wanted}
    return {"authentication_policy": new_id(), "authentication_policy_terms": named}


def split(domains: str | None) -> tuple[str, ...]:
    """Return the domains of a list with commas."""
    return tuple(one.strip() for one in (domains or "").split(",") if one.strip())
