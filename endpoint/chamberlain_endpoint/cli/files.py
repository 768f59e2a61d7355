"""The files of an endpoint: their content, their modes, and what each is for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from chamberlain_endpoint.cli.layout import Layout
from chamberlain_endpoint.launcher.settings import PAM_SERVICE
from chamberlain_endpoint.manager.config import PamSettings


@dataclass(frozen=True, slots=True)
class Overrides:
    """Files that the administrator brings instead of our defaults; None is the default."""

    template: Path | None = None
    schema: Path | None = None
    user_environment: Path | None = None
    identity_mapping: Path | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What the files say that is not a default.

    Attributes:
        hub_keys: base64 of the raw public keys.
        owner: identity of the only caller; single-account form only.
        manager_user: name of the account that may speak to the launcher.
        more: further keys of config.yaml; they win over our defaults.
        pam: what launcher.toml says of PAM.
    """

    endpoint_id: str
    hub_url: str
    token: str
    hub_keys: tuple[str, ...]
    display_name: str | None
    email: str | None
    owner: str
    manager_user: str
    more: Mapping[str, Any] = field(default_factory=dict)
    pam: PamSettings = field(
        default_factory=lambda: PamSettings(enable=False, service_name=PAM_SERVICE)
    )


@dataclass(frozen=True, slots=True)
class File:
    """One file to write.

    Attributes:
        group_reads: the service account's group may read it; else the mode says it all.
        purpose: half a sentence for the administrator.
    """

    path: Path
    content: str
    mode: int
    purpose: str
    group_reads: bool = False


def all_files(layout: Layout, facts: Facts, brought: Overrides) -> list[File]:
    """Return every file of the endpoint, in the order in which an administrator reads them."""
    shown = 0o644 if layout.multi else 0o600
    folder = layout.config
    files = [
        File(layout.manager_config, _manager_config(layout, facts), shown, "the manager's settings")
    ]
    if layout.multi:
        files.append(
            File(
                mapping_path(layout, brought),
                _text(brought.identity_mapping, "example_identity_mapping_config.json"),
                shown,
                "who becomes which local account"
                + ("" if brought.identity_mapping else " (an example: edit it)"),
            )
        )
    files += [
        File(
            folder / "user_config_template.yaml.j2",
            _text(brought.template, "user_config_template.yaml.j2"),
            shown,
            "what a user endpoint runs, rendered for each caller",
        ),
        File(
            folder / "user_config_schema.json",
            _text(brought.schema, "user_config_schema.json"),
            shown,
            "which options callers may give to the template",
        ),
        File(
            folder / "user_environment.yaml",
            _text(brought.user_environment, "user_environment.yaml"),
            shown,
            "environment of user endpoints",
        ),
        File(
            layout.launcher_toml,
            _launcher_toml(layout, facts, brought),
            0o600,
            "the launcher's settings and the site's policy",
        ),
        File(
            layout.token,
            facts.token + "\n",
            0o640 if layout.multi else 0o600,
            "a copy of the hub token (secret)",
            group_reads=layout.multi,
        ),
    ]
    return files


def mapping_path(layout: Layout, brought: Overrides) -> Path:
    """Return the path of the identity mapping in force."""
    example = "" if brought.identity_mapping else "example_"
    return layout.config / f"{example}identity_mapping_config.json"


