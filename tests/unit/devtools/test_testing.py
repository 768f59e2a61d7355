"""Which groups run when none is named."""

from __future__ import annotations

from devtools import testing


def test_the_virtual_machine_is_a_group_that_must_be_asked_for() -> None:
    assert "vm" in testing.groups()
    assert "vm" not in testing.usual()
    assert set(testing.groups()) == {*testing.usual(), "vm"}
