"""`config.yaml` of the public agent, key by key: kept, translated, or refused with a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from chamberlain_endpoint.cli.findings import yaml_line
from chamberlain_endpoint.cli.import_report import Item, Outcome
from chamberlain_endpoint.manager.config import ManagerSettings
from chamberlain_endpoint.rendered.config import UserEndpointConfig
from chamberlain_endpoint.rendered.faults import nearest

_OURS: Final = frozenset(
    {"config_file", "endpoint_id", "hub_url", "token_file", "launcher_socket", "state_dir"}
)
_FILES: Final = {
    "identity_mapping_config_path": "copied; launcher.toml names the mapping in force",
    "user_config_template_path": "copied as user_config_template.yaml.j2",
    "user_config_schema_path": "copied as user_config_schema.json",
}
_TRANSLATED: Final = {
    "audit_log_path": "every endpoint writes an audit log: chamberlain-endpoint audit show",
    "multi_user": "root serves many accounts, any other account itself",
    "detach_endpoint": "start has --detach",
    "log_dir": "logs are where the layout has them",
    "stdout": "logs are where the layout has them",
    "stderr": "logs are where the layout has them",
}
_REFUSED: Final = {
    "high_assurance": (
        "a term of a rented service; what it stands for holds for every endpoint",
        "leave it out",
    ),
    "environment": ("names a deployment of the public service", "the address of the hub is --hub"),
    "local_compute_services": ("is for developers of the service", "the address is --hub"),
    "funcx_service_address": ("names the public service", "the address of the hub is --hub"),
    "results_ack_handler": ("results are kept in the ledger", "leave it out"),
    "force_mu_allow_same_user": (
        "nobody is mapped to the endpoint's own account",
        "map callers to accounts of their own",
    ),
}
CORE: Final = frozenset(ManagerSettings.model_fields) - _OURS
USER: Final = frozenset(UserEndpointConfig.model_fields)


@dataclass(frozen=True, slots=True)
class Core:
    """What a config.yaml comes to.

    Attributes:
        more: keys for our config.yaml.
        moved: user endpoint keys of the old form, which belong into the template.
    """

    more: dict[str, Any]
    moved: tuple[str, ...]
    items: tuple[Item, ...]


def translate(document: dict[str, Any], text: str, file: str) -> Core:
    """Return what becomes of each key in `document`, the content `text` of `file`."""
    is_old = "engine" in document
    more: dict[str, Any] = {}
    moved: list[str] = []
    items = []
    for key, value in document.items():
        line = yaml_line(text, [key])
        if is_old and key in USER and (key not in CORE or key in ("allowed_functions", "debug")):
            moved.append(key)
            items.append(Item(file, key, Outcome.TRANSLATED, "moved into the template", "", line))
            if key in CORE:
                more[key] = value
            continue
        outcome, why, todo = _judge(key, value)
        if outcome is Outcome.KEPT and value is not None:
            more[key] = value
        items.append(Item(file, key, outcome, why, todo, line))
        items += [Item(file, path, Outcome.KEPT, "", "", line) for path in _inner(key, value)]
    return Core(more, tuple(moved), tuple(items))


def _judge(key: str, value: Any) -> tuple[Outcome, str, str]:
    plain = {**_FILES, **_TRANSLATED}
    if key in _REFUSED and value not in (None, False):
        answer = (Outcome.REFUSED, *_REFUSED[key])
    elif key in _REFUSED:
        answer = (Outcome.TRANSLATED, "was off, and is not written", "")
    elif key in plain:
        answer = (Outcome.TRANSLATED, plain[key], "")
    elif key in CORE:
        answer = (Outcome.KEPT, "", "")
    elif key in USER:
        answer = (Outcome.REFUSED, "is a user endpoint's", "put it into the template")
    else:
        why = f"is not a known key{nearest(key, CORE | USER)}"
        answer = (Outcome.REFUSED, why, "correct it, or leave it out")
    return answer


def _inner(key: str, value: Any) -> Iterator[str]:
    if key == "pam" and isinstance(value, dict):
        yield from (f"pam.{name}" for name in value)


def top_level_text(text: str, keys: tuple[str, ...]) -> str:
    """Return the lines of `text` that hold the top-level `keys`, with the comments above each.

    Whatever Jinja would take for its own is kept from it.
    """
    lines = text.splitlines(keepends=True)
    starts = [
        number
        for number, line in enumerate(lines)
        if line[:1] not in (" ", "\t", "#", "-", "\n", "\r", "")
    ]
    found: list[str] = []
    for place, start in enumerate(starts):
        end = starts[place + 1] if place + 1 < len(starts) else len(lines)
        if lines[start].partition(":")[0].strip("'\" ") in keys:
            end = _without_comments(lines, start, end)
            begin = _with_comments(lines, start)
            found += lines[begin:end]
    moved = "".join(found)
    if any(sign in moved for sign in ("{{", "{%", "{#")):
        return "{% raw %}\n" + moved + "{% endraw %}\n"
    return moved


def _with_comments(lines: list[str], start: int) -> int:
    while start and lines[start - 1].startswith("#"):
        start -= 1
    return start


def _without_comments(lines: list[str], start: int, end: int) -> int:
    while end > start + 1 and (lines[end - 1].startswith("#") or not lines[end - 1].strip()):
        end -= 1
    return end
