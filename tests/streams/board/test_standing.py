"""In what order customers are shown, how long they wait, and what is said of their page."""

from __future__ import annotations

from typing import Any

import pytest

from schemas.customers import Customer
from streams.board.standing import NONE, Filter, Standing, facts_of, in_order, ranked_of
from streams.board.waiting import Waiting
from tests.streams.board.records import VERSIONS, alert, at, attempt, calendars, journey, outcome, us

CUSTOMERS = {
    "c-1": Customer(
        customer_id="c-1",
        name="Alba Freight",
        tier="gold",
        owner="anna@example.com",
        annual_value=48_000,
        currency="GBP",
    )
}


class Topics:
    """What was told so far."""

    def __init__(self) -> None:
        self.waiting, self.calendars = Waiting(), calendars()

    def outcome(self, *named: str, **changed: Any) -> None:
        self.waiting.on_outcome(0, outcome(*named, **changed))

    def journey(self, customer: str, *attempts: dict[str, Any], **changed: Any) -> None:
        self.waiting.on_journey(0, journey(customer, *attempts, **changed))

    def alert(self, *named: str, **changed: Any) -> None:
        self.waiting.on_alert(0, alert(*named, **changed))

    def standing(self, hours: float, alerts_from: int | None = None) -> Standing:
        now_us = us(hours)
        ranked = [
            ranked_of(entry, facts_of(entry, self.calendars, CUSTOMERS.get(entry.customer_id)), self.calendars, now_us)
            for entry in self.waiting.entries.values()
            if entry.waits
        ]
        return Standing(
            in_order(ranked),
            self.calendars,
            CUSTOMERS.get,
            now_us=now_us,
            alerts_from_us=alerts_from,
            remembered_us=us(24 * 30) - us(0),
        )

    def row(self, hours: float, alerts_from: int | None = None) -> Any:
        standing = self.standing(hours, alerts_from)
        [only] = standing.ranked
        return standing.row(only)


@pytest.fixture
def topics() -> Topics:
    return Topics()


def order(standing: Standing) -> list[str]:
    return [one.customer_id for one in standing.ranked]


def test_the_longest_over_their_promise_come_first_then_the_next_to_run_out_then_those_without_a_promise(
    topics: Topics,
) -> None:
    topics.outcome("T-1", "over-1h", due_at=at(1))
    topics.outcome("T-2", "over-2h", due_at=at(0))
    topics.outcome("T-3", "left-3h", due_at=at(5))
    topics.outcome("T-4", "left-1h", due_at=at(3))
    topics.journey("unpromised-late", attempt("T-5", "chat", 1), policy=None)
    topics.journey("unpromised-early", attempt("T-6", "chat", -9), policy=None)
    wanted = ["over-2h", "over-1h", "left-1h", "left-3h", "unpromised-early", "unpromised-late"]
    assert order(topics.standing(2)) == wanted


def test_the_order_is_by_open_time_not_by_the_clock_on_the_wall(topics: Topics) -> None:
    friday = -(3 * 24) + 7.5  # Friday at half past four: half an hour before closing
    topics.outcome("T-1", "over-a-weekend", due_at=at(friday), started_at=at(friday - 1))
    topics.outcome("T-2", "over-an-hour", due_at=at(0), started_at=at(-1))
    always = {"policy": "all", "calendar": "always", "calendar_version": VERSIONS["always"]}
    topics.outcome("T-3", "always-open", due_at=at(-12), started_at=at(-13), **always)
    rows = {one.customer_id: one.past_us for one in topics.standing(1).ranked}
    assert {name: past / 3_600_000_000 for name, past in rows.items() if past} == {
        "always-open": 13.0,
        "over-a-weekend": 1.5,
        "over-an-hour": 1.0,
    }
    assert order(topics.standing(1)) == ["always-open", "over-a-weekend", "over-an-hour"]


def test_who_is_over_by_the_same_open_time_stands_by_the_instant(topics: Topics) -> None:
    topics.outcome("T-1", "a-saturday", due_at=at(-40), started_at=at(-90))
    topics.outcome("T-2", "b-friday-night", due_at=at(-60), started_at=at(-90))
    assert [one.past_us for one in topics.standing(1).ranked] == [3_600_000_000] * 2
    assert order(topics.standing(1)) == ["b-friday-night", "a-saturday"]


def test_met_at_the_due_instant_is_met(topics: Topics) -> None:
    topics.outcome("T-1", "c-1", due_at=at(1))
    assert [one.group for one in topics.standing(1).ranked] == [1]
    assert [one.group for one in topics.standing(1.001).ranked] == [0]


def test_a_customer_who_knocked_on_four_doors_is_one_row_with_the_doors_in_order(topics: Topics) -> None:
    topics.journey(
        "c-1",
        attempt("mail:1", "email", 1, "bounced"),
        attempt("form:1", "form", 1.5, "no_ticket"),
        attempt("T-1", "ticket", 24),
        attempt("li:1", "social", 80),
    )
    topics.outcome("T-1", "c-1", due_at=at(25), started_at=at(24), queue="billing")
    row = topics.row(96)
    assert [tuple(tried) for tried in row.channels] == [
        ("email", "bounced"),
        ("form", "no_ticket"),
        ("ticket", None),
        ("social", None),
    ]
    assert (row.name, row.tier, row.owner, row.annual_value, row.currency) == (
        *("Alba Freight", "gold", "anna@example.com"),
        *(48_000, "GBP"),
    )
    assert (row.attempts, row.contacts, row.queues) == (4, 4, ("billing",))
    assert row.wait_seconds == 95 * 3_600
    assert (row.target, row.contact_id) == ("dead_end", "mail:1"), "nobody will answer there, since the first day"
    assert row.past_seconds == (7 + 3 * 8) * 3_600, "open time since Monday at ten"


