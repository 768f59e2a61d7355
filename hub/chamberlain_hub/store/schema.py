"""The tables. Migrations make them; a test holds the two together.

Large texts (payloads, results) have tables of their own, because SQLite writes a whole row
again when one column of it changes. The indexes of what is still to do cover open rows only,
so they stay small however many tasks have ended. Times are UTC seconds.
"""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator


class Json(TypeDecorator[Any]):
    """JSON as text, the same in both databases. None is NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        """Return the text that is stored."""
        return None if value is None else json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Return the value that the text stands for."""
        return None if value is None else json.loads(value)


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, String(36), primary_key=key, nullable=null)


identities = Table(
    "identities",
    metadata,
    _id("id", key=True),
    _id("user_id"),
    Column("username", String(254), nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("identity_provider", Text, nullable=False),
    Column("identity_provider_display_name", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("last_authentication", Float),
    Column("created_at", Float, nullable=False),
    Index(None, "user_id"),
)

tokens = Table(
    "tokens",
    metadata,
    _id("id", key=True),
    Column("identity", String(36), ForeignKey("identities.id", ondelete="CASCADE"), nullable=False),
    Column("label", Text, nullable=False),
    Column("sha256", String(64), nullable=False, unique=True),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Float),
    Column("revoked_at", Float),
    Column("last_used_at", Float),
    Column("scope", Text),
    Index(None, "identity"),
)

service_accounts = Table(
    "service_accounts",
    metadata,
    Column(
        "client_id",
        String(36),
        ForeignKey("identities.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("name", String(64), nullable=False, unique=True),
    Column("sha256", String(64), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("rotated_at", Float),
    Column("revoked_at", Float),
    Column("last_used_at", Float),
)

policies = Table(
    "policies",
    metadata,
    _id("id", key=True),
    Column("name", Text, nullable=False),
    Column("rules", Json, nullable=False),
    Column("created_at", Float, nullable=False),
)

functions = Table(
    "functions",
    metadata,
    _id("id", key=True),
    _id("owner"),
    Column("name", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("meta", Json, nullable=False),
    Column("description", Text, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("deleted_at", Float),
    Column("code", Text, nullable=False),
    Index(None, "owner"),
)

endpoints = Table(
    "endpoints",
    metadata,
    _id("id", key=True),
    _id("owner"),
    Column("name", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("multi_user", Boolean, nullable=False),
    Column("public", Boolean, nullable=False),
    Column("metadata", Json, nullable=False),
    Column("schema", Json),
    Column("template", Text),
    Column("allowed_functions", Json),
    Column("authentication_policy", Text),
    Column("subscription", Text),
    Column("high_assurance", Boolean, nullable=False),
    Column("admins", Json, nullable=False),
    Column("heartbeat_period_s", Float, nullable=False),
    Column("last_heartbeat_at", Float),
    Column("last_state", Json, nullable=False),
    Column("locked_until", Float),
    Column("created_at", Float, nullable=False),
    Index(None, "owner"),
)

user_endpoints = Table(
    "user_endpoints",
    metadata,
    _id("id", key=True),
    _id("endpoint"),
    _id("identity"),
    Column("options", Json),
    Column("runtime", Json),
    Column("state", String(16), nullable=False),
    _id("command", null=True),
    Column("generation", Integer, nullable=False),
    Column("heartbeat_period_s", Float, nullable=False),
    Column("last_heartbeat_at", Float),
    Column("last_state", Json, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("error_code", Text, nullable=False),
    Column("error_message", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("asked_at", Float),
    Column("moved_at", Float),
    Index(None, "endpoint"),
)

task_groups = Table(
    "task_groups",
    metadata,
    _id("id", key=True),
    _id("owner"),
    Column("created_at", Float, nullable=False),
)

tasks = Table(
    "tasks",
    metadata,
    _id("id", key=True),
    _id("group"),
    _id("function"),
    _id("endpoint"),
    _id("user_endpoint"),
    _id("owner"),
    Column("state", String(20), nullable=False),
    Column("resources", Text, nullable=False),
    Column("serializers", Json),
    Column("submitted_at", Float, nullable=False),
    Column("published_at", Float),
    Column("completed_at", Float),
    Index(None, "group"),
    Index(None, "owner", "submitted_at"),
)

_open = tasks.c.completed_at.is_(None)
Index("ix_tasks_open", tasks.c.user_endpoint, sqlite_where=_open, postgresql_where=_open)

_unpublished = tasks.c.published_at.is_(None) & tasks.c.completed_at.is_(None)
Index(
    "ix_tasks_unpublished",
    tasks.c.submitted_at,
    sqlite_where=_unpublished,
    postgresql_where=_unpublished,
)

payloads = Table(
    "payloads", metadata, _id("task", key=True), Column("payload", Text, nullable=False)
)

results = Table(
    "results",
    metadata,
    _id("task", key=True),
    Column("body", LargeBinary, nullable=False),
    # Also in the body; here it can be listed without reading bodies of megabytes.
    Column("usage", Json),
)

cancellations = Table(
    "cancellations",
    metadata,
    _id("task", key=True),
    _id("user_endpoint"),
    Column("asked_at", Float, nullable=False),
    Column("told_at", Float),
    Column("sent_at", Float),
    Column("closed_at", Float),
    Column("outcome", String(16), nullable=False),
)

_untold = cancellations.c.told_at.is_(None)
Index(
    "ix_cancellations_untold",
    cancellations.c.asked_at,
    sqlite_where=_untold,
    postgresql_where=_untold,
)

_unanswered = cancellations.c.closed_at.is_(None)
Index(
    "ix_cancellations_open",
    cancellations.c.user_endpoint,
    sqlite_where=_unanswered,
    postgresql_where=_unanswered,
)

broker_credentials = Table(
    "broker_credentials",
    metadata,
    Column("user", String(128), primary_key=True),
    Column("kind", String(8), nullable=False),
    Column("principal", String(36), nullable=False),
    _id("command", null=True),
    Column("generation", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Index(None, "kind", "principal"),
)
