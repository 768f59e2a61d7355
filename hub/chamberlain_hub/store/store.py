"""The store: everything that the hub must still know after a restart."""

from __future__ import annotations

import os
from typing import Final, Self

import sqlalchemy as sa

from chamberlain_hub.domain.errors import StoreNotMigratedError, StoreUnavailableError
from chamberlain_hub.store.cancellations import Cancellations
from chamberlain_hub.store.credentials import Credentials
from chamberlain_hub.store.database import Database
from chamberlain_hub.store.endpoints import Endpoints
from chamberlain_hub.store.functions import Functions
from chamberlain_hub.store.groups import Groups
from chamberlain_hub.store.identities import Identities
from chamberlain_hub.store.policies import Policies
from chamberlain_hub.store.results import Results
from chamberlain_hub.store.service_accounts import ServiceAccounts
from chamberlain_hub.store.tasks import Tasks
from chamberlain_hub.store.tokens import Tokens
from chamberlain_hub.store.user_endpoints import UserEndpoints

_FILE_MODE: Final = 0o600


class Store(
    Identities,
    Tokens,
    ServiceAccounts,
    Policies,
    Functions,
    Endpoints,
    UserEndpoints,
    Groups,
    Tasks,
    Results,
    Cancellations,
    Credentials,
):
    """All topics over one connection pool.

    Thread-safe and blocking: call it from a worker thread, never from an event loop. Each
    method is one transaction, which is on disk when the method returns. Each may raise
    `StoreUnavailableError`: nothing was changed, try again later.
    """

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the store at `url`; nothing is asked of a PostgreSQL server yet.

        Args:
            url: `sqlite:///FILE` (made with mode 0600 if absent) or
                `postgresql://USER:PASSWORD@HOST/NAME`.

        Raises:
            StoreUnavailableError: the SQLite file cannot be opened.
        """
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            # SQLite itself would make it readable for everybody; its -wal and -shm follow it.
            try:
                os.close(os.open(parsed.database, os.O_CREAT | os.O_RDWR, _FILE_MODE))
            except OSError as error:
                raise StoreUnavailableError(
                    f"{parsed.database} cannot be opened: {error.strerror}"
                ) from None
        return cls(Database(url))

    def close(self) -> None:
        """Close all connections."""
        self._database.close()

    @property
    def is_sqlite(self) -> bool:
        """Whether it is a file of this machine, which no other program migrates."""
        return self._database.is_sqlite

    def is_new(self) -> bool:
        """Tell whether there is nothing yet in the database."""
        from chamberlain_hub.store.migrate import is_new

        with self._database.read() as connection:
            return is_new(connection)

    def migrate(self) -> None:
        """Bring the tables up to date. A repeat changes nothing."""
        from chamberlain_hub.store.migrate import upgrade

        with self._database.write() as connection:
            upgrade(connection)

    def check_migrated(self) -> None:
        """Check that the tables are those that this program expects.

        Raises:
            StoreNotMigratedError: they are not; `public` names the command to run.
        """
        from chamberlain_hub.store.migrate import fault

        with self._database.read() as connection:
            found = fault(connection)
        if found:
            raise StoreNotMigratedError(public=found)
