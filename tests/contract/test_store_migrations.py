"""Databases of earlier versions become those of this one, and nothing in them is lost."""

from __future__ import annotations

from importlib import import_module

import sqlalchemy as sa

from chamberlain_hub.domain.task import NewTask, ReceivedResult
from chamberlain_hub.store.store import Store
from chamberlain_wire.codec import encode
from chamberlain_wire.ids import EndpointId, FunctionId, IdentityId, TaskGroupId, TaskId, new_id
from chamberlain_wire.messages import Result


def _engine(url: str) -> sa.Engine:
    return sa.create_engine(sa.make_url(url.replace("postgresql://", "postgresql+psycopg://")))


def test_results_from_before_usage_was_kept_are_still_read(empty_url: str) -> None:
    store = Store.open(empty_url)
    store.migrate()
    before = import_module("chamberlain_hub.store.migrations.versions.0004_usage_of_tasks")
    group, owner = TaskGroupId(new_id()), IdentityId(new_id())
    endpoint, task = EndpointId(new_id()), TaskId(new_id())
    new = NewTask(id=task, group=group, function=FunctionId(new_id()), payload="p")
    store.add_tasks(owner, endpoint, endpoint, group, [new], 1.0)
    result = Result(task_id=task, data="d")
    store.finish([ReceivedResult(endpoint, result, encode(result))], 2.0)
    engine = _engine(empty_url)
    with engine.begin() as connection:
        # What later versions added, and then this one.
        for name in ("TABLE policies", "TABLE service_accounts"):
            connection.execute(sa.text(f"DROP {name}"))
        for name in ("tokens DROP COLUMN scope", "results DROP COLUMN usage"):
            connection.execute(sa.text(f"ALTER TABLE {name}"))
        old = {"revision": before.down_revision}
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :revision"), old)
    engine.dispose()
    store.migrate()
    store.check_migrated()
    (listed,) = store.tasks_of(owner, 10)
    assert (listed.id, listed.usage) == (task, None)
    found = store.task(task)
    assert found is not None
    assert found.result == result
    store.close()
