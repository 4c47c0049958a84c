"""A configuration that changed between two runs: who waits too long by the new promise is paged, touched or not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from schemas.configuration import Configuration
from schemas.events import WAKE_UP
from schemas.topics import CONTACT_EVENTS, OUTCOMES
from streams import settings
from streams.track.homes import Home
from streams.track.reassessing import AT_ONCE, judge_anew
from streams.track.state import Header
from tests.scenarios.pipeline import Pipeline, transport_settings

CONTACTS: Final = 20
WRITTEN: Final = datetime(2026, 11, 10, 10, 0, tzinfo=UTC)
CHANGED: Final = WRITTEN + timedelta(hours=3)
CONFIGURATION: Final = """
calendars: {always: {always_open: true}}
policies: [%s]
alerts: {from: 2026-01-01T00:00:00Z, escalations: [{after: 0m, severity: page}]}
"""
PATIENT: Final = "{name: patient, calendar: always, targets: {first_response: 8h}}"
STRICT: Final = "{name: strict, calendar: always, targets: {first_response: 1h}}"
STRICT_FROM_NOON: Final = STRICT.replace("calendar", "effective_from: 2026-11-10T12:00:00Z, calendar")
MAIL_ONLY: Final = "{name: mail, match: {channel: [email]}, calendar: always, targets: {first_response: 1h}}"


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A broker of each kind."""
    if request.param == "kafka":
        return str(request.getfixturevalue("kafka").url)
    return f"sqlite:///{tmp_path}/log.sqlite3"


def promising(*policies: str) -> Configuration:
    return settings.parse((CONFIGURATION % ", ".join(policies)).encode(), file="here")


def opened(number: int) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"opened-{number}", "source": "/desk", "type": "contact.opened",
            "time": WRITTEN.isoformat(), "subject": f"T-{number}",
            "data": {"customer_id": f"c-{number % 9}", "channel": "ticket"}}  # fmt: skip


class Desk:
    """One desk that is started several times, each time with another configuration."""

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url
        self._transport = transport_settings(prefix)

    def under(self, configuration: Configuration, at: datetime) -> Pipeline:
        return Pipeline(self._url, configuration, start=at, settings=self._transport)

    async def began(self, configuration: Configuration) -> None:
        """Customers write, and the worker goes."""
        async with self.under(configuration, WRITTEN) as before:
            await before.put_events(WRITTEN, [opened(number) for number in range(CONTACTS)])


@pytest.fixture
def desk(url: str, tmp_path: Path) -> Desk:
    return Desk(url, f"{tmp_path.name}-")


def pages(pipeline: Pipeline) -> list[tuple[str, str, str]]:
    said = [noticed.alert for noticed in pipeline.noticed]
    return sorted((one["contact_id"], one["policy"], one["due_at"]) for one in said if one["kind"] == "breach")


async def wake_ups(pipeline: Pipeline) -> int:
    records = await pipeline.records(CONTACT_EVENTS.name)
    return sum(isinstance(record, dict) and record["type"] == WAKE_UP for record in records)


async def test_who_is_overdue_by_a_new_promise_is_paged(desk: Desk) -> None:
    await desk.began(promising(PATIENT))
    async with desk.under(promising(STRICT), CHANGED) as after:
        await after.pass_time(CHANGED + timedelta(minutes=1))
        assert pages(after) == sorted((f"T-{n}", "strict", "2026-11-10T11:00:00Z") for n in range(CONTACTS))
        latest = (await after.latest(OUTCOMES.name, "outcome_id")).values()
        assert {(one["policy"], one["verdict"]) for one in latest} == {("strict", "broken")}


async def test_whom_nothing_was_promised_gets_the_new_promise(desk: Desk) -> None:
    await desk.began(promising(MAIL_ONLY))
    async with desk.under(promising(MAIL_ONLY, STRICT), CHANGED) as after:
        await after.pass_time(CHANGED + timedelta(minutes=1))
        assert len(pages(after)) == CONTACTS


async def test_a_promise_from_a_later_instant_judges_nobody_who_wrote_before(desk: Desk) -> None:
    await desk.began(promising(PATIENT))
    async with desk.under(promising(STRICT_FROM_NOON, PATIENT), CHANGED) as after:
        await after.pass_time(CHANGED + timedelta(minutes=1))
        assert pages(after) == []
        latest = (await after.latest(OUTCOMES.name, "outcome_id")).values()
        assert {(one["policy"], one["verdict"]) for one in latest} == {("patient", "open")}


async def test_everybody_is_looked_at_once(desk: Desk) -> None:
    await desk.began(promising(PATIENT))
    counts = []
    for hours in (0, 1, 2):
        at = CHANGED + timedelta(hours=hours)
        async with desk.under(promising(STRICT), at) as after:
            await after.pass_time(at + timedelta(minutes=1))
            counts.append(await wake_ups(after))
    assert counts[0] >= CONTACTS
    assert counts[1:] == counts[:1] * 2


async def test_looking_at_many_lets_others_work_in_between() -> None:
    turns, home = 0, Home()
    for number in range(3 * AT_ONCE):
        kind = ("first_response", "ok", None, "ticket")
        home.put(f"T-{number}", Header(f"c-{number}", 10**18, False, (kind,), 0, 10**18))

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count())
    await judge_anew(home, {}, now_us=1)
    other.cancel()
    assert turns >= 3 * 2  # contacts, and their customers' journeys
    assert len(home.due.passed(2, 10**6)) == len(home.judged_by_others or ()) == 2 * 3 * AT_ONCE
