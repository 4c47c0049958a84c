"""Which facts a contact's clocks are judged on: bounced answers (C13), merges and links (C17), messages told
twice (C6) and the order of facts (C21)."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType

import pytest

from streams.engine.timeline import Contact, fact, timelines
from tests.streams.engine.told import at, contacts, judge, promises, shown

TIMELINE = timelines.__code__.co_filename
ANSWERED = """
    Mon 10:00 A opened
    Mon 10:10 A answered id=m1 to=ops@example.com
"""


def test_c13_a_bounced_answer_is_taken_back() -> None:
    told = judge(f"{ANSWERED}\nMon 10:20 A bounced id=m1", now="Mon 10:30")
    assert told.spans("first_response") == [("Mon 10:00", None)]
    assert told.due("first_response") == "Mon 11:00"
    assert told.spans("acknowledgement") == [("Mon 10:00", None)]
    assert shown(told.clock("first_response").bounced_us) == "Mon 10:20"


def test_c13_a_clock_broken_that_would_have_been_kept_but_for_a_bounce_says_so() -> None:
    assert judge(f"{ANSWERED}\nMon 10:20 A bounced id=m1").says("first_response") == ["broken answer_bounced"]
    late = judge(ANSWERED.replace("10:10", "11:10") + "\nMon 11:20 A bounced id=m1")
    assert late.says("first_response") == ["broken unanswered"]


def test_c13_a_bounced_answer_at_the_due_instant_would_have_kept_the_promise() -> None:
    at_the_due_instant = ANSWERED.replace("10:10", "11:00") + "\nMon 11:20 A bounced id=m1"
    assert judge(at_the_due_instant).says("first_response") == ["broken answer_bounced"]


def test_c13_the_next_answer_ends_the_clock_that_ran_on() -> None:
    told = judge(f"{ANSWERED}\nMon 10:20 A bounced id=m1\nMon 10:40 A answered id=m2")
    assert told.spans("first_response") == [("Mon 10:00", "Mon 10:40")]
    assert told.says("first_response") == ["kept answered_in_time"]


def test_c13_a_bounce_that_arrives_late_takes_back_an_answer_to_an_old_message() -> None:
    story = f"""{ANSWERED}
        Mon 11:00 A wrote
        Mon 11:30 A answered id=m2
        Tue 09:00 A bounced id=m1"""
    told = judge(story)
    assert told.spans("first_response") == [("Mon 10:00", "Mon 11:30")]
    assert told.says("next_response") == []


@pytest.mark.parametrize("unknown", ["id=who to=ops@example.com", "to=ops@example.com", "to=<OPS@Example.com>"])
def test_c13_without_a_known_id_it_is_the_latest_answer_to_that_recipient(unknown: str) -> None:
    story = f"""
        Mon 10:00 A opened
        Mon 10:05 A answered to=ops@example.com
        Mon 10:10 A answered to=boss@example.com
        Mon 10:20 A bounced {unknown}"""
    assert judge(story).spans("first_response") == [("Mon 10:00", "Mon 10:10")]


def test_c13_an_answer_without_recipient_matches_any() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:05 A answered\nMon 10:20 A bounced to=ops@example.com", now="Mon 10:30")
    assert told.says("first_response") == ["open running"]


def test_c13_the_latest_answer_is_meant_whether_or_not_already_bounced() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:05 A answered id=m1 to=ops@example.com
        Mon 10:10 A answered id=m2 to=ops@example.com
        Mon 10:20 A bounced id=m2
        Mon 10:21 A bounced to=ops@example.com"""
    assert judge(story).spans("first_response") == [("Mon 10:00", "Mon 10:05")]


def test_c13_an_answer_sent_after_the_bounce_is_not_meant_by_recipient() -> None:
    story = "Mon 10:00 A opened\nMon 10:05 A bounced to=ops@example.com\nMon 10:10 A answered to=ops@example.com"
    assert judge(story).spans("first_response") == [("Mon 10:00", "Mon 10:10")]


