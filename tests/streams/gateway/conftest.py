"""A door on a free port, before a pipeline that a test arranges, and a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from schemas.events import Event
from streams.engine.identity import Directory
from streams.engine.timeline import customer_of, fact_of
from streams.gateway import Gateway, Listen, Liveness, Publish, Readiness, Server, create_http

NOW = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)


@dataclass
class Pipeline:
    """What stands behind the door."""

    published: list[Publish] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    contacts: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    asked_at: list[datetime | None] = field(default_factory=list)
    readiness: Readiness = field(default_factory=Readiness)
    liveness: Liveness = field(default_factory=lambda: Liveness(stalled_seconds=0.0, limit_seconds=60.0))
    broker_fails: BaseException | None = None
    explain_fails: BaseException | None = None
    directory: Directory = field(default_factory=Directory)

    def gateway(self, **changed: Any) -> Gateway:
        arranged: dict[str, Any] = {
            "publish": self.publish,
            "customer_of": self.customer_of,
            "ready": lambda: self.readiness,
            "alive": lambda: self.liveness,
            "explain": self.explain,
            "metrics": lambda: (b"answers_total 1\n", "text/plain; version=0.0.4; charset=utf-8"),
            "now": lambda: NOW,
            "refused": self.refused.append,
        }
        return Gateway(**(arranged | changed))

    async def publish(self, events: Sequence[Publish]) -> None:
        if self.broker_fails is not None:
            raise self.broker_fails
        self.published += events

    def customer_of(self, event: Event) -> str | None:
        named = event.data.customer_id
        return named or customer_of([fact_of(event)], self.directory)

    async def explain(self, contact_id: str, at: datetime | None) -> Mapping[str, Any] | None:
        if self.explain_fails is not None:
            raise self.explain_fails
        self.asked_at.append(at)
        return self.contacts.get(contact_id)


@pytest.fixture
def pipeline() -> Pipeline:
    return Pipeline()


@asynccontextmanager
async def opened(gateway: Gateway, listen: Listen | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of a door that is open meanwhile."""
    server = Server(create_http(gateway, listen or Listen()), stop_seconds=2)
    await server.start()
    try:
        async with aiohttp.ClientSession(server.url) as client:
            yield client
    finally:
        await server.stop()


@pytest.fixture
async def client(pipeline: Pipeline) -> AsyncIterator[aiohttp.ClientSession]:
    async with opened(pipeline.gateway()) as session:
        yield session


Told = Callable[..., dict[str, Any]]


def event(number: int = 1, **changed: Any) -> dict[str, Any]:
    """A contact that a customer opened five minutes ago."""
    content: dict[str, Any] = {
        "specversion": "1.0",
        "id": f"e-{number}",
        "source": "/zendesk/acme",
        "type": "contact.opened",
        "time": "2026-11-21T10:00:00Z",
        "subject": "T-4711",
        "data": {"customer_id": "c-17", "channel": "ticket", "summary": "upgrade screen hangs"},
    }
    return content | changed
