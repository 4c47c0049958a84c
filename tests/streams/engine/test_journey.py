"""One customer over all doors: attempts, dead ends and what ends them (C14, C19)."""

from __future__ import annotations

import pytest

from streams.engine.attributes import Tier
from streams.engine.journey import Journey, journeys
from streams.engine.timeline import timelines
from tests.streams.engine.told import EVERYBODY, LATER, at, contacts, minutes, promises, shown

WATCHED = promises({"dead_end_after": "30m"})


def told(story: str, now: str = LATER) -> list[Journey]:
    """The journeys of customer c."""
    return journeys("c", timelines(contacts(story)).values(), WATCHED, EVERYBODY, at(now))


def attempts(story: str, now: str = LATER) -> list[tuple[str, str | None]]:
    """Contact and dead end of each attempt of the only journey."""
    (journey,) = told(story, now)
    return [(attempt.contact_id, attempt.dead_end) for attempt in journey.attempts]


def test_the_four_doors_are_one_journey_of_six_days() -> None:
    (journey,) = told("""
        Tue 10:02 mail bounced direction=inbound status=5.1.1
        Tue 10:31 form opened channel=form
        Wed 09:15 ticket opened
        Fri 16:40 social opened channel=social
        +Mon 11:20 social answered by=manager""")
    assert [(a.contact_id, a.channel, a.dead_end) for a in journey.attempts] == [
        ("mail", "email", "bounced"),
        ("form", "form", "no_ticket"),
        ("ticket", "ticket", None),
        ("social", "social", None),
    ]
    assert (shown(journey.started_us), shown(journey.ended_us)) == ("Tue 10:02", "+Mon 11:20")
    assert journey.answered_by == "manager"
    assert shown(journey.attempts[1].dead_end_us) == "Tue 11:01"


def test_c14_an_inbound_bounce_is_an_attempt_and_a_dead_end_at_once() -> None:
    story = "Mon 10:00 A bounced direction=inbound"
    assert attempts(story, now="Mon 10:00") == [("A", "bounced")]


@pytest.mark.parametrize("nothing", ["direction=inbound permanent=false", "to=ops@example.com"])
def test_c14_a_transient_or_an_outbound_bounce_is_no_attempt(nothing: str) -> None:
    assert told(f"Mon 10:00 A bounced {nothing}") == []


def test_c14_a_form_without_a_contact_in_time_is_a_dead_end_only_after_that_time() -> None:
    story = "Mon 10:00 A opened channel=form"
    assert attempts(story, now="Mon 10:30") == [("A", None)]
    assert attempts(story, now="Mon 10:30:01") == [("A", "no_ticket")]
    assert shown(told(story, now="Mon 10:30")[0].wake_us) == "Mon 10:30"
    assert told(story, now="Mon 10:31")[0].wake_us is None


def test_c14_dead_end_after_is_open_time() -> None:
    story = "Fri 17:20 A opened channel=form"
    assert shown(told(story, now="Fri 17:25")[0].wake_us) == "+Mon 09:20"


@pytest.mark.parametrize("touch", ["acknowledged", "assigned by=anna", "linked with=T", "noted"])
def test_c14_a_form_that_somebody_has_is_no_dead_end(touch: str) -> None:
    assert attempts(f"Mon 10:00 A opened channel=form\nMon 10:10 A {touch}") == [("A", None)]


def test_c14_a_form_of_which_a_ticket_came_is_no_dead_end() -> None:
    assert attempts("Mon 10:00 A opened channel=form\nMon 10:10 T opened")[0] == ("A", None)
    assert attempts("Mon 10:00 A opened channel=form\nMon 10:40 T opened")[0] == ("A", "no_ticket")


@pytest.mark.parametrize("before", ["", "Mon 09:50 B wrote channel=form"])
def test_c36_a_form_that_the_opening_of_another_contact_names_in_time_is_no_dead_end(before: str) -> None:
    def found(opened: str, names: str) -> str | None:
        story = f"{before}\nMon 10:00 A opened channel=form\nMon {opened} B opened channel=form source_ref={names}"
        return dict(attempts(story))["A"]

    assert found("10:30", "A") is None
    assert found("10:31", "A") == "no_ticket"
    assert found("10:30", "C") == "no_ticket"


def test_c36_a_form_that_no_policy_covers_is_no_dead_end_whatever_becomes_of_it() -> None:
    others = promises({"match": {"channel": ["email"]}, "dead_end_after": "30m"})
    form = timelines(contacts("Mon 10:00 A opened channel=form"))
    (journey,) = journeys("c", form.values(), others, EVERYBODY, at(LATER))
    assert (journey.policy, journey.attempts[0].dead_end, journey.wake_us) == (None, None, None)
    assert journey.open_us == journey.wall_us