@pytest.mark.parametrize(
    "harmless",
    ["id=auto", "", "id=m1 permanent=false", "id=m1 direction=inbound", "id=unknown", "to=else@example.com"],
)
def test_c13_what_takes_nothing_back(harmless: str) -> None:
    story = f"""
        Mon 10:00 A opened
        Mon 10:01 A bot-answered id=auto to=ops@example.com
        Mon 10:10 A answered id=m1 to=ops@example.com
        Mon 10:20 A bounced {harmless}"""
    assert judge(story).spans("first_response") == [("Mon 10:00", "Mon 10:10")]


def test_c13_a_bounce_acts_within_its_own_contact_only() -> None:
    story = f"{ANSWERED}\nMon 10:15 B opened\nMon 10:20 B bounced id=m1\nMon 10:21 B bounced to=ops@example.com"
    assert judge(story).spans("first_response") == [("Mon 10:00", "Mon 10:10")]


def test_c13_a_bounce_acts_in_contacts_merged_into_it() -> None:
    story = f"{ANSWERED}\nMon 10:15 B opened\nMon 10:20 B bounced id=m1\nMon 10:30 B merged into=A"
    assert judge(story, now="Mon 10:40").says("first_response") == ["open running"]


def test_c13_a_bounced_answer_starts_and_ends_no_update_clock() -> None:
    policies = promises({"targets": {"update": "2h"}})
    assert judge(f"{ANSWERED}\nMon 10:20 A bounced id=m1", policies=policies).says("update") == []


# -- merging -----------------------------------------------------------------------------------------

MERGED = """
    Mon 10:00 A opened
    Mon 10:30 B opened
    Mon 10:40 B merged into=A
"""


def test_c17_merging_moves_messages_and_answers_at_their_own_instants() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:05 A answered
        Mon 10:10 B opened
        Mon 10:50 B merged into=A"""
    told = judge(story, now="Mon 11:00")
    assert told.spans("first_response") == [("Mon 10:00", "Mon 10:05")]
    assert told.spans("next_response") == [("Mon 10:10", None)]


def test_c17_an_answer_in_the_target_before_the_merge_answers_what_was_carried_over() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:10 B opened\nMon 10:20 A answered\nMon 10:30 B merged into=A")
    assert told.spans("first_response") == [("Mon 10:00", "Mon 10:20")]
    assert told.says("next_response") == []


def test_c17_messages_that_reach_the_source_after_the_merge_move_too() -> None:
    told = judge(f"{MERGED}\nMon 10:50 A answered\nMon 11:00 B wrote", now="Mon 11:10")
    assert told.spans("next_response") == [("Mon 11:00", None)]


def test_c17_states_and_attributes_stay_behind() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:05 A answered
        Mon 10:10 B opened priority=urgent queue=fire
        Mon 10:15 B answered
        Mon 10:20 B paused
        Mon 10:25 B resolved
        Mon 10:30 B merged into=A"""
    told = judge(story, now="Mon 10:40")
    assert told.says("resolution") == ["open running"]
    assert told.clock("resolution").stage == "running"
    assert (told.assessment.attributes.priority, told.assessment.attributes.queue) == ("normal", None)


def test_c17_assignments_and_acknowledgements_move() -> None:
    told = judge("Mon 10:00 A opened\nMon 10:05 B acknowledged by=anna\nMon 10:30 B merged into=A")
    assert told.spans("acknowledgement") == [("Mon 10:00", "Mon 10:05")]
    policies = promises({"assignment_acknowledges": True})
    assigned = "Mon 10:00 A opened\nMon 10:05 B assigned by=anna queue=q\nMon 10:30 B merged into=A"
    told = judge(assigned, policies=policies)
    assert told.spans("acknowledgement") == [("Mon 10:00", "Mon 10:05")]
    assert told.assessment.attributes.queue is None


