"""Each sentence of the rules, by what records make them say."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any

import pytest

from alerting import message
from alerting.fold import Known
from alerting.rules import Rules, ended_at, forgotten
from schemas.configuration import AlertsSpec
from tests.alerting.records import (
    AT_RISK,
    BEFORE,
    DUE,
    ESCALATED,
    FOUR_DOORS,
    LATE,
    SPEC,
    STARTED,
    alerts_of,
    answered,
    at_risk,
    attempt,
    chasing,
    ended,
    escalated,
    in_words,
    journey,
    outcome,
    overdue,
    said,
    silently_closed,
    superseded,
    taken,
)

BOUNCED = "2026-11-10T09:40:00Z"
AFTER_BOUNCE = {"bounced_at": BOUNCED}
NEXT: dict[str, Any] = {"target": "next_response"}
RESOLUTION: dict[str, Any] = {"target": "resolution"}
ASKED = [attempt("T-1", STARTED, None), attempt("T-2", AT_RISK, None)]

SENTENCES: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
    "a clock that runs says nothing": ([outcome()], []),
    "an answer in time says nothing": ([outcome(), ended(2, BEFORE, verdict="kept", reason="answered_in_time")], []),
    "a share used up is a warning": ([at_risk()], ["at_risk firing warning"]),
    "a second share changes nothing": ([at_risk(), at_risk(2, step=2, stage_at=BEFORE)], ["at_risk firing warning"]),
    "past due is a breach": ([overdue()], ["breach firing page"]),
    "a warning becomes a breach": ([at_risk(), overdue(2)], ["at_risk firing warning", "breach firing page"]),
    "a step after the due instant escalates": (
        [overdue(), escalated(2)],
        ["breach firing page", "escalation firing critical"],
    ),
    "a first look beyond the step escalates at once": ([escalated()], ["escalation firing critical"]),
    "a step that is not configured is the last one": ([escalated(step=7)], ["escalation firing critical"]),
    "nothing is said before the clock may alert": (
        [overdue(alerts_from=None, **RESOLUTION), escalated(2, alerts_from=None, **RESOLUTION)],
        [],
    ),
    "it is said once the clock may alert": (
        [overdue(alerts_from=None, **RESOLUTION), overdue(2, alerts_from=LATE, **RESOLUTION)],
        ["breach firing page"],
    ),
    "what may no longer alert is withdrawn": (
        [overdue(**RESOLUTION), overdue(2, alerts_from=None, **RESOLUTION)],
        ["breach firing page", "breach resolved withdrawn"],
    ),
    "an answer in time ends a warning": (
        [at_risk(), ended(2, BEFORE, verdict="kept", reason="answered_in_time")],
        ["at_risk firing warning", "at_risk resolved answered"],
    ),
    "a late answer ends a breach": ([overdue(), ended(2)], ["breach firing page", "breach resolved answered"]),
    "a late answer ends an escalation": (
        [overdue(), escalated(2), ended(3)],
        ["breach firing page", "escalation firing critical", "escalation resolved answered"],
    ),
    "a late event that shows an answer in time withdraws a breach": (
        [overdue(), ended(2, BEFORE, verdict="kept", reason="answered_in_time")],
        ["breach firing page", "breach resolved withdrawn"],
    ),
    "a clock that runs again withdraws": (
        [at_risk(), outcome(2)],
        ["at_risk firing warning", "at_risk resolved withdrawn"],
    ),
    "a breach that is only at risk after all becomes a warning": (
        [overdue(), at_risk(2)],
        ["breach firing page", "at_risk firing warning"],
    ),
    "a pause leaves a warning as it is": (
        [at_risk(**RESOLUTION), outcome(2, stage="paused", due_at=None, **RESOLUTION)],
        ["at_risk firing warning"],
    ),
    "a pause fires nothing": ([outcome(stage="paused", due_at=None, **RESOLUTION)], []),
    "a pause that came late withdraws a breach": (
        [overdue(**RESOLUTION), outcome(2, stage="paused", due_at=None, **RESOLUTION)],
        ["breach firing page", "breach resolved withdrawn"],
    ),
    "a merged contact is void": (
        [overdue(), ended(2, verdict="void", reason="merged")],
        ["breach firing page", "breach resolved void"],
    ),
    "a breach that no longer exists is superseded": (
        [overdue(), superseded(2)],
        ["breach firing page", "breach resolved superseded"],
    ),
    "what never fired does not resolve": ([outcome(), superseded(2)], []),
    "what has ended before it was looked at says nothing": ([ended()], []),
    "an answer taken back after the end fires again": (
        [overdue(), ended(2), overdue(3, reason="unanswered", bounced_at="2026-11-10T13:00:00Z")],
        ["breach firing page", "breach resolved answered", "breach firing page", "reply_bounced firing page"],
    ),
    "a bounced answer pages at once": ([outcome(**AFTER_BOUNCE)], ["reply_bounced firing page"]),
    "a bounced answer pages for a next response too": (
        [outcome(**AFTER_BOUNCE, **NEXT)],
        ["reply_bounced firing page"],
    ),
    "a second bounce changes nothing": (
        [outcome(**AFTER_BOUNCE), outcome(2, bounced_at=BEFORE)],
        ["reply_bounced firing page"],
    ),
    "an answer that arrives ends a bounced one, in time": (
        [outcome(**AFTER_BOUNCE), ended(2, BEFORE, verdict="kept", reason="answered_in_time", **AFTER_BOUNCE)],
        ["reply_bounced firing page", "reply_bounced resolved answered"],
    ),
    "a bounced answer beside a breach": (
        [outcome(**AFTER_BOUNCE), overdue(2, **AFTER_BOUNCE), ended(3, **AFTER_BOUNCE)],
        [
            "reply_bounced firing page",
            "breach firing page",
            "breach resolved answered",
            "reply_bounced resolved answered",
        ],
    ),
    "a bounce before the clock may alert says nothing": ([outcome(**AFTER_BOUNCE, alerts_from=None, **NEXT)], []),
    "closed and never answered is a page": ([silently_closed()], ["silent_close firing page"]),
    "closed after a first answer is a warning": ([silently_closed(**NEXT)], ["silent_close firing warning"]),
    "an acknowledgement that closed silently says nothing": ([silently_closed(target="acknowledgement")], []),
    "closing settles a breach and is said itself": (
        [overdue(), ended(2, reason="closed_unanswered", silently_closed=True)],
        ["breach firing page", "breach resolved void", "silent_close firing page"],
    ),
    "a customer who is answered or asks again settles a silent close": (
        [silently_closed(), silently_closed(2, settled_at=LATE)],
        ["silent_close firing page", "silent_close resolved answered"],
    ),
    "what was settled before it was looked at says nothing": ([silently_closed(settled_at=LATE)], []),
    "spam ends a silent close": (
        [silently_closed(), ended(2, verdict="void", reason="spam")],
        ["silent_close firing page", "silent_close resolved void"],
    ),
    "an answer before the close, found late, withdraws a silent close": (
        [silently_closed(), ended(2, BEFORE, verdict="kept", reason="answered_in_time")],
        ["silent_close firing page", "silent_close resolved withdrawn"],
    ),
    "a silent close that no longer exists is superseded": (
        [silently_closed(), superseded(2, silently_closed=True)],
        ["silent_close firing page", "silent_close resolved superseded"],
    ),
    "a mail that we bounced is a dead end": ([journey()], ["dead_end firing page"]),
    "each contact is a dead end once": (
        [journey(attempts=[attempt(), attempt(at=BEFORE), attempt("form:2", BEFORE, "no_ticket")])],
        ["dead_end firing page", "dead_end firing page"],
    ),
    "an attempt that may be answered is none": ([journey(attempts=[attempt(dead_end=None)])], []),
    "an answer anywhere ends the dead ends": (
        [journey(), answered()],
        ["dead_end firing page", "dead_end resolved answered"],
    ),
    "a journey that was answered before it was looked at says nothing": ([answered()], []),
    "a form whose ticket came late is withdrawn": (
        [journey(attempts=[attempt("form:2", BEFORE, "no_ticket")]), journey(2, [attempt("form:2", BEFORE, None)])],
        ["dead_end firing page", "dead_end resolved withdrawn"],
    ),
    "a journey without attempts is no more": (
        [journey(), journey(2, [])],
        ["dead_end firing page", "dead_end resolved superseded"],
    ),
    "an attempt found earlier makes another journey, not another page": (
        [journey(), journey(journey_id="j-0", attempts=[attempt("T-1", STARTED, None), attempt()]), journey(2, [])],
        ["dead_end firing page"],
    ),
    "the journey that took a dead end over ends it": (
        [journey(), journey(journey_id="j-0"), journey(2, []), answered(2, journey_id="j-0")],
        ["dead_end firing page", "dead_end resolved answered"],
    ),
    "the journey that took a chase over ends it": (
        [
            chasing(attempts=ASKED),
            chasing(attempts=ASKED, journey_id="j-0"),
            journey(2, []),
            answered(2, attempts=ASKED, chasing_at=AT_RISK, journey_id="j-0"),
        ],
        ["chasing firing page", "chasing resolved answered"],
    ),
    "what ended with its journey has ended once": (
        [journey(), answered(2), answered(3, "2026-11-10T11:30:00Z")],
        ["dead_end firing page", "dead_end resolved answered"],
    ),
    "the same address dead again after an answer is a new page": (
        [journey(), answered(), journey(journey_id="j-2", attempts=[attempt(at="2026-11-11T09:00:00Z")])],
        ["dead_end firing page", "dead_end resolved answered", "dead_end firing page"],
    ),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_rules_say(sentence: str) -> None:
    records, wanted = SENTENCES[sentence]
    assert said(*records) == wanted


@pytest.mark.parametrize("sentence", SENTENCES)
def test_records_that_come_again_change_nothing(sentence: str) -> None:
    records, wanted = SENTENCES[sentence]
    again = [record for index in range(len(records)) for record in records[: index + 1]]
    assert said(*again) == wanted


@pytest.mark.parametrize("target", ["acknowledgement", "resolution", "update"])
def test_a_bounced_answer_pages_for_the_response_alone(target: str) -> None:
    assert said(outcome(**AFTER_BOUNCE, target=target)) == []


def test_a_later_revision_holds_whatever_comes_after_it() -> None:
    records = [overdue(2), ended(3), at_risk(1), overdue(2), outcome(1)]
    assert said(*records) == ["breach firing page", "breach resolved answered"]


def test_changes_are_counted_so_that_each_can_be_told_once() -> None:
    rules, known, numbers = Rules(SPEC), None, []
    for record in (at_risk(), overdue(2), ended(3), overdue(4, bounced_at=LATE), ended(5)):
        changes, known = rules.on_outcome(record, known)
        numbers += [change.number for change in changes if change.record["kind"] != "reply_bounced"]
    assert numbers == [1, 2, 3, 4, 5]


def test_that_somebody_has_an_alert_is_a_change_that_counts() -> None:
    rules = Rules(SPEC)
    [fired], known = rules.on_outcome(overdue(), None)
    [acknowledged], known = rules.on_acknowledgement(TAKEN, known)
    [end], _ = rules.on_outcome(ended(2), known)
    assert (fired.number, acknowledged.number, end.number) == (1, 2, 3)


def test_an_alert_is_named_by_contact_target_and_cycle_alone() -> None:
    [alert] = alerts_of(overdue())
    assert alert["alert_id"] == blake2b(b"T-4711\0first_response\x001", digest_size=16).hexdigest()
    [moved] = alerts_of(overdue(customer_id="c-99"))
    assert moved["alert_id"] == alert["alert_id"]
    [bounced] = alerts_of(outcome(**AFTER_BOUNCE))
    assert bounced["alert_id"] == blake2b(b"T-4711\0first_response\x001\0reply_bounced", digest_size=16).hexdigest()
    [dead] = alerts_of(journey())
    assert dead["alert_id"] == blake2b(b"mail:1\0dead_end", digest_size=16).hexdigest()


def test_an_episode_keeps_its_id_and_its_beginning_from_the_first_warning_to_the_end() -> None:
    alerts = alerts_of(at_risk(), overdue(2), escalated(3), ended(4))
    assert {alert["alert_id"] for alert in alerts} == {alerts[0]["alert_id"]}
    assert {alert["starts_at"] for alert in alerts} == {AT_RISK}
    assert [alert["at"] for alert in alerts] == [AT_RISK, DUE, ESCALATED, LATE]
    assert [alert["ends_at"] for alert in alerts] == [None, None, None, LATE]


def test_an_alert_begins_no_earlier_than_it_may() -> None:
    [alert] = alerts_of(overdue(alerts_from=LATE, **RESOLUTION))
    assert (alert["starts_at"], alert["at"], alert["due_at"]) == (LATE, LATE, DUE)


def test_a_breach_by_an_answer_taken_back_is_said_when_that_was_known() -> None:
    [alert, _] = alerts_of(overdue(bounced_at=LATE))
    assert (alert["starts_at"], alert["at"]) == (DUE, LATE)


def test_a_withdrawn_alert_never_ends_before_it_began() -> None:
    [_, end] = alerts_of(overdue(), ended(2, BEFORE, verdict="kept", reason="answered_in_time"))
    assert end["starts_at"] <= end["ends_at"] == DUE


def test_a_silent_close_ends_when_it_was_settled() -> None:
    [start, end] = alerts_of(silently_closed(), silently_closed(2, settled_at=LATE))
    assert (start["starts_at"], end["ends_at"]) == (BEFORE, LATE)


def test_a_dead_end_begins_when_it_was_found_and_ends_with_the_journey() -> None:
    form = attempt("form:2", STARTED, "no_ticket", dead_end_at=AT_RISK)
    [start, end] = alerts_of(journey(attempts=[form]), answered(attempts=[form]))
    assert (start["starts_at"], start["labels"]["channel"], end["ends_at"]) == (AT_RISK, "form", LATE)


def test_a_clock_that_moves_to_another_customer_ends_for_the_old_one_first() -> None:
    alerts = alerts_of(overdue(), overdue(2, customer_id="c-99"), ended(3, customer_id="c-99"))
    assert [(alert["customer_id"], alert["state"], alert["resolution"]) for alert in alerts] == [
        ("c-17", "firing", None),
        ("c-17", "resolved", "superseded"),
        ("c-99", "firing", None),
        ("c-99", "resolved", "answered"),
    ]


def test_the_old_home_of_a_clock_cannot_end_what_the_new_one_says() -> None:
    """In one partition the later revision holds, in whatever order the two customers' records come."""
    alerts = alerts_of(overdue(), overdue(3, customer_id="c-99"), superseded(2))
    assert [(alert["customer_id"], alert["state"]) for alert in alerts][-1] == ("c-99", "firing")


