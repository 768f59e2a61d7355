"""Reads an endpoint's folder that the public agent made; nothing of it is changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from chamberlain_endpoint.cli import import_core, import_template
from chamberlain_endpoint.cli.check_files import schema_findings
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.import_report import Item, Outcome, refused
from chamberlain_endpoint.manager.config import ManagerSettings
from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_endpoint.manager.site import SiteFiles
from chamberlain_wire.errors import InvalidIdError
from chamberlain_wire.ids import parse_endpoint_id

_TEMPLATES: Final = ("user_config_template.yaml.j2", "user_config_template.yaml")
_MAPPINGS: Final = ("identity_mapping_config.json", "example_identity_mapping_config.json")
_CONFIG: Final = "config.yaml"
_NEW_TEMPLATE: Final = "user_config_template.yaml.j2"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the folder comes to.

    Attributes:
        name: of the folder.
        endpoint_id: the id that it is registered with; None: it never was.
        more: keys of our config.yaml.
        template: text of our template.
        options: samples that the template was rendered with.
        beside: files that the template includes, name -> text.
        schema, user_environment, mapping: files to take as they are; None: there is none.
        items: what became of each key.
    """

    folder: Path
    name: str
    endpoint_id: str | None
    more: Mapping[str, Any]
    template: str
    options: Mapping[str, Any]
    beside: Mapping[str, str]
    schema: Path | None
    user_environment: Path | None
    mapping: Path | None
    items: tuple[Item, ...]

    @property
    def refused(self) -> list[Item]:
        """Return what the administrator must look at."""
        return refused(self.items)


def read(folder: Path) -> Plan:
    """Return what the public agent's endpoint in `folder` comes to.

    Raises:
        CommandFailedError: it is no such folder, or one of an agent too old.
    """
    config = folder / _CONFIG
    if not config.is_file():
        raise CommandFailedError(_no_config(folder))
    if (folder / "launcher.toml").exists():
        raise CommandFailedError(f"{folder} is an endpoint of Chamberlain's already.")
    text = _read(config)
    document = _mapping(text, config)
    core = import_core.translate(document, text, _CONFIG)
    items = list(core.items)
    if (folder / "config.py").is_file():
        items.append(_python(folder))
    settings, faults = _settings(folder, core.more, document, text)
    items = [item for item in items if item.key not in {fault.key for fault in faults}] + faults
    name, sources = _template(settings, core, text)
    schema, schema_items = _schema(settings)
    made = import_template.translate(name, sources, schema, settings.for_templates())
    beside = import_template.files_referred(settings.template_file.parent, sources, name)
    endpoint_id, id_items = _endpoint_id(folder)
    mapping, mapping_items = _mapping_file(folder, document)
    environment, environment_items = _environment(settings)
    return Plan(
        folder=folder,
        name=folder.name,
        endpoint_id=endpoint_id,
        more={key: core.more[key] for key in core.more if key not in {one.key for one in faults}},
        template=made.text,
        options=made.options,
        beside={one: sources[one] for one in beside},
        schema=settings.schema_file if schema is not None else None,
        user_environment=environment,
        mapping=mapping,
        items=(
            *items,
            *made.items,
            *schema_items,
            *environment_items,
            *mapping_items,
            *id_items,
        ),
    )


def _no_config(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder} is no folder."
    if (folder / "config.py").is_file():
        return (
            f"{folder}/config.py is Python, which is a program and no list of settings, and is not "
            "run. Have the public agent write it as YAML (migrate-to-template-capable), or write "
            "the engine as YAML into user_config_template.yaml.j2 yourself, and import again."
        )
    return f"{folder} has no config.yaml: it is no endpoint's folder of the public agent."


def _python(folder: Path) -> Item:
    why = f"is Python, is not run, and wins over {_CONFIG} at the public agent"
    return Item("config.py", "", Outcome.REFUSED, why, f"see that {folder / _CONFIG} says the same")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise CommandFailedError(f"{file} cannot be read: {said}") from None


