"""Which promise covers a contact: C16 and C22, one sentence a test."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from streams.engine.attributes import Tier
from streams.engine.calendar import to_us
from streams.engine.policy import Attributes
from tests.streams.engine.told import GOLD, at, judge, promises, shown

URGENT = {"priority_targets": {"urgent": {"first_response": "15m"}}}


def slow(**match: Any) -> dict[str, Any]:
    return {"name": "slow", "match": match, "targets": {"first_response": "3h"}}


def test_c16_the_first_policy_that_matches_covers_the_contact() -> None:
    told = judge("Mon 10:00 A opened", policies=promises(slow(channel="chat"), {}, slow()))
    assert told.clock("first_response").policy.name == "gold"
    told = judge("Mon 10:00 A opened channel=chat", policies=promises(slow(channel="chat"), {}, slow()))
    assert told.clock("first_response").policy.name == "slow"


def test_c16_every_key_of_a_match_must_hold() -> None:
    policies = promises(slow(channel=["chat", "ticket"], priority="high", queue="q", tier="vip", kind="internal"))
    right = Attributes("chat", "high", "q", "vip", "internal")
    assert policies.pick(right, 0) is not None
    for wrong in ({"channel": "form"}, {"priority": "low"}, {"queue": None}, {"tier": "gold"}, {"kind": None}):
        assert policies.pick(right._replace(**wrong), 0) is None


def test_c16_a_policy_that_lacks_the_target_covers_it_too_and_then_there_is_no_such_clock() -> None:
    told = judge("Mon 10:00 A opened", policies=promises(slow(), {}))
    assert {clock.target for clock in told.assessment.clocks} == {"first_response"}
    assert told.assessment.uncovered == 0


def test_c16_without_a_policy_there_is_no_record_but_a_count() -> None:
    told = judge("Mon 10:00 A opened", policies=promises(slow(channel="chat")))
    assert told.assessment.clocks == ()
    assert told.assessment.uncovered == 3  # acknowledgement, first response, resolution


def test_c16_the_policy_effective_at_the_customers_message_judges_it() -> None:
    policies = promises({**GOLD, "effective_from": date(2026, 11, 17)}, slow())
    assert judge("Mon 23:59 A opened", policies=policies).clock("first_response").policy.name == "slow"
    assert judge("Tue 00:00 A opened", policies=policies).clock("first_response").policy.name == "gold"


def test_c16_effective_from_as_a_date_is_local_midnight_of_the_policys_calendar() -> None:
    apia = {"time_zone": "Pacific/Apia", "hours": {"mon-sun": ["00:00-24:00"]}}
    policies = promises({"effective_from": date(2026, 11, 17)}, calendar=apia)
    (policy,) = policies.policies
    assert shown(policy.effective_us) == "Mon 11:00"


def test_c16_effective_from_as_an_instant_is_that_instant() -> None:
    instant = datetime(2026, 11, 17, 12, 30, tzinfo=UTC)
    (policy,) = promises({"effective_from": instant}).policies
    assert policy.effective_us == to_us(instant)


def test_c16_a_policy_attached_later_is_the_one_effective_at_the_message() -> None:
    """A change on Wednesday picks anew for a message of Monday: what came into force on Tuesday does not judge it."""
    policies = promises(
        {**GOLD, "match": {"queue": "q"}, "effective_from": date(2026, 11, 17)}, slow(queue="q"), slow()
    )
    told = judge("Mon 17:00 A opened\nTue 09:10 A updated queue=q", policies=policies)
    assert told.clock("first_response").policy.name == "slow"
    assert told.clock("first_response").attributes.queue == "q"


def test_c16_while_the_customer_waits_a_change_picks_policy_and_target_anew_for_the_same_start() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:05 A updated priority=urgent", policies=promises(URGENT))
    assert told.due("first_response") == "Mon 10:15"
    assert shown(told.clock("first_response").started_us) == "Mon 10:00"


def test_c16_a_shorter_target_may_be_past_due_at_once() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:30 A updated priority=urgent", policies=promises(URGENT), now="Mon 10:31")
    assert told.says("first_response") == ["broken unanswered"]
    assert told.due("first_response") == "Mon 10:15"


def test_c16_after_the_due_instant_a_change_changes_nothing_a_breach_sticks() -> None:
    opened = "Mon 10:00 A opened priority=urgent"
    after = judge(f"{opened}\nMon 10:15:01 A updated priority=low\nMon 10:20 A answered", policies=promises(URGENT))
    assert after.says("first_response") == ["broken answered_late"]
    assert after.clock("first_response").attributes.priority == "urgent"
    before = judge(f"{opened}\nMon 10:15 A updated priority=low\nMon 10:20 A answered", policies=promises(URGENT))
    assert before.says("first_response") == ["kept answered_in_time"]


def test_c16_a_breach_sticks_for_the_next_change_too() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:30 A updated priority=urgent
        Mon 10:40 A updated priority=low
        Mon 10:50 A answered"""
    assert judge(story, policies=promises(URGENT)).says("first_response") == ["broken answered_late"]


