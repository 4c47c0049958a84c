"""The naive reading itself, held against histories computed by hand: one rule a test.

Days are those of November 2026 unless said otherwise (the 9th is a Monday); the desk `day` is open from 09:00
to 17:30 on weekdays in London, where that is UTC. The engine does not belong here.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.oracle import compare
from tests.oracle.contacts import FEATURES, case
from tests.oracle.open_time import elapsed, end_of_working_day, stretches_of, used_up
from tests.oracle.reference import judge

CONFORMANCE = Path(__file__).parents[3] / "shared" / "conformance" / "business_time.json"
DAY = {"time_zone": "Europe/London", "hours": {"mon-fri": ["09:00-17:30"]}}
TARGETS = {"acknowledgement": "15m", "first_response": "1h", "next_response": "2h", "resolution": "8h", "update": "4h"}
CUSTOMERS = [
    {"customer_id": "c", "tier": "gold", "identities": ["mailto:ops@example.com", "domain:example.com"]},
    {"customer_id": "d", "tier": "silver", "identities": ["handle:social/dee"]},
]
SHORT = {
    "opened": "contact.opened", "wrote": "message.received", "sent": "message.sent", "bounced": "message.bounced",
    "acked": "contact.acknowledged", "assigned": "contact.assigned", "updated": "contact.updated",
    "paused": "contact.paused", "resumed": "contact.resumed", "resolved": "contact.resolved",
    "reopened": "contact.reopened", "closed": "contact.closed", "merged": "contact.merged",
    "linked": "contact.linked", "voided": "contact.voided",
}  # fmt: skip


def at(written: str) -> str:
    """`10 09:30` or `10 09:30:01` as an instant of November 2026."""
    day, clock = written.split()
    return f"2026-11-{day}T{clock if clock.count(':') == 2 else clock + ':00'}Z"


def config(**policy: Any) -> dict[str, Any]:
    made = {"name": "all", "calendar": "day", "targets": TARGETS, "at_risk": ["50%", "80%"]} | policy
    return {"calendars": {"day": DAY, "always": {"always_open": True}}, "policies": [made]}


def told(*lines: str, contact: str = "T", **every: Any) -> list[dict[str, Any]]:
    """Events from lines such as `10 09:30 sent recipient=x public=false`."""
    events = []
    for line in lines:
        day, clock, word, *fields = line.split()
        data = {"customer_id": "c"} | every
        data |= {"channel": "ticket"} if word == "opened" else {}
        data |= {"direction": "outbound"} if word == "bounced" else {}
        for one in fields:
            name, _, value = one.partition("=")
            data[name] = {"true": True, "false": False}.get(value, value)
        about, source = data.pop("contact", contact), data.pop("source", "/desk")
        data = {name: value for name, value in data.items() if value not in (None, "-")}
        event = {"specversion": "1.0", "id": data.pop("id", f"{about} {line}"), "source": source, "type": SHORT[word]}
        events.append(event | {"time": at(f"{day} {clock}"), "subject": about, "data": data})
    return events


def clocks(events: list[dict[str, Any]], until: str = "30 12:00", made: dict[str, Any] | None = None) -> dict[str, Any]:
    """Outcomes by `contact target cycle`; the contact is left out where it is T."""
    judged = judge(events, made or config(), CUSTOMERS, datetime.fromisoformat(at(until)))
    return {f"{o['contact_id']} {o['target']} {o['cycle']}".removeprefix("T "): o for o in judged["outcomes"]}


def verdict(outcome: dict[str, Any]) -> tuple[str, str, str | None]:
    """(verdict, reason, end) with the end as `day clock`."""
    end = outcome["ended_at"]
    return outcome["verdict"], outcome["reason"], end and f"{end[8:10]} {end[11:16]}"


# C1 to C3: open time


@pytest.mark.skipif(not CONFORMANCE.exists(), reason=f"{CONFORMANCE} is not on this machine")
def test_business_time_agrees_with_the_cases_gathered_from_peers() -> None:
    data = json.loads(CONFORMANCE.read_text())
    wrong, ran = [], 0
    for one in data["cases"]:
        calendar = data["calendars"].get(one["calendar"])
        if one["kind"] not in ("due", "elapsed") and not one.get("end_of_working_day"):
            continue
        calendar = {"time_zone": calendar["tz"], "hours": _hours(calendar), "holidays": calendar["holidays"]}
        pauses = [tuple(map(datetime.fromisoformat, pause)) for pause in one.get("pauses", [])]
        start, ran = datetime.fromisoformat(one["start"]), ran + 1
        if one["kind"] == "due":
            got = used_up(calendar, start, timedelta(seconds=one["target_seconds"]), pauses)
            want: Any = datetime.fromisoformat(one.get("strict_expected", one["expected_due"]))
        elif one["kind"] == "elapsed":
            end = max(datetime.fromisoformat(one["end"]), start)
            inside = [(max(a, start), min(b, end)) for a, b in pauses if max(a, start) < min(b, end)]
            got = (
                elapsed(calendar, start, end) - sum((elapsed(calendar, *p) for p in inside), timedelta(0))
            ).total_seconds()
            want = one.get("strict_expected", one["expected_seconds"])
        elif one["working_days"] > 0:
            got = end_of_working_day(calendar, start, one["working_days"])
            want = datetime.fromisoformat(one["expected_due"])
        else:
            continue
        if got != want:
            wrong.append((one["id"], want, got))
    assert ran > 150
    assert wrong == []


def _hours(calendar: dict[str, Any]) -> dict[str, list[str]]:
    assert not calendar["annual_holidays"]
    assert not calendar["date_overrides"]
    assert not calendar["breaks"]
    return {day: [f"{a}-{b}" for a, b in spans] for day, spans in calendar["weekly"].items()}


def test_open_time_counts_the_minutes_of_a_wall_clock_in_odd_zones() -> None:
    for zone, first in [
        ("Australia/Lord_Howe", datetime(2026, 4, 3, tzinfo=UTC)),
        ("America/Sao_Paulo", datetime(2018, 11, 2, tzinfo=UTC)),
        ("Asia/Tehran", datetime(2022, 3, 20, tzinfo=UTC)),
        ("Africa/Casablanca", datetime(2026, 2, 13, tzinfo=UTC)),
    ]:
        calendar = {"time_zone": zone, "hours": {"mon-sun": ["06:00-12:00", "13:00-22:00"]}}
        minutes = 0
        for n in range(5 * 24 * 60):
            local = (first + timedelta(minutes=n)).astimezone(ZoneInfo(zone))
            minutes += 6 <= local.hour < 12 or 13 <= local.hour < 22
        assert elapsed(calendar, first, first + timedelta(days=5)) == timedelta(minutes=minutes)


def test_an_overnight_stretch_belongs_to_the_date_it_opens_on() -> None:
    calendar = {"time_zone": "UTC", "hours": {"mon-fri": ["22:00-06:00"]}, "holidays": ["2026-11-10"]}
    monday = datetime(2026, 11, 9, tzinfo=UTC)
    assert elapsed(calendar, monday, monday + timedelta(days=3)) == timedelta(hours=8 + 2)
    assert stretches_of(calendar, (monday + timedelta(days=1)).date()) == []


def test_open_for_a_date_beats_holidays_and_closures() -> None:
    special = {
        "holidays": ["2026-11-10"],
        "closed": ["2026-11-09..2026-11-11"],
        "open": {"2026-11-10": ["10:00-11:00"]},
    }
    got = clocks(told("09 09:00 opened"), made=config() | {"calendars": {"day": DAY | special}})
    assert got["first_response 1"]["due_at"] == at("10 11:00")


def test_a_target_used_up_at_closing_is_due_at_closing_and_met_at_that_instant() -> None:
    events = told("10 16:30 opened")
    assert clocks(events)["first_response 1"]["due_at"] == at("10 17:30")
    assert verdict(clocks(events + told("10 17:30 sent"))["first_response 1"])[0] == "kept"
    assert verdict(clocks(events + told("10 17:30:01 sent"))["first_response 1"])[0] == "broken"


def test_an_open_clock_is_broken_only_after_its_due_instant() -> None:
    events = told("10 10:00 opened")
    assert clocks(events, "10 11:00")["first_response 1"]["verdict"] == "open"
    late = clocks(events, "10 11:00:01")["first_response 1"]
    assert (verdict(late), late["stage"], late["step"]) == (("broken", "unanswered", None), "overdue", 0)


def test_a_start_outside_hours_counts_from_the_next_opening_but_keeps_its_instant() -> None:
    got = clocks(told("14 11:00 opened", "16 09:30 sent"))["first_response 1"]
    assert (got["started_at"], got["due_at"], got["open_seconds"]) == (at("14 11:00"), at("16 10:00"), 1800.0)


def test_two_working_days_end_with_the_second_open_day_after_the_start() -> None:
    got = clocks(told("12 10:00 opened"), made=config(targets={"resolution": "2wd"}))
    assert got["resolution 1"]["due_at"] == at("16 17:30")


def test_pauses_add_their_open_seconds_to_working_days() -> None:
    events = told("12 10:00 opened", "13 16:30 paused", "14 12:00 resumed")
    got = clocks(events, made=config(targets={"resolution": "2wd"}))
    assert got["resolution 1"]["due_at"] == at("17 10:00")


# C4 to C8: answers


@pytest.mark.parametrize("word", ["sent public=false", "sent automated=true", "resumed", "assigned agent_id=a"])
def test_what_is_not_a_public_message_by_a_human_answers_nothing(word: str) -> None:
    assert clocks(told("10 10:00 opened", f"10 10:30 {word}"), "10 10:31")["first_response 1"]["verdict"] == "open"


def test_what_we_did_before_the_customer_wrote_answers_nothing() -> None:
    events = told("10 09:00 opened opened_by=agent", "10 09:10 sent", "10 09:20 acked", "10 10:00 wrote")
    got = clocks(events, "10 10:05")
    assert set(got) == {"acknowledgement 1", "first_response 1", "resolution 1"}
    assert got["acknowledgement 1"]["verdict"] == got["first_response 1"]["verdict"] == "open"


def test_an_acknowledgement_ends_only_the_acknowledgement_clock() -> None:
    got = clocks(told("10 10:00 opened", "10 10:05 acked agent_id=a"), "10 10:10")
    assert verdict(got["acknowledgement 1"]) == ("kept", "answered_in_time", "10 10:05")
    assert got["acknowledgement 1"]["agent_id"] == "a"
    assert got["first_response 1"]["verdict"] == "open"


def test_an_assignment_acknowledges_only_where_the_policy_says_so_and_names_a_person() -> None:
    events = told("10 10:00 opened", "10 10:02 assigned queue=q", "10 10:05 assigned agent_id=a")
    assert clocks(events, "10 10:06")["acknowledgement 1"]["verdict"] == "open"
    got = clocks(events, "10 10:06", config(assignment_acknowledges=True))
    assert verdict(got["acknowledgement 1"]) == ("kept", "answered_in_time", "10 10:05")


def test_next_response_runs_from_the_oldest_unanswered_message() -> None:
    got = clocks(told("10 10:00 opened", "10 10:10 sent", "10 11:00 wrote", "10 11:30 wrote", "10 12:00 sent"))
    assert verdict(got["next_response 1"]) == ("kept", "answered_in_time", "10 12:00")
    assert got["next_response 1"]["started_at"] == at("10 11:00")
    assert "next_response 2" not in got


def test_a_repeated_message_id_is_one_message() -> None:
    events = told("10 10:00 opened message_id=m", "10 10:10 sent", "10 11:00 wrote message_id=m source=/mail")
    assert "next_response 1" not in clocks(events)


def test_only_the_first_opening_is_a_message() -> None:
    assert "next_response 1" not in clocks(told("10 10:00 opened", "10 10:10 sent", "10 11:00 opened"))


# C9 to C12: pauses, resolving, updates


def test_pausing_stops_resolution_and_never_the_response() -> None:
    got = clocks(told("10 10:00 opened", "10 10:10 paused"), "10 10:50")
    assert (got["resolution 1"]["due_at"], got["resolution 1"]["stage"]) == (None, "paused")
    assert (got["resolution 1"]["paused_seconds"], got["resolution 1"]["open_seconds"]) == (2400.0, 600.0)
    assert (got["first_response 1"]["due_at"], got["first_response 1"]["paused_seconds"]) == (at("10 11:00"), 0.0)


@pytest.mark.parametrize("word", ["wrote", "resumed", "reopened"])
def test_a_pause_ends_with(word: str) -> None:
    got = clocks(told("10 10:00 opened", "10 11:00 paused", "10 11:30 paused", f"10 12:00 {word}"), "10 12:10")
    assert got["resolution 1"]["due_at"] == at("11 10:30")


def test_an_automatic_reply_of_the_customer_starts_and_ends_nothing() -> None:
    got = clocks(
        told("10 10:00 opened", "10 10:10 sent", "10 11:00 paused", "10 11:30 wrote automated=true"), "10 12:00"
    )
    assert "next_response 1" not in got
    assert got["resolution 1"]["stage"] == "paused"


def test_a_silent_close_is_void_in_time_and_broken_when_past_due() -> None:
    early = clocks(told("10 10:00 opened", "10 10:10 resolved"))
    assert verdict(early["first_response 1"]) == ("void", "closed_unanswered", "10 10:10")
    assert verdict(early["acknowledgement 1"]) == ("void", "closed_unanswered", "10 10:10")
    late = clocks(told("10 10:00 opened", "10 12:00 closed"))
    assert verdict(late["first_response 1"]) == ("broken", "closed_unanswered", "10 12:00")


def test_after_a_silent_close_the_next_message_starts_the_next_first_response() -> None:
    got = clocks(told("10 10:00 opened", "10 10:10 resolved", "10 11:00 wrote", "10 11:05 sent"))
    assert verdict(got["first_response 2"]) == verdict(got["acknowledgement 2"])
    assert verdict(got["first_response 2"]) == ("kept", "answered_in_time", "10 11:05")
    assert "resolution 2" not in got


def test_reopening_while_unanswered_starts_the_next_cycle_from_the_reopening() -> None:
    got = clocks(told("10 10:00 opened", "10 10:10 resolved", "10 11:00 reopened"), "10 11:01")
    assert (got["first_response 2"]["started_at"], got["resolution 2"]["started_at"]) == (at("10 11:00"),) * 2
    answered = clocks(told("10 10:00 opened", "10 10:10 resolved", "10 10:20 sent", "10 11:00 reopened"))
    assert "first_response 2" not in answered
    assert "next_response 1" not in answered


def test_reply_and_solve_at_one_instant_is_an_answer() -> None:
    got = clocks(told("10 10:30 resolved", "10 10:30 sent", "10 10:00 opened"))
    assert verdict(got["first_response 1"]) == ("kept", "answered_in_time", "10 10:30")
    assert verdict(got["update 1"]) == ("void", "resolved", "10 10:30")


def test_an_update_runs_from_answer_to_answer() -> None:
    got = clocks(told("10 09:00 opened", "10 10:00 sent", "10 15:00 sent", "10 16:00 resolved"))
    assert verdict(got["update 1"]) == ("broken", "answered_late", "10 15:00")
    assert verdict(got["update 2"]) == ("void", "resolved", "10 16:00")
    late = clocks(told("10 09:00 opened", "10 10:00 sent", "10 15:00 resolved"))
    assert verdict(late["update 1"]) == ("broken", "resolved", "10 15:00")


def test_an_answer_in_a_resolved_contact_starts_no_update() -> None:
    assert "update 1" not in clocks(told("10 09:00 opened", "10 09:10 resolved", "10 10:00 sent"))


def test_only_a_reopening_starts_the_next_resolution() -> None:
    events = told("10 10:00 opened", "10 10:05 sent", "10 11:00 resolved", "10 12:00 wrote")
    assert "resolution 2" not in clocks(events)
    got = clocks(events + told("10 13:00 reopened"), "10 14:00")
    assert got["resolution 2"]["due_at"] == at("11 12:30")
    assert got["next_response 1"]["started_at"] == at("10 12:00")


# C13: bounces


def test_a_bounced_answer_is_taken_back_from_the_original_start() -> None:
    events = told("10 10:00 opened", "10 10:10 sent message_id=m", "10 10:20 bounced message_id=m")
    got = clocks(events + told("10 12:00 sent"))
    assert verdict(got["first_response 1"]) == ("broken", "answer_bounced", "10 12:00")
    assert got["first_response 1"]["open_seconds"] == 7200.0
    assert verdict(clocks(events)["first_response 1"]) == ("broken", "answer_bounced", None)


@pytest.mark.parametrize(
    ("bounce", "taken_back"),
    [
        ("bounced recipient=OPS@example.com", True),
        ("bounced message_id=unknown recipient=ops@example.com", True),
        ("bounced message_id=unknown", False),
        ("bounced", False),
        ("bounced recipient=else@example.com", False),
        ("bounced recipient=ops@example.com permanent=false", False),
        ("bounced message_id=auto recipient=ops@example.com", False),
        ("bounced direction=inbound recipient=ops@example.com", False),
    ],
)
def test_which_bounce_takes_an_answer_back(bounce: str, taken_back: bool) -> None:
    events = told("10 10:00 opened", "10 10:05 sent message_id=auto automated=true")
    events += told("10 10:10 sent message_id=m recipient=ops@example.com", f"10 10:20 {bounce}")
    assert (clocks(events, "10 10:30")["first_response 1"]["verdict"] == "open") is taken_back


def test_the_latest_answer_is_taken_back_though_it_has_bounced_before() -> None:
    events = told("10 10:00 opened", "10 10:10 sent", "10 10:20 sent message_id=m", "10 10:30 bounced message_id=m")
    got = clocks(events + told("10 10:40 bounced recipient=x@example.com"))
    assert verdict(got["first_response 1"]) == ("kept", "answered_in_time", "10 10:10")


def test_a_bounce_without_a_known_id_never_reaches_a_later_answer() -> None:
    events = told("10 10:00 opened", "10 10:05 bounced recipient=x@example.com", "10 10:10 sent")
    assert clocks(events)["first_response 1"]["verdict"] == "kept"
    named = told("10 10:00 opened", "10 10:05 bounced message_id=m", "10 10:10 sent message_id=m")
    assert clocks(named)["first_response 1"]["reason"] == "answer_bounced"


def test_a_bounced_answer_at_the_due_instant_would_have_kept_the_clock() -> None:
    events = told("10 10:00 opened", "10 11:00 sent", "10 11:10 bounced recipient=x@example.com")
    assert clocks(events)["first_response 1"]["reason"] == "answer_bounced"


# C15, C16, C22: policies


def test_a_rise_in_priority_before_due_shortens_the_target_from_the_same_start() -> None:
    made = config(priority_targets={"urgent": {"first_response": "15m"}})
    early = clocks(told("10 10:00 opened", "10 10:30 updated priority=urgent"), "10 10:31", made)["first_response 1"]
    assert (early["verdict"], early["due_at"], early["priority"]) == ("broken", at("10 10:15"), "urgent")
    late = clocks(told("10 10:00 opened", "10 11:00:01 updated priority=urgent"), "10 12:00", made)["first_response 1"]
    assert (late["due_at"], late["priority"]) == (at("10 11:00"), "normal")


def test_a_change_at_the_due_instant_itself_still_counts() -> None:
    made = config(priority_targets={"low": {"first_response": "2h"}})
    got = clocks(told("10 10:00 opened", "10 11:00 updated priority=low"), "10 11:30", made)["first_response 1"]
    assert (got["verdict"], got["due_at"]) == ("open", at("10 12:00"))


def test_a_share_or_an_escalation_is_passed_only_after_its_instant() -> None:
    events, made = told("10 10:00 opened"), config() | {"alerts": {"escalations": [{"after": "0m"}, {"after": "1h"}]}}
    stages = {
        until: (got["stage"], got["step"])
        for until in ("10 10:30", "10 10:30:01", "10 10:48:01", "10 12:00", "10 12:00:01")
        for got in [clocks(events, until, made)["first_response 1"]]
    }
    assert list(stages.values()) == [("running", 0), ("at_risk", 1), ("at_risk", 2), ("overdue", 0), ("escalated", 1)]


def test_a_breach_sticks_when_the_change_would_have_saved_it() -> None:
    made = config(priority_targets={"low": {"first_response": "8h"}})
    got = clocks(told("10 10:00 opened", "10 11:30 updated priority=low", "10 12:00 sent"), made=made)
    assert verdict(got["first_response 1"]) == ("broken", "answered_late", "10 12:00")


def test_no_match_keeps_the_last_policy_and_a_match_without_the_target_removes_the_clock() -> None:
    made = config(match={"queue": ["q"]})
    events = told("10 10:00 opened queue=q", "10 10:10 updated queue=other")
    assert clocks(events, "10 10:20", made)["first_response 1"]["policy"] == "all"
    made["policies"].append({"name": "none", "calendar": "day", "targets": {"resolution": "8h"}})
    assert set(clocks(events, "10 10:20", made)) == {"resolution 1"}


def test_a_policy_attached_later_judges_from_the_customers_message() -> None:
    got = clocks(told("10 10:00 opened", "10 12:00 updated queue=q"), made=config(match={"queue": ["q"]}))
    assert (got["first_response 1"]["started_at"], got["first_response 1"]["due_at"]) == (
        at("10 10:00"),
        at("10 11:00"),
    )
    assert got["first_response 1"]["verdict"] == "broken"


def test_a_policy_is_effective_from_local_midnight_for_messages_since() -> None:
    made = config(effective_from="2026-11-11")
    assert clocks(told("10 23:59 opened"), made=made) == {}
    assert "first_response 1" in clocks(told("11 00:00 opened"), made=made)


def test_attributes_of_the_opening_hold_from_an_earlier_first_message() -> None:
    got = clocks(told("10 10:00 wrote channel=chat", "10 10:30 opened priority=high"), "10 10:40")["first_response 1"]
    assert (got["channel"], got["priority"], got["started_at"]) == ("ticket", "high", at("10 10:00"))
    events = told("10 10:00 wrote channel=chat", "10 10:10 sent", "10 10:30 opened priority=high")
    assert clocks(events)["first_response 1"]["channel"] == "ticket"


# C17: merges, voids, links


def test_a_merge_moves_messages_at_their_own_instants_and_voids_the_source() -> None:
    events = told("10 10:00 opened", "10 11:30 merged into=U") + told("10 10:30 opened", "10 10:40 sent", contact="U")
    got = clocks(events)
    assert verdict(got["first_response 1"]) == ("void", "merged", "10 11:30")
    assert got["U first_response 1"]["started_at"] == at("10 10:00")
    assert verdict(got["U first_response 1"]) == ("kept", "answered_in_time", "10 10:40")


def test_a_merged_source_keeps_its_natural_end_and_starts_nothing_later() -> None:
    events = told("10 10:00 opened", "10 10:10 sent", "10 11:00 merged into=U", "10 12:00 wrote", "10 12:30 sent")
    got = clocks(events + told("10 10:30 opened", contact="U"))
    assert verdict(got["first_response 1"]) == ("void", "merged", "10 10:10")
    assert "next_response 1" not in got
    assert got["U next_response 1"]["started_at"] == at("10 10:30")


def test_chains_of_merges_are_followed_and_rings_ignored() -> None:
    events = told("10 10:00 opened", "10 10:10 merged into=U") + told(
        "10 10:05 opened", "10 10:20 merged into=V", contact="U"
    )
    events += told("10 10:06 opened", "10 10:30 merged into=T", contact="V")
    got = clocks(events, "10 10:40")
    assert (got["V first_response 1"]["started_at"], got["V first_response 1"]["verdict"]) == (at("10 10:00"), "open")
    assert got["first_response 1"]["reason"] == got["U first_response 1"]["reason"] == "merged"


def test_a_merge_into_a_merged_contact_leaves_its_void_clocks_alone() -> None:
    events = told("10 10:00 opened", "10 10:10 merged into=V") + told("10 10:05 opened", contact="V")
    events += told("10 09:00 opened", "10 10:30 merged into=T", contact="U")
    got = clocks(events, "10 10:40")
    assert got["first_response 1"]["started_at"] == at("10 10:00")
    assert got["V first_response 1"]["started_at"] == at("10 09:00")


def test_a_bounce_in_a_merged_source_acts_in_all_that_moved() -> None:
    events = told("10 10:00 opened", "10 10:20 merged into=U", "10 10:40 bounced message_id=m")
    events += told("10 10:15 opened", "10 10:30 sent message_id=m", contact="U")
    assert clocks(events, "10 10:50")["U first_response 1"]["verdict"] == "open"


def test_a_bounce_in_the_target_takes_back_an_answer_of_the_source() -> None:
    events = told("10 10:00 opened", "10 10:10 sent message_id=m", "10 10:20 merged into=U")
    events += told("10 10:15 opened", "10 10:30 bounced message_id=m", contact="U")
    assert clocks(events, "10 10:40")["U first_response 1"]["verdict"] == "open"
    assert verdict(clocks(events, "10 10:40")["first_response 1"]) == ("void", "merged", "10 10:20")


def test_spam_voids_finished_clocks_too() -> None:
    got = clocks(told("10 10:00 opened", "10 10:10 sent", "10 10:20 voided reason=spam", "10 11:00 wrote"))
    assert {outcome["reason"] for outcome in got.values()} == {"spam"}
    assert verdict(got["first_response 1"]) == ("void", "spam", "10 10:10")
    assert verdict(got["update 1"]) == ("void", "spam", "10 10:20")
    assert "next_response 1" not in got


def test_links_share_answers_transitively_within_one_customer() -> None:
    events = told("10 10:00 opened", "10 12:00 linked contact_id=U") + told("10 12:00 linked contact_id=V", contact="U")
    events += told("10 09:50 opened", "10 10:05 acked", "10 10:20 sent", contact="V")
    got = clocks(events)
    assert verdict(got["first_response 1"]) == ("kept", "answered_in_time", "10 10:20")
    assert verdict(got["acknowledgement 1"]) == ("broken", "answered_late", "10 10:20")
    unknown = told("10 10:00 opened", "10 10:01 linked contact_id=X")
    unknown += told("10 10:01 linked contact_id=X", "10 10:20 sent", contact="V")
    assert clocks(unknown)["first_response 1"]["verdict"] == "broken"
    other = told("10 10:00 opened", "10 10:20 sent", contact="V", customer_id="d")
    apart = told("10 10:00 opened", "10 10:01 linked contact_id=V") + other
    assert clocks(apart)["first_response 1"]["verdict"] == "broken"


# C19, C20, C24 and journeys


@pytest.mark.parametrize(
    ("sender", "customer"),
    [
        ("OPS@Example.com", "c"),
        ("new@example.com", "c"),
        ("handle:social/dee", "d"),
        ("x@y.example", "derived:mailto:x@y.example"),
    ],
)
def test_a_customer_is_known_by_identity_where_no_event_names_one(sender: str, customer: str) -> None:
    got = clocks(told(f"10 10:00 opened sender={sender}", customer_id=None))
    assert got["first_response 1"]["customer_id"] == customer


def test_nobody_is_dropped_for_having_no_identity_at_all() -> None:
    assert clocks(told("10 10:00 opened", customer_id=None))["first_response 1"]["customer_id"] == "derived:contact:T"


def test_an_explicit_customer_goes_before_an_earlier_identity() -> None:
    events = told("10 10:00 opened sender=ops@example.com", customer_id=None) + told("10 10:01 acked", customer_id="d")
    assert {outcome["customer_id"] for outcome in clocks(events).values()} == {"d"}


def test_of_two_contents_under_one_id_the_earlier_holds() -> None:
    events = told(
        "10 10:00 opened", "10 10:10 sent id=same", "10 10:05 sent id=same public=false", "10 10:10 sent id=same"
    )
    judged = judge(events, config(), CUSTOMERS, None)
    assert judged["counts"]["id_reused"] == 2
    assert all(outcome["verdict"] == "open" for outcome in judged["outcomes"])


def test_a_default_written_out_is_the_same_content() -> None:
    events = told("10 10:00 opened", "10 10:10 sent id=same", "10 10:10 sent id=same public=true automated=false")
    assert "id_reused" not in judge(events, config(), CUSTOMERS, None)["counts"]


def test_another_source_cannot_open_the_same_contact() -> None:
    judged = judge(told("10 10:00 opened", "10 09:00 opened source=/form channel=form"), config(), CUSTOMERS, None)
    assert judged["counts"]["contact_id_reused"] == 1
    assert {outcome["channel"] for outcome in judged["outcomes"]} == {"form"}


def test_later_events_are_not_known_yet_at_an_earlier_until() -> None:
    events = told("10 10:00 opened", "10 10:10 sent", "10 10:20 bounced recipient=x@example.com")
    assert clocks(events, "10 10:15")["first_response 1"]["verdict"] == "kept"
    assert clocks(events, "10 10:20")["first_response 1"]["verdict"] == "open"


def test_a_form_answered_in_time_is_no_dead_end() -> None:
    events = told("10 10:31 opened channel=form") + told("10 10:00 opened", "10 11:00 sent", contact="U")
    made = config(dead_end_after="1h")
    (journey,) = judge(events, made, CUSTOMERS, datetime.fromisoformat(at("12 12:00")))["journeys"]
    assert [one["dead_end"] for one in journey["attempts"]] == [None, None]


def test_an_automatic_confirmation_does_not_take_a_form_up() -> None:
    events = told("10 10:00 opened channel=form", "10 10:01 sent automated=true")
    (journey,) = judge(events, config(dead_end_after="1h"), CUSTOMERS, datetime.fromisoformat(at("10 11:30")))[
        "journeys"
    ]
    assert journey["attempts"][0]["dead_end"] == "no_ticket"


def test_four_doors_are_one_journey_with_two_dead_ends() -> None:
    events = told("10 10:02 bounced direction=inbound", contact="mail:1")
    events += told("10 10:31 opened channel=form", contact="form:1") + told("11 09:15 opened", contact="T-1")
    events += told("13 16:40 opened channel=social", "16 11:20 sent agent_id=manager", contact="dm:1")
    (journey,) = judge(events, config(dead_end_after="1h"), CUSTOMERS, None)["journeys"]
    assert (journey["state"], journey["started_at"], journey["ended_at"]) == (
        "answered",
        at("10 10:02"),
        at("16 11:20"),
    )
    assert [(one["channel"], one["dead_end"]) for one in journey["attempts"]] == [
        ("email", "bounced"), ("form", "no_ticket"), ("ticket", None), ("social", None),
    ]  # fmt: skip


# laws, and the comparison itself


@pytest.mark.parametrize("seed", range(60))
def test_any_order_and_any_doubling_of_the_events_give_the_same(seed: int) -> None:
    made = compare.case_of(seed)
    plain = judge(made.events, made.config, made.customers, made.until)
    shuffled = made.events + made.events[:3]
    random.Random(seed).shuffle(shuffled)
    again = judge(shuffled, made.config, made.customers, made.until)
    assert (again["outcomes"], again["journeys"]) == (plain["outcomes"], plain["journeys"])


def test_a_case_without_a_feature_never_has_it() -> None:
    for seed in range(40):
        made = case(random.Random(seed), frozenset({"merges", "bounces"}))
        assert not {event["type"] for event in made.events} & {"contact.merged", "message.bounced"}
    assert len(set(FEATURES)) == len(FEATURES)


def _replay_that(change: Any) -> compare.Runner:
    """A replay that answers as the naive reading does, after `change` of each outcome."""

    def run(folder: Path, arguments: list[str]) -> str:
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        made = compare.yaml.safe_load((folder / "heardback.yaml").read_text())
        customers = [json.loads(line) for line in (folder / "customers.jsonl").read_text().splitlines()]
        until = arguments[arguments.index("--until") + 1]
        judged = judge(events, made, customers, datetime.fromisoformat(until))
        renamed = json.loads(json.dumps(judged).replace("derived:mailto:", "unknown-"))
        out = folder / "out"
        out.mkdir()
        outcomes = [changed for one in renamed["outcomes"] if (changed := change(one))]
        (out / "outcomes.jsonl").write_text("".join(json.dumps(one) + "\n" for one in outcomes))
        (out / "journeys.jsonl").write_text("".join(json.dumps(one) + "\n" for one in renamed["journeys"]))
        refused = {name: n for name, n in judged["counts"].items() if name not in compare.NOT_REFUSALS}
        dead = [{"reason": name} for name, n in refused.items() for _ in range(n)]
        (out / "dead_letters.jsonl").write_text("".join(json.dumps(one) + "\n" for one in dead))
        return "exit 0"

    return run


def test_a_replay_that_agrees_shows_no_difference_whatever_it_calls_unknown_customers() -> None:
    run = _replay_that(lambda one: one)
    assert [compare.check(compare.case_of(seed), run) for seed in range(20)] == [[]] * 20


def test_a_difference_is_shrunk_to_the_events_that_show_it() -> None:
    run = _replay_that(lambda one: one | ({"reason": "answered_late"} if one["reason"] == "answer_bounced" else {}))
    made = next(made for seed in range(400) if compare.check(made := compare.case_of(seed), run))
    small = compare.shrunk(made, lambda smaller: bool(compare.check(smaller, run)))
    assert 3 <= len(small.events) <= 4
    assert {"message.sent", "message.bounced"} <= {event["type"] for event in small.events}
    assert any("reason want answer_bounced, got answered_late" in line for line in compare.check(small, run))


def test_a_missing_clock_and_a_failed_replay_are_differences() -> None:
    made = compare.Case(told("10 10:00 opened"), config(), CUSTOMERS, datetime(2026, 11, 10, 12, tzinfo=UTC))
    missing = compare.check(made, _replay_that(lambda one: None if one["target"] == "resolution" else one))
    assert any("missing" in line for line in missing)
    assert compare.check(made, lambda folder, arguments: "exit 2") == ["no outcomes: exit 2"]
