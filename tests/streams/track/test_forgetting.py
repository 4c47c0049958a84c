"""State has a bound: closed contacts leave it, and what comes later goes on from where they stopped."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from schemas.configuration import Limits
from streams import settings
from streams.app import Streams
from streams.metrics import Metrics
from streams.transport import Record, by_partition

CONFIGURATION = b"""
calendars: {always: {always_open: true}}
policies:
- name: all
  calendar: always
  targets: {first_response: 1h, next_response: 1h}
  priority_targets: {high: {resolution: 1h, update: 1h}}
limits: {late_after: 24h}
"""
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class Desk:
    """Streams on the embedded broker, under a clock that the test sets."""

    def __init__(self, folder: Path) -> None:
        self.now = START
        metrics = Metrics(CollectorRegistry(), worst_customers=0)
        configuration = settings.parse(CONFIGURATION, file="test")
        url = f"sqlite:///{folder / 'log.sqlite3'}"
        self.streams = Streams(url, configuration, now=lambda: self.now, metrics=metrics, wake_every_seconds=3600)
        self._events = 0

    async def tell(self, kind: str, at: datetime, contact: str = "T-1", **data: Any) -> None:
        """One event, appended at its own time or now, whichever is later."""
        self._events += 1
        self.now = max(self.now, at)
        event = {
            "specversion": "1.0",
            "id": str(self._events),
            "source": "/test",
            "type": kind,
            "time": at.isoformat(),
            "subject": contact,
            "data": {"customer_id": "c-1", **data},
        }
        timestamp_ms = int(self.now.timestamp() * 1000)
        record = Record(key=b"c-1", value=json.dumps(event).encode(), timestamp_ms=timestamp_ms)
        partitions = self.streams.runtime.settings.partitions
        await self.streams.runtime.client.append("contact-events", by_partition([record], partitions))
        await self.settled()

    async def pass_time(self, until: datetime) -> None:
        """Let every wake-up be sent that is due by then."""
        self.now = until
        await self.streams.track.send_wake_ups()
        await self.settled()

    async def settled(self) -> None:
        """Everything in the log is handled, and what homes have told each other by then."""
        client = self.streams.runtime.client
        while sum(p.finished or 0 for p in self.streams.runtime.progress()) < sum(
            (await client.end_offsets("contact-events")).values()
        ):
            await asyncio.sleep(0.005)

    async def outcomes(self, contact: str | None = None) -> dict[tuple[str, int], str]:
        """The last verdict of each clock, of one contact or of all."""
        found = {}
        async for batch in self.streams.runtime.client.scan("outcomes"):
            for value in batch.values:
                outcome = json.loads(value or b"")
                if contact in (None, outcome["contact_id"]):
                    found[outcome["target"], outcome["cycle"]] = outcome["verdict"]
        return found

    async def reasons(self) -> list[bytes]:
        """Why records were refused, in order."""
        batches = [batch async for batch in self.streams.runtime.client.scan("dead-letters")]
        return [dict(headers)["reason"] for batch in batches for headers in batch.headers]

    def kept_facts(self) -> int:
        """How many facts of the contact are in the state."""
        group = self.streams.track.group_of("T-1")
        return len(group["T-1"].facts)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    await desk.streams.start()
    await desk.streams.runtime.wait_ready()
    yield desk
    await desk.streams.stop()


async def _answered_and_closed(desk: Desk) -> None:
    await desk.tell("contact.opened", START, channel="ticket")
    await desk.tell("message.sent", START + timedelta(minutes=30), agent_id="a-1")
    await desk.tell("contact.resolved", START + timedelta(minutes=40), agent_id="a-1")


async def test_a_closed_contact_is_forgotten_once_no_late_event_can_be_taken(desk: Desk) -> None:
    await _answered_and_closed(desk)
    await desk.pass_time(START + timedelta(hours=24))
    assert desk.kept_facts() == 3
    await desk.pass_time(START + timedelta(hours=25))
    assert desk.kept_facts() == 0
    assert await desk.outcomes() == {("first_response", 1): "kept"}


async def test_who_writes_into_a_forgotten_contact_is_owed_the_next_answer_not_a_first_one(desk: Desk) -> None:
    await _answered_and_closed(desk)
    await desk.pass_time(START + timedelta(hours=25))
    await desk.tell("message.received", START + timedelta(hours=30))
    assert await desk.outcomes() == {("first_response", 1): "kept", ("next_response", 1): "open"}
    await desk.pass_time(START + timedelta(hours=32))
    assert (await desk.outcomes())["next_response", 1] == "broken"


async def test_c17_nothing_starts_in_a_contact_that_was_spam_also_once_forgotten(desk: Desk) -> None:
    await desk.tell("contact.opened", START, channel="ticket")
    await desk.tell("contact.voided", START + timedelta(minutes=10), reason="spam")
    await desk.pass_time(START + timedelta(hours=25))
    assert desk.kept_facts() == 1
    await desk.tell("message.received", START + timedelta(hours=30))
    await desk.pass_time(START + timedelta(hours=40))
    assert await desk.outcomes() == {("first_response", 1): "void"}


@pytest.mark.parametrize("whose", ["c-1", "c-2", "c-3", "c-4"])
async def test_c17_what_is_written_into_a_merged_contact_goes_where_it_went_also_once_forgotten(
    desk: Desk, whose: str
) -> None:
    there = {"contact": "T-2", "customer_id": whose}
    await desk.tell("contact.opened", START, channel="ticket")
    await desk.tell("contact.opened", START, **there, channel="ticket")
    await desk.tell("contact.merged", START + timedelta(minutes=10), into="T-2", into_customer_id=whose)
    await desk.tell("message.sent", START + timedelta(minutes=30), **there, agent_id="a-1")
    await desk.tell("contact.resolved", START + timedelta(minutes=40), **there, agent_id="a-1")
    for hours in (25, 50):
        await desk.pass_time(START + timedelta(hours=hours))
    assert desk.kept_facts() == 1
    await desk.tell("message.received", START + timedelta(hours=60))
    assert await desk.outcomes("T-2") == {("first_response", 1): "kept", ("next_response", 1): "open"}
    await desk.tell("message.sent", START + timedelta(hours=60, minutes=10), **there, agent_id="a-1")
    await desk.pass_time(START + timedelta(hours=70))
    assert await desk.outcomes("T-2") == {("first_response", 1): "kept", ("next_response", 1): "kept"}
    assert await desk.outcomes("T-1") == {("first_response", 1): "void"}


async def test_c19_a_merge_that_names_another_customer_changes_nothing_once_all_else_is_forgotten(desk: Desk) -> None:
    await desk.tell("contact.opened", START, channel="ticket")
    await desk.tell("contact.opened", START, contact="T-2", channel="ticket")
    await desk.tell("contact.merged", START + timedelta(minutes=10), into="T-2", customer_id="c-2")
    await desk.tell("message.sent", START + timedelta(minutes=30), contact="T-2", agent_id="a-1")
    await desk.pass_time(START + timedelta(hours=25))
    assert desk.kept_facts() == 1
    await desk.pass_time(START + timedelta(hours=50))
    await desk.tell("contact.updated", START + timedelta(hours=60), priority="high")
    assert desk.streams.track.group_of("T-1")["T-1"].customer_id == "c-1"


async def test_c17_links_share_answers_also_once_forgotten(desk: Desk) -> None:
    await _answered_and_closed(desk)
    await desk.tell("contact.opened", START, contact="T-2", channel="ticket")
    await desk.tell("contact.linked", START + timedelta(minutes=10), contact="T-2", contact_id="T-1")
    await desk.tell("contact.resolved", START + timedelta(minutes=40), contact="T-2", agent_id="a-1")
    for hours in (25, 50):
        await desk.pass_time(START + timedelta(hours=hours))
    assert desk.kept_facts() == 0
    await desk.tell("message.received", START + timedelta(hours=60))
    await desk.tell("message.sent", START + timedelta(hours=60, minutes=10), contact="T-2", agent_id="a-1")
    await desk.pass_time(START + timedelta(hours=70))
    assert await desk.outcomes("T-1") == {("first_response", 1): "kept", ("next_response", 1): "kept"}


async def test_a_late_event_for_a_forgotten_contact_is_refused_by_name(desk: Desk) -> None:
    await _answered_and_closed(desk)
    await desk.pass_time(START + timedelta(hours=25))
    desk.streams.track.desk.limits = Limits(late_after="48h")  # as if the setting had been raised meanwhile
    await desk.tell("message.bounced", START + timedelta(minutes=35), direction="outbound", recipient="x@y.example")
    assert await desk.reasons() == [b"contact_forgotten"]


async def test_who_still_waits_is_never_forgotten(desk: Desk) -> None:
    await desk.tell("contact.opened", START, channel="ticket")
    for hours in (2, 25, 50, 200):
        await desk.pass_time(START + timedelta(hours=hours))
    assert desk.kept_facts() == 1


async def test_a_dead_end_that_nobody_answered_is_never_forgotten(desk: Desk) -> None:
    await desk.tell("message.bounced", START, direction="inbound", status="5.1.1")
    for hours in (25, 50, 75):
        await desk.pass_time(START + timedelta(hours=hours))
    assert desk.kept_facts() == 1


async def test_c10_a_reopening_of_what_was_closed_without_an_answer_starts_the_next_cycle_also_once_forgotten(
    desk: Desk,
) -> None:
    await desk.tell("contact.opened", START, channel="ticket")
    await desk.tell("contact.resolved", START + timedelta(minutes=10))
    await desk.tell("message.sent", START + timedelta(minutes=20), contact="T-2", agent_id="a-1")
    await desk.pass_time(START + timedelta(hours=25))
    assert desk.kept_facts() == 0
    await desk.tell("contact.reopened", START + timedelta(hours=30))
    assert await desk.outcomes() == {("first_response", 1): "void", ("first_response", 2): "open"}


async def test_cycles_that_nothing_was_promised_for_count_in_a_forgotten_contact_too(desk: Desk) -> None:
    await _answered_and_closed(desk)
    await desk.pass_time(START + timedelta(hours=25))
    await desk.tell("contact.updated", START + timedelta(hours=30), priority="high")
    await desk.tell("contact.reopened", START + timedelta(hours=30))
    assert await desk.outcomes() == {("first_response", 1): "kept", ("resolution", 2): "open"}


async def test_who_first_writes_into_a_contact_that_we_opened_and_forgot_is_owed_everything(desk: Desk) -> None:
    await desk.tell("contact.opened", START, channel="phone", opened_by="agent", priority="high")
    await desk.tell("message.sent", START + timedelta(minutes=10), agent_id="a-1")
    await desk.pass_time(START + timedelta(hours=25))
    assert desk.kept_facts() == 0
    await desk.tell("message.received", START + timedelta(hours=30))
    assert await desk.outcomes() == {("first_response", 1): "open", ("resolution", 1): "open"}
    await desk.tell("message.sent", START + timedelta(hours=30, minutes=10), agent_id="a-1")
    assert (await desk.outcomes())["update", 1] == "open"
