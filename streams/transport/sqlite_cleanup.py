"""Keeps the embedded log from growing for ever: compaction by key, retention by age.

Works in the background in small deletes, so that no append waits long for it. Never touches a record that
some consumer group has still to read, nor the latest value of a key of a compacted topic.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

from streams.transport.errors import TransportError
from streams.transport.sqlite_store import Store, statements, table_name

T = TypeVar("T")

COMPACT_AFTER_RECORDS: Final = 10_000
DELETE_AT_ONCE: Final = 500
RETENTION_MS: Final = 30 * 24 * 3600 * 1000
TOMBSTONE_MS: Final = 24 * 3600 * 1000
"""How long a deletion stays readable, as Kafka's delete.retention.ms."""


class Cleanup:
    """Looks every few seconds whether a log deserves compaction, and hourly for records beyond retention."""

    def __init__(
        self, store: Store, *, now: Callable[[], float], every_seconds: float = 5.0,
        compact_after: int = COMPACT_AFTER_RECORDS,
    ) -> None:  # fmt: skip
        self._store = store
        self._now = now
        self._every_seconds = every_seconds
        self._compact_after = compact_after
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Starts the background work on the running loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Ends it between two deletes."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        rounds = max(1, int(3600 / self._every_seconds))
        turn = 0
        while True:
            await asyncio.sleep(self._every_seconds)
            # a full or failing disk is reported by the next append; cleaning tries again later
            with contextlib.suppress(TransportError):
                await self.compact_all()
                if turn % rounds == 0:
                    await self.retain_all()
            turn += 1

    async def compact_all(self) -> None:
        """Compacts every log in which more was appended since the last time than is alive."""
        for topic_id, partition in await self._read(lambda c: _deserving(c, self._compact_after)):
            await self._compact(topic_id, partition)

    async def retain_all(self) -> None:
        """Deletes what every group has passed and what is older than the topic's retention."""
        for topic_id, partition, passed, retention_ms in await self._read(_retained):
            before_ms = int(self._now() * 1000) - (RETENTION_MS if retention_ms is None else retention_ms)
            await self._retain(topic_id, partition, passed, before_ms)

    async def _compact(self, topic_id: int, partition: int) -> None:
        before_ms = int(self._now() * 1000) - TOMBSTONE_MS
        superseded, live, end = await self._read(lambda c: _superseded(c, topic_id, partition, before_ms))
        for at in range(0, len(superseded), DELETE_AT_ONCE):
            await self._delete(topic_id, partition, superseded[at : at + DELETE_AT_ONCE])
        statement = "UPDATE logs SET dirty = next_offset - ?, live = ? WHERE topic_id = ? AND partition = ?"
        await self._write(statements(statement, [(end, live, topic_id, partition)]))

    async def _retain(self, topic_id: int, partition: int, passed: int, before_ms: int) -> None:
        statement = (
            f"SELECT record_offset, timestamp_ms FROM {table_name(topic_id, partition)} "  # noqa: S608  # integers
            "WHERE record_offset < ? ORDER BY record_offset LIMIT ?"
        )
        while True:
            rows = await self._read(lambda c: c.execute(statement, (passed, DELETE_AT_ONCE)).fetchall())
            old = []
            for offset, timestamp_ms in rows:
                if timestamp_ms >= before_ms:
                    break
                old.append(offset)
            if old:
                await self._delete(topic_id, partition, old)
            if len(old) < DELETE_AT_ONCE:
                return

    async def _delete(self, topic_id: int, partition: int, offsets: list[int]) -> None:
        statement = f"DELETE FROM {table_name(topic_id, partition)} WHERE record_offset = ?"  # noqa: S608  # integers
        await self._write(statements(statement, [(offset,) for offset in offsets]))

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._store.read(work))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.wrap_future(self._store.write(work))


def _deserving(connection: sqlite3.Connection, compact_after: int) -> list[tuple[int, int]]:
    return connection.execute(
        "SELECT topic_id, partition FROM logs JOIN topics ON topics.id = logs.topic_id "
        "WHERE compacted AND dirty >= max(?, live)",
        (compact_after,),
    ).fetchall()


def _retained(connection: sqlite3.Connection) -> list[tuple[int, int, int, int | None]]:
    return connection.execute(
        "SELECT topic_id, logs.partition, coalesce(min(committed.next_offset), logs.next_offset), retention_ms "
        "FROM logs JOIN topics ON topics.id = logs.topic_id LEFT JOIN committed "
        "ON committed.topic = topics.name AND committed.partition = logs.partition "
        "WHERE NOT compacted GROUP BY topic_id, logs.partition"
    ).fetchall()


def _superseded(
    connection: sqlite3.Connection, topic_id: int, partition: int, before_ms: int
) -> tuple[list[int], int, int]:
    """Offsets to delete, keys alive, and the end of what was looked at."""
    latest: dict[bytes | None, int] = {}
    doomed: list[int] = []
    end = 0
    statement = (
        f"SELECT record_offset, timestamp_ms, key, value IS NULL FROM {table_name(topic_id, partition)} "  # noqa: S608
        "ORDER BY record_offset"
    )
    deleted: dict[int, bytes | None] = {}
    for offset, timestamp_ms, key, is_tombstone in connection.execute(statement):
        older = latest.get(key)
        if older is not None:
            doomed.append(older)
            deleted.pop(older, None)
        latest[key] = offset
        end = offset + 1
        if is_tombstone and timestamp_ms < before_ms:
            deleted[offset] = key
    doomed += deleted
    return doomed, len(latest) - len(deleted), end