def test_everything_a_page_needs_is_in_it_and_nothing_the_customer_said() -> None:
    [alert] = alerts_of(overdue(contact_id="zendesk/acme:4711", alert_open_seconds=1800.0))
    assert alert["labels"] == {
        "tier": "gold", "channel": "ticket", "queue": "billing", "priority": "high", "target": "first_response",
    }  # fmt: skip
    assert alert["annotations"] == {
        "runbook_url": "https://runbooks.example/breach",
        "board_url": "https://board.example/contacts/zendesk%2Facme%3A4711",
        "customer_url": "https://board.example/customers/c-17",
        "url": "https://desk.example/4711",
        "explanation": "first_response cycle 1: unanswered, overdue; policy gold p1, calendar london k1",
        "promised": "a first response within 1h, by Tue 2026-11-10 10:00 UTC (policy gold)",
        "waited_wall": "1 h",
        "waited_open": "30 min",
        "channels_tried": "ticket",
    }
    assert alert["summary"] == (
        "Customer c-17 has waited 1 h (30 min of open time) for a first response to zendesk/acme:4711, "
        "since Tue 2026-11-10 09:00 UTC; promised by Tue 2026-11-10 10:00 UTC (policy gold)."
    )


@pytest.mark.parametrize(
    ("record", "waited_open"),
    [
        (overdue(alert_open_seconds=60.0, open_seconds=9.0), "1 min"),
        (outcome(**AFTER_BOUNCE, bounced_open_seconds=120.0, open_seconds=9.0), "2 min"),
        (silently_closed(open_seconds=180.0), "3 min"),
        (journey(attempts=[attempt(open_seconds=240.0)]), "4 min"),
        (chasing(attempts=[attempt("T-1", dead_end=None)], chasing_open_seconds=300.0), "5 min"),
    ],
    ids=["breach", "reply_bounced", "silent_close", "dead_end", "chasing"],
)
def test_open_time_is_that_by_the_instant_of_the_alert(record: Any, waited_open: str) -> None:
    [alert] = alerts_of(record)
    assert alert["annotations"]["waited_open"] == waited_open


