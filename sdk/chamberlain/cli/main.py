"""The `chamberlain` command. Exit codes: 0 done, 1 it failed, 2 the command line is wrong."""

from __future__ import annotations

import os
from typing import Any

import click

from chamberlain.cli import account, lists
from chamberlain.cli.logs import logs
from chamberlain.cli.run import run
from chamberlain.errors import ChamberlainError


def _main_group() -> type[click.Group]:
    class Group(click.Group):
        """Turns errors that tell their own story into one line and exit code 1."""

        def invoke(self, context: click.Context) -> Any:
            try:
                return super().invoke(context)
            except ChamberlainError as error:
                click.echo(f"chamberlain: {error.public}", err=True)
                context.exit(1)

    return Group


@click.group(
    cls=_main_group(),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Address and token of your hub: `chamberlain login`, or
  export CHAMBERLAIN_HUB_URL=https://hub.example.edu
  export CHAMBERLAIN_TOKEN=chp_...
or hub_url = "..." and token = "..." in ~/.config/chamberlain/config.toml (mode 0600).

\b
Completion of commands, for bash (zsh and fish work alike):
  eval "$(_CHAMBERLAIN_COMPLETE=bash_source chamberlain)"
""",
)
@click.version_option(package_name="chamberlain")
@click.pass_context
def main(context: click.Context) -> None:
    """Run Python functions on a cluster, as yourself, without a shell account there.

    \b
    Begin with:
      chamberlain login             which hub, and your token
      chamberlain whoami            who the hub takes you for
      chamberlain endpoints         where you may run functions
      chamberlain run hello.py:hello ENDPOINT
    """
    if os.environ.get("NO_COLOR"):
        context.color = False


for _command in (
    account.login,
    account.logout,
    account.whoami,
    lists.endpoints,
    lists.functions,
    run,
    lists.tasks,
    lists.result,
    logs,
    lists.cancel,
):
    main.add_command(_command)
