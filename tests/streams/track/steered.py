"""Track on a log in memory, under a steered clock: thousands of small lives in seconds.

The brokers have tests of their own; here only what the agent makes of batches matters. A live life is fed in any
order, in batches of any size, with wake-ups whenever; what it came to is compared with a replay elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType, SimpleNamespace
from typing import Any, cast

import orjson
from prometheus_client import CollectorRegistry

from schemas.configuration import Configuration
from schemas.customers import Customer
from streams import settings
from streams.customers import Customers
from streams.engine.calendar import to_us
from streams.metrics import Metrics
from streams.track.agent import Track
from streams.transport import Batch, Fence, Fenced, Record, Runtime, partition_for

Event = dict[str, Any]


class Table:
    """A table as a worker sees it."""

    def __init__(self, partitions: int) -> None:
        self._held: list[dict[bytes, bytes]] = [{} for _ in range(partitions)]

    def partition(self, partition: int) -> Mapping[bytes, bytes]:
        return MappingProxyType(self._held[partition])

    async def write(self, partition: int, changes: Mapping[bytes, bytes | None], *, fence: Fence | None) -> None:
        for key, value in changes.items():
            if value is None:
                self._held[partition].pop(key, None)
            else:
                self._held[partition][key] = value


class Log:
    """What `Track` asks of a runtime: topics as lists, tables as dicts."""

    def __init__(self, partitions: int) -> None:
        self.settings = SimpleNamespace(partitions=partitions)
        self.topics: dict[str, list[list[Record]]] = defaultdict(lambda: [[] for _ in range(partitions)])
        self.tables: dict[str, Table] = {}
        self.ready: list[Callable[[int], Awaitable[None]]] = []
        self.handlers: dict[str, Callable[[Batch], Awaitable[None]]] = {}
        self.lost = False
        self.app_id = "steered"
        self.client = self
        self.done = [0] * partitions

    def topic_name(self, topic: str) -> str:
        return topic

    async def committed(self, _: str, topic: str) -> Mapping[int, int]:
        assert topic == "contact-events"
        return dict(enumerate(self.done))

    async def begin_offsets(self, topic: str) -> Mapping[int, int]:
        return dict.fromkeys(range(len(self.topics[topic])), 0)

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        return {number: len(records) for number, records in enumerate(self.topics[topic])}

    async def read(self, topic: str, partition: int, offset: int, max_records: int = 1000) -> Batch | None:
        records = self.topics[topic][partition][offset : offset + max_records]
        return batch_of(topic, partition, offset, records, None) if records else None

    def table(self, name: str) -> Table:
        return self.tables.setdefault(name, Table(self.settings.partitions))

    def on_partition_ready(self, hook: Callable[[int], Awaitable[None]]) -> None:
        self.ready.append(hook)

    def on_partition_revoked(self, hook: Callable[[int], None]) -> None:
        """Partitions stay."""

    def agent(self, topic: str, handler: Callable[[Batch], Awaitable[None]]) -> None:
        self.handlers[topic] = handler

    def fence(self, partition: int) -> Fence:
        if self.lost:
            raise Fenced(f"partition {partition} is not ours")
        return Fence(partition=partition, generation=1)

    async def send(self, topic: str, records: Mapping[int, Sequence[Record]], *, fence: Fence | None) -> None:
        for partition, some in records.items():
            self.topics[topic][partition] += some


class Steered:
    """One worker that has all partitions. `after_step` hears of each step of a batch, and may end the process."""

    def __init__(self, configuration: Configuration, *, start: datetime, partitions: int = 2) -> None:
        self.log = Log(partitions)
        self.now = start
        self.configuration = configuration
        self.customers = Customers()
        self.after_step: Callable[[str], None] = lambda _: None
        self.restart()

    def restart(self) -> None:
        """A crash and another start: what was in memory is gone, tables and log are there."""
        self.log.ready, self.log.handlers = [], {}
        self.registry = CollectorRegistry()
        self.track = Track(
            cast(Runtime, self.log), settings.policies_of(self.configuration), self.customers,
            self.configuration.limits, Metrics(self.registry, worst_customers=0), lambda: self.now,
            lambda step: self.after_step(step),
        )  # fmt: skip
        for partition in range(self.log.settings.partitions):
            for hook in self.log.ready:
                at_once(hook(partition))

    def append(self, event: Event, key: str | None) -> None:
        """One event, appended now."""
        partition = partition_for(key.encode(), self.log.settings.partitions) if key is not None else 0
        record = Record(
            key=None if key is None else key.encode(), value=orjson.dumps(event), timestamp_ms=to_us(self.now) // 1000
        )
        self.log.topics["contact-events"][partition].append(record)

    def told(self, *customers: Customer) -> set[str]:
        """The directory hears of customers."""
        batch = Batch(
            topic="customers", partition=0, offsets=range(len(customers)),
            keys=[customer.customer_id.encode() for customer in customers],
            values=[customer.model_dump_json().encode() for customer in customers],
            headers=[()] * len(customers), timestamps_ms=[to_us(self.now) // 1000] * len(customers),
            next_offset=len(customers),
        )  # fmt: skip
        return self.customers.apply(batch)

    async def tell(self, *customers: Customer) -> None:
        """As `told`, and acted on."""
        await self.track.customers_changed(self.told(*customers))

    async def read(self, partition: int, most: int) -> bool:
        """Handle one batch; False where there was nothing."""
        first = self.log.done[partition]
        records = self.log.topics["contact-events"][partition][first:][:most]
        if not records:
            return False
        batch = batch_of("contact-events", partition, first, records, self.log.fence(partition))
        await self.log.handlers["contact-events"](batch)
        self.log.done[partition] = batch.next_offset
        return True

    async def settle(self, most: int = 1000) -> None:
        """Handle everything that is in the log and what comes of it."""
        for _ in range(1000):
            if not any([await self.read(partition, most) for partition in range(len(self.log.done))]):
                return
        raise AssertionError("records go round in circles")

    async def pass_time(self, until: datetime) -> None:
        """Every wake-up that is due by then, as often as there are any."""
        self.now = max(self.now, until)
        for _ in range(1000):
            before = len(self.log.topics["contact-events"][0]), len(self.log.topics["contact-events"][-1])
            await self.track.send_wake_ups()
            if before == (len(self.log.topics["contact-events"][0]), len(self.log.topics["contact-events"][-1])):
                return
            await self.settle()
        raise AssertionError("wake-ups go round in circles")

    def records(self, topic: str) -> list[dict[str, Any]]:
        """Every record of a topic, each partition's in order."""
        return [orjson.loads(record.value or b"") for some in self.log.topics[topic] for record in some]

    def latest(self, topic: str, key: str) -> dict[str, dict[str, Any]]:
        """The record that holds of each id: the one of the highest revision."""
        last: dict[str, dict[str, Any]] = {}
        for record in self.records(topic):
            if record["revision"] >= last.get(record[key], record)["revision"]:
                last[record[key]] = record
        return last

    def refused(self) -> list[str]:
        """The reason of each dead letter, in order."""
        return [dict(record.headers)["reason"].decode() for some in self.log.topics["dead-letters"] for record in some]


def batch_of(topic: str, partition: int, first: int, records: Sequence[Record], fence: Fence | None) -> Batch:
    """Records of a partition, handed out together."""
    return Batch(
        topic=topic, partition=partition, offsets=range(first, first + len(records)),
        keys=[record.key for record in records], values=[record.value for record in records],
        headers=[record.headers for record in records],
        timestamps_ms=[record.timestamp_ms or 0 for record in records],
        next_offset=first + len(records), fence=fence,
    )  # fmt: skip


def at_once(awaited: Awaitable[None]) -> None:
    """Has something awaited that waits for nothing."""
    step = awaited.__await__()
    try:
        next(step)
    except StopIteration:
        return
    raise AssertionError("it waits")


def at(text: str) -> datetime:
    """`2026-03-02 09:00`, UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def event(number: int, kind: str, when: datetime, contact: str = "T-1", **data: Any) -> Event:
    """An event of source `/test`."""
    return {
        "specversion": "1.0", "id": str(number), "source": "/test", "type": kind, "time": when.isoformat(),
        "subject": contact, "data": data,
    }  # fmt: skip
