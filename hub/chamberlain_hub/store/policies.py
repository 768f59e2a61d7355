"""Authentication policies that the hub's administrator defined."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from chamberlain_hub.domain.errors import PolicyExistsError, PolicyUnknownError
from chamberlain_hub.domain.policy import Policy, checked
from chamberlain_hub.store.schema import policies
from chamberlain_hub.store.topic import Topic


class Policies(Topic):
    """Authentication policies."""

    def add_policy(self, policy: Policy) -> Policy:
        """Store a policy and return it as it is stored; it never changes afterwards.

        Raises:
            PolicyInvalidError: it makes no sense.
            PolicyExistsError: its id is taken.
        """
        wanted = replace(checked(policy), created_at=time.time())
        rules = {
            "include": wanted.include,
            "exclude": wanted.exclude,
            "session_age_s": wanted.session_age_s,
            "mfa": wanted.mfa,
        }
        row = {
            "id": wanted.id,
            "name": wanted.name,
            "rules": rules,
            "created_at": wanted.created_at,
        }
        with self._database.write() as connection:
            try:
                connection.execute(sa.insert(policies), row)
            except IntegrityError:
                raise PolicyExistsError(
                    public=f"There is already an authentication policy {wanted.id}."
                ) from None
        return wanted

    def policy(self, policy_id: str) -> Policy | None:
        """Return a policy."""
        row = self._row(sa.select(policies).where(policies.c.id == policy_id.lower()))
        return None if row is None else _as_policy(row)

    def list_policies(self) -> list[Policy]:
        """Return all policies, ordered by name."""
        rows = self._rows(sa.select(policies).order_by(policies.c.name, policies.c.id))
        return [_as_policy(row) for row in rows]

    def delete_policy(self, policy_id: str) -> None:
        """Forget a policy. Endpoints that ask for it let nobody in from now on.

        Raises:
            PolicyUnknownError: there is none with this id.
        """
        with self._database.write() as connection:
            done = connection.execute(sa.delete(policies).where(policies.c.id == policy_id.lower()))
            if done.rowcount == 0:
                raise PolicyUnknownError(
                    public=f"There is no authentication policy {policy_id[:80]!r}."
                )


def _as_policy(row: Any) -> Policy:
    rules = row.rules
    return Policy(
        id=row.id,
        name=row.name,
        include=tuple(rules["include"]),
        exclude=tuple(rules["exclude"]),
        session_age_s=rules["session_age_s"],
        mfa=rules["mfa"],
        created_at=row.created_at,
    )