def test_c17_all_clocks_of_the_source_become_void_finished_ones_too_and_none_starts_later() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:00 B opened
        Mon 10:10 B answered
        Mon 10:40 B merged into=A
        Mon 11:00 B wrote"""
    told = judge(story, contact="B")
    assert told.says("first_response") == ["void merged"]
    assert told.spans("first_response") == [("Mon 10:00", "Mon 10:10")]  # its natural end
    assert told.spans("resolution") == [("Mon 10:00", "Mon 10:40")]  # else the merge
    assert told.says("next_response") == []


@pytest.mark.parametrize("reason", ["spam", "test", "duplicate"])
def test_c17_the_same_holds_for_spam_test_and_duplicate_contacts(reason: str) -> None:
    story = f"Mon 10:00 A opened\nMon 10:10 A answered\nTue 10:40 A voided reason={reason}\nTue 11:00 A wrote"
    told = judge(story)
    assert told.says("first_response") == [f"void {reason}"]
    assert told.spans("resolution") == [("Mon 10:00", "Tue 10:40")]
    assert told.says("next_response") == []
    assert told.assessment.wake_us is None


def test_c17_the_first_of_merge_and_void_gives_the_reason() -> None:
    story = "Mon 10:00 A opened\nMon 10:00 B opened\nMon 10:20 B voided reason=spam\nMon 10:40 B merged into=A"
    assert judge(story, contact="B").says("first_response") == ["void spam"]
    at_once = story.replace("10:20", "10:40")  # at one instant merge comes before void (C21)
    assert judge(at_once, contact="B").says("first_response") == ["void merged"]


def test_c17_chains_are_followed() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:05 A answered
        Mon 10:10 C opened
        Mon 10:20 C merged into=B
        Mon 10:15 B opened
        Mon 10:30 B merged into=A"""
    told = judge(story, now="Mon 10:40")
    assert told.spans("next_response") == [("Mon 10:10", None)]
    assert judge(story, contact="C").says("first_response") == ["void merged"]


def test_c17_rings_are_ignored() -> None:
    story = "Mon 10:00 A opened\nMon 10:05 B opened\nMon 10:20 A merged into=B\nMon 10:30 B merged into=A"
    assert judge(story, contact="A").says("first_response") == ["void merged"]
    told = judge(story, contact="B", now="Mon 10:40")
    assert told.spans("first_response") == [("Mon 10:00", None)]


def test_c17_a_contact_merged_into_itself_is_a_ring() -> None:
    assert judge("Mon 10:00 A opened\nMon 10:20 A merged into=A", now="Mon 10:30").says("first_response") == [
        "open running"
    ]


def test_c17_of_several_merges_of_a_contact_the_first_holds() -> None:
    story = """
        Mon 10:00 A opened
        Mon 10:05 A answered
        Mon 10:00 B opened
        Mon 10:05 B answered
        Mon 10:10 C opened
        Mon 10:20 C merged into=A
        Mon 10:30 C merged into=B"""
    assert judge(story, contact="A").spans("next_response") == [("Mon 10:10", None)]
    assert judge(story, contact="B").says("next_response") == []


def test_c17_a_target_known_only_by_a_merge_gets_clocks_from_what_was_carried_over() -> None:
    told = judge("Mon 10:00 B opened channel=chat\nMon 10:40 B merged into=A")
    assert told.spans("first_response") == [("Mon 10:00", None)]
    assert told.timeline.customer_id == "c"


def test_c17_a_thousand_contacts_merged_into_one_take_no_thousand_times_as_long_as_one() -> None:
    merges = [fact(minute, "/desk", f"m-{minute}", "contact.merged", {"into": "T"}) for minute in range(1_000)]
    known = {merge.id: Contact(merge.id, "c", [merge]) for merge in merges}
    known["L"] = Contact("L", "c", [fact(0, "/desk", "l", "contact.linked", {"contact_id": "m-1"})])
    calls = Counter[str]()

    def counted(frame: FrameType, what: str, _: object) -> None:
        calls[what] += frame.f_code.co_filename == TIMELINE

    sys.setprofile(counted)
    try:
        found = timelines(known)
    finally:
        sys.setprofile(None)
    assert calls["call"] < 100 * len(known)
    assert {one.merged_into for one in found.values()} == {"T", None}


def test_c17_a_chain_of_merges_may_be_longer_than_calls_may_nest() -> None:
    last = sys.getrecursionlimit()
    steps = [fact(step, "/desk", f"m-{step}", "contact.merged", {"into": f"T-{step + 1}"}) for step in range(last)]
    written = fact(0, "/desk", "o", "contact.opened", {"channel": "email"})
    known = {f"T-{step}": Contact(f"T-{step}", "c", [merge]) for step, merge in enumerate(steps)}
    known["T-0"].facts.insert(0, written)
    assert [item.id for item in timelines(known)[f"T-{last}"].facts] == ["o"]


