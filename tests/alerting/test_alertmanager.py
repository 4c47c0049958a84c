"""Alerting against the real Alertmanager: notified once, ended once, whatever the labels do meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alerting.notify import Notice
from alerting.owed import Pace
from alerting.posting import Rim, Sessions, wall
from alerting.receivers.alertmanager import labels, make
from schemas.configuration import ReceiverSpec
from tests.alerting.records import BEFORE, alerts_of, at_risk, ended, escalated, journey, overdue, silently_closed
from tests.alerting.worker import QUICK, alerts_spec, worker
from tests.servers.alertmanager import Alertmanager
from tests.servers.receiver import Answer, Receiver, Stall

pytestmark = pytest.mark.alertmanager


async def until(true: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await asyncio.to_thread(true):  # a server tells nobody
            await asyncio.sleep(0.1)


def manager(*urls: str, **more: Any) -> dict[str, Any]:
    return {"type": "alertmanager", "urls": list(urls), "timeout_seconds": 2.0, **more}


def notified(server: Alertmanager, contact_id: str) -> list[tuple[str, str, str]]:
    """Kind, status and severity of every notification about a contact, in order."""
    return [
        (alert["labels"]["kind"], alert["status"], alert["labels"]["severity"])
        for alert in server.notifications()
        if alert["labels"].get("contact_id") == contact_id
    ]


def firing(server: Alertmanager, contact_id: str) -> list[str]:
    """The kinds that fire there for a contact now."""
    return sorted(a["labels"]["kind"] for a in server.alerts() if a["labels"].get("contact_id") == contact_id)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/log.sqlite3"


async def test_each_kind_is_notified_once_and_its_labels_end_when_the_next_one_fires(
    url: str, alertmanager: Alertmanager
) -> None:
    def of(make: Callable[..., Any], revision: int) -> Any:
        return make(revision, contact_id="AM-1")

    async with worker(url, alerts_spec(manager(alertmanager.url))) as found:
        for revision, make, kind in ((1, at_risk, "at_risk"), (2, overdue, "breach"), (3, escalated, "escalation")):
            await found.publish(of(make, revision))
            await until(lambda kind=kind: firing(alertmanager, "AM-1") == [kind])
        await found.publish(of(ended, 4))
        await until(lambda: len(notified(alertmanager, "AM-1")) == 6)
    assert sorted(notified(alertmanager, "AM-1")) == sorted(
        [
            ("at_risk", "firing", "warning"), ("at_risk", "resolved", "warning"),
            ("breach", "firing", "page"), ("breach", "resolved", "page"),
            ("escalation", "firing", "critical"), ("escalation", "resolved", "critical"),
        ]
    )  # fmt: skip
    assert firing(alertmanager, "AM-1") == []


async def test_what_it_shows_leads_to_the_customer(url: str, alertmanager: Alertmanager) -> None:
    async with worker(url, alerts_spec(manager(alertmanager.url), board_url="http://board.example:8000")) as found:
        await found.publish(overdue(contact_id="zendesk/acme:AM-2"))
        await until(lambda: firing(alertmanager, "zendesk/acme:AM-2"))
    [alert] = [a for a in alertmanager.alerts() if a["labels"].get("contact_id") == "zendesk/acme:AM-2"]
    assert alert["labels"]["alertname"] == "HeardbackBreach"
    assert alert["labels"]["customer_id"] == "c-17"
    assert alert["generatorURL"] == "http://board.example:8000/contacts/zendesk%2Facme%3AAM-2"
    assert "has waited" in alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"].endswith("/breach")


async def test_a_replica_that_forgot_everything_hears_it_again(url: str, tmp_path: Path) -> None:
    with Alertmanager(tmp_path / "own") as own:
        pace = Pace(first_seconds=0.05, most_seconds=0.2, resend_seconds=0.5)
        async with worker(url, alerts_spec(manager(own.url)), pace=pace) as found:
            await found.publish(overdue(contact_id="AM-3"))
            await until(lambda: firing(own, "AM-3"))
            await asyncio.to_thread(own.kill)
            await asyncio.to_thread(own.start)
            await until(lambda: firing(own, "AM-3") == ["breach"])
            assert found.sample("responsiveness_deliveries_total", receiver="alertmanager", result="repeated") >= 1
        async with worker(url, alerts_spec(manager(own.url)), pace=pace) as found:
            await asyncio.sleep(1)
            await until(lambda: firing(own, "AM-3") == ["breach"])


async def test_an_alert_that_nobody_repeats_ends_by_itself(url: str, tmp_path: Path) -> None:
    with Alertmanager(tmp_path / "own") as own:
        async with worker(url, alerts_spec(manager(own.url)), pace=Pace(resend_seconds=1)) as found:
            await found.publish(overdue(contact_id="AM-4"))
            await until(lambda: firing(own, "AM-4"))
            await asyncio.sleep(6)
            assert firing(own, "AM-4") == ["breach"]
        await until(lambda: firing(own, "AM-4") == [], seconds=30)


async def test_every_replica_is_told_and_a_dead_one_holds_nothing_up(url: str, alertmanager: Alertmanager) -> None:
    with Receiver() as dead, Receiver() as gone:
        dead.always(Stall())
        gone.stop()
        async with worker(
            url, alerts_spec(manager(gone.url, dead.url, alertmanager.url, timeout_seconds=60.0))
        ) as found:
            await found.publish(overdue(contact_id="AM-5"))
            await until(lambda: firing(alertmanager, "AM-5"), seconds=30)
            await dead.arrived(lambda requests: requests)
            await found.publish(ended(2, contact_id="AM-5"))
            await until(lambda: firing(alertmanager, "AM-5") == [], seconds=30)
        dead.always(Answer())
    assert [status for _, status, _ in notified(alertmanager, "AM-5")] == ["firing", "resolved"]


async def test_one_bad_alert_of_a_batch_is_refused_alone_and_the_good_ones_are_told_once(
    alertmanager: Alertmanager,
) -> None:
    """Alertmanager answers 400 to the whole batch, yet keeps the good ones."""
    records = [alerts_of(overdue(contact_id=f"AM-6-{n}"))[0] for n in range(5)]
    records[2]["annotations"]["no-name"] = "a hyphen is not allowed in a name"
    notices = [Notice(record["alert_id"], 1, record, "key") for record in records]
    sessions = Sessions()
    spec = ReceiverSpec.model_validate(manager(alertmanager.url))
    answers = await make(spec, Rim(session=sessions, wall=wall)).deliver(notices)
    await sessions.close()
    assert [answer.result for answer in answers] == ["delivered", "delivered", "rejected", "delivered", "delivered"]
    good = ["AM-6-0", "AM-6-1", "AM-6-3", "AM-6-4"]
    await until(lambda: all(notified(alertmanager, name) == [("breach", "firing", "page")] for name in good))
    assert notified(alertmanager, "AM-6-2") == []


async def test_alerts_without_a_clock_are_told_too(url: str, alertmanager: Alertmanager) -> None:
    dead_end = journey(attempts=[{"contact_id": "AM-8", "channel": "email", "at": BEFORE, "dead_end": "bounced",
                                  "dead_end_at": BEFORE}])  # fmt: skip
    async with worker(url, alerts_spec(manager(alertmanager.url)), pace=QUICK) as found:
        await found.publish(dead_end, silently_closed(contact_id="AM-9"))
        await until(lambda: firing(alertmanager, "AM-8") == ["dead_end"])
        await until(lambda: firing(alertmanager, "AM-9") == ["silent_close"])


def test_labels_are_valid_names_with_values() -> None:
    [alert] = alerts_of(overdue(queue=None))
    found = labels({**alert, "labels": {**alert["labels"], "a-b.c": "1", "2nd": "3", "empty": ""}})
    assert (found["a_b_c"], found["_2nd"]) == ("1", "3")
    assert "queue" not in found
    assert all(found.values())