def _mapping(text: str, file: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CommandFailedError(f"{file} is not YAML: {' '.join(str(error).split())}") from None
    document = {} if document is None else document
    if not isinstance(document, dict) or not all(isinstance(key, str) for key in document):
        raise CommandFailedError(f"{file} must be a mapping of names to values.")
    return document


def _settings(
    folder: Path, more: Mapping[str, Any], document: Mapping[str, Any], text: str
) -> tuple[ManagerSettings, list[Item]]:
    """Return our settings of what is sound, and what is wrong with the rest."""
    paths = {
        key: document[key]
        for key in ("user_config_template_path", "user_config_schema_path")
        if isinstance(document.get(key), str)
    }
    file = (folder / _CONFIG).absolute()
    try:
        return ManagerSettings(config_file=file, **more, **paths), []
    except ValidationError as error:
        faults = [
            Item(
                _CONFIG,
                str(fault["loc"][0]),
                Outcome.REFUSED,
                f"{'.'.join(str(step) for step in fault['loc'])}: {fault['msg']}",
                "correct it",
            )
            for fault in error.errors()
        ]
    wrong = {item.key for item in faults}
    sound = {key: value for key, value in more.items() if key not in wrong}
    return ManagerSettings(config_file=file, **sound, **paths), faults


def _template(
    settings: ManagerSettings, core: import_core.Core, text: str
) -> tuple[str, Mapping[str, str]]:
    if settings.template_file.is_file():
        try:
            return SiteFiles(settings.settled()).template()
        except RenderRefusedError as error:
            raise CommandFailedError("; ".join(error.__notes__) or error.public) from None
    if not core.moved:
        raise CommandFailedError(
            f"{settings.config_file.parent} has neither a template nor an engine in {_CONFIG}: "
            "there is nothing that a user endpoint could run."
        )
    moved = import_core.top_level_text(text, core.moved)
    return _NEW_TEMPLATE, {_NEW_TEMPLATE: moved}


def _schema(settings: ManagerSettings) -> tuple[dict[str, Any] | None, list[Item]]:
    file = settings.schema_file
    if not file.is_file():
        return None, []
    faults = [
        Item(file.name, "", Outcome.REFUSED, one.what, one.todo or "correct it", one.line)
        for one in schema_findings(file)
    ]
    if faults:
        return None, faults
    schema = json.loads(file.read_text())
    names = schema.get("properties") or {}
    whole = [Item(file.name, "", Outcome.KEPT)]
    return schema, whole + [Item(file.name, name, Outcome.KEPT) for name in names]


def _environment(settings: ManagerSettings) -> tuple[Path | None, list[Item]]:
    file = settings.environment_file
    if not file.is_file():
        return None, []
    try:
        names = SiteFiles(settings.settled()).environment()
    except RenderRefusedError as error:
        why = " ".join("; ".join(getattr(error, "__notes__", ())).split()) or error.public
        return None, [Item(file.name, "", Outcome.REFUSED, why, "correct it, and copy it")]
    return file, [Item(file.name, name, Outcome.KEPT) for name in names]


def _mapping_file(folder: Path, document: Mapping[str, Any]) -> tuple[Path | None, list[Item]]:
    named = document.get("identity_mapping_config_path")
    names = [named] if isinstance(named, str) else list(_MAPPINGS[:1])
    file = next((folder / one for one in names if (folder / one).is_file()), None)
    if file is None:
        if not isinstance(named, str):
            return None, []
        why = f"{named} is not there"
        return None, [Item(_CONFIG, "identity_mapping_config_path", Outcome.REFUSED, why, "see it")]
    try:
        json.loads(file.read_text())
    except (OSError, ValueError) as error:
        why = f"it is not JSON: {error}"
        return None, [Item(file.name, "", Outcome.REFUSED, why, "correct it, and import again")]
    return file, [Item(file.name, "", Outcome.KEPT)]


def _endpoint_id(folder: Path) -> tuple[str | None, list[Item]]:
    file = folder / "endpoint.json"
    if not file.is_file():
        return None, []
    try:
        known = str(parse_endpoint_id(str(json.loads(file.read_text())["endpoint_id"])))
    except (OSError, ValueError, KeyError, TypeError, InvalidIdError):
        why = "it holds no endpoint_id"
        return None, [Item(file.name, "endpoint_id", Outcome.REFUSED, why, "a new id is chosen")]
    return known, [Item(file.name, "endpoint_id", Outcome.KEPT)]
