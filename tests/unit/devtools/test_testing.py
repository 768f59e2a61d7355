"""Which groups run when none is named."""

from __future__ import annotations

from devtools import testing


def test_the_virtual_machine_is_a_group_that_must_be_asked_for() -> None:
    asked_for = {"cluster", "vm"}
    assert asked_for.isdisjoint(testing.usual())
    assert set(testing.groups()) == {*testing.usual(), *asked_for}