def test_a_page_for_one_contact_names_all_channels_that_the_customer_has_tried_before_it() -> None:
    rules = Rules(SPEC)
    _, customer = rules.on_journey(chasing(attempts=FOUR_DOORS), None)
    assert customer is not None
    customer = Known.from_bytes(customer.to_bytes())
    [change], _ = rules.on_outcome(overdue(channel="chat"), None, lambda _: customer.tried)
    assert change.record["annotations"]["channels_tried"] == "email, form, chat"  # the ticket came at that instant


def test_channels_are_remembered_while_a_customer_waits_and_has_tried_several() -> None:
    rules = Rules(SPEC)
    one = journey(attempts=[attempt("T-1", dead_end=None), attempt("T-2", dead_end=None)])
    assert rules.on_journey(one, None)[1] is None
    two = journey(2, attempts=[attempt("T-1", dead_end=None), attempt("T-2", dead_end=None, channel="form")])
    _, known = rules.on_journey(two, None)
    assert known is not None
    assert (list(known.tried), ended_at(known)) == (["email", "form"], None)
    assert rules.on_journey(answered(3, attempts=two["attempts"]), known)[1] is None


def test_the_end_of_an_old_journey_forgets_nothing_of_the_one_that_waits() -> None:
    rules = Rules(SPEC)
    _, known = rules.on_journey(chasing(journey_id="j-2"), None)
    _, known = rules.on_journey(answered(5, journey_id="j-1", attempts=[]), known)
    assert known is not None
    assert list(known.tried) == ["email", "form", "ticket"]


