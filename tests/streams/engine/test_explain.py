"""What an explanation says of a clock: its stretches add up to the figures, each has its cause, and where there is no
clock there is a reason."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.configuration import Configuration
from schemas.customers import Customer
from streams import replay
from streams.engine.attributes import Tier
from streams.engine.calendar import SECOND_US
from streams.engine.explain import Explanation, explain, to_json, to_text
from streams.engine.explain.explanation import Absence, ExplainedClock
from streams.engine.identity import directory
from streams.engine.policy import Policies, compile_policies
from streams.engine.timeline import Contact
from streams.settings import policies_of
from tests.oracle import contacts as histories
from tests.streams.engine.told import EVERYBODY, LONDON, PROMISED, at, contacts, promises, shown

MINUTE_US = 60 * SECOND_US


def explained(
    story: str,
    *,
    contact: str = "A",
    now: str = "+Fri 18:00",
    policies: Policies = PROMISED,
    tiers: Sequence[Tier] = EVERYBODY,
) -> Explanation:
    """The explanation of one contact of the story."""
    found = explain(contact, contacts(story), policies, lambda _: tiers, at(now))
    assert found is not None
    return found


def clock_of(explanation: Explanation, target: str, cycle: int = 1) -> ExplainedClock:
    return next(one for one in explanation.clocks if (one.clock.target, one.clock.cycle) == (target, cycle))


def stretches(explanation: Explanation, target: str, cycle: int = 1) -> list[str]:
    """`Mon 09:00 - Mon 17:30 counted open`, with detail and who set it."""
    return [
        " ".join(
            filter(
                None,
                [
                    f"{shown(one.from_us)} - {shown(one.to_us)}",
                    "counted" if one.counted else None,
                    one.cause,
                    one.detail,
                    one.agent_id,
                ],
            )
        )
        for one in clock_of(explanation, target, cycle).stretches
    ]


def marks(explanation: Explanation, target: str, *kinds: str, cycle: int = 1) -> list[str]:
    """`Mon 10:30 not_moved C6` of each mark of those kinds."""
    found = clock_of(explanation, target, cycle).marks
    return [f"{shown(mark.at_us)} {mark.kind} {mark.rule}".strip() for mark in found if mark.kind in kinds]


def absence(explanation: Explanation, target: str) -> Absence:
    return next(one for one in explanation.absences if one.target == target)


def told(explanation: Explanation) -> list[str]:
    """`answer C4`: what each fact counted as, and by which rule."""
    return [f"{one.counts_as} {one.rule}" for one in explanation.facts]


# -- stretches -----------------------------------------------------------------------------------------


def test_c1_closed_time_is_not_counted_and_says_that_it_is_outside_hours() -> None:
    explanation = explained("Fri 16:30 A opened\n+Mon 09:30 A answered")
    assert stretches(explanation, "first_response") == [
        "Fri 16:30 - Fri 17:30 counted open",
        "Fri 17:30 - +Mon 09:00 outside_hours",
        "+Mon 09:00 - +Mon 09:30 counted open",
    ]


def test_c1_a_holiday_has_its_name_and_a_closure_and_dated_hours_are_told_apart() -> None:
    calendar = {**LONDON, "holidays": ["2026-11-17"], "closed": ["2026-11-18"], "open": {"2026-11-19": ["12:00-13:00"]}}
    explanation = explained("Mon 17:00 A opened\nFri 09:10 A answered", policies=promises(calendar=calendar))
    assert stretches(explanation, "first_response") == [
        "Mon 17:00 - Mon 17:30 counted open",
        "Mon 17:30 - Tue 00:00 outside_hours",
        "Tue 00:00 - Wed 00:00 holiday 2026-11-17",
        "Wed 00:00 - Thu 00:00 closure",
        "Thu 00:00 - Thu 12:00 dated_hours",
        "Thu 12:00 - Thu 13:00 counted open",
        "Thu 13:00 - Fri 00:00 dated_hours",
        "Fri 00:00 - Fri 09:00 outside_hours",
        "Fri 09:00 - Fri 09:10 counted open",
    ]


def test_c1_a_public_holiday_is_named_as_people_name_it() -> None:
    calendar = {**LONDON, "holidays": {"country": "GB", "subdivision": "ENG"}}
    story = "Mon 10:00 A opened"
    found = explain(
        "A",
        contacts(story),
        promises(calendar=calendar),
        lambda _: EVERYBODY,
        at("Mon 10:00") + 40 * 86_400 * SECOND_US,
    )
    assert found is not None
    names = [one.detail for one in clock_of(found, "first_response").stretches if one.cause == "holiday"]
    assert "Christmas Day" in names


def test_c1_a_night_lost_to_the_holiday_that_it_opens_on_is_that_holidays() -> None:
    calendar = {"time_zone": "Europe/London", "hours": {"mon-sun": ["22:00-06:00"]}, "holidays": ["2026-11-16"]}
    explanation = explained("Mon 23:00 A opened\nTue 08:00 A answered", policies=promises(calendar=calendar))
    assert stretches(explanation, "first_response") == [
        "Mon 23:00 - Tue 06:00 holiday 2026-11-16",
        "Tue 06:00 - Tue 08:00 outside_hours",
    ]


def test_c9_a_pause_says_why_and_who_set_it_and_closed_time_within_it_stays_closed() -> None:
    story = """
        Mon 10:00 A opened
        Mon 16:00 A paused reason=pending_customer by=anna
        Mon 16:30 A paused reason=on_hold by=bo
        Tue 10:00 A resumed by=bo
        Tue 11:00 A resolved"""
    explanation = explained(story)
    assert stretches(explanation, "resolution") == [
        "Mon 10:00 - Mon 16:00 counted open",
        "Mon 16:00 - Mon 17:30 paused pending_customer anna",
        "Mon 17:30 - Tue 09:00 outside_hours",
        "Tue 09:00 - Tue 10:00 paused pending_customer anna",
        "Tue 10:00 - Tue 11:00 counted open",
    ]
    assert all("paused" not in line for line in stretches(explanation, "first_response"))
    assert "changes nothing" in explanation.facts[2].words


def test_c9_a_pause_that_still_runs_reaches_until_now_and_leaves_no_due_instant() -> None:
    explanation = explained("Mon 10:00 A opened\nMon 10:30 A paused by=anna", now="Mon 12:00")
    assert stretches(explanation, "resolution")[-1] == "Mon 10:30 - Mon 12:00 paused anna"
    assert clock_of(explanation, "resolution").clock.due_us is None
    assert "no due instant while paused (C9)" in to_text(explanation)


# -- marks ---------------------------------------------------------------------------------------------


def test_c6_later_messages_are_shown_and_do_not_move_the_clock() -> None:
    explanation = explained("Mon 10:00 A opened\nMon 10:30 A wrote\nMon 10:40 A wrote\nMon 10:50 A answered")
    assert marks(explanation, "first_response", "started", "not_moved", "ended") == [
        "Mon 10:00 started C6",
        "Mon 10:30 not_moved C6",
        "Mon 10:40 not_moved C6",
        "Mon 10:50 ended C4",
    ]


def test_c7_the_oldest_unanswered_message_starts_the_next_response() -> None:
    explanation = explained("Mon 10:00 A opened\nMon 10:10 A answered\nMon 11:00 A wrote\nMon 11:30 A wrote")
    assert marks(explanation, "next_response", "started", "not_moved") == [
        "Mon 11:00 started C7",
        "Mon 11:30 not_moved C7",
    ]


def test_c13_a_bounced_answer_is_shown_where_it_was_sent_and_where_it_was_taken_back() -> None:
    story = "Mon 10:00 A opened\nMon 10:10 A answered id=m1 by=anna\nMon 10:20 A bounced id=m1"
    explanation = explained(story)
    assert marks(explanation, "first_response", "answer_bounced", "taken_back", "ended") == [
        "Mon 10:10 answer_bounced C13",
        "Mon 10:20 taken_back C13",
    ]
    assert told(explanation) == ["customer_message C6", "neither C13", "neither C13"]
    assert "our answer by anna bounced" in explanation.facts[2].words


def test_c16_a_change_picks_policy_and_target_anew_and_says_from_what_to_what() -> None:
    policies = promises(
        {"name": "high", "match": {"priority": "high"}}, {"name": "rest", "targets": {"first_response": "4h"}}
    )
    explanation = explained("Mon 10:00 A opened\nMon 10:30 A updated priority=high", policies=policies)
    mark = next(mark for mark in clock_of(explanation, "first_response").marks if mark.kind == "repicked")
    assert (shown(mark.at_us), mark.words) == ("Mon 10:30", "priority normal -> high: rest (4h) -> high (1h)")
    assert clock_of(explanation, "first_response").promised == "1h"


def test_c16_a_change_after_the_due_instant_is_shown_to_change_nothing() -> None:
    policies = promises({"name": "high", "match": {"priority": "high"}}, {"name": "rest"})
    explanation = explained("Mon 10:00 A opened\nMon 11:30 A updated priority=high", policies=policies)
    assert marks(explanation, "first_response", "changed_too_late", "repicked") == ["Mon 11:30 changed_too_late C16"]
    elsewhere = explained("Mon 10:00 A opened\nMon 11:30 A updated queue=x", policies=policies)
    assert marks(elsewhere, "first_response", "changed_too_late") == []  # it would have been the same promise


def test_c16_where_nothing_matches_any_more_the_last_policy_is_shown_to_stay() -> None:
    policies = promises({"match": {"priority": "normal"}})
    explanation = explained("Mon 10:00 A opened\nMon 10:30 A updated priority=high", policies=policies)
    assert marks(explanation, "first_response", "policy_kept") == ["Mon 10:30 policy_kept C16"]


def test_thresholds_and_the_due_instant_are_shown_and_whether_they_were_reached() -> None:
    explanation = explained("Mon 10:00 A opened", now="Mon 10:40")
    found = {(mark.kind, shown(mark.at_us), mark.reached) for mark in clock_of(explanation, "first_response").marks}
    assert found >= {("at_risk", "Mon 10:30", True), ("at_risk", "Mon 10:48", False), ("due", "Mon 11:00", False)}


def test_c10_a_silent_close_is_named_as_the_end() -> None:
    explanation = explained("Mon 10:00 A opened\nMon 10:30 A resolved by=anna")
    end = clock_of(explanation, "first_response").marks[-1]
    assert (end.kind, end.rule) == ("due", "C3")  # due comes after the end, and was not reached
    assert marks(explanation, "first_response", "ended") == ["Mon 10:30 ended C10"]
    assert not end.reached


def test_c2_working_days_are_told_as_they_were_promised() -> None:
    policies = promises({"targets": {"resolution": "2wd"}})
    assert clock_of(explained("Mon 10:00 A opened", policies=policies), "resolution").promised == "2wd"


@pytest.mark.parametrize(
    ("happens", "words", "rule"),
    [
        ("answered by=anna", "answered by anna, in time", "C5"),
        ("acknowledged by=anna", "acknowledged by anna, in time", "C5"),
        ("assigned by=anna", "assigned to anna, which acknowledges by this policy, in time", "C5"),
    ],
)
def test_c5_an_end_says_what_acknowledged(happens: str, words: str, rule: str) -> None:
    policies = promises({"assignment_acknowledges": True})
    explanation = explained(f"Mon 10:00 A opened\nMon 10:05 A {happens}", policies=policies)
    ends = [mark for mark in clock_of(explanation, "acknowledgement").marks if mark.kind == "ended"]
    assert [(mark.words, mark.rule) for mark in ends] == [(words, rule)]


def test_an_end_says_how_late_it_was_in_open_time() -> None:
    explanation = explained("Fri 17:00 A opened\n+Mon 10:00 A answered")
    [end] = [mark for mark in clock_of(explanation, "first_response").marks if mark.kind == "ended"]
    assert end.words == "answered, 30m of open time late"


def test_of_a_clock_that_ended_only_what_it_passed_is_shown_and_its_due_instant() -> None:
    explanation = explained("Mon 10:00 A opened\nMon 10:35 A answered")
    assert marks(explanation, "first_response", "at_risk", "due") == ["Mon 10:30 at_risk", "Mon 11:00 due C3"]


def test_c10_and_c11_a_reopening_is_named_as_the_start() -> None:
    explanation = explained("Mon 10:00 A opened\nMon 10:30 A resolved\nMon 14:00 A reopened")
    assert marks(explanation, "first_response", "started", cycle=2) == ["Mon 14:00 started C10"]
    assert marks(explanation, "resolution", "started", cycle=2) == ["Mon 14:00 started C11"]


# -- why there is no clock -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "target", "cause"),
    [
        ("Mon 10:00 A opened opened_by=agent", "first_response", "opened_by_us"),
        ("Mon 10:00 A answered", "first_response", "no_customer_message"),
        ("Mon 10:00 A auto-replied", "first_response", "automated_message"),
        ("Mon 10:00 A bounced direction=inbound", "first_response", "inbound_bounce"),
        ("Mon 10:00 A opened", "next_response", "never_answered"),
        ("Mon 10:00 A opened\nMon 10:10 A answered", "next_response", "no_message_since_the_answer"),
        ("Mon 10:00 A opened", "update", "policy_has_no_such_target"),
        ("Mon 10:00 A voided reason=spam\nMon 10:10 A opened", "first_response", "voided"),
        ("Mon 09:00 B opened\nMon 10:00 A merged into=B\nMon 10:10 A opened", "first_response", "merged"),
    ],
)
def test_where_there_is_no_clock_the_cause_is_named(story: str, target: str, cause: str) -> None:
    assert absence(explained(story), target).cause == cause


def test_an_update_needs_an_answer_before_resolving() -> None:
    policies = promises({"targets": {"update": "4h"}})
    assert absence(explained("Mon 10:00 A opened", policies=policies), "update").cause == "never_answered"
    story = "Mon 10:00 A opened\nMon 10:10 A resolved\nMon 10:20 A answered"
    assert absence(explained(story, policies=policies), "update").cause == "answered_after_resolving"


def test_c16_where_no_policy_matches_each_says_the_first_key_that_failed() -> None:
    policies = promises(
        {"match": {"tier": ["gold"]}}, {"name": "chats", "match": {"channel": ["chat"], "queue": ["x"]}}
    )
    found = absence(explained("Mon 10:00 A opened", policies=policies), "first_response")
    assert found.cause == "no_policy_matches"
    assert "channel ticket" in found.words
    assert [(one.policy, one.key, one.wanted, one.found) for one in found.tried] == [
        ("gold", "tier", ("gold",), None),
        ("chats", "channel", ("chat",), "ticket"),
    ]


def test_c16_a_policy_that_is_not_in_force_yet_is_named() -> None:
    found = absence(explained("Mon 10:00 A opened", policies=promises({"effective_from": "2026-11-17"})), "resolution")
    assert (found.cause, found.tried[0].key, found.tried[0].wanted) == (
        "policy_not_in_force",
        "effective_from",
        ("2026-11-17 00:00",),
    )


# -- facts in words ------------------------------------------------------------------------------------


def test_each_fact_says_what_it_counts_as_and_by_which_rule() -> None:
    story = """
        Mon 09:00 A answered
        Mon 10:00 A opened
        Mon 10:01 A auto-replied
        Mon 10:02 A noted
        Mon 10:03 A bot-answered
        Mon 10:04 A bounced to=x permanent=false
        Mon 10:05 A bounced
        Mon 10:06 A assigned by=anna
        Mon 10:07 A acknowledged by=anna
        Mon 10:08 A wrote id=m1
        Mon 10:09 A wrote id=m1
        Mon 10:10 A answered by=anna"""
    assert told(explained(story)) == [
        "neither C4",
        "customer_message C6",
        "neither C18",
        "neither C4",
        "neither C4",
        "neither C13",
        "neither C13",
        "neither C4",
        "neither C5",
        "customer_message C7",
        "neither C6",
        "answer C4",
    ]


@pytest.mark.parametrize(
    ("bounce", "words"),
    [
        ("", "a bounce that names neither message nor recipient: takes nothing back"),
        ("id=who", "a bounce of no answer that we know: takes nothing back"),
        ("to=ann@c.example", "a bounce of no answer that we know: takes nothing back"),
        ("permanent=false", "delivery failed for a while only: takes nothing back"),
        ("direction=inbound", "the customer's mail bounced at our side: an attempt at a dead end"),
        ("direction=inbound permanent=false", "the customer's mail was delayed at our side: no attempt"),
    ],
)
def test_c13_a_bounce_that_takes_nothing_back_says_why(bounce: str, words: str) -> None:
    assert explained(f"Mon 10:00 A opened\nMon 10:20 A bounced {bounce}").facts[-1].words == words


def test_c16_a_change_of_the_customer_is_a_fact_and_says_what_they_are_now() -> None:
    tiers = [Tier(0, None, None), Tier(at("Mon 10:30"), "gold", None), Tier(at("Mon 11:30"), None, "internal")]
    explanation = explained("Mon 10:00 A opened", tiers=tiers)
    assert [fact.words for fact in explanation.facts[1:]] == [
        "the customer is now tier gold, kind none",
        "the customer is now tier none, kind internal",
    ]


def test_each_fact_says_what_it_did_to_the_clocks() -> None:
    explanation = explained("Mon 10:00 A opened\nMon 10:05 A acknowledged\nMon 10:10 A answered\nMon 10:20 A paused")
    assert [one.effects for one in explanation.facts] == [
        ("starts resolution 1, acknowledgement 1, first_response 1",),
        ("ends acknowledgement 1",),
        ("ends first_response 1",),
        ("pauses resolution 1",),
    ]


def test_c17_an_answer_that_a_link_brought_says_where_it_was_given() -> None:
    explanation = explained("Mon 10:00 A opened\nMon 10:05 A linked with=B\nMon 10:10 B answered by=bo")
    shared = explanation.facts[-1]
    assert (shared.contact_id, shared.words, shared.effects[0]) == (
        "B",
        "in B: answer by bo",
        "ends acknowledgement 1, first_response 1",
    )


def test_c17_a_contact_that_was_merged_away_says_where_it_lives_on() -> None:
    explanation = explained("Mon 09:00 B opened\nMon 10:00 A opened\nMon 10:30 A merged into=B\nMon 10:40 A answered")
    assert explanation.merged_into == "B"
    assert "  lives on in B (C17)\n" in to_text(explanation)
    assert {one.clock.verdict for one in explanation.clocks} == {"void"}
    assert marks(explanation, "first_response", "ended") == ["Mon 10:30 ended C17"]
    assert explanation.facts[-1].rule == "C17"


def test_local_time_is_that_of_the_calendar_that_judged_whatever_would_judge_now() -> None:
    policies = promises({"name": "of q", "match": {"queue": "q"}, "calendar": "always"}, {})
    story = "Mon 10:00 A opened\nMon 10:10 A answered\nMon 10:20 A resolved\nMon 10:30 A updated queue=q"
    assert to_json(explained(story, policies=policies))["time_zone"] == "Europe/London"
    ours = "Mon 10:00 A opened opened_by=agent queue=q"
    assert to_json(explained(ours, policies=policies))["time_zone"] == "UTC"
    assert to_json(explained(ours))["time_zone"] == "Europe/London"
    assert to_json(explained(ours, policies=compile_policies({}, [])))["time_zone"] == "UTC"


def test_the_journeys_are_those_that_the_contact_belongs_to() -> None:
    story = "Mon 10:00 A opened\nMon 10:30 B opened\nMon 11:00 A answered\nMon 12:00 B wrote"
    of_a, of_b = explained(story).journeys, explained(story, contact="B").journeys
    assert [shown(journey.started_us) for journey in of_a] == ["Mon 10:00"]
    assert [shown(journey.started_us) for journey in of_b] == ["Mon 10:00", "Mon 12:00"]


def test_what_was_not_known_then_is_left_out() -> None:
    story = "Mon 10:00 A opened\nMon 10:10 A answered id=m1\nMon 10:20 A bounced id=m1"
    then = explained(story, now="Mon 10:15")
    assert (len(then.facts), clock_of(then, "first_response").clock.verdict) == (2, "kept")
    assert explain("A", contacts(story), PROMISED, lambda _: EVERYBODY, at("Mon 09:00")) is None


def test_a_customers_words_are_shown_only_where_asked_for() -> None:
    explanation = explained("Mon 10:00 A opened summary=hangs")
    assert "hangs" not in to_text(explanation) + str(to_json(explanation))
    assert "hangs" in to_text(explanation, summary=True)
    assert to_json(explanation, summary=True)["summary"] == "hangs"


def test_local_time_stands_beside_utc_and_the_lines_fit() -> None:
    calendar = {"time_zone": "Pacific/Auckland", "hours": {"mon-fri": ["09:00-17:30"]}}
    text = to_text(explained("Mon 20:00:30 A opened\nTue 22:00 A answered", policies=promises(calendar=calendar)))
    assert "Tue 2026-11-17 09:00:30 (20:00:30Z -1d)" in text
    assert max(map(len, text.splitlines())) <= 100


# -- the law -------------------------------------------------------------------------------------------


def judged(case: histories.Case) -> tuple[replay.Replayed, Policies]:
    configuration = Configuration.model_validate(case.config)
    known, _ = directory(Customer.model_validate(one) for one in case.customers)
    lines = [replay.Line("case", orjson.dumps(event)) for event in case.events]
    policies = policies_of(configuration)
    return replay.replay(lines, policies, known, until=case.until), policies


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 1 << 32))
def test_the_stretches_add_up_to_the_figures_of_the_outcome_whatever_happened(seed: int) -> None:
    result, policies = judged(histories.case(Random(seed)))
    explained_outcomes: dict[str, dict[str, Any]] = {}
    for group in replay.groups(result.contacts):
        for contact_id in _named(group):
            explanation = explain(contact_id, group, policies, lambda c: result.tiers.get(c, ()), result.until_us)
            if explanation is None:
                assert contact_id not in group  # named by a merge that does not hold
                continue
            for one in explanation.clocks:
                _adds_up(one)
            assert {one.target for one in explanation.absences} == _missing(explanation)
            to_text(explanation)
            explained_outcomes |= {one["outcome_id"]: one for one in to_json(explanation)["clocks"]}
    for outcome in result.outcomes:
        same = explained_outcomes.pop(outcome["outcome_id"])
        assert {**same, **outcome} == {**same, "revision": 1}
    assert not explained_outcomes


def _named(group: dict[str, Contact]) -> set[str]:
    merged = {
        item.data["into"] for contact in group.values() for item in contact.facts if item.type == "contact.merged"
    }
    return set(group) | merged


def _missing(explanation: Explanation) -> set[str]:
    return {"acknowledgement", "first_response", "next_response", "resolution", "update"} - {
        one.clock.target for one in explanation.clocks
    }


def _adds_up(one: ExplainedClock) -> None:
    clock = one.clock
    lengths = [(stretch, stretch.to_us - stretch.from_us) for stretch in one.stretches]
    assert sum(length for _, length in lengths) == clock.wall_us
    assert sum(length for stretch, length in lengths if stretch.counted) == clock.open_us
    assert sum(length for stretch, length in lengths if stretch.cause == "paused") == clock.paused_us
    assert all(length > 0 for _, length in lengths)
    borders = [clock.started_us, *(stretch.to_us for stretch in one.stretches)]
    assert [stretch.from_us for stretch in one.stretches] == borders[:-1]
