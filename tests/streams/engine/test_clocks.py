"""What starts, ends, pauses and breaks a clock: rules C2 to C12, C15, C18, C21 and C23, one sentence a test."""

from __future__ import annotations

import pytest

from streams.engine.policy import Escalation
from tests.streams.engine.told import at, judge, minutes, promises, shown

HOUR_US = 3600 * 1_000_000


def test_c2_a_start_outside_hours_counts_from_the_next_opening_and_keeps_the_messages_instant() -> None:
    clock = judge("Sat 11:00 A opened").clock("first_response")
    assert (shown(clock.started_us), shown(clock.due_us)) == ("Sat 11:00", "+Mon 10:00")


def test_c2_a_target_used_up_exactly_at_closing_is_due_at_closing() -> None:
    assert judge("Fri 16:30 A opened").due("first_response") == "Fri 17:30"


def test_c2_two_working_days_end_at_the_last_closing_of_the_second_open_day_after() -> None:
    policies = promises({"targets": {"resolution": "2wd"}})
    assert judge("Thu 08:00 A opened", policies=policies).due("resolution") == "+Mon 17:30"
    assert judge("Sun 23:59 A opened", policies=policies).due("resolution") == "+Tue 17:30"


def test_c2_pauses_add_their_open_seconds_to_working_days() -> None:
    policies = promises({"targets": {"resolution": "1wd"}})
    story = """
        Mon 10:00 A opened
        Mon 17:00 A paused
        Tue 10:00 A resumed"""
    assert judge(story, policies=policies).due("resolution") == "Wed 10:30"


def test_c3_met_at_the_due_instant_is_met_and_broken_is_only_after_it() -> None:
    assert judge("Mon 10:00 A opened\nMon 11:00 A answered").says("first_response") == ["kept answered_in_time"]
    late = judge("Mon 10:00 A opened\nMon 11:00:01 A answered")
    assert late.says("first_response") == ["broken answered_late"]
    assert judge("Mon 10:00 A opened", now="Mon 11:00").says("first_response") == ["open running"]
    assert judge("Mon 10:00 A opened", now="Mon 11:00:01").says("first_response") == ["broken unanswered"]


@pytest.mark.parametrize(
    "no_answer", ["noted", "bot-answered", "auto-replied", "assigned by=anna", "updated queue=x", "paused", "resumed"]
)
def test_c4_what_no_human_of_ours_said_to_the_customer_is_no_answer(no_answer: str) -> None:
    told = judge(f"Mon 10:00 A opened\nMon 10:30 A {no_answer}", now="Mon 10:45")
    assert told.says("first_response") == ["open running"]


def test_c4_what_we_sent_acknowledged_or_assigned_before_the_customer_first_wrote_answers_nothing() -> None:
    story = """
        Mon 09:00 A opened opened_by=agent
        Mon 09:01 A answered
        Mon 09:02 A acknowledged
        Mon 09:03 A assigned by=anna
        Mon 10:00 A wrote"""
    told = judge(story, now="Mon 10:05", policies=promises({"assignment_acknowledges": True}))
    assert told.spans("first_response") == [("Mon 10:00", None)]
    assert told.spans("acknowledgement") == [("Mon 10:00", None)]
    assert told.says("next_response") == []


def test_c5_acknowledging_ends_the_acknowledgement_and_no_other_clock() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:05 A acknowledged by=anna", now="Mon 10:10")
    assert told.spans("acknowledgement") == [("Mon 10:00", "Mon 10:05")]
    assert told.clock("acknowledgement").agent_id == "anna"
    assert told.spans("first_response") == [("Mon 10:00", None)]


def test_c5_an_answer_acknowledges() -> None:
    assert judge("Mon 10:00 A opened\nMon 10:20 A answered").says("acknowledgement") == ["broken answered_late"]


def test_c5_assigning_to_a_named_person_acknowledges_if_the_policy_says_so() -> None:
    story = "Mon 10:00 A opened\nMon 10:05 A assigned by=anna"
    assert judge(story, now="Mon 10:10").says("acknowledgement") == ["open running"]
    told = judge(story, now="Mon 10:10", policies=promises({"assignment_acknowledges": True}))
    assert told.spans("acknowledgement") == [("Mon 10:00", "Mon 10:05")]


def test_c5_assigning_to_a_queue_acknowledges_nothing() -> None:
    policies = promises({"assignment_acknowledges": True})
    told = judge("Mon 10:00 A opened\nMon 10:05 A assigned queue=q", now="Mon 10:10", policies=policies)
    assert told.says("acknowledgement") == ["open running"]