def test_who_asks_again_and_again_is_a_page_about_the_attempt_that_was_one_too_many() -> None:
    [dead_end, alert] = alerts_of(chasing())
    assert (dead_end["kind"], alert["kind"], alert["severity"]) == ("dead_end", "chasing", "page")
    assert (alert["contact_id"], alert["labels"]) == ("form:2", {"tier": "gold", "channel": "form"})
    assert (alert["starts_at"], alert["target"], alert["policy"]) == (AT_RISK, None, "gold")
    assert alert["annotations"]["url"] == "https://forms.example/2"
    assert alert["annotations"]["channels_tried"] == "email, form"
    assert alert["summary"] == (
        "Asked 2 times without an answer: customer c-17 has waited 30 min (15 min of open time), "
        "since Tue 2026-11-10 09:00 UTC, and tried email, form."
    )


def test_a_chase_names_the_latest_five_contacts() -> None:
    tries = [attempt(f"T-{number}", f"2026-11-10T09:0{number}:00Z", None) for number in range(1, 8)]
    [alert] = alerts_of(chasing(attempts=tries, at="2026-11-10T09:07:00Z"))
    assert alert["annotations"]["explanation"] == (
        "7 attempts since Tue 2026-11-10 09:00 UTC, no answer: T-3, T-4, T-5, T-6, T-7"
    )


