"""An alerting worker in the test's own process, on a broker of the test, and the webhook's side of it.

What is published here stands for what `streams` would publish; nothing of `streams` but its transport is used.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from prometheus_client import CollectorRegistry
from standardwebhooks.webhooks import Webhook

from alerting.app import Alerting, build
from alerting.owed import Pace
from alerting.sight import Look
from alerting.transport import Transport
from schemas.configuration import AlertsSpec
from schemas.topics import ACKNOWLEDGEMENTS, ALERTS, DELIVERIES, HEALTH, JOURNEYS, OUTCOMES
from streams.transport import Fenced, Record, Runtime, TransportSettings, by_partition, create_app
from tests.servers.receiver import Receiver, Request

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef01234567").decode()
SETTINGS = TransportSettings(partitions=2, commit_interval_seconds=0.05, stall_exit_seconds=None)
TOPICS = (OUTCOMES, JOURNEYS, ALERTS, DELIVERIES, ACKNOWLEDGEMENTS, HEALTH)
QUICK = Pace(first_seconds=0.05, most_seconds=0.2, resend_seconds=60)
NOW = datetime(2026, 11, 10, 12, 0, tzinfo=UTC)


def webhook(url: str, name: str = "hook", **more: Any) -> dict[str, Any]:
    """A signed webhook as the configuration has it."""
    return {"type": "webhook", "name": name, "urls": [url], "secret": SECRET, "timeout_seconds": 1.0, **more}


def pager(url: str, name: str = "pager", **more: Any) -> dict[str, Any]:
    """PagerDuty as the configuration has it."""
    return {"type": "pagerduty", "name": name, "urls": [url], "secret": "routing-key", "timeout_seconds": 1.0, **more}


def alerts_spec(*receivers: Mapping[str, Any], **more: Any) -> AlertsSpec:
    """Section `alerts` with these receivers and a second step that is critical."""
    steps = [{"after": "0m", "severity": "page"}, {"after": "1h", "severity": "critical"}]
    return AlertsSpec.model_validate({"escalations": steps, "receivers": list(receivers), **more})


class Worker:
    """A worker with its runtime; `publish` writes what `streams` would have written."""

    def __init__(self, runtime: Runtime, alerting: Alerting, registry: CollectorRegistry) -> None:
        self.runtime = runtime
        self.alerting = alerting
        self.registry = registry

    async def publish(self, *records: Mapping[str, Any]) -> None:
        """Outcomes, journeys and acknowledgements, each to its topic, in the partition of its customer."""
        for topic in (OUTCOMES.name, JOURNEYS.name, ACKNOWLEDGEMENTS.name):
            some = [
                Record(key=record["customer_id"].encode(), value=orjson.dumps(record))
                for record in records
                if _topic_of(record) == topic
            ]
            if some:
                grouped = by_partition(some, self.runtime.settings.partitions)
                await self.runtime.client.append(self.runtime.topic_name(topic), grouped)

    async def read(self, topic: str) -> list[Any]:
        """Every record of a topic, in the order of each partition."""
        name = self.runtime.topic_name(topic)
        return [
            orjson.loads(value) async for batch in self.runtime.client.scan(name) for value in batch.values if value
        ]

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value, 0 where it was never touched."""
        return self.registry.get_sample_value(name, labels) or 0.0


def _topic_of(record: Mapping[str, Any]) -> str:
    if "via" in record:
        return ACKNOWLEDGEMENTS.name
    return JOURNEYS.name if "journey_id" in record else OUTCOMES.name


@asynccontextmanager
async def worker(
    url: str, spec: AlertsSpec, *, pace: Pace = QUICK, now: datetime | Callable[[], datetime] = NOW,
    settings: TransportSettings = SETTINGS,
    late_after: timedelta = timedelta(days=30), begin: Sequence[Mapping[str, Any]] = (),
    prepare: Callable[[Worker], object] = id, look: Callable[[], Awaitable[Look]] | None = None,
) -> AsyncIterator[Worker]:  # fmt: skip
    """A running worker; leaving stops it as SIGTERM would. `begin` is in the topics before it starts,
    `prepare` sees it before. `now` is heardback's clock, standing still unless it is one."""
    clock = now if callable(now) else lambda: now
    runtime = create_app("alerting-test", url, topics=TOPICS, settings=settings)
    registry = CollectorRegistry()
    transport = Transport(runtime=runtime, record=Record, fenced=Fenced)
    alerting = build(transport, spec, now=clock, registry=registry, pace=pace, late_after=late_after,
                     look=look)  # fmt: skip
    found = Worker(runtime, alerting, registry)
    prepare(found)
    if begin:
        await _fill(url, found, begin, settings)
    await runtime.start()
    await alerting.start()
    try:
        await runtime.wait_ready()
        yield found
    finally:
        await alerting.stop()
        await runtime.stop()


async def quiet(found: Worker, seconds: float = 20) -> None:
    """Nothing is owed any more, and every delivery is in the outbox."""

    def busy() -> bool:
        lag = any(progress.lag_records for progress in found.runtime.progress())
        return lag or any(lane.owed for lane in found.alerting.lanes.values())

    async with asyncio.timeout(seconds):
        while found.alerting.live != found.runtime.partitions():  # nobody tells of it
            await asyncio.sleep(0.01)
        for _ in range(3):
            await asyncio.sleep(0.15)
            while busy():
                await asyncio.sleep(0.01)


async def _fill(url: str, found: Worker, records: Sequence[Mapping[str, Any]], settings: TransportSettings) -> None:
    client = found.runtime.client
    await client.start()
    await client.ensure_topics(found.runtime._specs)
    await found.publish(*records)
    await client.close()


def pages(receiver: Receiver) -> list[tuple[str, str, str]]:
    """What a receiver that removes repeats (by `webhook-id`) took: kind, state, severity, in order. Raises
    where a signature is wrong."""
    seen: dict[str, tuple[str, str, str]] = {}
    for request in receiver.accepted:
        alert = verified(request)
        seen.setdefault(request.headers["webhook-id"], (alert["kind"], alert["state"], alert["severity"]))
    return list(seen.values())


def verified(request: Request) -> Any:
    """The body of a request whose signature is right. Raises `WebhookVerificationError`."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Webhook(SECRET).verify(request.body, headers)
