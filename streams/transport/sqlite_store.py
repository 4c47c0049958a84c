"""The file of the embedded broker: tables, one writing thread with group commit, a few reading threads.

Synchronous and without an event loop; `sqlite` puts it behind the log client. WAL with synchronous=FULL:
a future resolves after the fsync of the transaction that holds its work. One SQL table per partition keeps
appends at the right edge of a tree, and lets compaction and retention be plain deletes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeVar

from streams.transport.errors import BrokerBusy, BrokerFailed, TransportError

SCHEMA_VERSION: Final = 1
GROUP_COMMIT_MAX: Final = 512
CACHE_KIB: Final = 2_048
"""Of each connection: logs are read and written from end to end, hardly a page twice."""
READERS: Final = 2

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS topics (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, partitions INTEGER NOT NULL,
  compacted INTEGER NOT NULL, retention_ms INTEGER);
CREATE TABLE IF NOT EXISTS logs (
  topic_id INTEGER NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL DEFAULT 0,
  dirty INTEGER NOT NULL DEFAULT 0, live INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (topic_id, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS committed (
  group_id TEXT NOT NULL, topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
  PRIMARY KEY (group_id, topic, partition)) WITHOUT ROWID;
"""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
Row = tuple[int, int, bytes | None, bytes | None, bytes | None]
"""offset, timestamp in milliseconds, key, value, headers as `sqlite` encodes them"""


@dataclass(slots=True)
class _Job:
    work: Work[Any]
    future: Future[Any]


def table_name(topic_id: int, partition: int) -> str:
    """The SQL table of a partition; made of two integers, so safe inside a statement."""
    return f"log_{int(topic_id)}_{int(partition)}"


class Store:
    """The opened file. `write` and `read` hand work to threads and return futures.

    Raises `BrokerBusy` when another process holds the file, `BrokerFailed` when it cannot be opened.
    `page_limit` bounds the file (tests of a full disk).
    """

    def __init__(self, path: Path, *, read_only: bool = False, page_limit: int | None = None) -> None:
        self.path = path
        self.read_only = read_only
        self._page_limit = page_limit
        self._lock: IO[str] | None = None
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        if not read_only:
            self._lock = _locked(path)
        try:
            connection = self._connect()
            if not read_only:
                self._prepare(connection)
        except sqlite3.Error as error:
            self._unlock()
            raise failure(path, error) from error
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="log-reader")
        self._writer = threading.Thread(target=self._write_loop, args=(connection,), name="log-writer", daemon=True)
        self._writer.start()

    def write(self, work: Work[T]) -> Future[T]:
        """Runs `work` inside the next transaction. The future resolves once it is durable, or fails with
        `BrokerFailed`, in which case nothing of it happened."""
        future: Future[T] = Future()
        self._jobs.put(_Job(work, future))
        return future

    def read(self, work: Work[T]) -> Future[T]:
        """Runs `work` on a reading thread against what is durable."""
        return self._readers.submit(self._read, work)

    def close(self) -> None:
        """Finishes what is queued, closes the file, frees the lock."""
        self._jobs.put(None)
        self._writer.join()
        self._readers.shutdown(wait=True)
        for connection in self._connections:
            with contextlib.suppress(sqlite3.Error):
                connection.close()
        self._unlock()

    def _read(self, work: Work[T]) -> T:
        try:
            connection = getattr(self._local, "connection", None)
            if connection is None:
                connection = self._local.connection = self._connect()
            return work(connection)
        except sqlite3.Error as error:
            raise failure(self.path, error) from error

    def _write_loop(self, connection: sqlite3.Connection) -> None:
        running = True
        while running:
            jobs: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                jobs.append(job)
                if len(jobs) >= GROUP_COMMIT_MAX or self._jobs.empty():
                    break
                job = self._jobs.get()
            running = job is not None
            if jobs:
                self._commit(connection, jobs)

    def _commit(self, connection: sqlite3.Connection, jobs: Sequence[_Job]) -> None:
        jobs = [job for job in jobs if job.future.set_running_or_notify_cancel()]  # from here on nobody cancels them
        results = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [job.work(connection) for job in jobs]
            connection.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001  # whatever happened, those who wait must be told
            with contextlib.suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            told = failure(self.path, error) if isinstance(error, sqlite3.Error) else error
            for job in jobs:
                job.future.set_exception(told)
            return
        for job, result in zip(jobs, results, strict=True):
            job.future.set_result(result)

    def _connect(self) -> sqlite3.Connection:
        mode = "ro" if self.read_only else "rwc"
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None,
            check_same_thread=False, cached_statements=512, timeout=10.0,
        )  # fmt: skip
        self._connections.append(connection)
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        if not self.read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            if self._page_limit is not None:
                connection.execute(f"PRAGMA max_page_count = {int(self._page_limit)}")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            self._unlock()
            raise BrokerFailed(
                f"{self.path}: written by another version of this program: found format {version}, "
                f"wanted {SCHEMA_VERSION}"
            )
        if version == 0:
            connection.execute("BEGIN IMMEDIATE")
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            connection.execute("COMMIT")

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def statements(statement: str, rows: Sequence[Sequence[Any]]) -> Work[None]:
    """One statement for many rows, as work. It returns nothing on purpose: a cursor that another thread
    lets go of resets its statement while the writing thread may be using it."""

    def work(connection: sqlite3.Connection) -> None:
        connection.executemany(statement, rows).close()

    return work


