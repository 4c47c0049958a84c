"""Both brokers under one name, and topics that no other test uses."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from schemas.topics import CONTACT_EVENTS, OUTCOMES
from streams.transport import Batch, LogClient, Runtime, TransportSettings, create_app, open_log

TOPICS = (CONTACT_EVENTS, OUTCOMES)
SETTINGS = TransportSettings(
    partitions=3, session_timeout_seconds=6.0, request_timeout_seconds=5.0, commit_interval_seconds=0.1
)

Handler = Callable[[Batch], Awaitable[None]]


@dataclass
class Broker:
    """A broker under test; `settings` carry a prefix of this test's own."""

    url: str
    settings: TransportSettings
    runtimes: list[Runtime] = field(default_factory=list)

    def runtime(self, app_id: str = "app", *, settings: TransportSettings | None = None) -> Runtime:
        """A runtime that the fixture stops at the end, unless the test did."""
        made = create_app(app_id, self.url, topics=TOPICS, settings=settings or self.settings)
        self.runtimes.append(made)
        return made

    def name(self, topic: str) -> str:
        return self.settings.topic_prefix + topic


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A broker of each kind."""
    if request.param == "kafka":
        return str(request.getfixturevalue("kafka").url)
    return f"sqlite:///{tmp_path}/log.sqlite3"


@pytest.fixture
async def broker(broker_url: str) -> AsyncIterator[Broker]:
    """A broker and what a test starts on it."""
    made = Broker(broker_url, replace(SETTINGS, topic_prefix=f"t{uuid.uuid4().hex[:8]}-"))
    yield made
    await asyncio.gather(*(runtime.stop() for runtime in made.runtimes))


@pytest.fixture
async def log(broker: Broker) -> AsyncIterator[LogClient]:
    """A started client of the broker."""
    client = open_log(broker.url, broker.settings)
    await client.start()
    yield client
    await client.close()


async def eventually(true: Callable[[], bool], *, seconds: float = 60.0, what: str = "it") -> None:
    """Waits until something holds."""
    try:
        async with asyncio.timeout(seconds):
            while not true():  # what is waited for is not ours to signal
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"{what} did not come true within {seconds:g} s") from None
