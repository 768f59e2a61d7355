"""`check-config`: every fault of every file of an endpoint, at once, each with its line."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jsonschema
import yaml
from jsonschema.validators import validator_for

from chamberlain_endpoint.cli import ask_launcher
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.findings import Finding, in_order, line_in, toml_line, yaml_line
from chamberlain_endpoint.cli.template_source import syntax_findings
from chamberlain_endpoint.launcher import config as launcher_config
from chamberlain_endpoint.launcher.settings import PAM_SERVICE
from chamberlain_endpoint.manager import config as manager_config
from chamberlain_endpoint.manager.config import ManagerSettings
from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_endpoint.manager.site import SiteFiles
from chamberlain_endpoint.rendered.task_timeout import VARIABLE

_MAX_SHOWN_CHARS: Final = 300


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, and what is wrong with it; no finding: it would start."""

    folder: Path
    files: tuple[Path, ...]
    findings: tuple[Finding, ...]


def check(folder: Path) -> Checked:
    """Look at all files of the endpoint in `folder`.

    Raises:
        CommandFailedError: it is no endpoint's folder, or may not be looked at.
    """
    config, toml = folder / "config.yaml", folder / "launcher.toml"
    try:
        if not config.is_file() and not toml.is_file():
            raise CommandFailedError(
                f"{folder} holds neither config.yaml nor launcher.toml: it is no endpoint's folder."
            )
        return _check(config, toml)
    except PermissionError as error:
        raise CommandFailedError(f"{error.filename}: {error.strerror}. Ask as its owner.") from None


def _check(config: Path, toml: Path) -> Checked:
    findings = list(_manager_findings(config))
    settings = _as_far_as_good(config)
    files = [config]
    if settings is not None:
        files += [settings.template_file, settings.schema_file, settings.environment_file]
        findings += _site_findings(settings)
    if toml.is_file():
        files.append(toml)
        findings += _launcher_findings(toml)
        findings += _disagreements(config, settings, toml)
        mapping = _toml(toml).get("identity_mapping")
        if isinstance(mapping, str):
            files.append(Path(mapping))
    there = tuple(file for file in files if file.exists())
    return Checked(config.parent, there, tuple(in_order(dict.fromkeys(findings))))


def _manager_findings(config: Path) -> Iterator[Finding]:
    try:
        manager_config.check(config)
    except manager_config.SettingsError as error:
        text = config.read_text(errors="replace") if config.is_file() else ""
        for fault in error.faults:
            # The schema's own faults come with their lines from `_schema_findings`.
            if fault.startswith("user_config_schema_path") and "is not" in fault:
                continue
            key = fault.partition(":")[0]
            line = yaml_line(text, key.split(".")) or line_in(fault)
            yield Finding(config, line, fault)


def _as_far_as_good(config: Path) -> ManagerSettings | None:
    """Return the settings, or, when they have faults, where the other files must be."""
    try:
        return manager_config.check(config)
    except manager_config.SettingsError:
        pass
    keys: dict[str, Any] = {}
    try:
        document = yaml.safe_load(config.read_text())
    except (OSError, ValueError, yaml.YAMLError):
        document = None
    if isinstance(document, dict):
        names = ("user_config_template_path", "user_config_schema_path")
        keys = {name: Path(document[name]) for name in names if isinstance(document.get(name), str)}
    return ManagerSettings(config_file=config.absolute(), **keys)


def _site_findings(settings: ManagerSettings) -> Iterator[Finding]:
    site = SiteFiles(settings.settled())
    if settings.template_file.is_file():
        try:
            _, sources = site.template()
        except RenderRefusedError as error:
            yield Finding(settings.template_file, None, _cause(error))
        else:
            yield from syntax_findings(settings.template_file, sources)
    if settings.schema_file.is_file():
        yield from schema_findings(settings.schema_file)
    try:
        site.environment()
    except RenderRefusedError as error:
        yield from _environment_findings(settings.environment_file, _cause(error))


def schema_findings(file: Path) -> Iterator[Finding]:
    """Yield what makes `file` no JSON schema (draft 2020-12 unless it names another)."""
    text = file.read_text(errors="replace")
    try:
        schema: Any = json.loads(text)
    except json.JSONDecodeError as error:
        yield Finding(file, error.lineno, f"it is not JSON: {error.msg} (column {error.colno})")
        return
    except (ValueError, RecursionError) as error:
        yield Finding(file, None, f"it is not JSON: {error}")
        return
    if not isinstance(schema, dict):
        yield Finding(file, 1, "it is no JSON schema: an object is needed")
        return
    named = schema.get("$schema")
    kind = validator_for(schema, default=jsonschema.Draft202012Validator)
    theirs = str(kind.META_SCHEMA.get("$id") or kind.META_SCHEMA.get("id"))
    if named is not None and str(named).rstrip("#") != theirs.rstrip("#"):
        what = f"$schema: {named!r} is no draft that is known"
        todo = f"write {jsonschema.Draft202012Validator.META_SCHEMA['$id']}"
        yield Finding(file, yaml_line(text, ["$schema"]), what, todo)
    for fault in kind(kind.META_SCHEMA).iter_errors(schema):
        path = ".".join(str(step) for step in fault.absolute_path)
        what = f"{path or 'the schema'}: {fault.message:.{_MAX_SHOWN_CHARS}}"
        yield Finding(file, yaml_line(text, list(fault.absolute_path)), what)