def test_c6_a_message_carried_over_that_the_target_has_already_is_one_message() -> None:
    story = "Mon 10:00 A opened id=m1\nMon 10:10 A answered\nMon 10:20 B opened id=m1\nMon 10:30 B merged into=A"
    assert judge(story).says("next_response") == []


def test_c6_both_openings_are_customer_messages_where_two_contacts_become_one() -> None:
    story = "Mon 10:00 A opened\nMon 10:10 A answered\nMon 10:20 B opened\nMon 10:30 B merged into=A"
    assert judge(story).spans("next_response") == [("Mon 10:20", None)]


# -- links -------------------------------------------------------------------------------------------

BOTH = "Mon 10:00 A opened\nMon 10:05 B opened\n"


@pytest.mark.parametrize("link", ["A linked with=B", "B linked with=A"])
def test_c17_links_are_symmetric(link: str) -> None:
    told = judge(f"{BOTH}Mon 10:10 {link}\nMon 10:20 B answered")
    assert told.spans("first_response") == [("Mon 10:00", "Mon 10:20")]


def test_c17_links_are_transitive() -> None:
    story = f"{BOTH}Mon 10:06 C opened\nMon 10:10 A linked with=B\nMon 10:11 B linked with=C\nMon 10:20 C answered"
    assert judge(story).spans("first_response") == [("Mon 10:00", "Mon 10:20")]


def test_c17_links_are_retroactive() -> None:
    told = judge(f"{BOTH}Mon 10:20 B answered\nTue 10:00 A linked with=B")
    assert told.says("first_response") == ["kept answered_in_time"]


def test_c17_links_stay_within_one_customer() -> None:
    story = "Mon 10:00 A opened\nMon 10:05 x/B opened\nMon 10:10 A linked with=x/B\nMon 10:20 x/B answered"
    assert judge(story, now="Mon 10:30").says("first_response") == ["open running"]


@pytest.mark.parametrize("own", ["wrote", "acknowledged", "resolved", "paused", "noted"])
def test_c17_links_share_answers_only(own: str) -> None:
    told = judge(f"{BOTH}Mon 10:10 A linked with=B\nMon 10:12 B {own}", now="Mon 10:14")
    assert told.says("first_response") == ["open running"]
    assert told.says("acknowledgement") == ["open running"]
    assert told.clock("resolution").stage == "running"


def test_c17_a_bounced_answer_is_not_shared() -> None:
    story = f"{BOTH}Mon 10:10 A linked with=B\nMon 10:20 B answered id=m1\nMon 10:30 B bounced id=m1"
    assert judge(story, now="Mon 10:40").says("first_response") == ["open running"]


def test_c17_a_link_to_a_merged_contact_holds_where_it_lives_on() -> None:
    story = f"""{BOTH}
        Mon 10:06 C opened
        Mon 10:10 B merged into=C
        Mon 10:11 A linked with=B
        Mon 10:20 C answered"""
    assert judge(story).spans("first_response") == [("Mon 10:00", "Mon 10:20")]


def test_c17_a_link_to_an_unknown_contact_changes_nothing() -> None:
    assert judge("Mon 10:00 A opened\nMon 10:10 A linked with=nowhere", now="Mon 10:20").says("first_response") == [
        "open running"
    ]


def test_c17_many_contacts_linked_in_a_ring_are_one_group() -> None:
    story = "\n".join(
        f"Mon 10:0{n} {name} opened\nMon 10:1{n} {name} linked with={other}"
        for n, (name, other) in enumerate(zip("ABCD", "BCDA", strict=True))
    )
    found = timelines(contacts(f"{story}\nMon 10:30 C answered"))
    assert {sum(item.is_answer for item in timeline.facts) for timeline in found.values()} == {1}


def test_a_fact_told_in_any_zone_is_the_same_instant() -> None:
    assert shown(at("+Sun 23:59:30")) == "+Sun 23:59:30"
