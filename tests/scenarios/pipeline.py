"""The pipeline under a steered clock: real stream processors and alerting on a real broker, and no waiting.

The clock jumps from one thing that happens to the next; every wake-up in between is let pass at its own
instant. After each step the pipeline is settled: everything in the log has been handled. What must come
of it is not known here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, Self

import orjson
from prometheus_client import CollectorRegistry

from alerting import app as alerting_app
from alerting.notify import Routes
from alerting.transport import Transport
from schemas.configuration import Configuration
from schemas.customers import Customer
from schemas.topics import (
    ALERTS,
    CONTACT_EVENTS,
    CUSTOMERS,
    DEAD_LETTERS,
    DELIVERIES,
    JOURNEYS,
    OUTCOMES,
    TOPICS,
)
from streams.app import Streams
from streams.audit import Asked, Audited, audit
from streams.engine.calendar import to_us
from streams.metrics import Metrics
from streams.transport import Fenced, Record, Runtime, TransportSettings, by_partition, create_app

Event = dict[str, Any]
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
A_MOMENT: Final = timedelta(milliseconds=1)
POLL_SECONDS: Final = 0.002
SETTLE_SECONDS: Final = 120.0  # machines that do much else at once are slow
NEVER_SECONDS: Final = 86_400.0
"""How often the due index is looked at by itself: time passes in `pass_time` alone."""


def transport_settings(prefix: str = "", partitions: int = 2) -> TransportSettings:
    """For tests: sessions are short, and nothing is too old to be kept."""
    return TransportSettings(
        topic_prefix=prefix, partitions=partitions, retention_days=36_500, session_timeout_seconds=6.0,
        request_timeout_seconds=5.0, commit_interval_seconds=0.1,
    )  # fmt: skip


class Clock:
    """A clock that stands until it is set."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at


class Noticed(NamedTuple):
    """A record of topic `alerts`, and what the clock showed when it came."""

    at: datetime
    alert: dict[str, Any]


