"""A log as a client sees it, the same on every broker: append, read, follow, ends of the log.

For everybody outside consumer groups: the gateway, the reader of `customers`, commands, tests.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from streams.transport.batching import FOREIGN_BYTES_MAX, Batch, RecordsByPartition


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """A topic as it must exist. `retention_ms` None: the broker's default. `message_bytes`: what the broker
    takes of anybody."""

    name: str
    partitions: int
    compacted: bool = False
    retention_ms: int | None = None
    message_bytes: int = FOREIGN_BYTES_MAX


class LogClient(Protocol):
    """What both brokers offer beside consumer groups. Every call raises `TransportError` on failure and
    is bounded by the request timeout of the settings; nothing hangs."""

    async def start(self) -> None:
        """Connects. Raises `BrokerUnreachable` or `BrokerBusy`."""

    async def close(self) -> None:
        """Disconnects; what was acknowledged is durable already."""

    async def topics(self) -> Mapping[str, int]:
        """Every topic and its partition count."""

    async def ensure_topics(self, specs: Sequence[TopicSpec], replication_factor: int = 1) -> None:
        """Creates what is missing and checks what is there. Raises `TopicMismatch` naming every difference."""

    async def append(self, topic: str, records: RecordsByPartition) -> None:
        """Returns once every record is durable (acks=all, fsync). Order within a partition is the order
        given. Raises `RecordTooLarge` before writing anything, `TopicMismatch` for an unknown topic."""

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Batch | None:
        """Records from `offset` on (or the first that still exists), or None at the end of the log."""

    async def begin_offsets(self, topic: str) -> Mapping[int, int]:
        """First offset that may still exist, by partition."""

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        """Offset that the next record will get, by partition."""

    async def committed(self, group: str, topic: str) -> Mapping[int, int]:
        """Committed offsets of a group, by partition; partitions without one are absent."""

    def scan(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Batch, None]:
        """Everything from `start` (default: the beginning; partitions absent from it are left out)
        to the ends as they are now, batch by batch; ends there."""

    def follow(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncGenerator[Batch, None]:
        """Like `scan`, and then whatever is appended, for ever. Cancel or `aclose()` to end it."""
