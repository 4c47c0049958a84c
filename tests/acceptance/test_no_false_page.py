"""A worker that was away pages nobody who was answered meanwhile: the overdue wake-up queues behind the answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from schemas.topics import CONTACT_EVENTS, OUTCOMES
from streams import settings
from streams.engine.calendar import to_us
from streams.transport import Record, by_partition, open_log
from tests.scenarios.pipeline import Pipeline, transport_settings

CONTACTS: Final = 30
WRITTEN: Final = datetime(2026, 11, 10, 10, 0, tzinfo=UTC)
ANSWERED: Final = WRITTEN + timedelta(minutes=30)
BACK: Final = WRITTEN + timedelta(hours=5)
CONFIGURATION: Final = b"""
calendars: {always: {always_open: true}}
policies: [{name: all, calendar: always, targets: {first_response: 1h}, at_risk: [90%]}]
alerts: {from: 2026-01-01T00:00:00Z, escalations: [{after: 0m, severity: page}, {after: 1h, severity: critical}]}
"""


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A broker of each kind."""
    if request.param == "kafka":
        return str(request.getfixturevalue("kafka").url)
    return f"sqlite:///{tmp_path}/log.sqlite3"


def told(number: int, kind: str, at: datetime, **data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"{kind}-{number}", "source": "/desk", "type": kind, "time": at.isoformat(),
            "subject": f"T-{number}", "data": {"customer_id": f"c-{number % 9}", **data}}  # fmt: skip


async def feed(url: str, prefix: str, events: list[dict[str, Any]], at: datetime) -> None:
    """While nobody works, events reach the log."""
    transport = transport_settings(prefix)
    log = open_log(url, transport)
    await log.start()
    records = [
        Record(key=event["data"]["customer_id"].encode(), value=orjson.dumps(event), timestamp_ms=to_us(at) // 1_000)
        for event in events
    ]
    await log.append(prefix + CONTACT_EVENTS.name, by_partition(records, transport.partitions))
    await log.close()


async def test_on_its_return_a_worker_pages_only_for_those_who_still_wait(url: str, tmp_path: Path) -> None:
    configuration, prefix = settings.parse(CONFIGURATION, file="here"), f"{tmp_path.name}-"
    transport = transport_settings(prefix)
    async with Pipeline(url, configuration, start=WRITTEN, settings=transport) as before:
        opened = [told(number, "contact.opened", WRITTEN, channel="ticket") for number in range(CONTACTS)]
        await before.put_events(WRITTEN, opened)
        assert sum(len(home.due) for home in before.streams.track.homes.values()) >= CONTACTS
    answers = [told(number, "message.sent", ANSWERED, agent_id="a-1") for number in range(1, CONTACTS)]
    await feed(url, prefix, answers, ANSWERED)
    async with Pipeline(url, configuration, start=BACK, settings=transport) as after:
        await after.pass_time(BACK)
        await after.pass_time(BACK + timedelta(hours=1))
        assert {noticed.alert["contact_id"] for noticed in after.noticed} == {"T-0"}
        outcomes = await after.latest(OUTCOMES.name, "outcome_id")
    assert {one["verdict"] for one in outcomes.values() if one["contact_id"] != "T-0"} == {"kept"}


async def test_a_wake_up_that_is_in_the_log_before_the_answer_is_heard_and_one_behind_it_is_not(
    url: str, tmp_path: Path
) -> None:
    configuration, prefix = settings.parse(CONFIGURATION, file="here"), f"{tmp_path.name}-"
    transport = transport_settings(prefix)
    async with Pipeline(url, configuration, start=WRITTEN, settings=transport) as pipeline:
        await pipeline.put_events(WRITTEN, [told(0, "contact.opened", WRITTEN, channel="ticket")])
        late = WRITTEN + timedelta(minutes=90)
        await pipeline.put_events(late, [told(0, "message.sent", ANSWERED, agent_id="a-1")])
        await pipeline.pass_time(BACK)
        kinds = [(one.alert["kind"], one.alert["state"], one.alert["resolution"]) for one in pipeline.noticed]
    assert kinds == [
        ("at_risk", "firing", None),
        ("breach", "firing", None),
        ("breach", "resolved", "withdrawn"),
    ]
