"""ServiceNow's audit log: what each row says, and what is refused. The real log is in `test_servicenow_log`."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import Event
from schemas.refusals import Reason, Refusal
from streams.ingest.servicenow import Tally, read, rows_to_events
from streams.ingest.servicenow_rows import COLUMNS

ROOT = Path(__file__).parents[3]
SLICE = ROOT / "streams/demo/data/servicenow-slice.csv"
CONFIG = ROOT / "deploy/examples/servicenow.yaml"
WHOLE = ROOT.parent / "shared/data/servicenow/incident_event_log.csv.gz"
LISBON = ZoneInfo("Europe/Lisbon")
HEADER = ",".join(COLUMNS)


def row(minute: str = "29/2/2016 09:00", mod: int | str = 0, state: str = "New", **cells: str) -> dict[str, str]:
    """One save of INC1, opened at 08:50 by phone."""
    return {
        "number": "INC1",
        "incident_state": state,
        "sys_mod_count": str(mod),
        "caller_id": "Caller 7",
        "opened_at": "29/2/2016 08:50",
        "sys_updated_by": "Updated by 5",
        "sys_updated_at": minute,
        "contact_type": "Phone",
        "priority": "3 - Moderate",
        "assignment_group": "Group 1",
        "assigned_to": "?",
        **cells,
    }


def told(*rows: dict[str, str]) -> list[tuple[str, str, dict[str, Any]]]:
    """(time, type, data that was given) of the events of `rows`, without the customer."""
    events = [event for event in rows_to_events(rows) if not isinstance(event, Refusal)]
    assert len(events) == len(list(rows_to_events(rows))), "nothing may be refused"
    return [
        (
            f"{event.time:%H:%M:%S}",
            event.type,
            event.data.model_dump(mode="json", exclude_none=True, exclude_defaults=True, exclude={"customer_id"}),
        )
        for event in events
    ]


def types(*rows: dict[str, str]) -> list[str]:
    return [type_ for _, type_, _ in told(*rows)]


def text(*rows: Mapping[str, str]) -> str:
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return lines.getvalue()


def split(found: Iterator[Event | Refusal]) -> tuple[list[Event], list[Refusal]]:
    events, refusals = [], []
    for each in found:
        if isinstance(each, Refusal):
            refusals.append(each)
        else:
            events.append(each)
    return events, refusals


# -- what a row says


def test_a_first_row_opens_the_contact_when_it_was_opened_and_with_what_the_row_knows() -> None:
    assert told(row()) == [
        (
            "08:50:00",
            "contact.opened",
            {"channel": "phone", "priority": "normal", "queue": "Group 1", "source_ref": "INC1"},
        )
    ]


def test_an_incident_opened_after_its_first_save_was_there_at_that_save() -> None:
    assert told(row(opened_at="29/2/2016 09:41"))[0][0] == "09:00:00"
    assert told(row(opened_at="?"))[0][0] == "09:00:00"


@pytest.mark.parametrize(
    ("contact_type", "channel"),
    [
        ("Phone", "phone"),
        ("IVR", "phone"),
        ("Email", "email"),
        ("Self service", "ticket"),
        ("Direct opening", "ticket"),
        ("Carrier pigeon", "other"),
        ("?", "other"),
    ],
)
def test_the_channel_comes_from_the_contact_type(contact_type: str, channel: str) -> None:
    assert told(row(contact_type=contact_type))[0][2]["channel"] == channel


@pytest.mark.parametrize(
    ("priority", "word"),
    [("1 - Critical", "urgent"), ("2 - High", "high"), ("3 - Moderate", "normal"), ("4 - Low", "low"), ("?", None)],
)
def test_the_priority_is_translated_and_a_missing_one_is_not_invented(priority: str, word: str | None) -> None:
    assert told(row(priority=priority))[0][2].get("priority") == word


def test_a_name_is_an_assignment_already_on_the_first_row() -> None:
    assert told(row(assigned_to="Resolver 3"))[1:] == [
        ("09:00:00", "contact.assigned", {"agent_id": "Resolver 3"}),
    ]


def test_handing_over_tells_what_is_new_only() -> None:
    rows = [
        row(),
        row(mod=1, assigned_to="Resolver 3"),
        row(mod=2, assigned_to="Resolver 3", assignment_group="Group 2"),
    ]
    assert told(*rows)[1:] == [
        ("09:00:00", "contact.assigned", {"agent_id": "Resolver 3"}),
        ("09:00:00", "contact.assigned", {"queue": "Group 2"}),
    ]


def test_a_missing_value_says_nothing_and_the_last_one_holds() -> None:
    missing = row(mod=1, priority="?", contact_type="?", assignment_group="?", assigned_to="?", caller_id="?")
    assert types(row(assigned_to="Resolver 3"), missing, row(mod=2, assigned_to="Resolver 3")) == [
        "contact.opened",
        "contact.assigned",
    ]


def test_a_changed_priority_or_contact_type_is_an_update() -> None:
    assert told(row(), row(mod=1, priority="1 - Critical", contact_type="Email"))[1:] == [
        ("09:00:00", "contact.updated", {"priority": "urgent", "channel": "email"}),
    ]


def test_taking_an_incident_up_acknowledges_it_and_answers_nothing() -> None:
    assert types(row(), row(mod=1, state="Active")) == ["contact.opened", "contact.acknowledged"]
    assert types(row(state="Active")) == ["contact.opened", "contact.acknowledged"]


def test_asking_the_caller_is_a_message_and_a_pause() -> None:
    assert told(row(), row("29/2/2016 10:05", 1, "Awaiting User Info"))[1:] == [
        ("10:05:00", "message.sent", {"agent_id": "Updated by 5"}),
        ("10:05:00", "contact.paused", {"reason": "pending_customer", "agent_id": "Updated by 5"}),
    ]


@pytest.mark.parametrize(
    ("state", "reason"),
    [("Awaiting Vendor", "third_party"), ("Awaiting Problem", "on_hold"), ("Awaiting Evidence", "on_hold")],
)
def test_waiting_for_others_pauses_and_tells_the_caller_nothing(state: str, reason: str) -> None:
    assert told(row(), row(mod=1, state=state))[1:] == [
        ("09:00:00", "contact.paused", {"reason": reason, "agent_id": "Updated by 5"}),
    ]


@pytest.mark.parametrize("state", ["Active", "New"])
def test_working_again_ends_a_pause_and_is_no_message_of_the_caller(state: str) -> None:
    assert types(row(), row(mod=1, state="Awaiting Vendor"), row(mod=2, state=state))[2:] == ["contact.resumed"]


def test_staying_in_a_state_says_nothing_again() -> None:
    assert types(row(), row(mod=1, state="Awaiting User Info"), row(mod=2, state="Awaiting User Info"))[3:] == []


def test_resolving_tells_the_caller_and_resolves_at_once() -> None:
    assert told(row(), row("29/2/2016 11:29", 1, "Resolved"))[1:] == [
        ("11:29:00", "message.sent", {"agent_id": "Updated by 5"}),
        ("11:29:00", "contact.resolved", {"by": "agent", "agent_id": "Updated by 5"}),
    ]


def test_closing_is_silent() -> None:
    assert types(row(), row(mod=1, state="Closed")) == ["contact.opened", "contact.closed"]


def test_what_follows_a_reopening_in_its_minute_comes_after_it() -> None:
    """At one instant a reopening is last (C21), so a resolve of the same minute would be undone by it."""
    rows = [row(state="Resolved"), row("29/2/2016 12:00", 1, "Active"), row("29/2/2016 12:00", 2, "Resolved")]
    assert [(time, type_) for time, type_, _ in told(*rows)][3:] == [
        ("12:00:00", "contact.reopened"),
        ("12:00:01", "message.sent"),
        ("12:00:01", "contact.resolved"),
    ]


def test_reopened_and_asked_in_one_save_ends_paused() -> None:
    rows = [row(state="Resolved"), row("29/2/2016 12:00", 1, "Awaiting User Info"), row("29/2/2016 12:05", 2, "Active")]
    assert [(time, type_) for time, type_, _ in told(*rows)][3:] == [
        ("12:00:00", "contact.reopened"),
        ("12:00:01", "message.sent"),
        ("12:00:01", "contact.paused"),
        ("12:05:00", "contact.resumed"),
    ]


def test_the_state_minus_100_says_nothing() -> None:
    assert types(row(), row(mod=1, state="-100"), row(mod=2, state="Resolved")) == [
        "contact.opened",
        "message.sent",
        "contact.resolved",
    ]
    assert types(row(state="Resolved"), row(mod=1, state="-100"))[3:] == []


def test_the_end_of_an_incident_is_not_known_on_its_first_row() -> None:
    future = {"resolved_at": "29/2/2016 11:29", "closed_at": "5/3/2016 12:00", "resolved_by": "Resolved by 1"}
    assert told({**row(), **future}) == told(row())


def test_ties_within_a_minute_are_broken_by_the_modification_count_also_beyond_nine() -> None:
    rows = [row(), row(mod=10, state="Active"), row(mod=9, state="Awaiting Vendor")]
    events, _ = split(rows_to_events(rows))
    assert [event.type for event in sorted(events, key=lambda event: (event.time, event.id))] == [
        "contact.opened",
        "contact.paused",
        "contact.resumed",
    ]


def test_event_ids_and_the_contact_id_name_the_incident_and_the_save() -> None:
    events, _ = split(rows_to_events([row(), row("29/2/2016 09:07", 3, "Resolved")]))
    assert [event.id for event in events] == [
        "INC1/2016-02-29T09:00/00000/opened",
        "INC1/2016-02-29T09:07/00003/answered",
        "INC1/2016-02-29T09:07/00003/resolved",
    ]
    assert {(event.subject, event.source) for event in events} == {("servicenow:INC1", "/servicenow")}


def test_a_missing_caller_is_a_customer_named_after_the_incident() -> None:
    events, _ = split(rows_to_events([row(caller_id="?"), row(mod=1, state="Closed", caller_id="?")]))
    assert {event.data.customer_id for event in events} == {"servicenow:INC1"}


def test_a_contact_stays_with_its_first_caller() -> None:
    events, _ = split(rows_to_events([row(), row(mod=1, state="Closed", caller_id="Caller 8")]))
    assert {event.data.customer_id for event in events} == {"Caller 7"}


def test_wall_times_are_of_the_zone_that_is_named() -> None:
    summer = {"opened_at": "1/7/2016 08:50", "minute": "1/7/2016 09:00"}
    events, _ = split(rows_to_events([row(**summer)], time_zone=LISBON))
    assert events[0].time == datetime(2016, 7, 1, 7, 50, tzinfo=UTC)


def test_a_wall_time_in_the_spring_gap_is_shifted_later_and_a_repeated_one_is_its_first() -> None:
    gap = row("27/3/2016 01:30", opened_at="?")
    twice = row("30/10/2016 01:30", opened_at="?", number="INC2")
    events, _ = split(rows_to_events([gap, twice], time_zone=LISBON))
    assert [event.time for event in events] == [
        datetime(2016, 3, 27, 1, 30, tzinfo=UTC),
        datetime(2016, 10, 30, 0, 30, tzinfo=UTC),
    ]


# -- bad input


@pytest.mark.parametrize(
    ("cells", "reason", "field"),
    [
        ({"sys_updated_at": "2016-02-29 09:00"}, Reason.BROKEN_ROW, "sys_updated_at"),
        ({"sys_updated_at": "30/2/2016 09:00"}, Reason.BROKEN_ROW, "sys_updated_at"),
        ({"sys_updated_at": "29/2/2016 24:00"}, Reason.BROKEN_ROW, "sys_updated_at"),
        ({"sys_updated_at": "?"}, Reason.BROKEN_ROW, "sys_updated_at"),
        ({"sys_updated_at": "29/2/0016 09:00"}, Reason.ABSURD_INSTANT, "sys_updated_at"),
        ({"sys_updated_at": "1/1/9999 09:00"}, Reason.ABSURD_INSTANT, "sys_updated_at"),
        ({"opened_at": "yesterday"}, Reason.BROKEN_ROW, "opened_at"),
        ({"sys_mod_count": "-1"}, Reason.BROKEN_ROW, "sys_mod_count"),
        ({"sys_mod_count": "1" * 30}, Reason.BROKEN_ROW, "sys_mod_count"),
        ({"sys_mod_count": "٣"}, Reason.BROKEN_ROW, "sys_mod_count"),
        ({"number": "?"}, Reason.BROKEN_ROW, "number"),
        ({"number": "I" * 300}, Reason.BROKEN_ROW, "number"),
        ({"incident_state": "On fire"}, Reason.UNKNOWN_VALUE, "incident_state"),
        ({"priority": "5 - Whenever"}, Reason.UNKNOWN_VALUE, "priority"),
        ({"caller_id": "Caller \udcff"}, Reason.BROKEN_ENCODING, "caller_id"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_by_line_and_costs_no_other(
    cells: dict[str, str], reason: Reason, field: str
) -> None:
    tally = Tally()
    events, refusals = split(rows_to_events([row(), {**row(mod=1), **cells}, row(mod=2, state="Closed")], tally=tally))
    assert [event.type for event in events] == ["contact.opened", "contact.closed"]
    assert [(refusal.reason, refusal.field) for refusal in refusals] == [(reason, field)]
    assert refusals[0].detail.startswith("line 3: ")
    assert (tally.rows, tally.telling, tally.refused) == (3, 2, 1)


def test_a_row_without_a_column_is_refused() -> None:
    short = row()
    del short["assigned_to"]
    assert [refusal.reason for refusal in split(rows_to_events([short]))[1]] == [Reason.MISSING_FIELD]


@pytest.mark.parametrize("line", ['INC1,"New', "INC1,New", "x" * 70_000, ",,,,,,,,,,,,"])
def test_a_broken_line_costs_only_itself(line: str) -> None:
    good = text(row(), row(mod=1, state="Closed")).splitlines(keepends=True)
    events, refusals = split(read([*good[:2], line + "\n", *good[2:]]))
    assert [event.type for event in events] == ["contact.opened", "contact.closed"]
    assert len(refusals) == 1
    assert refusals[0].detail.startswith("line 3: ")


def test_a_line_in_another_encoding_costs_only_itself() -> None:
    good = text(row(), row(mod=1, state="Closed", assigned_to="José"), row(mod=2, state="Closed"))
    events, refusals = split(read(io.BytesIO(good.encode("latin-1"))))
    assert [event.type for event in events] == ["contact.opened", "contact.closed"]
    assert [(refusal.reason, refusal.detail[:7]) for refusal in refusals] == [(Reason.BROKEN_ENCODING, "line 3:")]


def test_a_strict_text_stream_ends_where_it_cannot_be_decoded() -> None:
    good = text(row()).encode()
    events, refusals = split(read(io.TextIOWrapper(io.BytesIO(good + b"\xff" * 20_000), encoding="utf-8")))
    assert [refusal.reason for refusal in refusals] == [Reason.BROKEN_ENCODING]
    assert len(events) <= 1


@pytest.mark.parametrize(
    ("encoding", "reason"), [("utf-16", Reason.BROKEN_ENCODING), ("utf-16-le", Reason.MISSING_FIELD)]
)
def test_a_file_whose_header_cannot_be_read_is_one_refusal(encoding: str, reason: Reason) -> None:
    events, refusals = split(read(io.BytesIO(text(row()).encode(encoding))))
    assert (events, [refusal.reason for refusal in refusals]) == ([], [reason])


def test_a_missing_column_is_named() -> None:
    events, refusals = split(read([HEADER.replace("caller_id", "customer") + "\n", "a,b\n"]))
    assert events == []
    assert [(refusal.reason, refusal.field) for refusal in refusals] == [(Reason.MISSING_FIELD, "caller_id")]


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_an_empty_file_is_refused(content: bytes) -> None:
    events, refusals = split(read(io.BytesIO(content)))
    assert events == []
    assert len(refusals) == 1


@pytest.mark.parametrize("mangle", ["\ufeff{}", "{}\n\n", "{}"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_a_byte_order_mark_blank_lines_and_crlf_change_nothing(mangle: str, ending: str) -> None:
    lines = text(row(), row(mod=1, state="Resolved"))
    mangled = mangle.format(lines).replace("\n", ending).encode()
    assert list(read(io.BytesIO(mangled))) == list(read(io.StringIO(lines)))


def test_a_gzip_cut_short_is_one_refusal_and_what_was_read_before_counts() -> None:
    packed = gzip.compress(SLICE.read_bytes())
    with gzip.open(io.BytesIO(packed[: len(packed) // 2])) as lines:
        events, refusals = split(read(lines))
    assert [refusal.reason for refusal in refusals] == [Reason.BROKEN_GZIP]
    assert 5 < len({event.subject for event in events}) < 40


def test_a_file_that_is_no_gzip_is_one_refusal() -> None:
    with gzip.open(io.BytesIO(SLICE.read_bytes())) as lines:
        events, refusals = split(read(lines))
    assert (events, [refusal.reason for refusal in refusals]) == ([], [Reason.BROKEN_GZIP])


def test_a_repeated_row_is_counted_and_says_nothing_twice() -> None:
    tally = Tally()
    events, refusals = split(rows_to_events([row(), row()], tally=tally))
    assert (len(events), refusals, tally.repeated) == (1, [], 1)


def test_two_different_saves_in_one_place_are_refused_whatever_their_order() -> None:
    rows = [row(), row(mod=1, state="Active"), row(mod=1, state="Closed")]
    forth, refused = split(rows_to_events(rows))
    back, _ = split(rows_to_events(rows[::-1]))
    assert forth == back
    assert [refusal.reason for refusal in refused] == [Reason.ID_REUSED]


@given(st.lists(st.binary(max_size=60) | st.sampled_from([HEADER.encode(), *text(row()).encode().splitlines()])))
def test_nothing_in_a_file_raises_and_every_row_is_accounted_for(lines: list[bytes]) -> None:
    tally = Tally()
    events, refusals = split(read([line + b"\n" for line in lines], tally=tally))
    assert tally.rows == tally.telling + tally.unchanged + tally.repeated + tally.refused
    assert tally.events == len(events)
    assert len(refusals) - tally.refused in (0, 1)
