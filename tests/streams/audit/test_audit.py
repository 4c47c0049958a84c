"""What the self-audit guards, broken one thing at a time: it is named, and nothing else is.

The log was lived by the whole pipeline; then something is taken out of it, changed or put in.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from schemas.configuration import Configuration
from streams import settings
from streams.audit import Asked, Audited, NothingToAudit, audit
from streams.audit.topics import Topics
from streams.engine.calendar import to_us
from streams.engine.outcome import record_id
from streams.engine.timeline import Contact, fact
from streams.promises import in_force_record, records_of
from streams.track.moving import MOVED
from streams.track.state import ContactState, encode_body, postponed
from streams.transport import Record
from streams.transport.sqlite import SqliteLog
from tests.scenarios.pipeline import Pipeline
from tests.streams.audit.tampering import Hands

NINE: Final = datetime(2026, 11, 10, 9, 0, tzinfo=UTC)
NOON: Final = NINE + timedelta(hours=3)
TOPICS: Final = Topics.under("")
CONFIGURATION: Final = b"""
calendars: {always: {always_open: true}}
policies:
  - {name: all, calendar: always, targets: {first_response: 1h, resolution: 5d}, at_risk: [50%], dead_end_after: 30m}
alerts: {from: 2026-01-01T00:00:00Z, receivers: [{type: console}]}
"""


def event(number: int, kind: str, contact: str, at: datetime, **data: Any) -> dict[str, Any]:
    return {"specversion": "1.0", "id": f"e-{number}", "source": "/desk", "type": kind, "time": at.isoformat(),
            "subject": contact, "data": {"customer_id": f"c-{contact}", **data}}  # fmt: skip


OPENED: Final = [
    event(1, "contact.opened", "late", NINE, channel="ticket"),
    event(2, "contact.opened", "answered", NINE, channel="ticket"),
    event(3, "contact.opened", "form", NINE, channel="form"),
    event(4, "contact.opened", "fresh", NOON - timedelta(minutes=5), channel="ticket"),
]
ANSWERED: Final = event(5, "message.sent", "answered", NINE + timedelta(hours=2), agent_id="a-1")


@pytest.fixture
async def hands(tmp_path: Path) -> Hands:
    """A log until noon: `late` and `form` are overdue, `answered` was, `fresh` still has time."""
    path = tmp_path / "log.sqlite3"
    configuration = settings.parse(CONFIGURATION, file="here")
    async with Pipeline(f"sqlite:///{path}", configuration, start=NINE) as pipeline:
        await pipeline.put_events(NINE, OPENED[:3])
        await pipeline.put_events(NINE + timedelta(hours=2), [ANSWERED])
        await pipeline.put_events(NOON - timedelta(minutes=5), OPENED[3:])
        await pipeline.pass_time(NOON)
        assert (await pipeline.audit()).findings == []
    return Hands(path)


def asked(**changes: Any) -> Asked:
    configuration: Configuration = settings.parse(CONFIGURATION, file="here")
    known = Asked(
        prefix="",
        alerts=configuration.alerts,
        limits=configuration.limits,
        receivers_of=lambda *_: ["console"],
        now=lambda: NOON,
        tolerance_us=60_000_000,
        again_after_seconds=0,
    )
    return replace(known, **changes)


async def audited(hands: Hands, **changes: Any) -> Audited:
    log = SqliteLog(hands.path, read_only=True)
    await log.start()
    try:
        return await audit(log, asked(**changes))
    finally:
        await log.close()


def named(found: Audited) -> list[tuple[str, str, str]]:
    return [finding[:3] for finding in found.findings]


def of(contact: str, **also: Any) -> Any:
    wanted = {"contact_id": contact, **also}
    return lambda record: all(record.get(name) == value for name, value in wanted.items())


async def test_a_log_that_nobody_touched_is_clean(hands: Hands) -> None:
    found = await audited(hands)
    assert named(found) == []
    assert (found.contacts, found.alerts, found.unjudged, found.excused) == (4, 3, {}, {})
    assert found.clocks == 8


# -- alerts ------------------------------------------------------------------------------------------------


async def test_an_alert_that_was_lost_leaves_an_overdue_clock_without_one(hands: Hands) -> None:
    assert hands.drop(TOPICS.alerts, of("late", kind="breach")) == 1
    [finding] = (await audited(hands)).findings
    assert finding[:3] == ("overdue_without_alert", "late", "first_response:1")
    assert "overdue since 2026-11-10T10:00:00Z" in str(finding)
    assert "at_risk" in finding.found


async def test_a_dead_end_of_which_nobody_was_told_is_named(hands: Hands) -> None:
    assert hands.drop(TOPICS.alerts, of("form", kind="dead_end")) == 1
    assert named(await audited(hands)) == [("dead_end_without_alert", "form", "dead_end")]


async def test_an_alert_whose_end_was_lost_fires_without_a_clock(hands: Hands) -> None:
    assert hands.drop(TOPICS.alerts, of("answered", state="resolved")) == 1
    assert named(await audited(hands)) == [("alert_without_clock", "answered", "breach")]


@pytest.mark.parametrize(("contact", "customer"), [("nobody", "c-1"), ("fresh", "c-fresh"), ("late", "c-other")])
async def test_an_alert_that_somebody_made_up_is_named(hands: Hands, contact: str, customer: str) -> None:
    fires = next(alert for alert in hands.values(TOPICS.alerts) if alert["kind"] == "breach")
    made_up = {**fires, "contact_id": contact, "customer_id": customer}
    made_up["alert_id"] = record_id(contact, "first_response", "1")
    hands.put(TOPICS.alerts, customer, made_up)
    assert named(await audited(hands)) == [("alert_without_clock", contact, "breach")]


@pytest.mark.parametrize("contact", ["fresh", "nobody"])
async def test_a_dead_end_that_somebody_made_up_is_named(hands: Hands, contact: str) -> None:
    fires = next(alert for alert in hands.values(TOPICS.alerts) if alert["kind"] == "dead_end")
    made_up = {**fires, "contact_id": contact, "customer_id": f"c-{contact}"}
    hands.put(TOPICS.alerts, f"c-{contact}", {**made_up, "alert_id": record_id(contact, "dead_end")})
    assert named(await audited(hands)) == [("alert_without_clock", contact, "dead_end")]


@pytest.mark.parametrize("from_", [NOON, NINE + timedelta(hours=1, seconds=1)])
async def test_what_was_due_before_alerts_began_needs_none(hands: Hands, from_: datetime) -> None:
    hands.drop(TOPICS.alerts, of("late"))
    alerts = settings.parse(CONFIGURATION, file="here").alerts.model_copy(update={"from_": from_})
    found = await audited(hands, alerts=alerts)
    assert named(found) == []
    assert found.excused == {"before_alerts_from": 1}


# -- deliveries --------------------------------------------------------------------------------------------


def delivered(hands: Hands, contact: str) -> Any:
    ids = {alert["alert_id"] for alert in hands.values(TOPICS.alerts) if of(contact)(alert)}
    return lambda step: step["alert_id"] in ids and step["kind"] == "breach" and step["result"] == "delivered"


async def test_a_page_that_was_never_delivered_is_named(hands: Hands) -> None:
    assert hands.drop(TOPICS.deliveries, delivered(hands, "late")) == 1
    [finding] = (await audited(hands)).findings
    assert finding[:3] == ("undelivered", "late", "first_response:1")
    assert finding.found.startswith("last step trying at 2026-11-10T1")


async def test_a_page_that_was_delivered_with_others_of_its_customer_was_delivered(hands: Hands) -> None:
    [page] = [alert for alert in hands.values(TOPICS.alerts) if of("late", kind="breach")(alert)]
    hands.drop(TOPICS.deliveries, delivered(hands, "late"))
    step = {"alert_id": "c-late's", "customer_id": "c-late", "alert_ids": [page["alert_id"]], "number": 1,
            "receiver": "console", "result": "delivered", "kind": "breach", "state": "firing",
            "at": page["at"]}  # fmt: skip
    hands.put(TOPICS.deliveries, "c-late", {**step, "alert_ids": ["another"]})
    assert named(await audited(hands)) == [("undelivered", "late", "first_response:1")]
    hands.put(TOPICS.deliveries, "c-late", step)
    assert named(await audited(hands)) == []


async def test_each_receiver_of_the_route_must_have_it(hands: Hands) -> None:
    found = await audited(hands, receivers_of=lambda *_: ["console", "pager"])
    assert {finding[:2] for finding in found.findings} == {("undelivered", "late"), ("undelivered", "form")}
    assert all("with pager" in finding.expected for finding in found.findings)


@pytest.mark.parametrize("result", ["gave_up", "rejected"])
async def test_a_delivery_that_was_given_up_has_said_so(hands: Hands, result: str) -> None:
    done = delivered(hands, "late")
    hands.change(
        TOPICS.deliveries,
        lambda value: orjson.dumps({**orjson.loads(value), "result": result}) if done(orjson.loads(value)) else value,
    )
    found = await audited(hands)
    assert (named(found), found.excused) == ([], {result: 1})


async def test_a_receiver_that_is_being_tried_is_away_and_not_forgotten(hands: Hands) -> None:
    hands.drop(TOPICS.deliveries, delivered(hands, "late"))
    step = {"alert_id": "another", "number": 1, "receiver": "console", "kind": "breach", "state": "firing",
            "result": "not_taken", "at": (NOON - timedelta(seconds=20)).isoformat()}  # fmt: skip
    hands.put(TOPICS.deliveries, "another", step)
    found = await audited(hands)
    assert (named(found), found.excused) == ([], {"receiver_away": 1})
    assert named(await audited(hands, now=lambda: NOON + timedelta(minutes=6))) == [
        ("undelivered", "late", "first_response:1")
    ]


async def test_a_receiver_that_gets_digests_may_not_have_it_yet(hands: Hands) -> None:
    hands.drop(TOPICS.deliveries, delivered(hands, "late"))
    found = await audited(hands, gathering_us={"console": 3 * 3_600_000_000})
    assert (named(found), found.excused) == ([], {"receiver_gathers": 1})
    found = await audited(hands, gathering_us={"console": 3_600_000_000})
    assert named(found) == [("undelivered", "late", "first_response:1")]


async def test_where_nobody_is_to_be_told_nobody_must_have_been(hands: Hands) -> None:
    hands.drop(TOPICS.deliveries, lambda _: True)
    found = await audited(hands, receivers_of=lambda *_: [])
    assert (named(found), found.excused) == ([], {"nobody_to_tell": 3})


# -- outcomes and journeys ---------------------------------------------------------------------------------


async def test_an_outcome_that_was_lost_is_named(hands: Hands) -> None:
    assert hands.drop(TOPICS.outcomes, of("fresh", target="resolution")) == 1
    assert named(await audited(hands)) == [("outcome_missing", "fresh", "resolution:1")]


async def test_a_revision_that_was_lost_leaves_an_outcome_that_differs(hands: Hands) -> None:
    assert hands.drop(TOPICS.outcomes, of("answered", target="first_response", stage="ended")) == 1
    [finding] = (await audited(hands)).findings
    assert finding[:3] == ("outcome_differs", "answered", "first_response:1")
    assert finding.expected == "reason answered_late, stage ended, ended_at 2026-11-10T11:00:00Z"
    assert finding.found == "reason unanswered, stage overdue, ended_at none"


async def test_an_outcome_of_no_clock_is_named(hands: Hands) -> None:
    outcome = next(one for one in hands.values(TOPICS.outcomes) if of("fresh", target="resolution")(one))
    hands.put(TOPICS.outcomes, "c-fresh", {**outcome, "outcome_id": "0" * 32, "target": "update"})
    assert named(await audited(hands)) == [("outcome_without_clock", "fresh", "update:1")]


@pytest.mark.parametrize(("reason", "findings"), [("superseded", 0), ("running", 1)])
async def test_what_was_said_of_a_contact_that_no_event_brought_is_named_unless_it_was_taken_back(
    hands: Hands, reason: str, findings: int
) -> None:
    outcome = next(one for one in hands.values(TOPICS.outcomes) if of("fresh", target="resolution")(one))
    made_up = {**outcome, "outcome_id": "0" * 32, "contact_id": "nobody", "customer_id": "c-1", "reason": reason}
    hands.put(TOPICS.outcomes, "c-1", made_up)
    assert named(await audited(hands)) == [("outcome_without_clock", "nobody", "resolution:1")] * findings


async def test_a_contact_that_no_event_brought_is_named(tmp_path: Path) -> None:
    """On Kafka whoever may write to the topic may also say what homes tell each other."""
    opened = fact(to_us(NINE), "/desk", "e-1", "contact.opened", {"channel": "ticket"})
    made_up = ContactState(Contact("made-up", "c-1", [opened]), "c-1")
    forged = Record(key=b"c-1", value=b"c-1\n" + encode_body(made_up), headers=[(MOVED, b"1")])
    configuration = settings.parse(CONFIGURATION, file="here")
    async with Pipeline(f"sqlite:///{tmp_path}/log.sqlite3", configuration, start=NINE) as pipeline:
        await pipeline.put_records([forged])
        await pipeline.pass_time(NOON)
        found = await pipeline.audit()
    assert {("outcome_without_clock", "made-up"), ("alert_without_clock", "made-up")} <= {
        finding[:2] for finding in found.findings
    }


async def test_a_journey_that_was_lost_is_named(hands: Hands) -> None:
    assert hands.drop(TOPICS.journeys, lambda journey: journey["customer_id"] == "c-late") == 1
    assert named(await audited(hands)) == [("journey_differs", "c-late", "journey")]


# -- the due index -----------------------------------------------------------------------------------------


def looked_again(hands: Hands, contact: str, wake_us: int | None) -> int:
    """The table says another instant, or none, at which to look at a contact again."""

    def change(value: bytes) -> bytes:
        changed = postponed(value, wake_us)  # type: ignore[arg-type]
        return changed if orjson.loads(value.partition(b"\n")[2])["id"] == contact else value

    return hands.change(TOPICS.contacts_table, change)


@pytest.mark.parametrize("later", [None, 5])
async def test_an_instant_to_look_again_that_was_lost_is_named(hands: Hands, later: int | None) -> None:
    wake_us = None if later is None else int((NOON + timedelta(hours=later)).timestamp() * 1e6)
    assert looked_again(hands, "fresh", wake_us)
    [finding] = (await audited(hands)).findings
    assert finding[:3] == ("due_lost", "fresh", "due")
    assert finding.expected == "to be looked at by 2026-11-10T12:25:00Z"
    assert finding.found == ("never" if later is None else "2026-11-10T17:00:00Z")


async def test_an_instant_to_look_again_that_nobody_looked_at_is_named(hands: Hands) -> None:
    """As when the index in memory lost what the table knows."""
    found = await audited(hands, now=lambda: NOON + timedelta(minutes=27))
    assert named(found) == [
        ("wake_up_missed", "fresh", "due"),
        ("outcome_differs", "fresh", "first_response:1"),
    ]
    assert found.findings[0].expected == "a wake-up after 2026-11-10T12:25:00Z"


async def test_within_the_tolerance_a_wake_up_may_be_on_its_way(hands: Hands) -> None:
    assert named(await audited(hands, now=lambda: NOON + timedelta(minutes=25, seconds=50))) == []


async def test_a_contact_that_the_table_lost_is_named(hands: Hands) -> None:
    def change(value: bytes) -> bytes:
        return value.replace(b'"id":"fresh"', b'"id":"fresh","moved_to":"elsewhere"')

    assert hands.change(TOPICS.contacts_table, change)
    assert named(await audited(hands)) == [("contact_lost", "fresh", "table")]


# -- what is no finding ------------------------------------------------------------------------------------


async def test_what_is_in_the_log_and_not_handled_yet_is_no_finding(hands: Hands) -> None:
    answers = event(9, "message.sent", "late", NOON - timedelta(hours=1), agent_id="a-1")
    hands.put(TOPICS.events, "c-late", answers, int(NOON.timestamp() * 1_000))
    found = await audited(hands)
    assert (named(found), found.unjudged, found.contacts) == ([], {"in_flight": 1}, 3)


async def test_whose_answer_is_in_the_log_and_not_handled_yet_missed_no_wake_up(hands: Hands) -> None:
    answers = event(9, "message.sent", "fresh", NOON, agent_id="a-1")
    hands.put(TOPICS.events, "c-fresh", answers, int(NOON.timestamp() * 1_000))
    assert named(await audited(hands, now=lambda: NOON + timedelta(minutes=27))) == []


async def test_a_contact_that_came_between_the_two_looks_is_looked_at_too(hands: Hands) -> None:
    """What it brought about for its customer would else be held against a log without it."""

    looks = iter(["first"])

    def as_it_comes() -> datetime:
        if next(looks, None):
            asks = event(9, "contact.opened", "asks", NOON, channel="chat")
            asks["data"]["customer_id"] = "c-late"
            hands.put(TOPICS.events, "c-late", asks, int(NOON.timestamp() * 1_000))
        return NOON

    assert hands.change(TOPICS.journeys, lambda v: v.replace(b'"waiting"', b'"answered"') if b'"c-late"' in v else v)
    assert named(await audited(hands)) == [("journey_differs", "c-late", "journey")]
    assert named(await audited(hands, now=as_it_comes)) == []


async def test_what_an_event_ties_together_is_judged_only_once_it_is_handled(hands: Hands) -> None:
    """The outcomes of both contacts, and the journeys of a customer, may be ahead of what the audit may look at."""
    moment_ms = int(NOON.timestamp() * 1_000)
    hands.put(TOPICS.events, "c-9", event(8, "contact.merged", "unheard", NOON, into="late"), moment_ms)
    asks = {**event(9, "contact.opened", "asks", NOON, channel="chat")}
    asks["data"]["customer_id"] = "c-answered"
    hands.put(TOPICS.events, "c-answered", asks, moment_ms)
    late, asking = b'"contact_id":"late"', b'"customer_id":"c-answered"'
    assert hands.change(TOPICS.outcomes, lambda v: v.replace(b'"broken"', b'"void"') if late in v else v)
    assert hands.change(TOPICS.journeys, lambda v: v.replace(b'"answered"', b'"waiting"') if asking in v else v)
    found = await audited(hands)
    assert (named(found), found.contacts) == ([], 3)


async def test_contacts_that_the_log_does_not_hold_any_more_are_counted(hands: Hands) -> None:
    assert hands.drop(TOPICS.events, lambda e: isinstance(e, dict) and e["time"] < "2026-11-10T10") >= 3
    found = await audited(hands)
    assert named(found) == []
    assert found.unjudged["beyond_the_log"] >= 3


async def test_what_was_looked_at_under_earlier_promises_is_judged_later(hands: Hands) -> None:
    in_force = next(one for one in hands.values(TOPICS.policies) if one["kind"] == "in_force")
    longer = settings.parse(CONFIGURATION.replace(b"1h", b"2h"), file="here")
    for record in [*records_of(longer), in_force_record(longer)]:
        hands.put(TOPICS.policies, record.hash, record.model_dump(mode="json"), 4_000_000_000_000)
    assert in_force != in_force_record(longer).model_dump(mode="json")
    found = await audited(hands)
    assert (named(found), found.unjudged) == ([], {"earlier_promises": 4})


async def test_what_nobody_of_ours_wrote_is_counted_and_harms_nothing(hands: Hands) -> None:
    for topic in (TOPICS.outcomes, TOPICS.journeys, TOPICS.alerts, TOPICS.deliveries):
        hands.put(topic, "x", ["what", "is", "this"])
        hands.put(topic, "x", {"contact_id": "late"})
    found = await audited(hands)
    assert (named(found), found.unreadable) == ([], 8)


async def test_what_is_put_right_before_the_second_look_is_no_finding(hands: Hands) -> None:
    lost = [alert for alert in hands.values(TOPICS.alerts) if of("late", kind="breach")(alert)]
    hands.drop(TOPICS.alerts, of("late", kind="breach"))
    looks = 0

    def now() -> datetime:
        nonlocal looks
        looks += 1
        if looks == 1:
            hands.put(TOPICS.alerts, "c-late", lost[0])
        return NOON

    found = await audited(hands, now=now)
    assert (looks, named(found)) == (2, [])


async def test_in_portions_the_same_is_found(hands: Hands) -> None:
    hands.drop(TOPICS.alerts, of("late", kind="breach"))
    hands.drop(TOPICS.outcomes, of("fresh", target="resolution"))
    whole, parts = await audited(hands), await audited(hands, events_at_once=1)
    assert sorted(named(parts)) == sorted(named(whole))
    assert (parts.contacts, parts.clocks, parts.alerts, parts.events) == (
        whole.contacts, whole.clocks, whole.alerts, whole.events,
    )  # fmt: skip


async def test_where_heardback_has_not_run_there_is_nothing_to_audit(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite3")
    await log.start()
    with pytest.raises(NothingToAudit, match="has heardback run here"):
        await audit(log, asked())
    await log.close()
