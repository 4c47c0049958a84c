"""The embedded broker, `sqlite://PATH`: a durable log in one file, for one process.

Everybody in the process who opens the same path shares one `SqliteLog` and is woken as soon as something
is appended. How rows reach the file is in `sqlite_store`; what is cleaned up, and when, in `sqlite_cleanup`.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import struct
import time
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from streams.transport import sqlite_store as store
from streams.transport.batching import Batch, Headers, Record, RecordsByPartition
from streams.transport.client import TopicSpec
from streams.transport.errors import BrokerBusy, BrokerFailed, RecordTooLarge, TopicMismatch
from streams.transport.sqlite_cleanup import Cleanup

READ_RECORDS: Final = 2000
READ_BYTES: Final = 1024 * 1024
FILE_NAME: Final = "log.sqlite3"


@dataclass(frozen=True, slots=True)
class _Topic:
    topic_id: int
    partitions: int
    compacted: bool
    retention_ms: int | None


def path_of(url: str) -> Path:
    """`sqlite:////absolute/file`, `sqlite:///relative/file`; a folder (or a trailing slash) means the file
    `log.sqlite3` in it."""
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or parts.netloc:
        raise BrokerFailed(f"wanted sqlite:///PATH, found {url}")
    text = unquote(parts.path)
    text = text[1:] if text.startswith("/") else text
    path = Path(text)
    return path / FILE_NAME if text.endswith("/") or not text or path.is_dir() else path


_shared: weakref.WeakValueDictionary[Path, SqliteLog] = weakref.WeakValueDictionary()


def open_sqlite(url: str, *, now: Callable[[], float] = time.time) -> SqliteLog:
    """The log of this path, shared by everybody in the process; each `start` wants its `close`."""
    path = path_of(url).absolute()
    log = _shared.get(path)
    if log is None:
        log = _shared[path] = SqliteLog(path, now=now)
    return log


class SqliteLog:
    """A `LogClient` over a file. `read_only` looks into a log that another process may be serving.

    Errors: `BrokerBusy` (another process), `BrokerFailed` (disk full, read-only, damaged).
    """

    def __init__(
        self, path: Path, *, read_only: bool = False, page_limit: int | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.path = path
        self._read_only = read_only
        self._page_limit = page_limit
        self._now = now
        self._users = 0
        self._topics: dict[str, _Topic] = {}
        self._ends: dict[tuple[str, int], int] = {}
        self._waiting: dict[tuple[str, int], list[asyncio.Future[None]]] = {}
        self._starting = asyncio.Lock()
        self._store: store.Store | None = None
        self._cleanup: Cleanup | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self) -> None:
        """Opens the file, or joins those who have it open already."""
        async with self._starting:
            if self._users == 0:
                await self._open()
            elif self._loop is not asyncio.get_running_loop():
                raise BrokerBusy(f"{self.path}: already served by another event loop of this process")
            self._users += 1

    async def close(self) -> None:
        """The last of those who started it closes the file."""
        async with self._starting:
            self._users -= 1
            if self._users > 0 or self._store is None:
                return
            closing, self._store = self._store, None
            if self._cleanup is not None:
                await self._cleanup.stop()
            await asyncio.to_thread(closing.close)
            for waiters in self._waiting.values():
                for waiter in waiters:
                    waiter.cancel()
            self._waiting.clear()

    async def topics(self) -> Mapping[str, int]:
        """Every topic and its partition count."""
        await self._load_topics()
        return {name: topic.partitions for name, topic in self._topics.items()}

    async def ensure_topics(self, specs: Sequence[TopicSpec], replication_factor: int = 1) -> None:  # noqa: ARG002
        """Creates what is missing; raises `TopicMismatch` naming every topic with another partition count."""
        async with self._starting:
            await self._load_topics()
            wrong = [
                f"{spec.name}: wanted {spec.partitions} partitions, found {self._topics[spec.name].partitions}"
                for spec in specs
                if spec.name in self._topics and self._topics[spec.name].partitions != spec.partitions
            ]
            if wrong:
                raise TopicMismatch(f"{self.path}: " + "; ".join(wrong))
            missing = [spec for spec in specs if spec.name not in self._topics]
            if missing:
                await self._write(_creation(missing))
                await self._load_topics()

    async def append(self, topic: str, records: RecordsByPartition) -> None:
        """One transaction: all of it or nothing."""
        await self.append_all({topic: records})

    async def append_all(self, records: Mapping[str, RecordsByPartition]) -> None:
        """Like `append`, for several topics in one transaction."""
        now_ms = int(self._now() * 1000)
        encoded = [
            (topic, self._topic(topic, partition).topic_id, partition, [_row(record, now_ms) for record in some])
            for topic, by_partition in records.items()
            for partition, some in by_partition.items()
        ]

        def insert(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
            return [
                (topic, partition, store.append_rows(connection, topic_id, partition, rows, len(rows)))
                for topic, topic_id, partition, rows in encoded
                if rows
            ]

        for topic, partition, end in await self._write(insert):
            self._ends[topic, partition] = max(end, self._ends.get((topic, partition), 0))
            for waiter in self._waiting.pop((topic, partition), ()):
                if not waiter.done():
                    waiter.set_result(None)

    async def read(
        self, topic: str, partition: int, offset: int, max_records: int = 1000, max_bytes: int = READ_BYTES
    ) -> Batch | None:
        """Records from `offset` on, or None at the end of the log."""
        topic_id = self._topic(topic, partition).topic_id
        rows = await self._read(
            lambda connection: store.select_rows(connection, topic_id, partition, offset, max_records, max_bytes)
        )
        return _batch(topic, partition, rows) if rows else None

    async def wait_appended(self, topic: str, partition: int, offset: int, timeout_seconds: float) -> bool:
        """Waits until the log's end is beyond `offset`; False when the time is up."""
        if self._read_only:
            await asyncio.sleep(min(timeout_seconds, 0.05))
            return True
        if self._ends.get((topic, partition), 0) > offset:
            return True
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiting.setdefault((topic, partition), [])
        waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout_seconds):
                await waiter
        except TimeoutError:
            return False
        finally:
            with contextlib.suppress(ValueError):
                waiters.remove(waiter)
        return True

    async def begin_offsets(self, topic: str) -> Mapping[int, int]:
        """First offset that still exists, by partition; the end of an empty log."""
        found = self._topic(topic)
        ends = await self.end_offsets(topic)

        def first(connection: sqlite3.Connection) -> dict[int, int | None]:
            statement = "SELECT min(record_offset) FROM "
            return {
                partition: connection.execute(statement + store.table_name(found.topic_id, partition)).fetchone()[0]
                for partition in range(found.partitions)
            }

        begins = await self._read(first)
        return {partition: ends[partition] if begin is None else begin for partition, begin in begins.items()}

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """Offset that the next record will get, by partition."""
        found = self._topic(topic)
        statement = "SELECT partition, next_offset FROM logs WHERE topic_id = ?"
        return dict(await self._read(lambda connection: connection.execute(statement, (found.topic_id,)).fetchall()))

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Committed offsets of a group, by partition."""
        statement = "SELECT partition, next_offset FROM committed WHERE group_id = ? AND topic = ?"
        return dict(await self._read(lambda connection: connection.execute(statement, (group, topic)).fetchall()))

    async def commit(self, group: str, offsets: Mapping[tuple[str, int], int]) -> None:
        """Makes a group's offsets durable."""
        rows = [(group, topic, partition, offset) for (topic, partition), offset in offsets.items()]
        await self._write(store.statements("INSERT OR REPLACE INTO committed VALUES (?, ?, ?, ?)", rows))

    async def scan(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Batch, None]:
        """Everything from `start` to the ends as they are now."""
        for partition, end in (await self.end_offsets(topic)).items():
            offset = 0 if start is None else start.get(partition, end)
            while offset < end:
                batch = await self.read(topic, partition, offset, READ_RECORDS)
                if batch is None:
                    break
                offset = batch.next_offset
                yield batch

    async def follow(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Batch, None]:
        """Everything from `start` on, for ever."""
        partitions = range(self._topic(topic).partitions)
        positions = dict.fromkeys(partitions, 0) if start is None else dict(start)
        while True:
            idle = True
            for partition, offset in positions.items():
                batch = await self.read(topic, partition, offset, READ_RECORDS)
                if batch is not None:
                    idle = False
                    positions[partition] = batch.next_offset
                    yield batch
            if idle:
                await self._wait_any(topic, positions)

    async def _wait_any(self, topic: str, positions: Mapping[int, int]) -> None:
        waits = [
            asyncio.ensure_future(self.wait_appended(topic, partition, offset, 1.0))
            for partition, offset in positions.items()
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def partitions_of(self, topic: str) -> int:
        """Partition count; raises `TopicMismatch` for an unknown topic."""
        return self._topic(topic).partitions

    async def _open(self) -> None:
        self._store = await asyncio.to_thread(
            store.Store, self.path, read_only=self._read_only, page_limit=self._page_limit
        )
        self._loop = asyncio.get_running_loop()
        await self._load_topics()
        if not self._read_only:
            self._cleanup = Cleanup(self._store, now=self._now)
            self._cleanup.start()

    async def _load_topics(self) -> None:
        def load(connection: sqlite3.Connection) -> tuple[list[Any], list[Any]]:
            topics = connection.execute("SELECT name, id, partitions, compacted, retention_ms FROM topics").fetchall()
            ends = connection.execute(
                "SELECT name, partition, next_offset FROM logs JOIN topics ON topics.id = logs.topic_id"
            ).fetchall()
            return topics, ends

        topics, ends = await self._read(load)
        self._topics = {name: _Topic(tid, count, bool(compact), keep) for name, tid, count, compact, keep in topics}
        for name, partition, end in ends:
            self._ends[name, partition] = max(end, self._ends.get((name, partition), 0))

    def _topic(self, name: str, partition: int | None = None) -> _Topic:
        topic = self._topics.get(name)
        if topic is None:
            raise TopicMismatch(f"{self.path}: no topic {name}; there are: {', '.join(sorted(self._topics)) or 'none'}")
        if partition is not None and not 0 <= partition < topic.partitions:
            raise TopicMismatch(f"{self.path}: {name} has {topic.partitions} partitions, wanted number {partition}")
        return topic

    async def _write(self, work: store.Work[store.T]) -> store.T:
        if self._store is None:
            raise BrokerFailed(f"{self.path}: is closed")
        if self._read_only:
            raise BrokerFailed(f"{self.path}: was opened for reading only")
        # shielded: a cancelled caller must not hide from us that its records became durable
        return await asyncio.shield(asyncio.wrap_future(self._store.write(work)))

    async def _read(self, work: store.Work[store.T]) -> store.T:
        if self._store is None:
            raise BrokerFailed(f"{self.path}: is closed")
        return await asyncio.wrap_future(self._store.read(work))


def _creation(missing: Sequence[TopicSpec]) -> store.Work[None]:
    def create(connection: sqlite3.Connection) -> None:
        for spec in missing:
            store.create_topic(connection, spec.name, spec.partitions, spec.compacted, spec.retention_ms)

    return create


def _row(record: Record, now_ms: int) -> tuple[int, bytes | None, bytes | None, bytes | None]:
    if record.size_bytes > record.bytes_max:
        raise RecordTooLarge(f"a record of {record.size_bytes} bytes, at most {record.bytes_max} are allowed")
    timestamp_ms = now_ms if record.timestamp_ms is None else record.timestamp_ms
    return timestamp_ms, record.key, record.value, _packed(record.headers) if record.headers else None


def _batch(topic: str, partition: int, rows: Sequence[store.Row]) -> Batch:
    offsets, timestamps_ms, keys, values, headers = zip(*rows, strict=True)
    return Batch(
        topic=topic, partition=partition, offsets=offsets, keys=keys, values=values, timestamps_ms=timestamps_ms,
        headers=[_unpacked(packed) if packed else () for packed in headers], next_offset=offsets[-1] + 1,
    )  # fmt: skip


def _packed(headers: Headers) -> bytes:
    parts = []
    for name, content in headers:
        encoded = name.encode()
        parts += [struct.pack("<HI", len(encoded), len(content)), encoded, content]
    return b"".join(parts)


def _unpacked(packed: bytes) -> Headers:
    headers, at = [], 0
    while at < len(packed):
        name_bytes, content_bytes = struct.unpack_from("<HI", packed, at)
        at += 6
        name = packed[at : at + name_bytes].decode()
        at += name_bytes
        headers.append((name, packed[at : at + content_bytes]))
        at += content_bytes
    return tuple(headers)