def write(file: File, group: int) -> None:
    """Write a new file with its mode from its first byte on.

    Args:
        group: the service account's group, for files that it may read.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    with os.fdopen(os.open(file.path, flags, 0o600), "w") as out:
        out.write(file.content)
        out.flush()
        if file.group_reads:
            os.fchown(out.fileno(), -1, group)
        os.fchmod(out.fileno(), file.mode)


def _text(brought: Path | None, name: str) -> str:
    if brought is not None:
        return brought.read_text()
    return (resources.files("chamberlain_endpoint.cli") / "defaults" / name).read_text()


def _manager_config(layout: Layout, facts: Facts) -> str:
    def line(key: str, value: object) -> str:
        # JSON is YAML, and quotes whatever needs it.
        return f"{key}: {json.dumps(value, ensure_ascii=False, default=str)}\n"

    more = dict(facts.more)

    def chosen(key: str, value: object) -> str:
        brought = more.pop(key, None)
        return line(key, brought if value is None else value)

    text = (
        "# Settings of the manager. Unknown keys are refused. After a change:\n"
        f"# chamberlain-endpoint restart {layout.name}\n\n"
        + chosen("display_name", facts.display_name)
        + (chosen("email", facts.email) if facts.email or "email" in more else "")
        + "# Shown to everybody who may use the hub, or found by its id alone.\n"
        + line("public", more.pop("public", False))
        + "# Seconds between signs of life.\n"
        + line("heartbeat_period", more.pop("heartbeat_period", 30))
    )
    return (
        text
        + "".join(line(key, value) for key, value in more.items())
        + "\n# Written by configure; the launcher's settings must say the same.\n"
        + line("endpoint_id", facts.endpoint_id)
        + line("hub_url", facts.hub_url)
        + line("token_file", str(layout.token))
        + line("launcher_socket", str(layout.launcher_socket))
        + line("state_dir", str(layout.manager))
    )


def _launcher_toml(layout: Layout, facts: Facts, brought: Overrides) -> str:
    # A JSON string of plain text is a TOML string; paths and names here hold no surrogates.
    quote = json.dumps
    who = (
        f"# Who becomes which local account. Only root may be able to write it.\n"
        f"identity_mapping = {quote(str(mapping_path(layout, brought)))}\n"
        f"# The account whose processes may speak on the socket.\n"
        f"manager_user = {quote(facts.manager_user)}\n"
        if layout.multi
        else f"# The only identity that is let in.\nowner_identity = {quote(facts.owner)}\n"
    )
    policy = (
        "\n[policy]\n"
        "# Accounts below this uid are refused, and these, whatever the mapping says.\n"
        "min_uid = 1000\n"
        f"denied_accounts = {json.dumps(['root', 'nobody', facts.manager_user])}\n"
        "denied_groups = []\n"
        "allowed_groups = []  # empty: all groups\n"
        "max_user_endpoints = 200\n"
        "max_user_endpoints_per_account = 20\n"
        "stop_grace_s = 10.0\n"
        if layout.multi
        else "\n[policy]\nmin_uid = 1\nstop_grace_s = 10.0\n"
    )
    return (
        "# Settings of the launcher. Unknown keys are refused.\n\n"
        f"mode = {quote('multi' if layout.multi else 'single')}\n"
        f"endpoint_id = {quote(facts.endpoint_id)}\n"
        f"socket = {quote(str(layout.launcher_socket))}\n"
        f"state_dir = {quote(str(layout.launcher))}\n"
        f"accounts_dir = {quote(str(layout.accounts))}\n"
        f"{who}"
        "# Public keys of the hub, whose statements are believed.\n"
        f"hub_keys = {json.dumps(list(facts.hub_keys))}\n"
        "# Interpreter and PATH of user endpoints.\n"
        f"python = {quote(sys.executable)}\n"
        'path = "/usr/local/bin:/usr/bin:/bin"\n'
        "# User endpoints tell of their tasks, for the audit log.\n"
        "audit_tasks = true\n"
        f"{policy}"
        "\n[audit]\n"
        "# When a line of the audit log cannot be written: refuse, or continue with an alarm.\n"
        'on_write_failure = "refuse"\n'
        "max_bytes = 16777216  # a file of this size is full; another one is begun\n"
        "keep_files = 64  # full files that are kept\n"
        f"{_pam(facts) if layout.multi else ''}"
    )


def _pam(facts: Facts) -> str:
    return (
        "\n[pam]\n"
        "# A session of the host's PAM stack around each user endpoint: who may come in now, and\n"
        "# with which limits. service is a file in /etc/pam.d (chamberlain-endpoint pam-service).\n"
        f"enable = {json.dumps(facts.pam.enable)}\n"
        f"service = {json.dumps(facts.pam.service_name)}\n"
        "timeout_s = 30.0  # for its modules, until the session is open\n"
    )
