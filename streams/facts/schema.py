"""The tables of the facts store, and their version. Writing and reading them belongs to `store`.

`outcomes`, `journeys` and `alerts` have the columns of CONTRACT.md sections 5 and 6, for whoever asks in SQL, and in
`record` each record as it was published. `positions` is how far each partition of each topic has been taken in,
`facts` the version of all this and until when it is complete.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

SCHEMA_VERSION: Final = 1


class FactsError(Exception):
    """Facts that cannot be used: what was found, and what was wanted."""


class NoFacts(FactsError):  # noqa: N818 - the name says what there is
    """There are none yet."""


class Instant(TypeDecorator[datetime]):
    """An aware instant. SQLite has no zones and keeps UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To the database."""
        if value is not None and dialect.name == "sqlite":
            return value.astimezone(UTC).replace(tzinfo=None)
        return value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Words(TypeDecorator[str]):
    """Text that others wrote: PostgreSQL's text cannot hold NUL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To the database."""
        return value if value is None else value.replace("\0", "\N{REPLACEMENT CHARACTER}")


METADATA: Final = MetaData()


def _text(name: str, **more: Any) -> Column[str]:
    return Column(name, String, **more)


OUTCOMES: Final = Table(
    "outcomes",
    METADATA,
    _text("outcome_id", primary_key=True),
    Column("revision", BigInteger, nullable=False),
    _text("contact_id", nullable=False, index=True),
    _text("customer_id", nullable=False, index=True),
    _text("target", nullable=False),
    Column("cycle", Integer, nullable=False),
    _text("verdict", nullable=False),
    _text("reason", nullable=False),
    _text("policy", nullable=False),
    _text("policy_version", nullable=False),
    _text("calendar", nullable=False),
    _text("calendar_version", nullable=False),
    Column("started_at", Instant, nullable=False, index=True),
    Column("due_at", Instant, index=True),
    Column("ended_at", Instant, index=True),
    Column("open_seconds", Float, nullable=False),
    Column("wall_seconds", Float, nullable=False),
    Column("paused_seconds", Float, nullable=False),
    _text("stage", nullable=False),
    Column("step", Integer, nullable=False),
    _text("channel", nullable=False),
    _text("tier"),
    _text("queue"),
    _text("priority", nullable=False),
    _text("agent_id"),
    Column("bounced_at", Instant),
    Column("silently_closed", Boolean, nullable=False),
    Column("settled_at", Instant),
    Column("url", Words),
    Column("record", Text, nullable=False),
)

JOURNEYS: Final = Table(
    "journeys",
    METADATA,
    _text("journey_id", primary_key=True),
    Column("revision", BigInteger, nullable=False),
    _text("customer_id", nullable=False, index=True),
    _text("state", nullable=False),
    Column("started_at", Instant, nullable=False, index=True),
    Column("ended_at", Instant, index=True),
    _text("answered_by"),
    Column("attempts", JSON, nullable=False),
    Column("open_seconds", Float, nullable=False),
    Column("wall_seconds", Float, nullable=False),
    _text("policy"),
    _text("tier"),
    Column("record", Text, nullable=False),
)

# An alert's record has no number: what is told again after a crash is the same to the byte, and so is its digest.
ALERTS: Final = Table(
    "alerts",
    METADATA,
    _text("digest", primary_key=True),
    _text("alert_id", nullable=False, index=True),
    _text("kind", nullable=False),
    _text("state", nullable=False),
    _text("severity", nullable=False),
    _text("customer_id", index=True),
    _text("contact_id"),
    _text("target"),
    _text("policy"),
    Column("due_at", Instant),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant),
    Column("at", Instant, nullable=False, index=True),
    Column("summary", Words, nullable=False),
    _text("resolution"),
    Column("record", Text, nullable=False),
)

POLICIES: Final = Table(
    "policies",
    METADATA,
    _text("hash", primary_key=True),
    _text("kind", nullable=False),
    _text("name", nullable=False),
    Column("content", JSON, nullable=False),
)

POSITIONS: Final = Table(
    "positions",
    METADATA,
    _text("topic", primary_key=True),
    Column("partition", Integer, primary_key=True),
    Column("next_offset", BigInteger, nullable=False),
)

FACTS: Final = Table(
    "facts",
    METADATA,
    Column("one", Integer, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("known_until", Instant),
)

OPEN_CLOSES: Final = Index("outcomes_silently_closed", OUTCOMES.c.silently_closed, OUTCOMES.c.settled_at)