def test_c16_changes_at_one_instant_act_together() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:30 A updated priority=urgent
        Mon 10:30 A updated priority=low"""
    assert judge(story, policies=promises(URGENT)).due("first_response") == "Mon 11:00"


def test_c16_no_match_keeps_the_last() -> None:
    policies = promises({**GOLD, "match": {"channel": "ticket"}})
    told = judge("Mon 10:00 A opened\nMon 10:05 A updated channel=phone", policies=policies)
    assert told.due("first_response") == "Mon 11:00"
    assert told.assessment.uncovered == 0


def test_c16_a_change_of_tier_picks_anew_and_does_so_by_queue_and_channel_too() -> None:
    policies = promises(slow(tier="vip"), slow(queue="q"), slow(channel="phone"), {})
    tiers = [Tier(0, "plain", None), Tier(at("Mon 10:30"), "vip", None)]
    assert judge("Mon 10:00 A opened", policies=policies, tiers=tiers).due("first_response") == "Mon 13:00"
    for change in ("updated queue=q", "assigned queue=q", "updated channel=phone"):
        told = judge(f"Mon 10:00 A opened\nMon 10:30 A {change}", policies=policies)
        assert told.due("first_response") == "Mon 13:00"


def test_c16_a_finished_clock_is_not_picked_anew() -> None:
    story = "Mon 10:00 A opened\nMon 10:20 A answered\nMon 10:30 A updated priority=urgent"
    assert judge(story, policies=promises(URGENT)).says("first_response") == ["kept answered_in_time"]


def test_c16_what_a_pause_holds_up_is_not_past_due_and_can_be_picked_anew() -> None:
    quick = {"targets": {"resolution": "2h"}, "priority_targets": {"low": {"resolution": "6h"}}}
    story = """
        Mon 10:00 A opened
        Mon 11:00 A paused
        Mon 14:00 A updated priority=low
        Mon 15:00 A resumed"""
    assert judge(story, policies=promises(quick)).due("resolution") == "Tue 11:30"


def test_c16_a_clock_names_its_policy_and_both_versions() -> None:
    clock = judge("Mon 10:00 A opened").clock("first_response")
    other = judge("Mon 10:00 A opened", policies=promises({"at_risk": []})).clock("first_response")
    assert len(clock.policy.version) == len(clock.policy.calendar.version) == 16
    assert clock.policy.version != other.policy.version
    assert clock.policy.calendar.version == other.policy.calendar.version


def test_c22_attributes_of_the_opening_hold_from_the_first_message_even_an_earlier_one() -> None:
    story = "Mon 10:00 A wrote channel=email\nMon 10:30 A opened channel=chat priority=urgent"
    told = judge(story, policies=promises(URGENT))
    assert told.due("first_response") == "Mon 10:15"
    assert told.clock("first_response").attributes.channel == "chat"


def test_c22_what_was_said_before_the_opening_holds_only_where_the_opening_names_nothing() -> None:
    told = judge("Mon 09:00 A updated priority=low queue=q\nMon 10:00 A opened priority=urgent")
    attributes = told.assessment.attributes
    assert (attributes.channel, attributes.priority, attributes.queue) == ("ticket", "urgent", "q")


def test_c22_without_an_opening_it_is_the_messages_channel_else_other() -> None:
    assert judge("Mon 10:00 A wrote channel=email").assessment.attributes.channel == "email"
    assert judge("Mon 10:00 A wrote").assessment.attributes.channel == "other"


def test_c22_priority_is_normal_where_none_is_given() -> None:
    assert judge("Mon 10:00 A opened").assessment.attributes.priority == "normal"
