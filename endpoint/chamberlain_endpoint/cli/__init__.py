"""`chamberlain-endpoint`: the administrator's tool. Each daemon has its own entry point."""

from chamberlain_endpoint.cli.main import main

__all__ = ["main"]