def _environment_findings(file: Path, cause: str) -> Iterator[Finding]:
    try:
        document = yaml.load(file.read_text(), yaml.BaseLoader)  # noqa: S506 - makes texts only
    except (OSError, ValueError, yaml.YAMLError):
        document = None
    wrong = [
        name
        for name, value in (document.items() if isinstance(document, dict) else ())
        if not isinstance(value, str) or not name or "=" in str(name)
    ]
    if not wrong:
        line = line_in(cause)
        if VARIABLE in cause:
            line = yaml_line(file.read_text(), [VARIABLE])
        yield Finding(file, line, " ".join(cause.split()))
    for name in wrong:
        line = yaml_line(file.read_text(), [name])
        yield Finding(file, line, f"{name}: is no pair of a variable's name and a text")


def _launcher_findings(toml: Path) -> Iterator[Finding]:
    text = toml.read_text(errors="replace")
    for fault in launcher_config.check(toml, frozenset({0, os.geteuid()})):
        yield _launcher_finding(toml, text, fault)
    # What only the launcher's own code may judge: the mapping, its writers, the accounts.
    for fault in ask_launcher.faults(toml):
        file, line = toml, None
        if fault.startswith("identity_mapping: "):
            mapping = Path(str(_toml(toml).get("identity_mapping", toml)))
            file, fault = mapping, fault.removeprefix("identity_mapping: ")  # noqa: PLW2901
            line = mapping_line(mapping, fault)
            yield Finding(file, line, fault)
        else:
            yield _launcher_finding(toml, text, fault)


def _launcher_finding(toml: Path, text: str, fault: str) -> Finding:
    key = fault.split(" ", 1)[0].rstrip(":")
    return Finding(toml, toml_line(text, key) or line_in(fault), fault)


def mapping_line(mapping: Path, fault: str) -> int | None:
    """Return the line of the document or rule that a fault of a mapping file begins with."""
    words = fault.partition(":")[0].replace(",", "").split()
    if len(words) < 2 or words[0] != "document" or not words[1].isdecimal():
        return line_in(fault)
    path: list[str | int] = [int(words[1]) - 1]
    if len(words) > 3 and words[2] == "rule" and words[3].isdecimal():
        path += ["mappings", int(words[3]) - 1]
    try:
        return yaml_line(mapping.read_text(), path)
    except (OSError, ValueError):
        return None


def _disagreements(config: Path, settings: ManagerSettings | None, toml: Path) -> Iterator[Finding]:
    theirs = _toml(toml)
    if settings is None or not theirs:
        return
    pairs = (
        ("endpoint_id", str(settings.endpoint_id), "endpoint_id"),
        ("launcher_socket", str(settings.launcher_socket), "socket"),
    )
    for ours, value, name in pairs:
        if value != "None" and name in theirs and str(theirs[name]) != value:
            line = yaml_line(config.read_text(), [ours])
            what = f"{ours}: launcher.toml says {theirs[name]} ({name})"
            yield Finding(config, line, what, "make the two files say the same")
    yield from _pam_disagreement(config, settings, theirs.get("pam", {}))


def _pam_disagreement(config: Path, settings: ManagerSettings, pam: Any) -> Iterator[Finding]:
    # What config.yaml says of it comes from a site that moved here: it must not be lost.
    if "pam" not in settings.model_fields_set or not isinstance(pam, dict):
        return
    enable, service = pam.get("enable", False), pam.get("service", PAM_SERVICE)
    if settings.pam.enable == enable and (not enable or settings.pam.service_name == service):
        return
    line = yaml_line(config.read_text(), ["pam"])
    says = f"enable = {str(enable).lower()}, service = {service!r}"
    what = f"pam: launcher.toml decides, and says {says} in [pam]"
    yield Finding(config, line, what, "make the two files say the same")


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text())
    except (OSError, ValueError):
        return {}


def _cause(error: RenderRefusedError) -> str:
    return "; ".join(getattr(error, "__notes__", ())) or error.public
