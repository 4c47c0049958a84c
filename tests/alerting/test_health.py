"""heardback itself cannot see: one alert for each cause, of no customer, told and ended like any other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from alerting.health import on_health
from schemas.alerts import Alert
from schemas.health import Health
from schemas.topics import ALERTS, HEALTH
from streams.transport import Record
from tests.alerting.worker import Worker, alerts_spec, pages, webhook, worker
from tests.servers.receiver import Receiver

BOOKS = "https://books.example.com/"
FOUND = "The self-audit found 1 overdue_without_alert."


def health(state: str, minute: int, summary: str = FOUND) -> dict[str, Any]:
    record = {"cause": "audit", "state": state, "at": f"2026-11-22T10:{minute:02}:00Z", "summary": summary}
    return Health.model_validate(record).model_dump(mode="json")


def test_it_fires_once_and_ends_when_heardback_sees_again() -> None:
    said, known = on_health(health("blind", 1), None, BOOKS)
    [fires] = [change.record for change in said]
    Alert.model_validate(fires)
    assert (fires["kind"], fires["state"], fires["severity"], fires["customer_id"]) == ("blind", "firing", "page", None)
    assert FOUND in fires["summary"]
    assert fires["annotations"]["explanation"] == FOUND
    assert fires["annotations"]["runbook_url"] == "https://books.example.com/blind"
    assert on_health(health("blind", 2), known, BOOKS) == ([], known)
    [ends], known = on_health(health("sees", 3), known, BOOKS)
    Alert.model_validate(ends.record)
    assert (ends.number, ends.record["state"], ends.record["alert_id"]) == (2, "resolved", fires["alert_id"])
    assert ends.record["summary"].startswith("heardback can be relied on again, at Sun 2026-11-22 10:03 UTC")
    [again], _ = on_health(health("blind", 4), known, BOOKS)
    assert (again.number, again.record["state"]) == (3, "firing")


def test_what_is_older_changes_nothing() -> None:
    _, known = on_health(health("blind", 5), None, BOOKS)
    assert on_health(health("sees", 5), known, BOOKS) == ([], known)
    assert on_health(health("sees", 4), known, BOOKS) == ([], known)


def test_who_has_always_seen_says_nothing() -> None:
    assert on_health(health("sees", 1), None, BOOKS) == ([], None)


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


async def say(found: Worker, record: Mapping[str, Any]) -> None:
    await found.runtime.client.append(HEALTH.name, {0: [Record(key=b"audit", value=orjson.dumps(record))]})


async def test_receivers_are_told_and_told_of_the_end(tmp_path: Path, hook: Receiver) -> None:
    async with worker(f"sqlite:///{tmp_path}/log.sqlite3", alerts_spec(webhook(hook.url))) as found:
        await say(found, health("blind", 1))
        await hook.arrived(lambda _: ("blind", "firing", "page") in pages(hook))
        await say(found, health("sees", 2))
        await hook.arrived(lambda _: ("blind", "resolved", "page") in pages(hook))
        assert [(alert["state"], alert["customer_id"]) for alert in await found.read(ALERTS.name)] == [
            ("firing", None),
            ("resolved", None),
        ]