@pytest.mark.parametrize("tie", ["A linked with=T", "T linked with=A", "U merged into=A"])
def test_c14_a_form_that_was_tied_to_another_contact_too_late_is_a_dead_end(tie: str) -> None:
    story = "Mon 10:00 A opened channel=form\nTue 09:00 T opened\nSun 09:00 U opened by=agent opened_by=agent"
    assert attempts(f"{story}\nMon 10:30 {tie}")[0] == ("A", None)
    assert attempts(f"{story}\nTue 09:05 {tie}")[0] == ("A", "no_ticket")


def test_c14_another_form_is_no_ticket_of_the_first() -> None:
    story = "Mon 10:00 A opened channel=form\nMon 10:10 B opened channel=form"
    assert attempts(story) == [("A", "no_ticket"), ("B", "no_ticket")]


def test_c14_any_answer_by_a_human_in_any_contact_after_the_attempt_ends_it() -> None:
    story = "Mon 10:00 A bounced direction=inbound\nMon 11:00 B opened\nMon 12:00 B answered"
    (journey,) = told(story)
    assert shown(journey.ended_us) == "Mon 12:00"


@pytest.mark.parametrize("no_answer", ["bot-answered", "noted", "resolved", "closed", "acknowledged"])
def test_c14_nothing_but_an_answer_ends_a_journey(no_answer: str) -> None:
    (journey,) = told(f"Mon 10:00 A opened\nMon 11:00 A {no_answer}")
    assert journey.ended_us is None


def test_c14_an_answer_before_the_attempt_ends_nothing() -> None:
    (journey,) = told("Mon 10:00 B answered\nMon 11:00 A opened")
    assert journey.ended_us is None


def test_c13_a_bounced_answer_ends_no_journey() -> None:
    (journey,) = told("Mon 10:00 A opened\nMon 11:00 A answered id=m1\nMon 11:01 A bounced id=m1")
    assert journey.ended_us is None


def test_a_message_after_the_answer_starts_the_next_journey() -> None:
    first, second = told("Mon 10:00 A opened\nMon 11:00 A answered\nMon 12:00 A wrote")
    assert (shown(first.ended_us), shown(second.started_us), second.ended_us) == ("Mon 11:00", "Mon 12:00", None)


def test_a_contact_is_one_attempt_however_often_the_customer_wrote_in_it() -> None:
    assert attempts("Mon 10:00 A opened\nMon 11:00 A wrote\nMon 12:00 A wrote") == [("A", None)]


def test_c18_an_automatic_reply_of_the_customer_is_no_attempt() -> None:
    assert told("Mon 10:00 A auto-replied") == []


@pytest.mark.parametrize("reason", ["spam", "test", "duplicate"])
def test_c17_a_void_contact_is_no_attempt(reason: str) -> None:
    assert told(f"Mon 10:00 A opened\nMon 11:00 A voided reason={reason}") == []


def test_c17_a_merged_contact_is_an_attempt_where_it_lives_on() -> None:
    assert attempts("Mon 10:00 A opened\nMon 10:10 B opened\nMon 10:20 B merged into=A") == [("A", None)]


OURS = "Mon 09:00 A opened opened_by=agent channel=phone"


@pytest.mark.parametrize(
    ("story", "channel", "policy"),
    [
        pytest.param(f"{OURS}\nMon 09:30 A updated channel=chat queue=q", "chat", "of q", id="changed before"),
        pytest.param(f"{OURS}\nMon 09:30 A assigned queue=q", "phone", "of q", id="assigned before"),
        pytest.param(f"{OURS}\nMon 10:00 A updated channel=chat queue=q", "phone", "gold", id="at that instant"),
        pytest.param(f"{OURS}\nMon 10:30 A updated channel=chat queue=q", "phone", "gold", id="afterwards"),
        pytest.param(f"{OURS}\nMon 09:00 A updated channel=chat queue=q", "chat", "of q", id="with the opening"),
        pytest.param(f"{OURS}\nMon 08:30 A updated channel=chat queue=q", "phone", "of q", id="before the opening"),
        pytest.param("Mon 09:30 A updated channel=chat queue=q", "chat", "of q", id="never opened"),
        pytest.param(
            f"{OURS}\nMon 09:10 A assigned by=anna\nMon 09:30 A updated queue=q", "phone", "of q", id="one of several"
        ),
        pytest.param(
            f"{OURS}\nMon 09:10 A updated priority=low\nMon 09:30 A noted channel=chat",
            "phone",
            "gold",
            id="in passing",
        ),
    ],
)
def test_channel_and_policy_of_an_attempt_are_those_in_force_when_the_customer_wrote(
    story: str, channel: str, policy: str
) -> None:
    policies = promises({"name": "of q", "match": {"queue": "q"}}, {})
    known = timelines(contacts(f"{story}\nMon 10:00 A wrote"))
    (journey,) = journeys("c", known.values(), policies, EVERYBODY, at(LATER))
    assert journey.policy is not None
    assert (journey.attempts[0].channel, journey.policy.name) == (channel, policy)


