"""`heardback run` and `heardback worker`: the whole system, or one role of it, as one process.

Composition only. `streams` and `alerting` meet here and in topics, nowhere else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import orjson
import structlog
from prometheus_client import CollectorRegistry
from sqlalchemy import URL

from alerting import app as alerting_app
from alerting import secret
from alerting.sight import Look
from alerting.transport import Transport
from schemas.configuration import Configuration
from schemas.customers import Customer
from schemas.events import Event
from schemas.policies import PolicyRecord
from schemas.topics import CONTACT_EVENTS, CUSTOMERS, DEAD_LETTERS, POLICIES, TOPICS
from streams import settings
from streams.app import APP_ID, WAKE_EVERY_SECONDS, Streams
from streams.board import Board
from streams.commands.acknowledging import Acknowledging
from streams.commands.listening import Listening
from streams.commands.reporting import Reports
from streams.customers import Customers, customer_records
from streams.engine.timeline import customer_of, fact_of
from streams.facts import KNOW_EVERY_SECONDS, Store, Writer
from streams.gateway import Acknowledge, Gateway, Listen, Liveness, Publish, Readiness, Server, create_http
from streams.kept import Kept
from streams.metrics import Metrics, render
from streams.track.moving import UNKNOWN
from streams.transport import (
    Fenced,
    LogClient,
    Record,
    Runtime,
    TransportError,
    TransportSettings,
    by_partition,
    create_app,
    open_log,
)
from streams.transport.runtime import topic_specs

STREAMS: Final = "streams"
ALERTING: Final = "alerting"
GATEWAY: Final = "gateway"
FACTS: Final = "facts"
ROLES: Final = (STREAMS, ALERTING, GATEWAY, FACTS)
FIRST_START: Final = b"first-start"
STALLED_SECONDS_MAX: Final = 120.0
POST_SECONDS_MAX: Final = 5.0
"""How long a POST waits for the broker before it is told to come back later."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a process listens and what it talks to. Without `facts_url` there are no facts, and no reports."""

    broker_url: str
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    transport: TransportSettings = field(default_factory=TransportSettings)
    facts_url: str | URL | None = field(default=None, repr=False)


