from __future__ import annotations

import pytest

from chamberlain_endpoint.cli import names


@pytest.mark.parametrize("name", ["cluster", "my-site_2", "a.b", "x" * 128, "Zürich", "50%"])
def test_these_can_name_an_endpoint(name: str) -> None:
    assert names.fault(name) is None


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "empty"),
        ("x" * 129, "129 characters"),
        (".hidden", "dot"),
        ("..", "dot"),
        ("two words", "space"),
        ("tab\there", "space"),
        ("line\n", "space"),
        ("nul\0", "cannot be seen"),
        ("a/b", "slash"),
        ("it's", "quote"),
        ('a"b', "quote"),
        ("a\\b", "backslash"),
        ("0e5e35d6-62b4-4b3a-9a3d-0a53b1c1e7b4", "UUID"),
        ("0E5E35D662B44B3A9A3D0A53B1C1E7B4", "UUID"),
    ],
)
def test_these_cannot_and_are_told_why(name: str, why: str) -> None:
    fault = names.fault(name)
    assert fault is not None
    assert why in fault