def test_chasing_is_one_alert_of_its_journey_wherever_the_customer_lives() -> None:
    here, there = alerts_of(chasing())[1], alerts_of(chasing(customer_id="c-99", journey_id="j-99"))[1]
    assert here["alert_id"] == there["alert_id"]
    later = alerts_of(chasing(attempts=[attempt("mail:1", BEFORE), *FOUR_DOORS[1:]], at=DUE, journey_id="j-2"))[1]
    assert later["alert_id"] != here["alert_id"]


ANSWERED_CHASE = {"attempts": FOUR_DOORS, "chasing_at": AT_RISK}


@pytest.mark.parametrize(
    ("record", "resolution"),
    [
        pytest.param(answered(**ANSWERED_CHASE), "answered", id="an answer anywhere"),
        pytest.param(chasing(2, chasing_at=None), "withdrawn", id="an attempt that was none"),
        pytest.param(answered(attempts=[]), "superseded", id="a journey that is no more"),
    ],
)
def test_chasing_ends(record: Any, resolution: str) -> None:
    found = [in_words(alert) for alert in alerts_of(chasing(), record) if alert["kind"] == "chasing"]
    assert found == ["chasing firing page", f"chasing resolved {resolution}"]


def test_who_was_answered_before_anybody_looked_pages_nobody() -> None:
    assert said(answered(1, **ANSWERED_CHASE)) == []


@pytest.mark.parametrize("kind", ["at_risk", "escalation", "reply_bounced", "silent_close", "dead_end"])
def test_every_summary_says_who_and_since_when(kind: str) -> None:
    record = {
        "at_risk": at_risk(), "escalation": escalated(), "reply_bounced": outcome(**AFTER_BOUNCE),
        "silent_close": silently_closed(), "dead_end": journey(),
    }[kind]  # fmt: skip
    [alert] = alerts_of(record)
    assert alert["kind"] == kind
    assert "customer c-17" in alert["summary"].lower()
    assert "since Tue 2026-11-10 09:00 UTC" in alert["summary"]


C_17 = "customer c-17 has waited"
SINCE = "since Tue 2026-11-10 09:00 UTC"
BY = "promised by Tue 2026-11-10 10:00 UTC (policy gold)"
FORM = attempt("form:2", BEFORE, "no_ticket", dead_end_at=LATE, open_seconds=3600.0)


