"""What the report of a week says: which week a promise belongs to, who was let down, who still waits."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outcomes import Outcome
from streams.facts import load
from streams.reports import FORMATS, Facts, Week, WeekReport, render, weekly
from streams.reports.shares import Share, quantile
from streams.reports.wording import opened, percent, wall
from tests.streams.reports.replays import Event, configuration, demo, folder, replayed

PROMISED = """\
calendars:
  london: {time_zone: Europe/London, hours: {mon-fri: ["09:00-17:00"]}}
policies:
  - name: promise
    calendar: london
    targets: {first_response: 4h, next_response: 4h, resolution: 16h}
    dead_end_after: 30m
"""
HOUR = 3_600.0


def at(local: str) -> str:
    """`Mon 2026-11-09 10:00` in London."""
    day, _, rest = local.partition(" ")
    instant = datetime.fromisoformat(rest).replace(tzinfo=ZoneInfo("Europe/London"))
    assert f"{instant:%a}" == day, local
    return instant.astimezone(UTC).isoformat()


def event(when: str, kind: str, contact: str, **data: Any) -> Event:
    number = f"{when} {kind} {contact}"
    data = {"customer_id": "c-1", **data}
    return {"specversion": "1.0", "id": number, "source": "/test", "type": kind, "time": at(when), "subject": contact,
            "data": data}  # fmt: skip


def opened_at(when: str, contact: str, channel: str = "ticket", **data: Any) -> Event:
    return event(when, "contact.opened", contact, channel=channel, **data)


def answered_at(when: str, contact: str, **data: Any) -> Event:
    return event(when, "message.sent", contact, agent_id="a-1", **data)


def facts_of(tmp_path: Path, *events: Event, until: str | None = None) -> Facts:
    promised = configuration(PROMISED)
    more = {"until": datetime.fromisoformat(at(until))} if until else {}
    return load(folder(replayed(events, promised, **more), promised, tmp_path / "out"))


def report_of(facts: Facts, name: str = "2026-W46") -> WeekReport:
    return weekly(facts, Week.parse(name, time_zone="Europe/London"))


def share(kept: int = 0, late: int = 0, unanswered: int = 0, closed: int = 0) -> Share:
    return Share(kept=kept, late=late, unanswered=unanswered, closed=closed)


# -- the stories


def demo_report(tmp_path: Path, name: str) -> WeekReport:
    result, promised = demo()
    return report_of(load(folder(result, promised, tmp_path / "out")), name)


def test_four_doors_is_a_customer_let_down_who_knocked_for_six_days(tmp_path: Path) -> None:
    worst = demo_report(tmp_path, "2026-W47").let_down[0]
    assert worst.customer_id == "alba-freight"
    [wait] = worst.waits
    assert [(one.channel, one.dead_end) for one in wait.tries] == [
        ("email", "bounced"), ("form", "no_ticket"), ("ticket", None), ("social", None)
    ]  # fmt: skip
    assert wall(wait.wall_seconds) == "6 d 1 h 18 min"
    assert opened(wait.open_seconds) == "35 h 18 min"
    assert (wait.days, wait.working_days) == (7, 5)
    before = demo_report(tmp_path, "2026-W46")
    assert before.let_down[0].customer_id == "alba-freight"
    assert before.let_down[0].waits[0].ended_at is None, "on Sunday night the answer of Monday had not come"
    assert wall(before.let_down[0].wall_seconds) == "5 d 13 h 58 min"
    assert before.waiting[0].customer_id == "alba-freight"
    assert [(one.contact_id, one.kind, one.answered_at) for one in before.dead_ends] == [
        ("mail:four-doors-1", "bounced", None), ("form:1931", "no_ticket", None)
    ]  # fmt: skip


def test_the_long_weekend_is_a_customer_let_down_on_four_working_days_and_two_others(tmp_path: Path) -> None:
    report = demo_report(tmp_path, "2026-W47")
    [birch] = [one for one in report.let_down if one.customer_id == "birch-books"]
    [wait] = birch.waits
    assert wall(wait.wall_seconds) == "4 d 22 h 20 min"
    assert opened(wait.open_seconds) == "25 h 50 min"
    assert (wait.days, wait.working_days) == (6, 4)
    assert [(one.target, one.stood) for one in birch.promises] == [("first_response", "late")]
    before = demo_report(tmp_path, "2026-W46")
    assert "birch-books" not in {one.customer_id for one in before.let_down}, "nothing was due before Monday"
    [waiting] = [one for one in before.waiting if one.customer_id == "birch-books"]
    assert (waiting.overdue_since, waiting.next_due) == (None, datetime(2026, 11, 16, 13, tzinfo=UTC))
    assert waiting.wait.open_seconds == 0


def test_an_answer_that_bounced_is_told_as_taken_back(tmp_path: Path) -> None:
    report = demo_report(tmp_path, "2026-W46")
    assert [(one.contact_id, one.target) for one in report.taken_back] == [("mail:cove-1", "first_response")]
    [cove] = [one for one in report.let_down if one.customer_id == "cove-studio"]
    assert [one.answer_bounced for one in cove.promises] == [True]


# -- which week


@pytest.mark.parametrize(
    ("asked", "answered", "weeks"),
    [
        ("Fri 2026-11-06 16:00", "Mon 2026-11-09 09:30", {"2026-W46": share(kept=1)}),
        ("Mon 2026-11-02 10:00", "Mon 2026-11-09 09:30", {"2026-W45": share(unanswered=1)}),
        ("Thu 2026-11-12 10:00", "Thu 2026-11-12 16:00", {"2026-W46": share(late=1)}),
        ("Fri 2026-11-13 13:00", "Mon 2026-11-16 09:00", {"2026-W46": share(unanswered=1)}),
    ],
)
def test_a_promise_counts_once_in_the_week_in_which_its_verdict_fell(
    tmp_path: Path, asked: str, answered: str, weeks: dict[str, Share]
) -> None:
    facts = facts_of(tmp_path, opened_at(asked, "T-1"), answered_at(answered, "T-1"), until="Mon 2026-11-23 00:00")
    for name in ("2026-W45", "2026-W46", "2026-W47"):
        assert report_of(facts, name).answers == weeks.get(name, share())


def test_a_promise_due_at_midnight_sharp_belongs_to_the_new_week() -> None:
    result, promised = demo()
    outcome = Outcome.model_validate(
        {**result.outcomes[0], "verdict": "broken", "reason": "unanswered", "target": "first_response",
         "started_at": "2026-11-14T10:00:00Z", "due_at": "2026-11-16T00:00:00Z", "ended_at": None}
    )  # fmt: skip
    facts = Facts(outcomes=[outcome], journeys=[], alerts=[], known_until=datetime(2026, 12, 1, tzinfo=UTC))
    assert promised.report.time_zone == "Europe/London"
    assert report_of(facts, "2026-W46").answers == share()
    assert report_of(facts, "2026-W47").answers == share(unanswered=1)


def test_the_weeks_add_up_to_what_the_replay_counted(tmp_path: Path) -> None:
    result, promised = demo()
    facts = load(folder(result, promised, tmp_path / "out"))
    found: Counter[tuple[str, str]] = Counter()
    for name in ("2026-W45", "2026-W46", "2026-W47", "2026-W48"):
        for one in report_of(facts, name).targets:
            found[one.target, "kept"] += one.share.kept
            found[one.target, "not kept"] += one.share.n - one.share.kept
    wanted: Counter[tuple[str, str]] = Counter()
    for outcome in result.outcomes:
        if outcome["verdict"] == "kept":
            wanted[outcome["target"], "kept"] += 1
        elif outcome["verdict"] == "broken" or outcome["reason"] == "closed_unanswered":
            wanted[outcome["target"], "not kept"] += 1
    assert +found == +wanted
    assert sum(wanted.values()) > 90


def test_the_report_of_a_past_week_is_the_one_that_was_made_when_it_ended(tmp_path: Path) -> None:
    """But for what a later event tells about the week itself, of which the sample has none."""
    promised = configuration(PROMISED)
    events = [
        opened_at("Tue 2026-11-10 10:00", "T-1"),
        opened_at("Thu 2026-11-12 10:00", "T-2", customer_id="c-2"),
        opened_at("Fri 2026-11-13 16:00", "T-3", customer_id="c-3"),
        answered_at("Fri 2026-11-13 16:30", "T-2", customer_id="c-2"),
        answered_at("Tue 2026-11-17 16:30", "T-1"),
        answered_at("Mon 2026-11-16 09:30", "T-3", customer_id="c-3"),
        event("Tue 2026-11-17 17:00", "contact.resolved", "T-1"),
    ]
    ended = datetime.fromisoformat(at("Mon 2026-11-16 00:00"))
    then = load(folder(replayed(events, promised, until=ended), promised, tmp_path / "then"))
    later = load(folder(replayed(events, promised), promised, tmp_path / "later"))
    assert [one.customer_id for one in report_of(then).let_down] == ["c-1", "c-2"]
    assert [one.customer_id for one in report_of(then).waiting] == ["c-1", "c-3"]
    for to in FORMATS:
        assert render(report_of(later), to) == render(report_of(then), to)


def test_the_same_facts_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    result, promised = demo()
    facts = load(folder(result, promised, tmp_path / "out"))
    wanted = {to: render(report_of(facts), to) for to in FORMATS}
    chosen = random.Random(7)
    for _ in range(3):
        outcomes, journeys, alerts = (
            chosen.sample(list(some), len(some)) for some in (facts.outcomes, facts.journeys, facts.alerts)
        )
        shuffled = Facts(
            outcomes=outcomes, journeys=journeys, alerts=alerts, known_until=facts.known_until,
            calendars=facts.calendars, calendar_of=facts.calendar_of,
        )  # fmt: skip
        assert {to: render(report_of(shuffled), to) for to in FORMATS} == wanted


# -- who


def test_a_silent_close_counts_as_not_kept_and_is_told(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        opened_at("Tue 2026-11-10 10:00", "T-1", url="https://desk.example/T-1"),
        event("Tue 2026-11-10 11:00", "contact.closed", "T-1", by="agent"),
        until="Mon 2026-11-16 00:00",
    )
    report = report_of(facts)
    assert report.answers == share(closed=1)
    [close] = report.silent_closes
    assert (close.contact_id, close.url, close.settled_at) == ("T-1", "https://desk.example/T-1", None)
    [let_down] = report.let_down
    assert [one.stood for one in let_down.promises] == ["closed"]
    assert (report.waiting, report.closed_on) == ((), 1), "nobody works on an answer"
    assert "1 customer waits in contacts that were closed on them." in report.headline
    [waits] = report.waits
    assert (waits.n, waits.answered, waits.waiting, waits.closed) == (1, 0, 0, 1)
    assert waits.open[0].seconds is None


def test_whoever_is_answered_elsewhere_is_not_let_down_for_ever(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        opened_at("Mon 2026-11-09 10:00", "T-1"),
        opened_at("Tue 2026-11-10 10:00", "T-2"),
        answered_at("Wed 2026-11-11 10:00", "T-2"),
        until="Mon 2026-11-30 00:00",
    )
    [let_down] = report_of(facts).let_down
    assert [(one.contact_id, one.stood) for one in let_down.promises] == [("T-1", "unanswered"), ("T-2", "late")]
    assert let_down.wall_seconds == 48 * HOUR, "until a human answered, anywhere"
    assert [one.over_seconds for one in let_down.promises] == [12 * HOUR, 4 * HOUR], "nor over for ever"
    assert report_of(facts).waiting == ()
    assert report_of(facts, "2026-W47").let_down == ()


def test_whoever_waits_over_the_week_is_told_in_both_and_counted_in_one(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, opened_at("Thu 2026-11-12 10:00", "T-1"), until="Mon 2026-11-23 00:00")
    first, second = report_of(facts), report_of(facts, "2026-W47")
    assert (first.answers, second.answers) == (share(unanswered=1), share())
    assert [one.wall_seconds / HOUR for report in (first, second) for one in report.let_down] == [86.0, 254.0]
    assert [one.overdue_since for one in second.waiting] == [datetime(2026, 11, 12, 14, tzinfo=UTC)]
    assert second.headline.startswith("No promise of an answer fell due in this week. 1 customer was let down")


def test_a_customer_who_heard_back_makes_a_good_week(tmp_path: Path) -> None:
    facts = facts_of(
        tmp_path,
        opened_at("Tue 2026-11-10 10:00", "T-1"),
        answered_at("Tue 2026-11-10 11:00", "T-1"),
        until="Mon 2026-11-16 00:00",
    )
    report = report_of(facts)
    assert report.headline == "Every customer heard back as promised: the one promise of an answer kept."
    assert (report.let_down, report.waiting, report.dead_ends) == ((), (), ())
    assert report.complete


def test_a_week_that_is_not_over_says_so_and_what_is_known_of_it(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, opened_at("Tue 2026-11-10 10:00", "T-1"), until="Wed 2026-11-11 09:00")
    report = report_of(facts)
    assert not report.complete
    assert b"This week is not over in the facts: they end Wed 11 Nov 09:00" in render(report, "html")
    assert report_of(facts, "2026-W47").empty
    assert report_of(facts, "2026-W44").empty
    assert not report.empty


# -- numbers


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=40), st.sampled_from([0.5, 0.9]))
def test_where_all_were_answered_a_quantile_is_the_plain_one(seconds: list[int], part: float) -> None:
    """The smallest wait that at least that part of the waits did not exceed."""
    found = quantile([(float(one), True) for one in seconds], 0, part)
    plain = next(one for one in sorted(seconds) if sum(other <= one for other in seconds) >= part * len(seconds) - 1e-9)
    assert found.seconds == plain


@given(
    st.lists(st.tuples(st.integers(1, 50), st.booleans()), max_size=30), st.integers(0, 3), st.sampled_from([0.5, 0.9])
)
def test_waits_that_go_on_never_make_the_week_look_better(
    waits: list[tuple[int, bool]], never: int, part: float
) -> None:
    told = [(float(seconds), over) for seconds, over in waits]
    found = quantile(told, never, part)
    answered_only = quantile([one for one in told if one[1]], 0, part)
    if found.seconds is not None:
        assert answered_only.seconds is not None
        assert answered_only.seconds <= found.seconds
    with_one_more = quantile(told, never + 1, part)
    assert (with_one_more.seconds or float("inf")) >= (found.seconds or float("inf"))


def test_a_median_with_waits_that_go_on_is_that_of_kaplan_and_meier() -> None:
    """Worked by hand: 5 waits, at 2 one of 5 is over, at 3 one still waits, at 5 one of 3, at 8 one of 2."""
    waits = [(2.0, True), (3.0, False), (5.0, True), (8.0, True), (9.0, False)]
    # left after 2: 4/5 = 0.8; after 5: 0.8 * 2/3 = 0.533; after 8: 0.533 * 1/2 = 0.267
    assert quantile(waits, 0, 0.5).seconds == 8.0
    assert quantile(waits, 0, 0.9).seconds is None
    assert quantile(waits, 0, 0.9).at_least == 9.0
    # with one that nobody will answer: 5/6, 5/6 * 3/4 = 0.625, 0.625 * 2/3 = 0.417
    assert quantile(waits, 1, 0.5).seconds == 8.0
    assert quantile(waits, 2, 0.5).seconds is None


@pytest.mark.parametrize(
    ("part", "said"),
    [(1.0, "100"), (0.0, "0"), (999 / 1_000, "99.9"), (9_999 / 10_000, "99.9"), (2 / 3, "66.6"), (0.5, "50.0"),
     (0.29, "29.0"), (1 / 5_000, "under 0.1")],
)  # fmt: skip
def test_a_share_is_rounded_so_that_it_flatters_nobody(part: float, said: str) -> None:
    assert percent(part) == f"{said}\N{NO-BREAK SPACE}%"


@pytest.mark.parametrize(
    ("seconds", "in_all", "in_open_time"),
    [(0, "0 s", "0 s"), (59, "59 s", "59 s"), (60, "1 min", "1 min"), (86_400, "1 d", "24 h"),
     (523_080, "6 d 1 h 18 min", "145 h 18 min")],
)  # fmt: skip
def test_open_time_is_told_in_hours_for_it_has_no_days(seconds: float, in_all: str, in_open_time: str) -> None:
    assert (wall(seconds), opened(seconds)) == (in_all, in_open_time)


def test_open_time_of_a_wait_that_goes_on_is_unknown_without_its_calendar(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, opened_at("Tue 2026-11-10 10:00", "T-1"), until="Mon 2026-11-16 00:00")
    for name in ("policies.json", "summary.json"):
        (tmp_path / "out" / name).unlink()
    bare = load(tmp_path / "out")
    assert bare.known_until <= facts.known_until
    [waiting] = report_of(bare).waiting
    assert (waiting.wait.open_seconds, waiting.wait.working_days) == (None, None)
    assert waiting.wait.wall_seconds == (bare.known_until - waiting.wait.started_at) / timedelta(seconds=1)
    assert b"not known" in render(report_of(bare), "html")
