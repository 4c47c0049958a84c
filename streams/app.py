"""The rim of `streams`: broker, tables, customers, timers and the agent put together, started and stopped.

Wiring only: what a fact means is the engine's, what a batch does is `streams.track.agent`'s. Nothing happens on
import, and any number of these live in one process.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson
import structlog

from schemas.configuration import Configuration
from schemas.customers import Customer
from schemas.topics import CUSTOMERS, POLICIES, TOPICS
from streams import settings
from streams.customers import Customers, customer_records
from streams.engine.attributes import Tier
from streams.engine.calendar import to_us
from streams.engine.explain import explain, to_json
from streams.engine.policy import Policies
from streams.metrics import Metrics, Waiting
from streams.promises import in_force_record, records_of
from streams.track.agent import Track
from streams.transport import Record, TransportSettings, create_app

APP_ID = "heardback-streams"
WAKE_EVERY_SECONDS = 0.2

log = structlog.get_logger(__name__)


class Streams:
    """The stream processors of one process. `now` is any clock; `after_step` hears of each applied step."""

    def __init__(
        self,
        broker_url: str,
        configuration: Configuration,
        *,
        now: Callable[[], datetime],
        metrics: Metrics,
        transport: TransportSettings | None = None,
        after_step: Callable[[str], None] = lambda _: None,
        wake_every_seconds: float = WAKE_EVERY_SECONDS,
    ) -> None:
        self.configuration = configuration
        self.policies: Policies = settings.policies_of(configuration)
        self.runtime = create_app(APP_ID, broker_url, topics=TOPICS, settings=transport)
        self.customers = Customers()
        self._customers_known = asyncio.Event()
        self.runtime.on_partition_ready(self._wait_for_customers)
        self.track = Track(self.runtime, self.policies, self.customers, configuration.limits, metrics, now, after_step)
        metrics.watch(waiting=self.waiting, progress=self.runtime.progress)
        self.runtime.timer(wake_every_seconds, self.track.send_wake_ups)
        self._now = now
        self._follower: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect, read the customers, publish the policies, join the group. Raises TransportError."""
        self.collect_garbage_seldom()
        await self.runtime.start()
        client, topic = self.runtime.client, self.runtime.topic_name(CUSTOMERS.name)
        position = await self.customers.load(client, topic)
        self._customers_known.set()
        await self._publish_policies()
        self._follower = asyncio.create_task(self._follow(topic, position))
        log.info("streams_started", customers=len(self.customers.directory.customers))

    @staticmethod
    def collect_garbage_seldom() -> None:
        """Contacts live long and hold no cycles: looking through all of them often finds nothing. A batch makes and
        drops hundreds of thousands of objects; only what stays counts towards the threshold."""
        gc.freeze()
        gc.set_threshold(500_000, 20, 100)

    async def stop(self) -> None:
        """Finish the batch in hand, commit, leave; called again, at once."""
        if self._follower is not None:
            self._follower.cancel()
            with suppress(asyncio.CancelledError):
                await self._follower
        await self.runtime.stop()
        log.info("streams_stopped")

    async def put_customers(self, customers: Sequence[Customer]) -> None:
        """Publish customer records to topic `customers`."""
        records = customer_records(customers, self._now())
        await self.runtime.client.append(self.runtime.topic_name(CUSTOMERS.name), {0: records})

    def explain(self, contact_id: str, at: datetime) -> dict[str, Any] | None:
        """Why each clock of a contact in one of our partitions says what it says, as JSON; None: not here."""
        group = self.track.group_of(contact_id)
        if not group:
            return None
        found = explain(contact_id, group, self.policies, self._tiers_of, to_us(at))
        return to_json(found) if found else None

    def _tiers_of(self, customer_id: str) -> Sequence[Tier]:
        tier = self.customers.tier(customer_id)
        return [tier] if tier else []

    def waiting(self) -> Iterator[Waiting]:
        """Every clock that runs in our partitions."""
        for home in list(self.track.homes.values()):
            yield from home.waiting()

    async def _wait_for_customers(self, _: int) -> None:
        """No batch is handled before every customer is known: a contact's home depends on them."""
        await self._customers_known.wait()

    async def _follow(self, topic: str, position: dict[int, int]) -> None:
        try:
            await self.customers.follow(self.runtime.client, topic, position, self.track.customers_changed)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001 - whoever waits for the runtime is told
            self.runtime.fail(error)

    async def _publish_policies(self) -> None:
        """What judges from now on, unless it did so before: the instant of the record that says which are in force
        tells when they changed."""
        topic, told = self.runtime.topic_name(POLICIES.name), dict[bytes | None, bytes | None]()
        async for batch in self.runtime.client.scan(topic):
            told.update(zip(batch.keys, batch.values, strict=True))
        new = [record for record in self._policy_records() if told.get(record.key) != record.value]
        if new:
            await self.runtime.client.append(topic, {0: new})

    def _policy_records(self) -> Iterable[Record]:
        """The record that says which are in force comes last."""
        timestamp_ms = to_us(self._now()) // 1_000
        for record in [*records_of(self.configuration), in_force_record(self.configuration)]:
            value = orjson.dumps(record.model_dump(mode="json"))
            yield Record(key=record.hash.encode(), value=value, timestamp_ms=timestamp_ms)
