"""Listening to the sources on the embedded broker: what counts, and that a silent one is told of."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from prometheus_client import CollectorRegistry

from alerting import app as alerting_app
from alerting.owed import Pace
from alerting.transport import Transport
from schemas.configuration import AlertsSpec
from schemas.policies import CalendarSpec
from schemas.topics import ALERTS, CONTACT_EVENTS, TOPICS
from streams.commands.listening import Listening, _said
from streams.engine.calendar import Calendar
from streams.transport import Fenced, Record, TransportSettings, create_app
from tests.alerting.worker import webhook
from tests.servers.receiver import Receiver

NOW = datetime(2026, 11, 10, 18, tzinfo=UTC)
LONDON = Calendar("london", CalendarSpec.model_validate(
    {"time_zone": "Europe/London", "hours": {"mon-fri": ["09:00-17:30"]}, "holidays": ["2026-11-02"],
     "closed": ["2026-11-03"]}
))  # fmt: skip


def event(number: int, at: datetime, kind: str = "contact.opened", **more: Any) -> dict[str, Any]:
    data = {"customer_id": "c-1", **({"channel": "form"} if kind == "contact.opened" else {}), **more}
    return {"specversion": "1.0", "id": f"e-{number}", "source": "/forms/contact", "type": kind,
            "time": at.isoformat(), "subject": f"F-{number}", "data": data}  # fmt: skip


def test_what_a_customer_opened_or_wrote_counts_and_nothing_else() -> None:
    def said(content: object, headers: list[tuple[str, bytes]] | None = None) -> object:
        return _said(orjson.dumps(content), headers or [])

    assert said(event(1, NOW)) == ("/forms/contact", NOW)
    assert said(event(1, NOW, "message.received")) == ("/forms/contact", NOW)
    assert said(event(1, NOW, "message.sent")) is None
    assert said(event(1, NOW, "message.received", automated=True)) is None
    assert said(event(1, NOW, opened_by="agent")) is None
    headers = [(f"ce_{key}", str(event(1, NOW)[key]).encode()) for key in ("type", "source", "time")]
    assert said({"channel": "form"}, headers) == ("/forms/contact", NOW)
    for broken in (b"", b"no JSON", b"[]", b'{"type": "contact.opened"}'):
        assert _said(broken, []) is None
    assert said({**event(1, NOW), "time": "2026-11-10T18:00:00"}) is None


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def test_a_source_that_has_always_spoken_and_stops_is_told_of(tmp_path: Path, hook: Receiver) -> None:
    runtime = create_app("alerting", f"sqlite:///{tmp_path}/log.sqlite3", topics=TOPICS,
                         settings=TransportSettings(partitions=2, commit_interval_seconds=0.05))  # fmt: skip
    now = NOW
    alerting = alerting_app.build(
        Transport(runtime=runtime, record=Record, fenced=Fenced),
        AlertsSpec.model_validate({"receivers": [webhook(hook.url)]}), now=lambda: now, registry=CollectorRegistry(),
        pace=Pace(first_seconds=0.05),
    )  # fmt: skip
    await runtime.start()
    await alerting.start()
    days = [day for day in range(60, 0, -1) if (NOW - timedelta(days=day)).weekday() < 5]
    told = [event(day * 100 + n, NOW - timedelta(days=day, hours=6)) for day in days for n in range(20)]
    listening = Listening(
        lambda: runtime.client, runtime.topic_name, [], alerting.say_silence, alerting.tells_of_us, lambda: now
    )
    try:
        await runtime.wait_ready()
        records = [Record(key=b"c-1", value=orjson.dumps(one)) for one in told]
        await runtime.client.append(CONTACT_EVENTS.name, {0: records[::2], 1: records[1::2]})
        async with asyncio.timeout(60):
            while alerting.live != runtime.partitions():
                await asyncio.sleep(0.01)
        listening.start(runtime.fail)
        await hook.arrived(lambda requests: [one for one in requests if b"silent_source" in one.body])
        again = [Record(key=b"c-1", value=orjson.dumps(event(n, NOW + timedelta(minutes=5)))) for n in range(20)]
        await runtime.client.append(CONTACT_EVENTS.name, {0: again})
        now = NOW + timedelta(hours=1)
        await hook.arrived(lambda requests: [one for one in requests if b'"resolved"' in one.body])
        batches = [batch async for batch in runtime.client.scan(ALERTS.name)]
        alerts = [orjson.loads(value) for batch in batches for value in batch.values if value]
        assert [(one["kind"], one["state"], one["labels"]["source"]) for one in alerts] == [
            ("silent_source", "firing", "/forms/contact"),
            ("silent_source", "resolved", "/forms/contact"),
        ]
    finally:
        await listening.stop()
        await alerting.stop()
        await runtime.stop()


def test_hours_of_holidays_and_closures_of_any_calendar_are_not_judged() -> None:
    async def nothing(*_: object, **__: object) -> None:
        """Says nothing."""

    listening = Listening(None, str, [LONDON], nothing, bool, lambda: NOW)  # type: ignore[arg-type]

    def holiday(day: int) -> bool:
        return listening.holiday(int(datetime(2026, 11, day, 12, tzinfo=UTC).timestamp()) // 3_600)

    assert [day for day in range(1, 9) if holiday(day)] == [2, 3]
