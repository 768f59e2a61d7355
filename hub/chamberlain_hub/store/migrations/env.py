"""Alembic loads this file by its path; the connection comes from `store.migrate`.

To add a step after a change of `store.schema`, write the next file in `versions`; the test
`test_migrations_make_the_tables_of_the_schema` says what it still lacks.
"""

from __future__ import annotations

from alembic import context

from chamberlain_hub.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The transaction is the caller's.
    transactional_ddl=False,
)
context.run_migrations()
