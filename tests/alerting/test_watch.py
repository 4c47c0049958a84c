"""A worker that cannot see: what its receivers are told, and what they are not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from alerting import message, watch
from alerting.sight import Blind, Look
from schemas.alerts import Alert
from schemas.topics import ALERTS
from tests.alerting.records import ended, overdue
from tests.alerting.worker import alerts_spec, pages, verified, webhook, worker
from tests.servers.receiver import Answer, Receiver

BLIND, SEES = ("blind", "firing", "page"), ("blind", "resolved", "page")
BREACH, ANSWERED = ("breach", "firing", "page"), ("breach", "resolved", "page")
LINKS = message.Links(board_url=None, runbook_url="https://runbooks.example/")


class Eyes:
    """What a worker sees when it looks."""

    def __init__(self, *, away: bool = False, unread: int = 0) -> None:
        self.away = away
        self.unread = unread

    async def __call__(self) -> Look:
        if self.away:
            raise ConnectionError("the broker is away")
        return Look({0: 1 + self.unread}, {0: 1}, 0, recovered=True)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.sqlite3"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def test_who_cannot_see_says_so_and_begins_no_page_until_it_can(url: str, hook: Receiver) -> None:
    eyes = Eyes(away=True)
    async with worker(url, alerts_spec(webhook(hook.url), blind_after="1s"), look=eyes) as found:
        await hook.arrived(lambda _: BLIND in pages(hook))
        said = verified(hook.accepted[0])
        assert (said["customer_id"], said["labels"]) == (None, {"cause": "broker_away"})
        await found.publish(overdue(), overdue(contact_id="T-2", outcome_id="o-2"))
        await found.publish(ended(2, contact_id="T-2", outcome_id="o-2"))
        await hook.arrived(lambda _: found.sample("responsiveness_alerts_total", kind="breach", state="resolved"))
        assert pages(hook) == [BLIND]
        eyes.away = False
        await hook.arrived(lambda _: {SEES, BREACH} <= set(pages(hook)))
        assert sorted(pages(hook)) == sorted([BLIND, SEES, BREACH]), "what ended meanwhile pages nobody"
        await hook.arrived(lambda _: found.sample("responsiveness_alerts_total", kind="blind", state="resolved"))
        written = [
            Alert.model_validate(record) for record in await found.read(ALERTS.name) if record["kind"] == "blind"
        ]
        assert [(alert.state, alert.resolution, alert.customer_id) for alert in written] == [
            ("firing", None, None),
            ("resolved", "withdrawn", None),
        ]


async def test_the_end_of_a_page_is_told_by_who_cannot_see(url: str, hook: Receiver) -> None:
    eyes = Eyes()
    async with worker(url, alerts_spec(webhook(hook.url), blind_after="1s"), look=eyes) as found:
        await found.publish(overdue())
        await hook.arrived(lambda _: BREACH in pages(hook))
        eyes.away = True
        await hook.arrived(lambda _: BLIND in pages(hook))
        await found.publish(ended(2))
        await hook.arrived(lambda _: ANSWERED in pages(hook))


async def test_a_receiver_that_is_away_too_is_told_when_it_is_back(url: str, hook: Receiver) -> None:
    hook.next(Answer(status=503), Answer(status=503))
    async with worker(url, alerts_spec(webhook(hook.url), blind_after="1s"), look=Eyes(away=True)):
        await hook.arrived(lambda _: BLIND in pages(hook))
    assert len(hook.requests) > len(hook.accepted)


async def test_blindness_that_a_process_left_behind_is_ended_by_the_next(url: str, hook: Receiver) -> None:
    spec = alerts_spec(webhook(hook.url), blind_after="1s")
    async with worker(url, spec, look=Eyes(unread=3)) as found:
        await hook.arrived(lambda _: BLIND in pages(hook))
        await hook.arrived(lambda _: found.sample("responsiveness_alerts_total", kind="blind", state="firing"))
    async with worker(url, spec, look=Eyes()):
        await hook.arrived(lambda _: SEES in pages(hook))
    assert pages(hook) == [BLIND, SEES]


async def test_who_is_told_is_as_the_routes_say(url: str, hook: Receiver) -> None:
    with Receiver() as other:
        receivers = [webhook(hook.url), webhook(other.url, "other")]
        routes = [{"match": {"kind": "blind"}, "receivers": ["other"]}, {"receivers": ["hook"]}]
        spec = alerts_spec(*receivers, routes=routes, blind_after="1s")
        async with worker(url, spec, look=Eyes(away=True)):
            await other.arrived(lambda _: BLIND in pages(other))
        assert hook.requests == []


@pytest.mark.parametrize("people", [True, False])
def test_beginning_and_end_have_one_name_for_every_kind_of_receiver(*, people: bool) -> None:
    now = datetime(2026, 11, 10, 12, tzinfo=UTC)
    firing: Any = watch.of_blindness(Blind("lag", "contact events arrive and are not read", 3_700.0), now, LINKS)
    Alert.model_validate(firing)
    over = message.resolved(firing, "withdrawn", "2026-11-10T13:00:00Z")
    first = watch.notice_of("r", firing, None, people=people)
    last = watch.notice_of("r", over, firing, people=people)
    assert first.alert_id == last.alert_id
    assert first.key != last.key
    assert first.number < last.number
    assert [first.record["state"], last.record["state"]] == ["firing", "resolved"]
    assert "for 1 h 1 min" in first.record["summary"]
    assert first.record["annotations"]["runbook_url"] == "https://runbooks.example/blind"
