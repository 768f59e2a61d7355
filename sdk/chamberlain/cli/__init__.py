"""The `chamberlain` command."""

from chamberlain.cli.main import main

__all__ = ["main"]
