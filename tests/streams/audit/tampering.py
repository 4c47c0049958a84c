"""A log of the embedded broker with somebody's hands in it: records dropped, changed, put in.

Which of it must be noticed is in the tests.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from streams.transport import partition_for

Which = Callable[[dict[str, Any]], bool]


class Row(NamedTuple):
    """A record, and the SQL table that holds it."""

    table: str
    offset: int
    value: bytes


class Hands:
    """Over a log that nobody serves. `topic` is a full name."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def drop(self, topic: str, which: Which) -> int:
        """Records are gone; returns how many."""
        with self._connected() as connection:
            rows = [row for row in self._rows(connection, topic) if which(orjson.loads(row.value))]
            for row in rows:
                connection.execute(f"DELETE FROM {row.table} WHERE record_offset = ?", (row.offset,))
        return len(rows)

    def change(self, topic: str, change: Callable[[bytes], bytes]) -> int:
        """Values are others; returns how many."""
        changed = 0
        with self._connected() as connection:
            for row in self._rows(connection, topic):
                if (value := change(row.value)) != row.value:
                    statement = f"UPDATE {row.table} SET value = ? WHERE record_offset = ?"
                    connection.execute(statement, (value, row.offset))
                    changed += 1
        return changed

    def put(self, topic: str, key: str, content: Any, timestamp_ms: int = 0) -> None:
        """One record more at the end."""
        with self._connected() as connection:
            topic_id = self._id(connection, topic)
            [partitions] = connection.execute("SELECT partitions FROM topics WHERE id = ?", (topic_id,)).fetchone()
            partition = partition_for(key.encode(), partitions)
            where = "topic_id = ? AND partition = ?"
            found = connection.execute(f"SELECT next_offset FROM logs WHERE {where}", (topic_id, partition)).fetchone()
            row = (found[0], timestamp_ms, key.encode(), orjson.dumps(content), None)
            connection.execute(f"INSERT INTO log_{topic_id}_{partition} VALUES (?, ?, ?, ?, ?)", row)
            connection.execute(f"UPDATE logs SET next_offset = next_offset + 1 WHERE {where}", (topic_id, partition))

    def values(self, topic: str) -> list[dict[str, Any]]:
        """Every record of a topic."""
        with self._connected() as connection:
            return [orjson.loads(row.value) for row in self._rows(connection, topic)]

    def _rows(self, connection: sqlite3.Connection, topic: str) -> Iterator[Row]:
        topic_id = self._id(connection, topic)
        [partitions] = connection.execute("SELECT partitions FROM topics WHERE id = ?", (topic_id,)).fetchone()
        for partition in range(partitions):
            table = f"log_{topic_id}_{partition}"
            for offset, value in connection.execute(f"SELECT record_offset, value FROM {table}").fetchall():
                if value is not None:
                    yield Row(table, offset, value)

    @staticmethod
    def _id(connection: sqlite3.Connection, topic: str) -> int:
        return int(connection.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()[0])

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            yield connection