def create_topic(
    connection: sqlite3.Connection, name: str, partitions: int, compacted: bool, retention_ms: int | None
) -> int:
    """Adds a topic with its partitions; returns its id."""
    cursor = connection.execute(
        "INSERT INTO topics (name, partitions, compacted, retention_ms) VALUES (?, ?, ?, ?)",
        (name, partitions, int(compacted), retention_ms),
    )
    topic_id = cursor.lastrowid
    assert topic_id is not None
    for partition in range(partitions):
        connection.execute("INSERT INTO logs (topic_id, partition) VALUES (?, ?)", (topic_id, partition))
        connection.execute(
            f"CREATE TABLE {table_name(topic_id, partition)} (record_offset INTEGER PRIMARY KEY,"
            " timestamp_ms INTEGER NOT NULL, key BLOB, value BLOB, headers BLOB)"
        )
    return topic_id


def append_rows(
    connection: sqlite3.Connection, topic_id: int, partition: int,
    rows: Iterable[tuple[int, bytes | None, bytes | None, bytes | None]], count: int,
) -> int:  # fmt: skip
    """Appends (timestamp, key, value, headers); returns the new end of the log."""
    where = (topic_id, partition)
    start = connection.execute("SELECT next_offset FROM logs WHERE topic_id = ? AND partition = ?", where).fetchone()[0]
    connection.executemany(
        f"INSERT INTO {table_name(topic_id, partition)} VALUES (?, ?, ?, ?, ?)",  # noqa: S608  # two integers
        ((start + index, *row) for index, row in enumerate(rows)),
    )
    connection.execute(
        "UPDATE logs SET next_offset = ?, dirty = dirty + ? WHERE topic_id = ? AND partition = ?",
        (start + count, count, *where),
    )
    return int(start) + count


def select_rows(
    connection: sqlite3.Connection, topic_id: int, partition: int, offset: int, max_records: int, max_bytes: int
) -> list[Row]:
    """Rows from `offset` on, at most so many records, and about so many bytes (at least one record)."""
    cursor = connection.execute(
        f"SELECT * FROM {table_name(topic_id, partition)} WHERE record_offset >= ? "  # noqa: S608  # two integers
        "ORDER BY record_offset LIMIT ?",
        (offset, max_records),
    )
    rows: list[Row] = []
    size = 0
    while size < max_bytes and (some := cursor.fetchmany(256)):
        size += sum(len(row[2] or b"") + len(row[3] or b"") for row in some)
        rows += some
    return rows


def failure(path: Path, error: sqlite3.Error) -> TransportError:
    """An SQLite error in words that say what to do."""
    name = getattr(error, "sqlite_errorname", None) or type(error).__name__
    advice = {
        "SQLITE_FULL": "the disk (or its quota) is full; nothing acknowledged is lost; make room and start again",
        "SQLITE_READONLY": "the file or its folder is read-only",
        "SQLITE_CANTOPEN": "cannot be opened or created; does the folder exist and may we write there?",
        "SQLITE_NOTADB": "is not a log of this program",
        "SQLITE_CORRUPT": "is damaged; restore it from a copy",
        "SQLITE_BUSY": "another process is writing to it",
    }.get(name, "")
    if not advice:
        known = ("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_CORRUPT")
        said = {"SQLITE_IOERR": "the disk reported an error", "SQLITE_READONLY": "the file or its folder is read-only"}
        advice = next((said.get(prefix, "") for prefix in known if name.startswith(prefix)), "")
    return BrokerFailed(f"{path}: {advice or 'failed'} ({name}: {error})")


def _locked(path: Path) -> IO[str]:
    lock_path = path.with_name(path.name + ".lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = lock_path.open("a+", encoding="utf-8")
    except OSError as error:
        raise BrokerFailed(f"{path}: cannot be opened: {error.strerror or error} ({lock_path})") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise BrokerBusy(
            f"{path}: in use by process {holder}; the embedded broker serves one process at a time "
            f"(several workers need kafka://)"
        ) from None
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n")
    lock.flush()
    return lock
