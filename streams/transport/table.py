"""Tables written and recovered in bulk: bytes to bytes, by partition, each change in a changelog first.

What a key or value means is the application's business; so is the due index, which it builds from a
table when a partition is ready and drops when it is revoked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, cast

import faust
from faust.tables.manager import TableManager

from streams.transport.batching import Fence, Record
from streams.transport.client import LogClient
from streams.transport.errors import Fenced, RecoveryStalled
from streams.transport.owner import Owner

Changes = Mapping[bytes, bytes | None]


class BulkTable(faust.Table[bytes, bytes]):
    """A durable mapping of bytes to bytes per partition, held in memory for the partitions that we have."""

    def __init__(self, app: Any, *, name: str, **kwargs: Any) -> None:
        super().__init__(app, name=name, key_type=bytes, value_type=bytes, **kwargs)
        self._owner: Owner = app.owner
        self._partitions: dict[int, dict[bytes, bytes]] = {}

    @property
    def changelog(self) -> str:
        """Name of the changelog topic."""
        return f"{self.app.conf.id}-{self.name}-changelog"

    def partition(self, partition: int) -> Mapping[bytes, bytes]:
        """Live read-only view of one partition. Raises `Fenced` when we do not have it."""
        return MappingProxyType(self._held(partition))

    def partitions_ready(self) -> frozenset[int]:
        """Numbers of the partitions held."""
        return frozenset(self._partitions)

    async def write(self, partition: int, changes: Changes, *, fence: Fence | None) -> None:
        """Makes changes durable, then visible; None as value deletes. Raises `Fenced` and changes nothing
        if the partition is no longer ours."""
        if not changes:
            return
        records = [Record(key=key, value=value) for key, value in changes.items()]
        await self._owner.send(self.changelog, {partition: records}, fence=fence)
        _apply(self._held(partition), changes.keys(), changes.values())

    def apply_changelog_batch(self, batch: Iterable[Any]) -> None:
        """Applies whole batches of the changelog, values left as bytes."""
        for some in batch:
            _apply(self._partitions.setdefault(some.partition, {}), some.keys, some.values)

    def drop(self, partition: int) -> None:
        """Forgets a partition: another worker has it, or will recover it from the changelog."""
        self._partitions.pop(partition, None)

    async def recover(self, client: LogClient, partition: int, stall_seconds: float, moved: Callable[[], None]) -> None:
        """Reads a partition's changelog from its beginning to its end as it is now. Raises
        `RecoveryStalled` when no batch came for `stall_seconds`."""
        recovered: dict[bytes, bytes] = {}
        batches = client.scan(self.changelog, {partition: 0})
        while True:
            try:
                async with asyncio.timeout(stall_seconds):
                    batch = await anext(batches, None)
            except TimeoutError:
                raise RecoveryStalled(
                    f"{self.changelog} partition {partition}: nothing read for {stall_seconds:g} s after "
                    f"{len(recovered)} keys"
                ) from None
            if batch is None:
                break
            _apply(recovered, batch.keys, batch.values)
            moved()
        self._partitions[partition] = recovered

    def _held(self, partition: int) -> dict[bytes, bytes]:
        try:
            return self._partitions[partition]
        except KeyError:
            raise Fenced(f"table {self.name}: partition {partition} is not ours, or not ready") from None

    async def on_start(self) -> None:
        """Topics are created by the runtime, and there is no store to open."""

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError(f"table {self.name} is written in bulk: await table.write(partition, changes, fence=...)")

    def __delitem__(self, key: Any) -> None:
        raise TypeError(f"table {self.name} is written in bulk: await table.write(partition, changes, fence=...)")


class BulkTables(TableManager):
    """Faust's table manager without its recovery, which hangs on errors: the consumer brings tables up."""

    async def on_start(self) -> None:
        """Tables are known by now."""
        self._tables_finalized.set()
        self._tables_registered.set()

    async def on_rebalance(self, *args: Any, **kwargs: Any) -> None:
        """The consumer brings partitions up and takes them down."""

    def on_partitions_revoked(self, revoked: Any) -> None:
        """The consumer brings partitions up and takes them down."""

    async def wait_until_recovery_completed(self) -> bool:
        """Whether the app was stopped before every partition of the first assignment was ready."""
        return bool(await self.wait_for_stopped(cast(Any, self.app.consumer).ready))

    async def on_stop(self) -> None:
        """Nothing is open."""


def _apply(data: dict[bytes, bytes], keys: Iterable[bytes | None], values: Iterable[bytes | None]) -> None:
    for key, value in zip(keys, values, strict=True):
        if key is None:
            continue
        if value is None:
            data.pop(key, None)
        else:
            data[key] = value


Hook = Callable[[int], Awaitable[None] | None]
