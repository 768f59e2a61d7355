"""What a notebook feels: the import brings nothing heavy, and names are where they are said."""

from __future__ import annotations

import subprocess
import sys

import pytest

import chamberlain


def test_the_import_loads_none_of_the_heavy_packages() -> None:
    code = (
        "import sys, chamberlain;"
        "print([one for one in ('dill', 'pika', 'urllib3', 'msgspec', 'click', 'rich')"
        " if one in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


@pytest.mark.parametrize("name", chamberlain.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(chamberlain, name).__name__ == name


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = chamberlain.nonsense
