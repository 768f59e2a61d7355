"""`completion`: the text that makes a shell complete our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from chamberlain_endpoint.cli.errors import CommandFailedError
from chamberlain_endpoint.cli.group import PROGRAM, cli, json_option, print_json


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
def completion_command(shell: str, as_json: bool) -> None:
    """Print what makes SHELL complete commands and options.

    \b
    bash:  chamberlain-endpoint completion bash > /etc/bash_completion.d/chamberlain-endpoint
    zsh:   chamberlain-endpoint completion zsh > "${fpath[1]}/_chamberlain-endpoint"
    fish:  chamberlain-endpoint completion fish > \\
               ~/.config/fish/completions/chamberlain-endpoint.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise CommandFailedError(f"The installed click knows no completion for {shell}.")
    variable = f"_{PROGRAM.upper().replace('-', '_')}_COMPLETE"
    try:
        script = kind(cli, {}, PROGRAM, variable).source()
    except RuntimeError as error:
        raise CommandFailedError(str(error)) from None
    if as_json:
        print_json({"shell": shell, "script": script})
    else:
        click.echo(script)
