"""`lint`: its options and what it tells."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from chamberlain_endpoint.cli import lint, places
from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import READABLE, cli, common, print_json
from chamberlain_endpoint.manager import config as manager_config
from chamberlain_endpoint.manager.config import ManagerSettings
from chamberlain_endpoint.manager.render.job import RenderRefusedError
from chamberlain_endpoint.manager.site import SiteFiles


@cli.command("lint")
@click.argument("name", metavar="[NAME|DIR]", required=False)
@click.option("-t", "--template", type=READABLE, help="Look at this template. Default: NAME's.")
@click.option("-s", "--user-schema", type=READABLE, help="With this schema. Default: NAME's.")
@common
def lint_command(
    name: str | None,
    template: Path | None,
    user_schema: Path | None,
    config_dir: Path | None,
    as_json: bool,
) -> None:
    """Say what in template and schema gives callers more than you may mean to give.

    Finds options that reach a shell, comparisons that never hold, options that template and
    schema do not share, and allowed functions beside free shell text. Each finding has a line
    and what to do. The exit code is 1 when there is one.
    """
    if name is None and template is None:
        raise click.UsageError("NAME or --template is needed")
    found = lint.findings(_look(name, template, user_schema, config_dir))
    if as_json:
        print_json({"findings": [finding.document() for finding in found]})
    else:
        for finding in found:
            click.echo(finding.text())
        click.echo(f"{len(found)} findings" if found else "Nothing found.", err=True)
    sys.exit(1 if found else 0)


def _look(
    name: str | None, template: Path | None, schema: Path | None, config_dir: Path | None
) -> lint.Look:
    try:
        if name is None:
            assert template is not None
            settings = ManagerSettings(
                config_file=template.absolute().parent / "config.yaml",
                user_config_template_path=template.absolute(),
            )
        else:
            folder = places.folder(name, config_dir)
            settings = manager_config.check(folder / "config.yaml")
            if template is not None:
                changed = {"user_config_template_path": template.absolute()}
                settings = settings.model_copy(update=changed)
        _, sources = SiteFiles(settings.settled()).template()
    except (manager_config.SettingsError, RenderRefusedError) as error:
        raise CommandFailedError(
            "; ".join([error.public, *getattr(error, "__notes__", ())])
        ) from None
    config = settings.config_file if name is not None else None
    return lint.look(settings.template_file, sources, schema or settings.schema_file, config)