def test_c5_each_first_response_cycle_has_an_acknowledgement_with_its_start_and_number() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:10 A resolved
        Mon 14:00 A wrote
        Mon 14:05 A answered
        Mon 15:00 A wrote"""
    told = judge(story)
    assert told.spans("acknowledgement") == [("Mon 10:00", "Mon 10:10"), ("Mon 14:00", "Mon 14:05")]
    assert told.spans("first_response") == told.spans("acknowledgement")
    assert told.spans("next_response") == [("Mon 15:00", None)]


def test_c5_a_silent_close_ends_the_acknowledgement_too() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:10 A resolved")
    assert told.says("acknowledgement") == ["void closed_unanswered"]


def test_c6_a_contact_that_we_opened_has_no_clock_until_the_customer_writes() -> None:
    assert judge("Mon 10:00 A opened opened_by=agent\nMon 10:30 A answered").assessment.clocks == ()


def test_c6_only_the_first_opening_is_a_customer_message() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:10 A answered\nMon 11:00 A opened")
    assert told.says("next_response") == []


def test_c6_a_repeated_message_id_is_one_message() -> None:
    story = """
        Mon 10:00 A opened id=m1
        Mon 10:10 A answered
        Mon 10:20 A wrote id=m1"""
    assert judge(story).says("next_response") == []


def test_c6_the_same_message_id_of_ours_and_of_theirs_is_two_messages() -> None:
    assert judge("Mon 10:00 A opened id=m1\nMon 10:10 A answered id=m1").spans("first_response") == [
        ("Mon 10:00", "Mon 10:10")
    ]


def test_c7_next_response_runs_from_the_oldest_unanswered_message_and_one_answer_ends_it() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:10 A answered
        Mon 11:00 A wrote
        Mon 12:00 A wrote
        Mon 12:30 A answered
        Mon 12:45 A answered"""
    assert judge(story).spans("next_response") == [("Mon 11:00", "Mon 12:30")]


def test_c7_next_response_starts_in_a_resolved_contact_without_a_reopening() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:10 A answered
        Mon 10:10 A resolved
        Mon 11:00 A wrote"""
    told = judge(story, now="Mon 11:30")
    assert told.spans("next_response") == [("Mon 11:00", None)]
    assert told.spans("resolution") == [("Mon 10:00", "Mon 10:10")]


def test_c8_until_the_first_response_only_acknowledgement_and_first_response_may_alert() -> None:
    unanswered = judge("Mon 10:00 A opened")
    assert unanswered.clock("resolution").alerts_from_us is None
    assert unanswered.clock("first_response").alerts_from_us == at("Mon 10:00")
    assert unanswered.clock("acknowledgement").alerts_from_us == at("Mon 10:00")
    answered = judge("Mon 10:00 A opened\nTue 12:00 A answered")
    assert answered.clock("resolution").alerts_from_us == at("Tue 12:00")


def test_c9_pausing_never_stops_a_response_clock() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:05 A paused"""
    told = judge(story, now="Mon 11:30")
    assert told.says("first_response") == ["broken unanswered"]
    assert told.says("acknowledgement") == ["broken unanswered"]
    assert told.clock("first_response").paused_us == 0


def test_c9_while_paused_an_open_clock_has_no_due_instant_and_nothing_wakes_it() -> None:
    clock = judge("Mon 10:00 A opened\nMon 10:05 A answered\nMon 10:06 A paused").clock("resolution")
    assert (clock.due_us, clock.stage, clock.verdict, clock.wake_us) == (None, "paused", "open", None)
    assert shown(clock.stage_at_us) == "Mon 10:06"


