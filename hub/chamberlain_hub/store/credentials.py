"""The users that the hub made at the broker, so that none is ever forgotten there."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from chamberlain_hub.domain.task import BrokerCredential
from chamberlain_hub.store.schema import broker_credentials
from chamberlain_hub.store.topic import Topic


class Credentials(Topic):
    """Broker users. Write one down before it is made, forget it after it is deleted."""

    def add_credential(self, credential: BrokerCredential) -> None:
        """Write down a broker user. A repeat changes nothing."""
        row = {column.name: getattr(credential, column.name) for column in broker_credentials.c}
        statement = self._database.insert(broker_credentials).values(row)
        with self._database.write() as connection:
            connection.execute(statement.on_conflict_do_nothing())

    def credentials(self, kind: str, principal: str) -> list[BrokerCredential]:
        """Return the broker users of one principal, oldest first."""
        return self._credential_list(
            (broker_credentials.c.kind == kind) & (broker_credentials.c.principal == principal)
        )

    def credentials_all(self, kind: str) -> list[BrokerCredential]:
        """Return all broker users of one kind, oldest first."""
        return self._credential_list(broker_credentials.c.kind == kind)

    def revoke_credential(self, user: str) -> None:
        """Forget a broker user. A repeat changes nothing."""
        with self._database.write() as connection:
            connection.execute(
                sa.delete(broker_credentials).where(broker_credentials.c.user == user)
            )

    def _credential_list(self, where: sa.ColumnElement[bool]) -> list[BrokerCredential]:
        statement = (
            sa.select(broker_credentials)
            .where(where)
            .order_by(broker_credentials.c.created_at, broker_credentials.c.user)
        )
        return [_as_credential(row) for row in self._rows(statement)]


def _as_credential(row: sa.Row[Any]) -> BrokerCredential:
    return BrokerCredential(
        **{column.name: getattr(row, column.name) for column in broker_credentials.c}
    )
