"""The examples in docstrings of public names run."""

from __future__ import annotations

import inspect
import textwrap

import pytest
from tests.integration.sdk.stand_in import ENDPOINT, StandInHub

import chamberlain
from chamberlain import Batch, Client, Executor, ShellFunction

pytestmark = pytest.mark.needs_rabbit


def example(of: object) -> str:
    """Return the indented lines that follow the first sentences of a docstring."""
    paragraphs = inspect.cleandoc(of.__doc__ or "").split("\n\n")
    (found,) = [one for one in paragraphs if one.startswith("    ")]
    return textwrap.dedent(found)


@pytest.mark.parametrize("of", [Executor, ShellFunction, Batch], ids=lambda of: of.__name__)
def test_the_example_of_a_docstring_runs(of: type, client: Client, hub: StandInHub) -> None:
    with Executor(ENDPOINT, client) as executor:
        names = vars(chamberlain) | {
            "Executor": lambda endpoint: Executor(endpoint, client),
            "ShellFunction": ShellFunction,
            "client": client,
            "endpoint_id": ENDPOINT,
            "executor": executor,
            "function_id": client.register_function(abs),
        }
        exec(example(of), names)
    assert hub.submits