@pytest.mark.parametrize(("since", "tier"), [("Mon 09:59", "vip"), ("Mon 10:00", "plain"), ("Mon 10:01", "plain")])
def test_the_tier_of_a_journey_is_the_customers_when_they_first_wrote(since: str, tier: str) -> None:
    tiers = [Tier(0, "plain", None), Tier(at(since), "vip", None)]
    (journey,) = journeys("c", timelines(contacts("Mon 10:00 A opened")).values(), WATCHED, tiers, at(LATER))
    assert journey.tier == tier


def test_a_customer_of_whom_there_is_no_record_has_a_journey_without_a_tier() -> None:
    (journey,) = journeys("c", timelines(contacts("Mon 10:00 A opened")).values(), WATCHED, (), at(LATER))
    assert journey.tier is None


def test_a_journey_counts_open_time_and_wall_time() -> None:
    (journey,) = told("Fri 17:00 A opened\n+Mon 09:30 A answered")
    assert minutes(journey.open_us) == 60
    assert minutes(journey.wall_us) == 64.5 * 60


CHASED = promises({"chasing_after": 2})


def chased(story: str, now: str = LATER) -> list[str | None]:
    """When the customer of each journey had asked too often."""
    found = journeys("c", timelines(contacts(story)).values(), CHASED, EVERYBODY, at(now))
    return [None if journey.chased_us is None else shown(journey.chased_us) for journey in found]


def test_c40_the_second_contact_without_an_answer_is_chasing_on_whatever_channel() -> None:
    assert chased("Mon 10:00 A opened channel=form\nTue 11:00 B bounced direction=inbound") == ["Tue 11:00"]


def test_c40_a_second_message_in_one_contact_is_no_second_attempt() -> None:
    assert chased("Mon 10:00 A opened channel=chat\nMon 10:01 A wrote\nMon 10:02 A wrote") == [None]


def test_c40_an_answer_between_two_attempts_begins_anew() -> None:
    assert chased("Mon 10:00 A opened\nMon 10:30 A answered\nMon 11:00 B opened") == [None, None]


def test_c40_who_chased_and_was_answered_had_chased() -> None:
    assert chased("Mon 10:00 A opened\nMon 11:00 B opened\nMon 12:00 B answered") == ["Mon 11:00"]


def test_c40_chasing_is_found_by_a_wake_up_strictly_after_the_attempt() -> None:
    story = "Mon 10:00 A opened\nMon 11:00 B opened\nMon 12:00 C opened"
    assert chased(story, now="Mon 11:00") == [None]
    assert chased(story, now="Mon 11:00:01") == ["Mon 11:00"]
    (journey,) = journeys("c", timelines(contacts(story)).values(), CHASED, EVERYBODY, at("Mon 09:00"))
    assert shown(journey.wake_us) == "Mon 11:00"


def test_c40_the_strictest_policy_of_the_attempts_so_far_counts() -> None:
    mixed = promises(
        {"name": "mail", "match": {"channel": ["email"]}, "chasing_after": 3},
        {"name": "form", "match": {"channel": ["form"]}, "chasing_after": 2},
    )

    def first(*channels: str) -> str | None:
        story = "\n".join(f"Mon 1{n}:00 {n} opened channel={channel}" for n, channel in enumerate(channels))
        (journey,) = journeys("c", timelines(contacts(story)).values(), mixed, EVERYBODY, at(LATER))
        return None if journey.chased_us is None else shown(journey.chased_us)

    assert first("email", "email") is None
    assert first("email", "email", "email") == "Mon 12:00"
    assert first("email", "form") == "Mon 11:00"
    assert first("email", "email", "form") == "Mon 12:00"
    assert first("chat", "chat", "chat") is None


def test_how_long_they_had_waited_when_it_was_found_is_told_in_open_time() -> None:
    (journey,) = told("Mon 16:45 mail bounced direction=inbound\nTue 09:00 form opened channel=form url=https://d/1")
    waits = [(attempt.waited_us, attempt.url) for attempt in journey.attempts]
    assert waits == [(0, None), (at("Tue 10:15") - at("Tue 09:00"), "https://d/1")]
