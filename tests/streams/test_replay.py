"""What a replay takes and refuses, however an event is written."""

from __future__ import annotations

import sys
from collections import Counter
from types import FrameType
from typing import Any, Final

import orjson

from schemas.codec import RECORD_BYTES_MAX
from streams import settings
from streams.engine.identity import directory
from streams.engine.timeline import MERGED, Contact, fact
from streams.replay import Line, Replayed, groups, replay

CONFIGURATION: Final = b"""
calendars: {always: {always_open: true}}
policies: [{name: all, calendar: always, targets: {first_response: 1h}}]
"""
OPENED: Final[dict[str, Any]] = {
    "specversion": "1.0", "id": "e-1", "source": "/desk", "type": "contact.opened", "time": "2026-11-10T10:00:00Z",
    "subject": "T-1", "data": {"customer_id": "c-1", "channel": "ticket", "priority": "high", "summary": "it hangs"},
}  # fmt: skip


def replayed(*values: bytes) -> Replayed:
    known, _ = directory([])
    policies = settings.policies_of(settings.parse(CONFIGURATION, file="here"))
    return replay([Line(f"line {number}", value) for number, value in enumerate(values)], policies, known)


def summary_of(*values: bytes) -> dict[str, Any]:
    return replayed(*values).summary


def test_one_event_in_two_spellings_is_there_twice() -> None:
    backwards = orjson.dumps({name: OPENED[name] for name in reversed(OPENED)})
    other = orjson.dumps({**OPENED, "time": "2026-11-10 11:00:00+01:00", "more": None}, option=orjson.OPT_INDENT_2)
    summary = summary_of(orjson.dumps(OPENED), backwards, other)
    assert (summary["contacts"], summary["duplicates"], summary["refused"]) == (1, 2, {})


def test_a_record_that_is_too_large_is_refused_also_where_what_is_known_of_it_is_small() -> None:
    large = orjson.dumps({**OPENED, "unknown": "x" * RECORD_BYTES_MAX})
    summary = summary_of(large)
    assert (summary["contacts"], summary["refused"]) == (0, {"record_too_large": 1})


def test_nobody_outside_sends_a_wake_up() -> None:
    summary = summary_of(orjson.dumps({**OPENED, "type": "deadline.reached", "data": {}}))
    assert (summary["contacts"], summary["refused"]) == (0, {"reserved_type": 1})


def test_a_contact_known_by_merges_of_two_customers_has_each_clock_once() -> None:
    def merged(number: int, customer: str, **named: str) -> dict[str, Any]:
        data = {"customer_id": customer, "into": "T-unknown", **named}
        kind, at = "contact.merged", f"2026-11-10T10:3{number}:00Z"
        return {**OPENED, "id": f"m-{number}", "type": kind, "time": at, "subject": f"T-{number}", "data": data}

    other = {**OPENED, "id": "e-2", "subject": "T-2", "data": {**OPENED["data"], "customer_id": "c-2"}}
    events = [OPENED, other, merged(1, "c-1"), merged(2, "c-2", into_customer_id="c-3")]
    outcomes = replayed(*map(orjson.dumps, events)).outcomes
    assert [(one["contact_id"], one["customer_id"], one["cycle"]) for one in outcomes] == [
        ("T-1", "c-1", 1), ("T-2", "c-2", 1), ("T-unknown", "c-1", 1),
    ]  # fmt: skip


def test_contacts_of_many_customers_merged_into_one_are_told_apart_in_steps_as_many_as_they_are() -> None:
    count, steps = 2_000, Counter[str]()
    merges = [fact(at, "/desk", f"m-{at}", MERGED, {"into": "T-outage"}) for at in range(count)]
    contacts = {f"T-{at}": Contact(f"T-{at}", f"c-{at}", [merge]) for at, merge in enumerate(merges)}

    def counted(frame: FrameType, what: str, _: object) -> Any:
        steps[what] += frame.f_code.co_filename == groups.__code__.co_filename
        return counted

    sys.settrace(counted)
    try:
        found = list(groups({**contacts, "T-else": Contact("T-else", "c-else")}))
    finally:
        sys.settrace(None)
    assert steps["line"] < 100 * count
    assert sorted(map(len, found)) == [1, count]
