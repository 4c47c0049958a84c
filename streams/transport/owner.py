"""What a Faust app and its tables and consumer ask of the worker that they belong to; `runtime` is that worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from streams.transport.batching import Fence, RecordsByPartition
from streams.transport.client import LogClient
from streams.transport.progress import Progress
from streams.transport.settings import TransportSettings


class Owner(Protocol):
    """A worker, as those see it who do its work."""

    app_id: str
    client: LogClient
    partition_counts: Mapping[str, int]
    progress_of: Progress
    settings: TransportSettings

    async def send(self, topic: str, records: RecordsByPartition, *, fence: Fence | None) -> None:
        """Writes records; returns when all are durable. Raises `Fenced`, or `TransportError`."""

    async def bring_up(self, partition: int) -> None:
        """Has a partition's tables recovered, before its first batch."""

    async def take_down(self, partition: int) -> None:
        """Has a partition's state dropped, after its last batch."""

    def fail(self, reason: BaseException) -> None:
        """Ends the worker."""