class Pipeline:
    """`streams` and, with `alerting`, what alerts, on one broker. An async context manager."""

    def __init__(
        self,
        url: str,
        configuration: Configuration,
        *,
        start: datetime,
        settings: TransportSettings | None = None,
        first_start: datetime | None = None,
        alerting: bool = True,
    ) -> None:
        self.clock = Clock(start)
        self.configuration = configuration
        self.first_start = first_start
        self.settings = settings or transport_settings()
        self.streams = Streams(
            url,
            configuration,
            now=self.clock,
            metrics=Metrics(CollectorRegistry(), worst_customers=5, now=self.clock),
            transport=self.settings,
            wake_every_seconds=NEVER_SECONDS,
        )
        self.noticed: list[Noticed] = []
        self._read: dict[int, int] = defaultdict(int)
        self._alerts: Runtime | None = None
        if alerting:
            self._alerts = create_app("heardback-alerting", url, topics=TOPICS, settings=self.settings)
            self._alerting = alerting_app.build(
                Transport(runtime=self._alerts, record=Record, fenced=Fenced),
                configuration.alerts,
                now=self.clock,
                registry=CollectorRegistry(),
                first_start=first_start,
                late_after=timedelta(seconds=configuration.limits.late_after.seconds),
            )

    async def __aenter__(self) -> Self:
        await self.streams.start()
        if self._alerts is not None:
            await self._alerts.start()
            await self._alerting.start()
            await self._alerts.wait_ready()
        await self.streams.runtime.wait_ready()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._alerts is not None:
            await self._alerting.stop()
            await self._alerts.stop()
        await self.streams.stop()

    # -- what happens

    async def put_customers(self, at: datetime, customers: Sequence[Customer]) -> None:
        """At this instant the customers become known."""
        await self.pass_time(at)
        await self.streams.put_customers(customers)
        await self.settle()

    async def put_events(
        self, at: datetime, events: Sequence[Event], headers: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        """At this instant these events reach the log together, each where its customer's key belongs."""
        await self.pass_time(at)
        records = [
            Record(key=self._key(event), value=orjson.dumps(event), headers=headers, timestamp_ms=_ms(at))
            for event in events
        ]
        await self.put_records(records)

    async def put_records(self, records: Sequence[Record]) -> None:
        """These records reach `contact-events`, each where it says or its key belongs."""
        topic = self.streams.runtime.topic_name(CONTACT_EVENTS.name)
        await self.streams.runtime.client.append(topic, by_partition(records, self.settings.partitions))
        await self.settle()

    async def pass_time(self, until: datetime) -> None:
        """The clock goes on, from one wake-up to the next."""
        while (due := self._next_wake()) is not None and due + A_MOMENT <= until:
            self.clock.at = max(self.clock.at, due + A_MOMENT)
            await self.streams.track.send_wake_ups()
            await self.settle()
        self.clock.at = max(self.clock.at, until)
        await self.streams.track.send_wake_ups()  # those that fall between this instant and the moment after
        await self.settle()

    async def settle(self) -> None:
        """Returns when every record has been handled, and what came of it too."""
        async with asyncio.timeout(SETTLE_SECONDS):
            ends: Mapping[str, Mapping[int, int]] = {}
            while (found := await self._ends()) != ends:
                ends = found
                await self._until(lambda ends=ends: self._handled(ends))  # type: ignore[misc]
        await self._notice()

    # -- what came of it

    async def records(self, topic: str) -> list[dict[str, Any]]:
        """Every record of a topic, each partition's in order."""
        found = []
        async for batch in self.streams.runtime.client.scan(self.streams.runtime.topic_name(topic)):
            found += [orjson.loads(value) for value in batch.values if value is not None]
        return found

    async def latest(self, topic: str, key: str) -> dict[str, dict[str, Any]]:
        """The record that holds of each id: the one of the highest revision."""
        last: dict[str, dict[str, Any]] = {}
        for record in await self.records(topic):
            if record["revision"] >= last.get(record[key], record)["revision"]:
                last[record[key]] = record
        return last

    async def refused(self) -> list[str]:
        """The reason of each dead letter."""
        found = []
        async for batch in self.streams.runtime.client.scan(self.streams.runtime.topic_name(DEAD_LETTERS.name)):
            found += [dict(headers)["reason"].decode() for headers in batch.headers]
        return found

    async def audit(self) -> Audited:
        """The self-audit of everything as it stands now: nothing is on its way."""
        runtime, topic = self.streams.runtime, self.streams.runtime.topic_name(CONTACT_EVENTS.name)
        ends = await runtime.client.end_offsets(topic)

        def committed() -> bool:
            ours = [progress for progress in runtime.progress() if progress.topic == topic]
            return all((progress.committed or 0) >= ends[progress.partition] for progress in ours)

        async with asyncio.timeout(SETTLE_SECONDS):
            await self._until(committed)
        alerts = self.configuration.alerts
        if alerts.from_ == "first_start" and self.first_start:
            alerts = alerts.model_copy(update={"from_": self.first_start})
        routes = Routes(alerts)
        asked = Asked(
            prefix=self.settings.topic_prefix,
            alerts=alerts,
            limits=self.configuration.limits,
            receivers_of=lambda alert, _: routes.receivers(alert),
            now=self.clock,
            tolerance_us=0,
            again_after_seconds=0,
        )
        return await audit(self.streams.runtime.client, asked)

    # -- inside

    def _key(self, event: Event) -> bytes | None:
        data = event.get("data") or {}
        directory = self.streams.customers.directory
        if data.get("customer_id"):
            return str(data["customer_id"]).encode()
        identity = data.get("sender") or data.get("recipient")
        return directory.owner_of(identity).encode() if identity else None

    def _next_wake(self) -> datetime | None:
        due = [wake_us for home in self.streams.track.homes.values() for _, wake_us in home.due]
        return EPOCH + timedelta(microseconds=min(due)) if due else None

    async def _ends(self) -> Mapping[str, Mapping[int, int]]:
        names = [CONTACT_EVENTS.name, CUSTOMERS.name]
        if self._alerts is not None:
            names += [OUTCOMES.name, JOURNEYS.name, DELIVERIES.name]
        client, name_of = self.streams.runtime.client, self.streams.runtime.topic_name
        return {name_of(name): dict(await client.end_offsets(name_of(name))) for name in names}

    def _handled(self, ends: Mapping[str, Mapping[int, int]]) -> bool:
        finished: dict[str, dict[int, int]] = defaultdict(dict)
        finished[self.streams.runtime.topic_name(CUSTOMERS.name)] = dict(self.streams.customers.followed)
        for runtime in self._runtimes():
            for progress in runtime.progress():
                finished[progress.topic][progress.partition] = progress.finished or 0
        return all(
            finished[topic].get(number, 0) >= end
            for topic, of_topic in ends.items()
            for number, end in of_topic.items()
        )

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            for runtime in self._runtimes():
                if not runtime.ready:
                    await runtime.wait_ready()  # raises what stopped it
            await asyncio.sleep(POLL_SECONDS)

    def _runtimes(self) -> list[Runtime]:
        return [self.streams.runtime, *([self._alerts] if self._alerts else [])]

    async def _notice(self) -> None:
        if self._alerts is None:
            return
        topic = self._alerts.topic_name(ALERTS.name)
        for number in range(self.settings.partitions):
            while batch := await self.streams.runtime.client.read(topic, number, self._read[number]):
                self._read[number] = batch.next_offset
                self.noticed += [Noticed(self.clock.at, orjson.loads(value)) for value in batch.values if value]


def _ms(at: datetime) -> int:
    return to_us(at) // 1_000