class System:
    """The roles of one process, started together and stopped together. `now` is any clock."""

    def __init__(
        self,
        place: Place,
        configuration: Configuration,
        *,
        roles: Collection[str] = ROLES,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        after_step: Callable[[str], None] = lambda _: None,
        wake_every_seconds: float = WAKE_EVERY_SECONDS,
        know_every_seconds: float = KNOW_EVERY_SECONDS,
    ) -> None:
        self.place = place
        self._know_every = know_every_seconds
        self._listen = Listen(host=place.host, port=place.port, token=place.token)
        self.configuration = configuration
        self.roles = frozenset(roles)
        self.registry = CollectorRegistry()
        self.now = now
        self.streams: Streams | None = None
        self.alerting: alerting_app.Alerting | None = None
        self._alerting_runtime: Runtime | None = None
        self._listening: Listening | None = None
        self._client = None if STREAMS in self.roles else open_log(place.broker_url, place.transport)
        self._client_open = False
        # A writer of its own: whoever posts is told soon that the broker is away, and nobody else's write with it.
        soon = min(POST_SECONDS_MAX, place.transport.request_timeout_seconds)
        self._intake = open_log(place.broker_url, replace(place.transport, request_timeout_seconds=soon))
        self._intake_open = False
        self._customers = Customers()
        self._follower: asyncio.Task[None] | None = None
        self._http: Server | None = None
        self._facts = Store(place.facts_url) if place.facts_url is not None else None
        self._facts_writer: asyncio.Task[None] | None = None
        self._board = self._board_of(configuration) if GATEWAY in self.roles else None
        self._kept = Kept(
            lambda: self._log,
            self._topic(f"{APP_ID}-contacts-changelog"),
            settings.policies_of(configuration),
            lambda: self.customers,
            self._board.customer_of if self._board is not None else lambda _: None,
        )
        self._acknowledging = (
            Acknowledging(lambda: self._log, self._topic, configuration, self._publish, now)
            if GATEWAY in self.roles
            else None
        )
        webhook = configuration.alerts.pagerduty_webhook
        self._pagerduty = (
            secret.given(webhook.secret, webhook.secret_file).encode()
            if webhook is not None and GATEWAY in self.roles
            else None
        )
        self._stopping = False
        self._outlasting = False
        self._starting = "connecting to the broker"
        self.metrics = metrics = Metrics(
            self.registry,
            worst_customers=configuration.limits.worst_customers,
            now=now,
            monotonic=lambda: now().timestamp(),
        )
        metrics.watch(ready=lambda: not self._ready().reasons)
        if STREAMS in self.roles:
            self.streams = Streams(
                place.broker_url,
                configuration,
                now=now,
                metrics=metrics,
                transport=place.transport,
                after_step=after_step,
                wake_every_seconds=wake_every_seconds,
            )

    # -- life ----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """HTTP first, so that it answers while tables recover; then the rest. Raises TransportError."""
        self._http = Server(create_http(self._gateway(), self._listen))
        await self._http.start()
        log.info("listening", url=self.url, roles=sorted(self.roles))
        if self.streams is not None:
            self._starting = "recovering contacts"
            await self.streams.start()
        else:
            await self._follow_customers()
        await self._intake.start()
        self._intake_open = True
        if self._board is not None:
            self._board.start()
        if self._acknowledging is not None:
            self._acknowledging.start()
        if ALERTING in self.roles:
            await self._start_alerting()
        if FACTS in self.roles and self._facts is not None:
            writer = Writer(self._log, self._topic, self._facts, now=self.now, know_every_seconds=self._know_every)
            self.metrics.watch(facts_until=lambda: writer.complete_at)
            self._facts_writer = asyncio.create_task(writer.run(), name="facts")
        self._starting = ""

    async def _follow_customers(self) -> None:
        """What stream processors do of themselves: topics checked, customers read and followed."""
        transport, client = self.place.transport, self._log
        await client.start()
        self._client_open = True
        await client.ensure_topics(topic_specs(TOPICS, transport), transport.replication_factor)
        topic = self._topic(CUSTOMERS.name)
        position = await self._customers.load(client, topic)

        async def nothing(_: set[str]) -> None:
            """Contacts are the stream processors' business."""

        self._follower = asyncio.create_task(self._customers.follow(client, topic, position, nothing))

    async def _start_alerting(self) -> None:
        runtime = create_app("heardback-alerting", self.place.broker_url, topics=TOPICS, settings=self.place.transport)
        first_start = await self._first_start()
        self.alerting = alerting_app.build(
            Transport(runtime=runtime, record=Record, fenced=Fenced, away=(TransportError,)),
            self.configuration.alerts,
            now=self.now,
            registry=self.registry,
            first_start=first_start,
            late_after=timedelta(seconds=self.configuration.limits.late_after.seconds),
            owner_of=self._owner_of,
            look=self._look,
        )
        self._alerting_runtime = runtime
        await runtime.start()
        await self.alerting.start()
        calendars = settings.policies_of(self.configuration).calendars.values()
        alerting = self.alerting
        self._listening = Listening(
            lambda: self._log, self._topic, calendars, alerting.say_silence, alerting.tells_of_us, self.now
        )
        self._listening.start(runtime.fail)

    async def stop(self) -> None:
        """Take no further request, finish what is in hand, commit and leave; a second call leaves at once."""
        again, self._stopping = self._stopping, True
        if self._http is not None and not again:
            await self._http.stop()
        if self._follower is not None:
            self._follower.cancel()
        if self._intake_open:
            self._intake_open = False
            await self._intake.close()
        if self._facts_writer is not None:
            self._facts_writer.cancel()
            await asyncio.wait((self._facts_writer,))
        if self._facts is not None:
            await self._facts.close()
        if self._board is not None:
            await self._board.stop()
        if self._acknowledging is not None:
            await self._acknowledging.stop()
        if self._listening is not None:
            await self._listening.stop()
        if self.alerting is not None and not again:
            await self.alerting.stop()
        if self._alerting_runtime is not None:
            await self._alerting_runtime.stop()
        if self.streams is not None:
            await self.streams.stop()
        if self._client_open:
            self._client_open = False
            await self._log.close()

    async def wait_ready(self) -> None:
        """Returns when every partition given to us so far is ready."""
        for runtime in self._runtimes():
            await runtime.wait_ready()

    async def wait_failed(self) -> None:
        """Returns when a part of it has stopped; raises what stopped it."""
        waits = [asyncio.create_task(runtime.wait_closed()) for runtime in self._runtimes()]
        ours = [task for task in (self._follower, self._facts_writer) if task is not None]
        waits += ours
        done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in waits:
            if task not in done and task not in ours:
                task.cancel()
        for task in done:
            task.result()

    async def outlast(self) -> None:
        """Where the broker's absence ended a part of it: stays until whoever is to know that heardback cannot see has
        been told, and the broker answers again. At once where that is not our business."""
        if self.alerting is not None:
            self._outlasting = True
            log.warning("outlasting", why="the broker does not answer, and somebody must be told")
            await self.alerting.outlast()

    @property
    def url(self) -> str:
        """Where HTTP is answered."""
        assert self._http is not None
        return self._http.url

    async def client(self) -> LogClient:
        """Access to the log outside any group."""
        return self._log

    @property
    def _log(self) -> LogClient:
        if self.streams is not None:
            return self.streams.runtime.client
        assert self._client is not None
        return self._client

    @property
    def customers(self) -> Customers:
        """The customers as they are known here."""
        return self.streams.customers if self.streams is not None else self._customers

    async def put_customers(self, customers: Sequence[Customer]) -> None:
        """Publish customer records to topic `customers`."""
        await self._log.append(self._topic(CUSTOMERS.name), {0: customer_records(customers, self.now())})

    def _topic(self, name: str) -> str:
        return self.place.transport.topic_prefix + name

    def _runtimes(self) -> Sequence[Runtime]:
        found = [self.streams.runtime if self.streams else None, self._alerting_runtime]
        return [runtime for runtime in found if runtime is not None]

    # -- what alerting asks --------------------------------------------------------------------------

    async def _look(self) -> Look:
        """How far the log has been read, by whoever reads it, and whether our own tables are there."""
        events, log = self._topic(CONTACT_EVENTS.name), self._log
        return Look(
            ends=await log.end_offsets(events),
            read=await log.committed(self._topic(APP_ID), events),
            refused=sum((await log.end_offsets(self._topic(DEAD_LETTERS.name))).values()),
            recovered=all(runtime.ready for runtime in self._runtimes()),
        )

    def _owner_of(self, customer_id: str) -> str | None:
        known = self.customers.directory.customers.get(customer_id)
        return known.owner if known else None

    async def _first_start(self) -> datetime:
        """When heardback first ran on this broker: kept in topic `policies`, for `alerts.from`."""
        topic, found = self._topic(POLICIES.name), None
        async for batch in self._log.scan(topic):
            for key, value in zip(batch.keys, batch.values, strict=True):
                if key == FIRST_START and value is not None:
                    found = datetime.fromisoformat(PolicyRecord.model_validate_json(value).content["at"])
        if found is not None:
            return found
        now = self.now()
        content = {"at": now.isoformat()}
        record = PolicyRecord(kind="first_start", hash="first-start", name="first start", content=content)
        value = orjson.dumps(record.model_dump(mode="json"))
        await self._log.append(topic, {0: [Record(key=FIRST_START, value=value)]})
        return now

    # -- what HTTP asks ------------------------------------------------------------------------------

    def _gateway(self) -> Gateway:
        return Gateway(
            publish=self._publish,
            customer_of=self._customer_of,
            ready=self._ready,
            alive=self._alive,
            explain=self._explain,
            metrics=lambda: render(self.registry),
            board=self._board,
            silences_url=_alertmanager_of(self.configuration),
            acknowledge=self._acknowledge(),
            report=Reports(self._facts, self.configuration.report).document if self._facts is not None else None,
            now=self.now,
            refused=self.metrics.refused,
            ahead=timedelta(seconds=self.configuration.limits.ahead.seconds),
            late_after=timedelta(seconds=self.configuration.limits.late_after.seconds),
        )

    def _board_of(self, configuration: Configuration) -> Board:
        alerts_from = configuration.alerts.from_
        return Board(
            lambda: self._log,
            self._topic,
            lambda: self.customers,
            now=self.now,
            alerts_from=alerts_from if isinstance(alerts_from, datetime) else None,
            late_after=timedelta(seconds=configuration.limits.late_after.seconds),
            remembered=timedelta(days=configuration.broker.retention_days - 1),
            long_ago=self._long_ago if STREAMS in self.roles else None,
        )

    def _long_ago(self, before_us: int, known: Callable[[str], bool]) -> Iterator[tuple[int, dict[str, Any]]]:
        """What our tables know of contacts in which somebody has waited since before that instant."""
        assert self.streams is not None
        for partition, home in list(self.streams.track.homes.items()):
            for contact_id, header in list(home.headers.items()):
                since = header.since_us
                since_us = min(since, default=before_us) if isinstance(since, tuple) else since
                if header.kinds and since_us < before_us and not known(contact_id):
                    explained = self.streams.explain(contact_id, self.now())
                    if explained is not None:
                        yield partition, explained

    def _acknowledge(self) -> Acknowledge | None:
        if self._acknowledging is None:
            return None
        return Acknowledge(
            alert=self._acknowledging.alert,
            incident=self._acknowledging.incident,
            pagerduty_secret=self._pagerduty,
        )

    async def _publish(self, events: Sequence[Publish]) -> None:
        timestamp_ms = int(self.now().timestamp() * 1_000)
        records = [
            Record(key=event.key, value=event.value, headers=event.headers, timestamp_ms=timestamp_ms)
            for event in events
        ]
        topic, partitions = self._topic(CONTACT_EVENTS.name), self.place.transport.partitions
        await self._intake.append(topic, by_partition(records, partitions))

    def _customer_of(self, event: Event) -> str:
        """The customer that an event names (C19), else its contact, in whose own partition its home is known."""
        return customer_of([fact_of(event)], self.customers.directory) or UNKNOWN + event.subject

    def _ready(self) -> Readiness:
        if self._outlasting:
            return Readiness(reasons=("the broker does not answer",))
        reasons = [self._starting] if self._starting else []
        reasons += [f"{runtime.app_id}: recovering tables" for runtime in self._runtimes() if not runtime.ready]
        return Readiness(reasons=tuple(reasons))

    def _alive(self) -> Liveness:
        runtimes = () if self._outlasting else self._runtimes()  # nothing is to move but the word that nothing does
        stalled = max((runtime.stalled_seconds() for runtime in runtimes), default=0.0)
        return Liveness(stalled_seconds=stalled, limit_seconds=STALLED_SECONDS_MAX)

    async def _explain(self, contact_id: str, at: datetime | None) -> dict[str, Any] | None:
        """From our own partitions, else from what workers elsewhere have kept."""
        instant = at or self.now()
        if self.streams is not None:
            found = self.streams.explain(contact_id, instant)
            if found is not None or not self.place.broker_url.startswith("kafka:"):
                return found
        return await self._kept.explain(contact_id, instant)


def _alertmanager_of(configuration: Configuration) -> str | None:
    """The first Alertmanager that alerts go to, as a browser may be sent there: without user and password."""
    urls = [
        url for receiver in configuration.alerts.receivers if receiver.type == "alertmanager" for url in receiver.urls
    ]
    if not urls:
        return None
    parts = urlsplit(urls[0])
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))