def test_a_channel_that_worked_once_is_no_dead_end(topics: Topics) -> None:
    topics.journey("c-1", attempt("mail:1", "email", 0, "bounced"), attempt("mail:2", "email", 1))
    assert [tuple(tried) for tried in topics.row(2).channels] == [("email", None)]


def test_an_unknown_customer_is_shown_by_what_is_known(topics: Topics) -> None:
    topics.outcome("T-1", "mailto:ops@example.com", tier="silver")
    row = topics.row(0.5)
    assert (row.customer_id, row.name, row.owner, row.tier) == ("mailto:ops@example.com", None, None, "silver")
    assert row.past_seconds == -1_800
    assert row.open_time


def test_without_its_calendar_a_wait_is_told_in_wall_time_and_says_so(topics: Topics) -> None:
    topics.outcome("T-1", "c-1", calendar_version="not told yet")
    row = topics.row(25)
    assert (row.past_seconds, row.open_time) == (24 * 3_600, False)


def test_filters_take_who_has_the_value_or_none(topics: Topics) -> None:
    topics.outcome("T-1", "c-1", queue="billing")
    topics.outcome("T-2", "c-2", tier="silver", channel="chat")
    topics.outcome("T-3", "c-3", tier=None)
    standing = topics.standing(0.5)

    def taken(**wanted: str) -> list[str]:
        return sorted(one.customer_id for one in standing.asked(Filter(**wanted)))

    assert taken() == ["c-1", "c-2", "c-3"]
    assert taken(tier="gold") == ["c-1"]
    assert taken(tier=NONE) == ["c-3"]
    assert taken(queue="billing") == ["c-1"]
    assert taken(queue=NONE) == ["c-2", "c-3"]
    assert taken(channel="chat", tier="silver") == ["c-2"]
    assert taken(owner="anna@example.com") == ["c-1"]
    assert taken(owner="anna@example.com", channel="chat") == []
    assert standing.choices() == {
        "tier": ["gold", NONE, "silver"],
        "queue": ["billing", NONE],
        "channel": ["chat", "ticket"],
        "owner": ["anna@example.com", NONE],
    }


def test_a_closing_thanks_is_not_over_any_promise(topics: Topics) -> None:
    closed = {"verdict": "void", "reason": "closed_unanswered", "stage": "ended", "ended_at": at(0.5)}
    topics.outcome("T-1", "thanks", target="next_response", silently_closed=True, **closed)
    topics.outcome("T-2", "silenced", silently_closed=True, **closed)
    standing = topics.standing(3)
    assert [(one.customer_id, one.group) for one in standing.ranked] == [("silenced", 0), ("thanks", 2)]


# -- the page


def test_within_the_promise_nothing_is_said(topics: Topics) -> None:
    topics.outcome()
    assert topics.row(0.5).paging.state == "in_time"


@pytest.mark.parametrize(
    ("kind", "severity", "state"),
    [
        ("at_risk", "warning", "at_risk"),
        ("silent_close", "warning", "warned"),
        ("breach", "page", "paged"),
        ("dead_end", "page", "paged"),
        ("escalation", "critical", "escalated"),
    ],
)
def test_the_state_of_the_page_is_that_of_the_alert(topics: Topics, kind: str, severity: str, state: str) -> None:
    topics.outcome(due_at=at(9))
    topics.alert(kind, severity=severity)
    paging = topics.row(1.5).paging
    assert (paging.state, paging.since_us) == (state, us(1))


def test_of_several_alerts_the_gravest_counts(topics: Topics) -> None:
    topics.outcome()
    topics.alert("dead_end", alert_id="a-1")
    topics.alert("escalation", alert_id="a-2", severity="critical")
    topics.alert("at_risk", alert_id="a-3", severity="warning")
    assert topics.row(1.5).paging.state == "escalated"


def test_a_page_that_somebody_has_says_who_until_another_fires(topics: Topics) -> None:
    topics.outcome()
    topics.alert(acknowledged_at=at(1.2), acknowledged_by="bo")
    assert topics.row(1.5).paging[:3] == ("acknowledged", "by bo", us(1.2))
    topics.alert(acknowledged_at=at(1.2))
    assert topics.row(1.5).paging[:2] == ("acknowledged", "the promise is broken")
    topics.alert("dead_end", alert_id="a-2", contact_id="mail:1")
    assert topics.row(1.5).paging.state == "paged"


def test_a_broken_promise_without_a_page_says_why(topics: Topics) -> None:
    topics.outcome(alerts_from=None)
    assert topics.row(2).paging[:2] == (
        "not_paged",
        "the first response comes first: nothing else alerts (C8)",
    )
    topics.outcome("T-2", "c-1")
    assert topics.row(2).paging.words == "no page has come yet"
    assert topics.row(2, alerts_from=us(1.5)).paging.words == "due before alerts began (alerts.from)"


def test_what_was_paged_longer_ago_than_the_topics_remember_is_not_known(topics: Topics) -> None:
    topics.outcome()
    assert topics.row(24 * 30).paging.state == "not_paged"
    assert topics.row(24 * 31).paging.state == "not_known"


def test_where_nothing_is_promised_it_says_so(topics: Topics) -> None:
    topics.journey("c-1", attempt("T-1", "chat", 0), policy=None)
    row = topics.row(2)
    assert row.paging.state == "no_promise"
    assert row.past_seconds is None
