"""`heardback run` and `heardback worker`: the whole system, or one role of it, as one process.

Composition only. `streams` and `alerting` meet here and in topics, nowhere else.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry

from alerting import app as alerting_app
from alerting.transport import Transport
from schemas.configuration import Configuration
from schemas.customers import Customer
from schemas.events import Event
from schemas.policies import PolicyRecord
from schemas.topics import POLICIES, TOPICS
from streams.app import WAKE_EVERY_SECONDS, Streams
from streams.engine.timeline import customer_of, fact_of
from streams.gateway import Gateway, Listen, Liveness, Publish, Readiness, Server, create_http
from streams.metrics import Metrics, render
from streams.transport import (
    Fenced,
    LogClient,
    Record,
    Runtime,
    TransportSettings,
    by_partition,
    create_app,
    open_log,
)
from streams.transport.runtime import topic_specs

STREAMS: Final = "streams"
ALERTING: Final = "alerting"
GATEWAY: Final = "gateway"
ROLES: Final = (STREAMS, ALERTING, GATEWAY)
FIRST_START: Final = b"first-start"
STALLED_SECONDS_MAX: Final = 120.0
STOP_SECONDS_MAX: Final = 9.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a process listens and what it talks to."""

    broker_url: str
    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    transport: TransportSettings = field(default_factory=TransportSettings)


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
    ) -> None:
        self.place = place
        self._listen = Listen(host=place.host, port=place.port, token=place.token)
        self.configuration = configuration
        self.roles = frozenset(roles)
        self.registry = CollectorRegistry()
        self.now = now
        self.streams: Streams | None = None
        self.alerting: alerting_app.Alerting | None = None
        self._alerting_runtime: Runtime | None = None
        self._client = None if STREAMS in self.roles else open_log(place.broker_url, place.transport)
        self._client_open = False
        self._customers = Customers()
        self._follower: asyncio.Task[None] | None = None
        self._http: Server | None = None
        self._stopping = False
        self._starting = "connecting to the broker"
        self.metrics = metrics = Metrics(
            self.registry,
            worst_customers=configuration.limits.worst_customers,
            now=now,
            monotonic=lambda: now().timestamp(),
        )
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
        if ALERTING in self.roles:
            await self._start_alerting()
        self._starting = ""

    async def _follow_customers(self) -> None:
        """What stream processors do of themselves: topics checked, customers read and followed."""
        transport, client = self.place.transport, self._log
        await client.start()
        self._client_open = True
        await client.ensure_topics(topic_specs(TOPICS, transport), transport.replication_factor)
        topic = transport.topic_prefix + CUSTOMERS.name
        position = await self._customers.load(client, topic)

        async def nothing(_: set[str]) -> None:
            """Contacts are the stream processors' business."""

        self._follower = asyncio.create_task(self._customers.follow(client, topic, position, nothing))

    async def _start_alerting(self) -> None:
        runtime = create_app("heardback-alerting", self.place.broker_url, topics=TOPICS, settings=self.place.transport)
        first_start = await self._first_start(runtime.topic_name(POLICIES.name))
        self.alerting = alerting_app.build(
            Transport(runtime=runtime, record=Record, fenced=Fenced),
            self.configuration.alerts,
            now=self.now,
            registry=self.registry,
            first_start=first_start,
            late_after=timedelta(seconds=self.configuration.limits.late_after.seconds),
            owner_of=self._owner_of,
        )
        self._alerting_runtime = runtime
        await runtime.start()
        await self.alerting.start()

    async def stop(self) -> None:
        """Finish what is in hand, commit and leave, within 10 seconds; a second call leaves at once. Raises
        StopTimedOut where that is not enough: what was in hand is handed out again."""
        if self._stopping is not None:
            self._stopping.cancel()
            return
        self._stopping = asyncio.create_task(self._stop())
        await asyncio.wait((self._stopping,), timeout=STOP_SECONDS_MAX)
        if self._stopping.cancelled():
            return
        if not self._stopping.done():
            self._stopping.cancel()
            raise StopTimedOut(f"not stopped within {STOP_SECONDS_MAX:g} s; what was in hand is handed out again")
        self._stopping.result()

    async def _stop(self) -> None:
        if self._follower is not None:
            self._follower.cancel()
        if self.alerting is not None:
            await self.alerting.stop()
        await asyncio.gather(*(runtime.stop() for runtime in self._runtimes()[1:]))
        if self.streams is not None:
            await self.streams.stop()
        if self._client is not None and self._client_open:
            await self._client.close()
        if self._http is not None:
            await self._http.stop()

    async def wait_ready(self) -> None:
        """Returns when every partition given to us so far is ready."""
        for runtime in self._runtimes():
            await runtime.wait_ready()

    async def wait_failed(self) -> None:
        """Returns when one of the runtimes has stopped; raises what stopped it."""
        waits = [asyncio.create_task(runtime.wait_closed()) for runtime in self._runtimes()]
        if not waits:
            await asyncio.Event().wait()
        done, rest = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        for task in done:
            task.result()

    @property
    def url(self) -> str:
        """Where HTTP is answered."""
        assert self._http is not None
        return self._http.url

    async def client(self) -> LogClient:
        """Access to the log outside any group."""
        if self.streams is not None:
            return self.streams.runtime.client
        if self._alerting_runtime is not None:
            return self._alerting_runtime.client
        if self._client is None:
            self._client = open_log(self.place.broker_url, self.place.transport)
            await self._client.start()
        return self._client

    def _runtimes(self) -> Sequence[Runtime]:
        found = [self.streams.runtime if self.streams else None, self._alerting_runtime]
        return [runtime for runtime in found if runtime is not None]

    # -- what alerting asks --------------------------------------------------------------------------

    def _owner_of(self, customer_id: str) -> str | None:
        customers = self.streams.customers.directory.customers if self.streams else {}
        known = customers.get(customer_id)
        return known.owner if known else None

    async def _first_start(self, runtime: Runtime) -> datetime:
        """When heardback first ran on this broker: kept in topic `policies`, for `alerts.from`."""
        topic = runtime.topic_name(POLICIES.name)
        client = self.streams.runtime.client if self.streams else open_log(self.place.broker_url, self.place.transport)
        if self.streams is None:
            await client.start()
        try:
            await client.ensure_topics(
                topic_specs(TOPICS, self.place.transport), self.place.transport.replication_factor
            )
            found = None
            async for batch in client.scan(topic):
                for key, value in zip(batch.keys, batch.values, strict=True):
                    if key == FIRST_START and value is not None:
                        found = datetime.fromisoformat(PolicyRecord.model_validate_json(value).content["at"])
            if found is None:
                found = self.now()
                content = {"at": found.isoformat()}
                record = PolicyRecord(kind="first_start", hash="first-start", name="first start", content=content)
                value = orjson.dumps(record.model_dump(mode="json"))
                await client.append(topic, {0: [Record(key=FIRST_START, value=value)]})
        finally:
            if self.streams is None:
                await client.close()
        return found

    # -- what HTTP asks ------------------------------------------------------------------------------

    def _gateway(self) -> Gateway:
        return Gateway(
            publish=self._publish,
            customer_of=self._customer_of,
            ready=self._ready,
            alive=self._alive,
            explain=self._explain,
            metrics=lambda: render(self.registry),
            now=self.now,
            refused=self.metrics.refused,
            ahead=timedelta(seconds=self.configuration.limits.ahead.seconds),
            late_after=timedelta(seconds=self.configuration.limits.late_after.seconds),
        )

    async def _publish(self, events: Sequence[Publish]) -> None:
        timestamp_ms = int(self.now().timestamp() * 1_000)
        records = [
            Record(key=event.key, value=event.value, headers=event.headers, timestamp_ms=timestamp_ms)
            for event in events
        ]
        client = await self.client()
        prefix = self.place.transport.topic_prefix
        await client.append(f"{prefix}contact-events", by_partition(records, self.place.transport.partitions))

    def _customer_of(self, event: Event) -> str | None:
        if self.streams is None:
            return event.data.customer_id
        return customer_of([fact_of(event)], self.streams.customers.directory)

    def _ready(self) -> Readiness:
        reasons = [self._starting] if self._starting else []
        reasons += [f"{runtime.app_id}: recovering tables" for runtime in self._runtimes() if not runtime.ready]
        return Readiness(reasons=tuple(reasons))

    def _alive(self) -> Liveness:
        stalled = max((runtime.stalled_seconds() for runtime in self._runtimes()), default=0.0)
        return Liveness(stalled_seconds=stalled, limit_seconds=STALLED_SECONDS_MAX)

    async def _explain(self, contact_id: str, at: datetime | None) -> dict[str, Any] | None:
        if self.streams is None:
            return None
        return self.streams.explain(contact_id, at or self.now())


async def run_until_stopped(system: System, customers: Sequence[Customer] = ()) -> None:
    """Start, run until SIGTERM or SIGINT, stop; a second signal stops at once. Raises what stopped it."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    stopping: list[asyncio.Task[None]] = []

    def signalled() -> None:
        if stop.is_set():
            log.warning("stopping_at_once")
            stopping.append(asyncio.create_task(system.stop()))
        stop.set()

    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, signalled)
    try:
        await system.start()
        if customers and system.streams is not None:
            await system.streams.put_customers(customers)
        failed = asyncio.create_task(system.wait_failed())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait((failed, stopped), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
        failed.cancel()
        stopped.cancel()
    finally:
        await system.stop()
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(name)