@pytest.mark.parametrize(
    ("record", "summary"),
    [
        (at_risk(), f"Customer c-17 has been waiting 30 min for a first response to T-4711, {SINCE}; {BY}."),
        (overdue(target="update"), f"Customer c-17 has waited 1 h for an update to T-4711, {SINCE}; {BY}."),
        (overdue(due_at=None), f"Customer c-17 has waited 1 h for a first response to T-4711, {SINCE}; policy gold."),
        (escalated(), f"Nobody has helped yet: {C_17} 2 h for a first response to T-4711, {SINCE}; {BY}."),
        (
            outcome(**AFTER_BOUNCE),
            f"Our answer did not arrive: {C_17} 40 min for a first response to T-4711, {SINCE}; {BY}.",
        ),
        (
            silently_closed(open_seconds=3000.0),
            f"Closed without an answer: {C_17} 50 min for a first response to T-4711, {SINCE}.",
        ),
        (
            journey(),
            f"A mail bounced at our side: nobody will answer customer c-17 there, who has waited 0 s, {SINCE}.",
        ),
        (
            journey(attempts=[FORM]),
            "A form became no ticket: nobody will answer customer c-17 there, who has waited 3 h (1 h of open time), "
            f"{SINCE}.",
        ),
    ],
)
def test_a_summary_says_what_happened_to_whom_and_what_was_promised(record: dict[str, Any], summary: str) -> None:
    [alert] = alerts_of(record)
    assert alert["summary"] == summary


@pytest.mark.parametrize(
    ("record", "words"),
    [
        (ended(2), "The wait is over, at Tue 2026-11-10 12:00 UTC: "),
        (
            ended(2, BEFORE, verdict="kept", reason="answered_in_time"),
            "Withdrawn: what came late shows that nobody waits beyond the promise, at Tue 2026-11-10 10:00 UTC: ",
        ),
        (ended(2, verdict="void", reason="spam"), "No longer owed, at Tue 2026-11-10 12:00 UTC: "),
        (superseded(2), "Superseded by what is known now, at Tue 2026-11-10 12:00 UTC: "),
    ],
)
def test_an_end_says_how_and_when_before_what_had_happened(record: dict[str, Any], words: str) -> None:
    [fired, end] = alerts_of(overdue(), record)
    assert end["summary"] == words + fired["summary"]


@pytest.mark.parametrize(
    ("attempts", "explanation"),
    [
        ([attempt()], "1 attempt since Tue 2026-11-10 09:00 UTC, no answer"),
        ([attempt(), attempt("T-2", BEFORE, None)], "2 attempts since Tue 2026-11-10 09:00 UTC, no answer"),
    ],
)
def test_a_dead_end_says_how_often_they_tried(attempts: list[Any], explanation: str) -> None:
    [alert] = alerts_of(journey(attempts=attempts))
    assert alert["annotations"]["explanation"] == explanation


@pytest.mark.parametrize(
    ("policy", "promised"),
    [("gold", "an answer, by policy gold"), (None, "nothing: no policy covers the first attempt")],
)
def test_a_dead_end_says_what_was_promised(policy: str | None, promised: str) -> None:
    [alert] = alerts_of(journey(policy=policy))
    assert alert["annotations"]["promised"] == promised


