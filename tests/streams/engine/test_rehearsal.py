"""The alerts of a replay are those that the plain way comes to: everything read again at each instant."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import orjson
import pytest
import yaml

from alerting.rules import Rules
from schemas.configuration import Configuration
from schemas.customers import Customer
from schemas.events import to_json
from schemas.refusals import Refusal
from streams import settings
from streams.commands.replaying import alerts_by
from streams.engine.attributes import Tier
from streams.engine.identity import directory
from streams.engine.outcome import Content
from streams.engine.unfolding import TiersOf
from streams.ingest.servicenow import read
from streams.replay import Line, groups, replay
from tests.bench import workload
from tests.oracle import rehearsal as plain
from tests.oracle.compare import case_of
from tests.scenarios.runs import tiers_of
from tests.scenarios.story import names, story

CASES = 150
ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "deploy/examples/servicenow.yaml"
SLICE = ROOT / "streams/demo/data/servicenow-slice.csv"
UNTIED = frozenset({"merges", "links"})


def both_ways(
    lines: Sequence[Line],
    configuration: Configuration,
    customers: Iterable[Customer] = (),
    tiers: TiersOf | None = None,
    **options: object,
) -> tuple[list[Content], list[Content]]:
    """The alerts of a replay, and the plain ones of the same contacts."""
    known, _ = directory(list(customers))
    alerts_of = alerts_by(Rules(configuration.alerts))
    policies = settings.policies_of(configuration)
    result = replay(lines, policies, known, alerts_of=alerts_of, tiers_of=tiers, **options)  # type: ignore[arg-type]

    def of(customer_id: str) -> Sequence[Tier]:
        return tiers(customer_id) if tiers is not None else result.tiers.get(customer_id, ())

    found: list[Content] = []
    for group in groups(result.contacts):
        found += alerts_of(plain.rehearse(group.values(), policies, of, result.until_us))
    return result.alerts, sorted(found, key=_order)


def _order(alert: Content) -> tuple[str, ...]:
    return alert["at"].removesuffix("Z"), alert["alert_id"], alert["kind"], alert["state"]


def of_case(seed: int, without: frozenset[str]) -> tuple[list[Content], list[Content]]:
    """A random history, in every third of which policies know who chases."""
    made, random = case_of(seed, without), Random(seed)
    if seed % 3 == 0:
        for policy in made.config["policies"]:
            policy["chasing_after"] = random.choice([1, 2, 2, 3])
    return both_ways(
        [Line("", orjson.dumps(event)) for event in made.events],
        settings.parse(yaml.safe_dump(made.config).encode(), file="case"),
        [Customer.model_validate(one) for one in made.customers],
        until=made.until,
    )


@pytest.mark.parametrize(("first", "without"), [(1, UNTIED), (10_001, frozenset()), (20_001, UNTIED | {"voids"})])
def test_random_histories(first: int, without: frozenset[str]) -> None:
    said = 0
    for seed in range(first, first + CASES):
        fast, slow = of_case(seed, without)
        assert fast == slow, f"seed {seed}"
        said += len(fast)
    assert said > CASES


@pytest.mark.parametrize("name", names())
def test_stories(name: str) -> None:
    told = story(name)
    fast, slow = both_ways(
        [Line("", orjson.dumps(step.event)) for step in told.steps if step.event and not step.live_only],
        told.configuration,
        [records[-1][1] for records in told.customers().values()],
        tiers_of(told),
        until=told.until,
    )
    assert fast == slow


HOURLY = b"""
calendars: {always: {always_open: true}}
policies: [{name: all, calendar: always, targets: {first_response: 1h}}]
"""


def test_a_contact_that_nobody_opened_is_another_door() -> None:
    def event(contact: str, kind: str, time: str, **data: str) -> Line:
        told = {"specversion": "1.0", "id": contact, "source": "/desk", "type": kind, "time": f"2026-11-16T{time}Z",
                "subject": contact, "data": {"customer_id": "c-1", **data}}  # fmt: skip
        return Line("", orjson.dumps(told))

    events = [
        event("T-1", "contact.opened", "09:00:00", channel="ticket"), event("T-2", "message.received", "09:10:00"),
    ]  # fmt: skip
    fast, slow = both_ways(events, settings.parse(HOURLY, file="here"), until=datetime(2026, 11, 16, 12, tzinfo=UTC))
    assert fast == slow
    assert {alert["annotations"]["channels_tried"] for alert in fast} == {"ticket, other"}


def test_a_week_of_a_desk() -> None:
    configuration = settings.parse(workload.CONFIGURATION, file="bench")
    fast, slow = both_ways([Line("", one.value) for one in workload.week(300)], configuration)
    assert len(fast) > 300
    assert fast == slow


def test_a_slice_of_a_real_log() -> None:
    with SLICE.open("rb") as lines:
        events = [one for one in read(lines, time_zone=ZoneInfo("Europe/Lisbon")) if not isinstance(one, Refusal)]
    configuration = settings.parse(CONFIG.read_bytes(), file=CONFIG.name)
    fast, slow = both_ways([Line("", to_json(event)) for event in events], configuration)
    assert len(fast) > 40
    assert fast == slow
