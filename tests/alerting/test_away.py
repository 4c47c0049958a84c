"""Ten minutes of receivers away, on a clock that runs sixty times as fast: nothing is lost, nothing is stale."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from alerting.owed import Pace
from streams.transport import partition_for
from tests.alerting.records import at_risk, ended, escalated, overdue, superseded
from tests.alerting.worker import NOW, SETTINGS, Worker, alerts_spec, pager, quiet, verified, webhook, worker
from tests.servers.receiver import Answer, Receiver, Reset

SPEED = 60.0
USUAL = Pace()
FAST = Pace(
    first_seconds=USUAL.first_seconds / SPEED, most_seconds=USUAL.most_seconds / SPEED, resend_seconds=60 / SPEED
)
AWAY = timedelta(minutes=10)
CONTACTS = 200


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def desk() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


class Clock:
    """heardback's clock, sixty times as fast as ours."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def __call__(self) -> datetime:
        return NOW + timedelta(seconds=SPEED * (time.monotonic() - self._began))

    async def until(self, instant: datetime) -> None:
        """Waits for an instant of it."""
        await asyncio.sleep(max(0.0, (instant - self()).total_seconds() / SPEED))


def contact(number: int) -> dict[str, Any]:
    return {"contact_id": f"T-{number}", "outcome_id": f"o-{number}", "customer_id": f"c-{number % 20}"}


def ends(number: int) -> bool:
    """Customers whose number can be divided by four are answered while nobody can be told."""
    return number % 4 == 0


@pytest.mark.slow
async def test_after_ten_minutes_away_everything_is_delivered_in_order_but_what_has_ended(
    tmp_path: Path, hook: Receiver, desk: Receiver
) -> None:
    clock = Clock()
    spec = alerts_spec(webhook(hook.url), pager(desk.url))
    async with worker(f"sqlite:///{tmp_path}/log.sqlite3", spec, pace=FAST, now=clock) as found:
        await found.publish(overdue(contact_id="T-before", outcome_id="o-before", customer_id="c-before"))
        await hook.arrived(lambda requests: requests)
        await desk.arrived(lambda requests: requests)
        await quiet(found)
        for receiver in (hook, desk):
            receiver.stop()
            receiver.forget()
        back = clock() + AWAY
        begun = clock()
        await found.publish(ended(2, contact_id="T-before", outcome_id="o-before", customer_id="c-before"))
        for number in range(CONTACTS):
            await clock.until(begun + AWAY * 0.8 * number / CONTACTS)
            await found.publish(at_risk(1, **contact(number)), overdue(2, **contact(number)))
            if number >= 10:
                late = number - 10
                await found.publish(ended(3, **contact(late)) if ends(late) else escalated(3, **contact(late)))
        for late in range(CONTACTS - 10, CONTACTS):
            await found.publish(ended(3, **contact(late)) if ends(late) else escalated(3, **contact(late)))
        await clock.until(back)
        tries = [found.sample("responsiveness_deliveries_total", receiver=name, result="not_taken")
                 for name in ("hook", "pager")]  # fmt: skip
        assert all(5 <= tried <= 120 for tried in tries), f"probed gently: {tries}"
        hook.start()
        desk.start()
        returned = clock()
        await quiet(found, seconds=30)
        assert clock() - returned < timedelta(minutes=25), "at the pace of a receiver that is there"

        told: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for request in hook.accepted:
            alert = verified(request)
            told[alert["contact_id"]].append((alert["kind"], alert["state"]))
        waits = [number for number in range(CONTACTS) if not ends(number)]
        assert told.pop("T-before") == [("breach", "resolved")], "who had heard the beginning hears the end"
        assert told == {f"T-{number}": [("escalation", "firing")] for number in waits}

        events = [request.json() for request in desk.accepted]
        resolved = [event for event in events if event["event_action"] == "resolve"]
        assert len(resolved) == 1, "of the one whose beginning it had"
        told_of = {event["payload"]["component"] for event in events if event["event_action"] == "trigger"}
        assert told_of == {f"c-{number % 20}" for number in waits}
        assert len(events) == 1 + len(told_of), "once a customer"


def homes() -> tuple[str, str]:
    """Two customers of different partitions."""
    names = {partition_for(name.encode(), SETTINGS.partitions): name for name in map("c-{}".format, range(40))}
    return names[0], names[1]


async def folded(found: Worker) -> None:
    """Everything that was published is known, be it told or not."""
    async with asyncio.timeout(20):
        while any(progress.lag_records for progress in found.runtime.progress()):  # nobody tells of it
            await asyncio.sleep(0.01)


def incidents(desk: Receiver) -> set[str]:
    """Of whom a pager has an open incident."""
    of: dict[str, str] = {}
    for event in (request.json() for request in desk.accepted):
        if event["event_action"] == "resolve":
            of.pop(event["dedup_key"], None)
        else:
            of[event["dedup_key"]] = event["payload"]["component"]
    return set(of.values())


@pytest.mark.parametrize("before", [Answer(), Reset(), None], ids=["told", "perhaps told", "not told"])
@pytest.mark.parametrize("new_first", [False, True], ids=["left first", "came first"])
@pytest.mark.parametrize("again", [False, True], ids=["same worker", "started again"])
async def test_a_contact_that_moves_to_another_customer_while_nobody_can_be_told(
    tmp_path: Path, hook: Receiver, desk: Receiver, before: Answer | Reset | None, *, new_first: bool, again: bool
) -> None:
    old, new = homes()
    url, spec = f"sqlite:///{tmp_path}/log.sqlite3", alerts_spec(webhook(hook.url), pager(desk.url))
    move = [superseded(2, customer_id=old), overdue(3, customer_id=new)]
    async with worker(url, spec) as found:
        for receiver in (hook, desk):
            if before is None:
                receiver.stop()
            else:
                receiver.next(before)
        await found.publish(overdue(customer_id=old))
        for receiver in (hook, desk):
            if before is not None:
                await receiver.arrived(lambda requests: requests)
            if before == Answer():
                await quiet(found)
            receiver.stop()
        for record in reversed(move) if new_first else move:
            await found.publish(record)
            await folded(found)
        if not again:
            hook.start()
            desk.start()
            await quiet(found)
    if again:
        hook.start()
        desk.start()
    async with worker(url, spec) as found:
        await quiet(found)
        last = verified(hook.accepted[-1])
        assert (last["state"], last["customer_id"]) == ("firing", new)
        assert incidents(desk) == {new}
        await found.publish(ended(4, customer_id=new))
        await quiet(found)
        last = verified(hook.accepted[-1])
        assert (last["state"], last["customer_id"]) == ("resolved", new)
        assert incidents(desk) == set()
