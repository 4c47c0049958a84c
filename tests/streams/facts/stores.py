"""Stores to test with, on both databases, and a log to fill them from."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import text

from schemas.topics import TOPICS
from streams.facts import TOLD, Store, Writer
from streams.transport import LogClient, Record, TransportSettings, by_partition, open_log, topic_specs

PARTITIONS = 2
NOW = datetime(2026, 11, 19, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def a_log(folder: Path) -> AsyncIterator[LogClient]:
    """An embedded log with every topic."""
    client = open_log(f"sqlite:///{folder / 'log.sqlite3'}")
    await client.start()
    try:
        settings = TransportSettings(partitions=PARTITIONS, retention_days=36_500)
        await client.ensure_topics(topic_specs(TOPICS, settings))
        yield client
    finally:
        await client.close()


async def tell(client: LogClient, told: Mapping[str, Sequence[Record]]) -> None:
    """Append records to their topics."""
    counts = await client.topics()
    for topic, records in told.items():
        await client.append(topic, by_partition(records, counts[topic]))


async def taken_in(client: LogClient, store: Store, *, now: datetime = NOW) -> None:
    """Have a writer take in everything that is there, to the end."""
    writer = Writer(client, lambda name: name, store, now=lambda: now, know_every_seconds=0.05)
    running = asyncio.create_task(writer.run())
    try:
        await until(lambda: all_in(client, store), running)
    finally:
        running.cancel()
        await asyncio.wait((running,))


async def until(true: Callable[[], Any], running: asyncio.Task[None] | None = None, seconds: float = 60) -> None:
    """Wait until `await true()` holds; raises what ended `running` meanwhile."""
    async with asyncio.timeout(seconds):
        while not await true():
            if running is not None and running.done():
                running.result()
            await asyncio.sleep(0.02)


async def all_in(client: LogClient, store: Store) -> bool:
    """Whether the store has come to the end of every topic, and knows it."""
    if not store.exists or not await tables(store):
        return False
    found = await store.positions()
    for topic in TOLD:
        for partition, end in (await client.end_offsets(topic)).items():
            if end and found.get((topic, partition)) != end:
                return False
    known = await rows(store, "SELECT known_until FROM facts")
    return bool(known) and known[0]["known_until"] is not None


async def tables(store: Store) -> bool:
    """Whether the tables have been made."""
    try:
        await store.check()
    except Exception:  # noqa: BLE001 - not yet
        return False
    return True


async def rows(store: Store, sql: str) -> list[dict[str, Any]]:
    """What the database answers, as anybody would ask it."""
    async with store._engine.connect() as connection:
        return [dict(row) for row in (await connection.execute(text(sql))).mappings()]


async def dump(store: Store) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that is in the tables but how far time has come, in an order of its own."""
    found = {}
    for table in ("outcomes", "journeys", "alerts", "policies", "positions"):
        listed = await rows(store, f"SELECT * FROM {table}")
        found[table] = sorted(tuple(map(str, row.values())) for row in listed)
    return found
