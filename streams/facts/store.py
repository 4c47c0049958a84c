"""The facts store: what was read from the topics written in bulk, and what a report needs read back.

Writing is idempotent (a revision that is not newer changes nothing, an alert is kept once), and how far the topics
have been read is written in the same transaction, so that a crash at any moment loses nothing and doubles nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError
from sqlalchemy import URL, Connection, RowMapping, Table, and_, event, func, make_url, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from schemas.alerts import Alert
from schemas.outcomes import Journey, Outcome
from schemas.policies import PolicyRecord
from streams.facts.judged import calendars_of
from streams.facts.schema import (
    ALERTS,
    FACTS,
    JOURNEYS,
    METADATA,
    OUTCOMES,
    POLICIES,
    POSITIONS,
    SCHEMA_VERSION,
    FactsError,
    NoFacts,
)
from streams.promises import IN_FORCE
from streams.reports import Facts

DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
BUSY_SECONDS: Final = 30.0
UNREACHABLE: Final = (SQLAlchemyError, OSError, asyncio.TimeoutError)
"""What a database that is away, full or busy raises; trying again may help."""

Row = dict[str, Any]
Position = tuple[str, int]
"""A topic and a partition of it."""


class Span(NamedTuple):
    """From the first wait to the instant until which everything is known."""

    began_at: datetime
    known_until: datetime


class Overtaken(Exception):  # noqa: N818 - the name says what happened
    """Somebody else wrote from these topics since the positions were read: nothing was written."""


@dataclass(slots=True)
class Taken:
    """What was read since the last write: rows by their key, the newest of each, and how far reading came, from where.
    Positions are next offsets."""

    outcomes: dict[str, Row] = field(default_factory=dict)
    journeys: dict[str, Row] = field(default_factory=dict)
    alerts: dict[str, Row] = field(default_factory=dict)
    policies: dict[str, Row] = field(default_factory=dict)
    came: dict[Position, int] = field(default_factory=dict)
    had: dict[Position, int | None] = field(default_factory=dict)


class Store:
    """One database. Every call may raise one of `UNREACHABLE`."""

    def __init__(self, url: str | URL) -> None:
        """`sqlite:///PATH` or `postgresql://USER:PASSWORD@HOST/DATABASE`. Raises FactsError for anything else."""
        self.url = _url(url)
        self._engine = _engine(self.url)
        self._sqlite = self.url.get_backend_name() == "sqlite"

    def __str__(self) -> str:
        """Where the facts are, without the password."""
        return self.url.set(drivername=self.url.get_backend_name()).render_as_string(hide_password=True)

    @property
    def exists(self) -> bool:
        """Whether there may be facts: reading would make an empty file where there is none."""
        return not self._sqlite or Path(self.url.database or "").is_file()

    async def close(self) -> None:
        """Let go of every connection."""
        await self._engine.dispose()

    # -- writing

    async def prepare(self) -> None:
        """Make the tables where there are none. Raises FactsError where they are another version's."""
        if self._sqlite:
            Path(self.url.database or "").parent.mkdir(parents=True, exist_ok=True)
        async with self._engine.begin() as connection:
            await connection.run_sync(METADATA.create_all)
            row = {"one": 1, "schema_version": SCHEMA_VERSION}
            await connection.execute(self._insert(FACTS).values(row).on_conflict_do_nothing())
            await self._check(connection)

    async def positions(self) -> dict[Position, int]:
        """Next offset by topic and partition."""
        async with self._engine.connect() as connection:
            rows = await connection.execute(select(POSITIONS.c.topic, POSITIONS.c.partition, POSITIONS.c.next_offset))
            return {(topic, partition): offset for topic, partition, offset in rows}

    async def write(self, taken: Taken) -> None:
        """All of it and the positions, or nothing. Raises Overtaken."""
        async with self._engine.begin() as connection:
            for position, offset in taken.came.items():
                await self._move(connection, position, taken.had[position], offset)
            await self._upsert(connection, OUTCOMES, "outcome_id", taken.outcomes)
            await self._upsert(connection, JOURNEYS, "journey_id", taken.journeys)
            await self._upsert(connection, POLICIES, "hash", taken.policies)
            if taken.alerts:
                await connection.execute(self._insert(ALERTS).on_conflict_do_nothing(), list(taken.alerts.values()))

    async def know_until(self, until: datetime) -> None:
        """Everything that was in the topics at that instant has been written."""
        later = or_(FACTS.c.known_until.is_(None), FACTS.c.known_until < until)
        async with self._engine.begin() as connection:
            await connection.execute(update(FACTS).where(later).values(known_until=until))

    async def _move(self, connection: AsyncConnection, position: Position, had: int | None, offset: int) -> None:
        topic, partition = position
        row = {"topic": topic, "partition": partition, "next_offset": offset}
        if had is None:
            done = await connection.execute(self._insert(POSITIONS).values(row).on_conflict_do_nothing())
        else:
            mine = and_(POSITIONS.c.topic == topic, POSITIONS.c.partition == partition, POSITIONS.c.next_offset == had)
            done = await connection.execute(update(POSITIONS).where(mine).values(next_offset=offset))
        if done.rowcount != 1:
            raise Overtaken(f"{topic} {partition} is no more at {had}")

    async def _upsert(self, connection: AsyncConnection, table: Table, key: str, rows: Mapping[str, Row]) -> None:
        if not rows:
            return
        insert = self._insert(table)
        changed = {column.name: insert.excluded[column.name] for column in table.columns if column.name != key}
        newer = insert.excluded.revision >= table.c.revision if "revision" in table.c else None
        await connection.execute(
            insert.on_conflict_do_update(index_elements=[key], set_=changed, where=newer), list(rows.values())
        )

    def _insert(self, table: Table) -> Any:
        return sqlite.insert(table) if self._sqlite else postgresql.insert(table)

    # -- reading

    async def check(self) -> None:
        """Raises FactsError where there are no facts, or another version's."""
        async with self._engine.connect() as connection:
            await self._check(connection)

    async def _check(self, connection: AsyncConnection) -> None:
        if not await connection.run_sync(lambda c: _has(c, FACTS.name)):
            raise NoFacts(f"{self}: there are no facts yet")
        version = await connection.scalar(select(FACTS.c.schema_version))
        if version != SCHEMA_VERSION:
            raise FactsError(
                f"{self}: found facts of schema version {version}, wanted {SCHEMA_VERSION}; use the heardback that "
                "wrote them, or let this one write new ones elsewhere from what the topics still have"
            )

    async def span(self) -> Span | None:
        """Between when the facts lie; None where there are none."""
        async with self._engine.connect() as connection:
            await self._check(connection)
            return await self._span(connection)

    async def _span(self, connection: AsyncConnection) -> Span | None:
        first = [
            await connection.scalar(select(func.min(table.c.started_at, type_=table.c.started_at.type)))
            for table in (OUTCOMES, JOURNEYS)
        ]
        began = [instant for instant in first if instant is not None]
        known_until = await connection.scalar(select(FACTS.c.known_until))
        return Span(min(began), known_until) if began and known_until is not None else None

    async def facts(self, starts_at: datetime, ends_at: datetime) -> Facts:
        """What a report of that time needs, as of one moment. Raises FactsError where there is nothing at all."""
        at = and_(ALERTS.c.at >= starts_at, ALERTS.c.at < ends_at)
        async with self._engine.connect() as connection:
            if not self._sqlite:
                connection = await connection.execution_options(isolation_level="REPEATABLE READ")
            await self._check(connection)
            span = await self._span(connection)
            if span is None:
                raise NoFacts(f"{self}: there are no facts yet")
            read = _Read(
                outcomes=await connection.scalars(select(OUTCOMES.c.record).where(_outcomes_of(starts_at, ends_at))),
                journeys=await connection.scalars(select(JOURNEYS.c.record).where(_journeys_of(starts_at, ends_at))),
                alerts=await connection.scalars(select(ALERTS.c.record).where(at)),
                policies=(await connection.execute(select(POLICIES))).mappings().all(),
            )
        try:
            return await asyncio.to_thread(read.facts, span.known_until)
        except (ValidationError, KeyError) as broken:
            raise FactsError(f"{self}: a record cannot be read: {str(broken).splitlines()[0]}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Records as the database gave them."""

    outcomes: Iterable[str]
    journeys: Iterable[str]
    alerts: Iterable[str]
    policies: Iterable[RowMapping]

    def facts(self, known_until: datetime) -> Facts:
        records = [PolicyRecord.model_validate(dict(row)) for row in self.policies]
        in_force = next((record.content for record in records if record.hash == IN_FORCE), {})
        calendars, calendar_of = calendars_of(records, in_force)
        return Facts(
            outcomes=[Outcome.model_validate_json(record) for record in self.outcomes],
            journeys=[one for record in self.journeys if (one := Journey.model_validate_json(record)).attempts],
            alerts=[Alert.model_validate_json(record) for record in self.alerts],
            known_until=known_until,
            calendars=calendars,
            calendar_of=calendar_of,
        )


def _outcomes_of(starts_at: datetime, ends_at: datetime) -> Any:
    """Clocks that ran, fell due or ended in that time, or were closed on a customer who may still wait."""
    table = OUTCOMES.c
    touched = or_(
        table.ended_at.is_(None),
        table.ended_at >= starts_at,
        table.due_at >= starts_at,
        table.bounced_at >= starts_at,
        and_(table.silently_closed.is_(True), or_(table.settled_at.is_(None), table.settled_at >= starts_at)),
    )
    return and_(table.started_at < ends_at, touched, table.reason != "superseded")


def _journeys_of(starts_at: datetime, ends_at: datetime) -> Any:
    table = JOURNEYS.c
    return and_(table.started_at < ends_at, or_(table.ended_at.is_(None), table.ended_at >= starts_at))


def _has(connection: Connection, table: str) -> bool:
    return connection.dialect.has_table(connection, table)


# -- opening


def _url(text: str | URL) -> URL:
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise FactsError("the facts' URL is none, wanted sqlite:///PATH or postgresql://HOST/DATABASE") from None
    if url.drivername not in DRIVERS:
        raise FactsError(f"found facts at {url.drivername}://, wanted sqlite:///PATH or postgresql://HOST/DATABASE")
    if url.get_backend_name() == "sqlite" and not url.database:
        raise FactsError("found sqlite:// without a path, wanted sqlite:///PATH")
    return url.set(drivername=DRIVERS[url.drivername])


def _engine(url: URL) -> AsyncEngine:
    try:
        if url.get_backend_name() != "sqlite":
            return create_async_engine(url, pool_pre_ping=True)
        engine = create_async_engine(url, connect_args={"timeout": BUSY_SECONDS})
    except ImportError as missing:
        what = f"{missing.name} is missing: pip install 'heardback[postgresql]'"
        raise FactsError(f"facts at {url.get_backend_name()}: {what}") from None
    event.listen(engine.sync_engine, "connect", _open_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _open_sqlite(connection: Any, _record: Any) -> None:
    """Readers beside the writer, and transactions that are ours to begin (SQLAlchemy's manual, SQLite dialect)."""
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