def test_c9_a_pause_moves_the_due_instant_by_its_open_time() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:05 A answered
        Mon 17:00 A paused
        Wed 10:00 A resumed"""
    told = judge(story)
    assert told.due("resolution") == "Wed 11:00"  # 7 of 8 hours were used before the pause
    assert minutes(told.clock("resolution").paused_us) == 30 + 8.5 * 60 + 60


@pytest.mark.parametrize("ends_it", ["wrote", "resumed", "resolved", "closed", "reopened"])
def test_c9_a_message_a_resume_a_resolve_a_close_or_a_reopening_ends_a_pause(ends_it: str) -> None:
    story = f"""
        Mon 10:00 A opened
        Mon 10:05 A answered
        Mon 10:10 A paused
        Mon 11:10 A {ends_it}"""
    assert minutes(judge(story).clock("resolution").paused_us) == 60


@pytest.mark.parametrize("leaves_it", ["answered", "noted", "auto-replied", "assigned by=anna", "paused"])
def test_c9_nothing_else_ends_a_pause_and_a_second_one_changes_nothing(leaves_it: str) -> None:
    story = f"""
        Mon 10:00 A opened
        Mon 10:05 A answered
        Mon 10:10 A paused
        Mon 11:10 A {leaves_it}
        Mon 12:10 A resumed"""
    assert minutes(judge(story).clock("resolution").paused_us) == 120


def test_c9_an_update_clock_that_starts_in_a_pause_is_paused() -> None:
    policies = promises({"targets": {"update": "4h"}})
    story = """
        Mon 10:00 A opened
        Mon 10:05 A paused
        Mon 10:10 A answered"""
    assert judge(story, policies=policies).clock("update").stage == "paused"


def test_c9_a_pause_that_begins_at_the_due_instant_or_later_does_not_move_it() -> None:
    story = "Mon 09:00 A opened\nMon 09:05 A answered\nMon 17:00 A paused"
    told = judge(story, now="Tue 12:00")
    assert (told.due("resolution"), told.says("resolution")) == ("Mon 17:00", ["broken unresolved"])


def test_c9_a_pause_after_the_due_instant_does_not_move_it_when_it_ends_either() -> None:
    story = "Mon 09:00 A opened\nMon 09:05 A answered\nMon 17:10 A paused\nTue 10:00 A resumed"
    told = judge(story)
    assert (told.due("resolution"), told.says("resolution")) == ("Mon 17:00", ["broken unresolved"])


def test_c31_a_pause_that_began_exactly_at_the_due_instant_does_not_move_it_when_it_ends_either() -> None:
    story = "Mon 09:00 A opened\nMon 09:05 A answered\nMon 17:00 A paused\nTue 10:00 A resumed"
    assert judge(story).due("resolution") == "Mon 17:00"


@pytest.mark.parametrize("ending", ["resolved", "closed"])
def test_c10_a_contact_ended_with_a_message_unanswered_is_a_silent_close(ending: str) -> None:
    in_time = judge(f"Mon 10:00 A opened\nMon 10:30 A {ending}")
    assert in_time.says("first_response") == ["void closed_unanswered"]
    assert in_time.clock("first_response").silently_closed
    late = judge(f"Mon 10:00 A opened\nMon 12:00 A {ending}")
    assert late.says("first_response") == ["broken closed_unanswered"]
    assert late.clock("first_response").silently_closed


def test_c10_the_verdict_of_a_silent_close_stands_and_the_next_message_starts_the_next_cycle() -> None:
    story = """
        Mon 10:00 A opened
        Mon 12:00 A resolved
        Mon 14:00 A wrote
        Mon 14:30 A answered"""
    assert judge(story).says("first_response") == ["broken closed_unanswered", "kept answered_in_time"]


def test_c10_a_reopening_while_still_unanswered_starts_the_next_cycle() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:30 A resolved\nMon 14:00 A reopened", now="Mon 14:10")
    assert told.spans("first_response") == [("Mon 10:00", "Mon 10:30"), ("Mon 14:00", None)]


def test_c10_the_next_cycle_is_a_next_response_once_somebody_has_answered() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:30 A answered
        Mon 11:00 A wrote
        Mon 11:30 A closed
        Mon 12:00 A reopened"""
    told = judge(story, now="Mon 12:10")
    assert told.spans("next_response") == [("Mon 11:00", "Mon 11:30"), ("Mon 12:00", None)]
    assert len(told.spans("first_response")) == 1


def test_c10_an_answer_after_a_silent_close_leaves_its_verdict_and_a_reopening_then_starts_no_response() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:30 A resolved
        Mon 11:00 A answered
        Mon 14:00 A reopened"""
    told = judge(story)
    assert told.says("first_response") == ["void closed_unanswered"]
    assert told.clock("first_response").settled_us == at("Mon 11:00")
    assert told.says("next_response") == []


def test_c10_resolving_when_nobody_waits_is_no_silent_close() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:30 A answered\nMon 10:31 A resolved")
    assert not told.clock("first_response").silently_closed
    assert told.says("first_response") == ["kept answered_in_time"]


def test_c11_resolution_runs_from_the_first_message_to_resolved_less_pauses() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:30 A answered
        Mon 11:00 A paused
        Mon 12:00 A resumed
        Mon 17:00 A resolved"""
    clock = judge(story).clock("resolution")
    assert (clock.verdict, clock.reason, minutes(clock.open_us)) == ("kept", "resolved_in_time", 6 * 60)