@pytest.mark.parametrize(
    ("outcome_of", "promised"),
    [
        (overdue(promised=None), "a first response, by Tue 2026-11-10 10:00 UTC (policy gold)"),
        (overdue(due_at=None), "a first response within 1h (policy gold)"),
    ],
)
def test_what_is_not_known_of_a_promise_is_left_out(outcome_of: dict[str, Any], promised: str) -> None:
    [alert] = alerts_of(outcome_of)
    assert alert["annotations"]["promised"] == promised


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3_661, "1 h 1 min"),
        (86_400, "1 d"),
        (86_460, "1 d"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_length_is_told_in_its_two_largest_units(seconds: int, text: str) -> None:
    assert message.length(seconds) == text


def test_severities_are_those_of_the_steps_and_a_breach_is_a_page_by_default() -> None:
    plain = Rules(AlertsSpec())
    assert said(overdue(), rules=plain) == ["breach firing page"]
    assert said(escalated(), rules=plain) == ["breach firing page"]
    steps = [{"after": "2h", "severity": "critical"}, {"after": "0m", "severity": "warning"}, {"after": "1h"}]
    rules = Rules(AlertsSpec.model_validate({"escalations": steps}))
    assert said(overdue(), escalated(2), escalated(3, step=2), rules=rules) == [
        "breach firing warning",
        "escalation firing page",
        "escalation firing critical",
    ]


def test_a_step_names_receivers_of_its_own() -> None:
    receivers = [{"type": "console", "name": "boss"}]
    steps = [{"after": "1h", "receivers": ["boss"]}]
    rules = Rules(AlertsSpec.model_validate({"escalations": steps, "receivers": receivers}))
    [change], _ = rules.on_outcome(escalated(), None)
    assert change.also == ("boss",)


MIXED = [
    {"after": "4h", "severity": "page"},
    {"after": "1h", "severity": "critical", "clock": "wall"},
    {"after": "8h", "severity": "warning"},
]


def test_the_severity_is_that_of_the_gravest_step_that_passed_in_whatever_order() -> None:
    rules = Rules(AlertsSpec.model_validate({"escalations": MIXED}))
    wall, then_open = escalated(2, steps=[3]), escalated(3, step=2, steps=[1, 3])
    assert said(overdue(), wall, then_open, rules=rules) == ["breach firing page", "escalation firing critical"]


def test_a_further_step_of_the_same_severity_tells_the_receivers_that_it_adds() -> None:
    receivers = [{"type": "console", "name": "boss"}, {"type": "console", "name": "owner"}]
    steps = [{"after": "1h", "receivers": ["boss"]}, {"after": "2h", "receivers": ["owner"]}]
    rules = Rules(AlertsSpec.model_validate({"escalations": steps, "receivers": receivers}))
    _, known = rules.on_outcome(escalated(1), None)
    later = "2026-11-10T12:00:00Z"
    [change], known = rules.on_outcome(escalated(2, step=2, steps=[1, 2], stage_at=later), known)
    assert change.also == ("owner",)
    assert rules.on_outcome(escalated(3, step=2, steps=[1, 2], stage_at=later), known)[0] == []


START = datetime(2026, 11, 10, 9, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    ("records", "wanted"),
    [
        pytest.param([at_risk()], [], id="a warning before"),
        pytest.param([at_risk(), overdue(2)], ["breach firing page"], id="a breach after a warning before"),
        pytest.param([outcome(**AFTER_BOUNCE)], [], id="a bounce before"),
        pytest.param([silently_closed()], ["silent_close firing page"], id="a close after"),
        pytest.param([silently_closed(at=AT_RISK)], [], id="a close before"),
        pytest.param([journey()], [], id="a dead end before"),
        pytest.param(
            [overdue(), escalated(2, due_at=AT_RISK)],
            ["breach firing page", "escalation firing critical"],
            id="what fires goes on though it turns out to have been due before",
        ),
        pytest.param([overdue(due_at=AT_RISK), escalated(2, due_at=AT_RISK), ended(3)], [], id="a breach before"),
        pytest.param(
            [overdue(due_at=AT_RISK, alerts_from=LATE, **RESOLUTION)], [], id="a breach before that may alert after"
        ),
    ],
)
def test_what_was_due_before_the_first_start_is_never_said(records: list[Any], wanted: list[str]) -> None:
    assert said(*records, rules=Rules(SPEC, first_start=START)) == wanted


def test_an_instant_in_the_configuration_beats_the_first_start() -> None:
    spec = AlertsSpec.model_validate({"from": "2026-11-10T11:00:00+01:00"})  # 10:00 UTC, which is the due instant
    assert said(overdue(), rules=Rules(spec, first_start=datetime(2030, 1, 1, tzinfo=UTC))) == ["breach firing page"]
    spec = AlertsSpec.model_validate({"from": "2026-11-10T10:00:00.5Z"})
    assert said(overdue(), rules=Rules(spec)) == []


def test_a_second_and_its_fractions_are_in_the_order_of_time() -> None:
    [start, end] = alerts_of(overdue(), ended(2, "2026-11-10T10:00:00.250000Z"))
    assert (start["at"], end["at"]) == (DUE, "2026-11-10T10:00:00.250000Z")


def test_state_is_kept_for_what_was_said_only() -> None:
    rules = Rules(SPEC)
    for record in (outcome(), ended(), outcome(alerts_from=None, stage="at_risk", stage_at=AT_RISK)):
        assert rules.on_outcome(record, None) == ([], None)
    assert rules.on_journey(answered(), None) == ([], None)


def test_nothing_more_is_expected_once_all_has_resolved_or_was_closed() -> None:
    rules = Rules(SPEC)
    _, open_breach = rules.on_outcome(overdue(), None)
    assert open_breach is not None
    assert ended_at(open_breach) is None
    _, over = rules.on_outcome(ended(2), open_breach)
    assert over is not None
    assert ended_at(over) == LATE
    _, closed = rules.on_outcome(silently_closed(), None)
    assert closed is not None
    assert ended_at(closed) == BEFORE
    [last] = forgotten(closed, LATE)
    assert (last.number, last.record["resolution"], last.record["ends_at"]) == (2, "void", LATE)


def test_the_last_words_on_what_is_forgotten_are_of_what_still_fires_alone() -> None:
    rules = Rules(SPEC)
    _, known = rules.on_outcome(outcome(**AFTER_BOUNCE), None)
    _, known = rules.on_outcome(silently_closed(2, **AFTER_BOUNCE), known)
    assert known is not None
    assert [change.record["kind"] for change in forgotten(known, LATE)] == ["silent_close"]


def test_whatever_the_order_of_delivery_the_last_revision_decides_what_fires() -> None:
    history = [at_risk(1), overdue(2), ended(3), overdue(4, bounced_at=LATE), escalated(5), ended(6)]
    randomly = random.Random(7)
    for _ in range(50):
        upto = randomly.randrange(1, len(history) + 1)
        seen = [*randomly.choices(history[:upto], k=5), history[upto - 1]]
        rules, known = Rules(SPEC), None
        for record in seen:
            _, known = rules.on_outcome(record, known)
        firing = [] if known is None else [said.record["kind"] for said in known.alerts.values() if said.firing]
        _, alone = rules.on_outcome(history[upto - 1], None)
        expected = [] if alone is None else [said.record["kind"] for said in alone.alerts.values() if said.firing]
        assert sorted(firing) == sorted(expected)


def test_what_is_known_survives_as_bytes() -> None:
    rules = Rules(SPEC)
    _, known = rules.on_outcome(overdue(), None)
    assert known is not None
    assert Known.from_bytes(known.to_bytes()) == known


def episode_of(record: dict[str, Any]) -> dict[str, Any]:
    """The alert that a record makes."""
    return alerts_of(record)[0]


def test_who_has_a_page_is_said_in_it_and_in_its_end() -> None:
    [fired, acknowledged, end] = alerts_of(overdue(), taken(episode_of(overdue())), ended(2, "2026-11-10T13:00:00Z"))
    assert (fired["outcome_id"], fired.get("acknowledged_at")) == ("o-1", None)
    assert (acknowledged["state"], acknowledged["kind"], acknowledged["at"]) == ("firing", "breach", LATE)
    for alert in (acknowledged, end):
        assert (alert["acknowledged_at"], alert["acknowledged_by"]) == (LATE, "ann")
        assert alert["annotations"]["acknowledged"] == "by ann, Tue 2026-11-10 12:00 UTC"
    assert (end["state"], end["resolution"]) == ("resolved", "answered")


TAKEN = taken(episode_of(overdue()))


@pytest.mark.parametrize(
    ("records", "wanted"),
    [
        pytest.param(
            [overdue(), TAKEN, escalated(2), escalated(3, step=2), ended(4)],
            ["breach firing page", "breach firing page", "breach resolved answered"],
            id="steps after it change nothing",
        ),
        pytest.param(
            [overdue(), escalated(2), TAKEN, escalated(3, step=2, stage_at=LATE)],
            ["breach firing page", "escalation firing critical", "escalation firing critical"],
            id="nor after an escalation",
        ),
        pytest.param(
            [at_risk(), TAKEN, overdue(2)],
            ["at_risk firing warning", "at_risk firing warning", "breach firing page"],
            id="a warning that was taken still becomes a page",
        ),
        pytest.param([overdue(), TAKEN, TAKEN], ["breach firing page", "breach firing page"], id="the first has it"),
        pytest.param(
            [overdue(), ended(2), TAKEN], ["breach firing page", "breach resolved answered"], id="what ended stays so"
        ),
        pytest.param([TAKEN], [], id="nor is there what never fired"),
        pytest.param(
            [overdue(), TAKEN, overdue(2, customer_id="c-99"), escalated(3, customer_id="c-99")],
            ["breach firing page", "breach firing page", "breach resolved superseded", "breach firing page",
             "escalation firing critical"],
            id="another customer's is nobody's yet",
        ),
        pytest.param(
            [overdue(), TAKEN, ended(2), overdue(3), escalated(4)],
            ["breach firing page", "breach firing page", "breach resolved answered", "breach firing page",
             "escalation firing critical"],
            id="what fires again is nobody's yet",
        ),
    ],
)  # fmt: skip
def test_an_acknowledgement_stops_the_escalation(records: list[Any], wanted: list[str]) -> None:
    assert said(*records) == wanted


def test_a_page_of_a_journey_is_taken_by_its_customer() -> None:
    [page] = alerts_of(journey())
    [_, acknowledged, end] = alerts_of(journey(), taken(page, by=None), answered())
    assert acknowledged["annotations"]["acknowledged"] == "by somebody, Tue 2026-11-10 12:00 UTC"
    assert (end["state"], end["acknowledged_by"]) == ("resolved", None)
