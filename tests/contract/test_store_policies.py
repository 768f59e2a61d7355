"""What the store promises of authentication policies."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chamberlain_hub.domain.errors import (
    PolicyExistsError,
    PolicyInvalidError,
    PolicyUnknownError,
)
from chamberlain_hub.domain.policy import Policy
from chamberlain_hub.store.store import Store
from chamberlain_wire.ids import new_id


def test_a_policy_comes_back_as_it_was_given(store: Store) -> None:
    given = Policy(new_id(), "staff", ("x.org", "*.y.org"), ("bad.y.org",), 3600.0, True)
    made = store.add_policy(given)
    assert replace(made, created_at=0.0) == given
    assert store.policy(given.id.upper()) == made
    assert store.list_policies() == [made]
    assert store.policy(new_id()) is None


def test_an_id_is_taken_once_and_nonsense_never(store: Store) -> None:
    made = store.add_policy(Policy(new_id(), "staff"))
    with pytest.raises(PolicyExistsError):
        store.add_policy(Policy(made.id.upper(), "other"))
    with pytest.raises(PolicyInvalidError):
        store.add_policy(Policy("x", "other"))
    assert store.list_policies() == [made]


def test_a_deleted_policy_is_gone(store: Store) -> None:
    made = store.add_policy(Policy(new_id(), "staff"))
    store.delete_policy(made.id)
    assert store.policy(made.id) is None
    with pytest.raises(PolicyUnknownError):
        store.delete_policy(made.id)