def test_c11_only_a_reopening_starts_the_next_resolution_with_the_full_target_and_the_old_verdict_stays() -> None:
    story = """
        Mon 09:00 A opened
        Mon 09:30 A answered
        Tue 10:00 A resolved
        Wed 09:00 A wrote
        Wed 09:30 A answered
        Wed 10:00 A reopened"""
    told = judge(story, now="Wed 10:00")
    assert told.says("resolution") == ["broken resolved_late", "open running"]
    assert told.spans("resolution")[1] == ("Wed 10:00", None)
    assert told.due("resolution", 2) == "Thu 09:30"


def test_c11_reopening_what_was_never_resolved_starts_nothing() -> None:
    assert len(judge("Mon 10:00 A opened\nMon 10:30 A reopened").spans("resolution")) == 1


UPDATES = promises({"targets": {"update": "2h"}})


def test_c12_update_runs_from_each_answer_to_the_next() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:30 A answered
        Mon 11:30 A answered
        Mon 14:00 A answered"""
    told = judge(story, policies=UPDATES, now="Mon 14:00")
    assert told.spans("update") == [("Mon 10:30", "Mon 11:30"), ("Mon 11:30", "Mon 14:00"), ("Mon 14:00", None)]
    assert told.says("update") == ["kept answered_in_time", "broken answered_late", "open running"]


def test_c12_resolving_ends_it_void_if_not_past_due_else_broken() -> None:
    story = "Mon 10:00 A opened\nMon 10:30 A answered\nMon {} A resolved"
    assert judge(story.format("12:30"), policies=UPDATES).says("update") == ["void resolved"]
    (late,) = judge(story.format("12:31"), policies=UPDATES).says("update")
    assert late.startswith("broken ")


def test_c12_it_does_not_start_before_the_customer_has_written() -> None:
    story = "Mon 10:00 A opened opened_by=agent\nMon 10:30 A answered"
    assert judge(story, policies=UPDATES).says("update") == []


def test_c12_it_does_not_start_in_a_resolved_contact() -> None:
    story = "Mon 10:00 A opened\nMon 10:30 A answered\nMon 11:00 A resolved\nMon 11:30 A answered"
    assert judge(story, policies=UPDATES).spans("update") == [("Mon 10:30", "Mon 11:00")]


def test_c15_a_breach_happened_at_its_due_instant_whenever_it_was_noticed() -> None:
    clock = judge("Mon 10:00 A opened", now="+Thu 10:00").clock("first_response")
    assert (clock.verdict, clock.stage, shown(clock.stage_at_us)) == ("broken", "overdue", "Mon 11:00")


def test_c15_a_late_event_that_shows_an_answer_in_time_withdraws_it() -> None:
    story = "Mon 10:00 A opened"
    assert judge(story).says("first_response") == ["broken unanswered"]
    assert judge(f"{story}\nMon 10:59 A answered").says("first_response") == ["kept answered_in_time"]


def test_c18_a_customers_automatic_reply_neither_starts_nor_ends_anything() -> None:
    story = """
        Mon 09:00 A auto-replied
        Mon 10:00 A opened
        Mon 10:30 A answered
        Mon 10:31 A auto-replied"""
    told = judge(story)
    assert told.spans("first_response") == [("Mon 10:00", "Mon 10:30")]
    assert told.says("next_response") == []


@pytest.mark.parametrize("told_first", ["answered", "resolved"])
def test_c21_reply_and_solve_at_one_instant_is_an_answer(told_first: str) -> None:
    then = {"answered": "resolved", "resolved": "answered"}[told_first]
    told = judge(f"Mon 10:00 A opened\nMon 10:30 A {told_first}\nMon 10:30 A {then}")
    assert told.says("first_response") == ["kept answered_in_time"]
    assert not told.clock("first_response").silently_closed


def test_c21_an_answer_at_the_instant_of_the_message_answers_it() -> None:
    assert judge("Mon 10:00 A answered\nMon 10:00 A opened").spans("first_response") == [("Mon 10:00", "Mon 10:00")]


def test_c21_a_reopening_at_the_instant_of_the_resolve_comes_after_it() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:30 A reopened\nMon 10:30 A resolved")
    assert told.spans("resolution") == [("Mon 10:00", "Mon 10:30"), ("Mon 10:30", None)]


def test_c21_attributes_at_the_messages_instant_pick_the_policy_before_anything_is_late() -> None:
    policies = promises({"priority_targets": {"urgent": {"first_response": "5m"}}})
    assert judge("Mon 10:00 A updated priority=urgent\nMon 10:00 A opened", policies=policies).due(
        "first_response"
    ) == ("Mon 10:05")


def test_c23_open_seconds_is_open_time_less_pauses_until_the_end_or_now() -> None:
    story = "Fri 17:00 A opened\nFri 17:05 A answered\nFri 17:10 A paused\nFri 17:20 A resumed"
    clock = judge(story, now="+Mon 09:30").clock("resolution")
    assert minutes(clock.open_us) == 30 - 10 + 30
    assert minutes(clock.wall_us) == (64 - 24) * 60 + 24 * 60 + 30
    assert minutes(judge(story, now="+Mon 09:30").clock("first_response").open_us) == 5


def test_c23_a_pause_counts_until_now_where_its_end_lies_after_it() -> None:
    story = "Mon 10:00 A opened\nMon 10:10 A answered\nMon 10:20 A paused\nMon 12:00 A resumed"
    clock = judge(story, now="Mon 10:30").clock("resolution")
    assert (minutes(clock.open_us), minutes(clock.paused_us)) == (20, 10)


def test_the_long_weekend_is_late_whatever_the_desks_own_report_says() -> None:
    story = """
        Sat 11:00 A opened channel=form
        +Wed 14:00 A wrote
        +Thu 09:20 A answered by=anna
        +Thu 09:21 A resolved"""
    told = judge(story, now="+Fri 09:00")
    assert told.says("acknowledgement") == ["broken answered_late"]
    assert told.says("first_response") == ["broken answered_late"]
    assert told.due("first_response") == "+Mon 10:00"
    assert minutes(told.clock("first_response").open_us) == 3 * 8.5 * 60 + 20
    assert told.says("resolution") == ["broken resolved_late"]


# -- stages, steps and wake-ups ----------------------------------------------------------------------


STEPS = promises(escalations=[Escalation(after_us=HOUR_US), Escalation(after_us=2 * HOUR_US)])


@pytest.mark.parametrize(
    ("now", "stage", "step", "since", "wakes"),
    [
        ("Mon 10:00", "running", 0, "Mon 10:00", "Mon 10:30"),
        ("Mon 10:30", "running", 0, "Mon 10:00", "Mon 10:30"),  # passed is strictly after
        ("Mon 10:30:01", "at_risk", 1, "Mon 10:30", "Mon 10:48"),
        ("Mon 10:50", "at_risk", 2, "Mon 10:48", "Mon 11:00"),
        ("Mon 11:00", "at_risk", 2, "Mon 10:48", "Mon 11:00"),
        ("Mon 11:00:01", "overdue", 0, "Mon 11:00", "Mon 12:00"),
        ("Mon 12:30", "escalated", 1, "Mon 12:00", "Mon 13:00"),
        ("Mon 13:30", "escalated", 2, "Mon 13:00", None),
    ],
)
def test_each_stage_has_its_step_its_instant_and_the_next_instant_to_look_again(
    now: str, stage: str, step: int, since: str, wakes: str | None
) -> None:
    clock = judge("Mon 10:00 A opened", now=now, policies=STEPS).clock("first_response")
    assert (clock.stage, clock.step, shown(clock.stage_at_us)) == (stage, step, since)
    assert shown(clock.wake_us) == wakes


def test_shares_of_the_target_are_shares_of_open_time() -> None:
    clock = judge("Fri 17:00 A opened", now="+Mon 09:01").clock("first_response")
    assert (clock.stage, clock.step, shown(clock.stage_at_us)) == ("at_risk", 1, "Fri 17:30")
    assert shown(clock.wake_us) == "+Mon 09:18"


def test_escalations_run_in_open_time_or_in_wall_time() -> None:
    policies = promises(escalations=[Escalation(after_us=HOUR_US, wall=True), Escalation(after_us=HOUR_US)])
    story = "Fri 16:00 A opened"
    wall, both = judge(story, now="Fri 18:01", policies=policies), judge(story, now="+Mon 09:31", policies=policies)
    assert (wall.clock("first_response").step, wall.clock("first_response").steps) == (1, (2,))
    assert (both.clock("first_response").step, both.clock("first_response").steps) == (2, (1, 2))


def test_an_ended_clock_wakes_nobody() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:10 A answered\nMon 10:10 A resolved", now="Mon 10:05")
    assert told.assessment.wake_us is None
    assert {clock.stage for clock in told.assessment.clocks} == {"ended"}


def test_the_contact_wakes_at_the_earliest_of_its_clocks() -> None:
    told = judge("Mon 10:00 A opened", now="Mon 10:00")
    assert shown(told.assessment.wake_us) == "Mon 10:07:30"  # half of the acknowledgement's 15 minutes
