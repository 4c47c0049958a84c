"""ServiceNow's incident audit log as contact events: one row per save of an incident, oldest facts first.

The log is the one of UCI Machine Learning Repository 498 (36 columns, dates as `d/m/yyyy HH:MM`, `?` where a
value is missing). A row is read as what the incident *was* at its `sys_updated_at`. Columns that are filled
afterwards (`resolved_at`, `closed_at`, `resolved_by`, `closed_code`, `made_sla`) are never read: on a first row they
already tell how the incident will end. How a line is read is in `servicenow_rows`; opening files, gzip and writing
events belong to `streams.cli`.

An incident is a contact (`servicenow:INC0000045`), its caller the customer, as the log names him. Rows are sorted by
(`sys_updated_at`, `sys_mod_count`) within an incident, so the order of the file does not matter; the rows of a whole
file are held in memory for that, less than a kilobyte each. What a row says is what differs from the row before;
a missing value says nothing, and the last one known holds (so does the state `-100`).

| in a row | events |
| --- | --- |
| first row of an incident | `contact.opened` by the customer at `opened_at`; at the row itself where that is earlier |
| `assigned_to`, `assignment_group` new | `contact.assigned` with what is new; a first row's group is the queue |
| `priority` or `contact_type` new | `contact.updated` |
| first row Active, or New to Active | `contact.acknowledged`: somebody has taken it up |
| to Awaiting User Info | `message.sent` and `contact.paused` (pending_customer) |
| to Awaiting Vendor / Problem, Evidence | `contact.paused` (third_party / on_hold) |
| from an Awaiting state to Active or New | `contact.resumed` |
| to Resolved | `message.sent` and `contact.resolved` |
| to Closed | `contact.closed` alone |
| from Resolved or Closed to any other state | `contact.reopened`, then what the new state says, one second later |
| nothing of this | no event; counted as `unchanged` |

**What counts as an answer.** The log holds no messages, so an answer has to be read from what an agent did. Two deeds
cannot be done in silence in a service desk: asking the caller for information, and handing over a solution. Each
is read as one public message by whoever saved the row. Taking up, assigning, waiting for a vendor and closing tell the
caller nothing (C4), so an incident that goes from New to Closed is a silent close (C10). This is the desk's own
reading and a generous one: whether the caller was in fact told is not in the log (`notify` is "Do Not Notify" on
99.9 % of rows, but 99 % of these contacts are phone calls). Leaving Awaiting User Info is read as the end of a
pause and not as a message of the caller: an agent may have stopped waiting. So this log yields no next_response.

**Who acts.** Agents are named by `sys_updated_by` ("Updated by 642") in what they did and by `assigned_to`
("Resolver 31") in assignments; the log's authors made both names up independently. Account 908 creates incidents
for the call takers and closes them days later; it never asks or resolves later on, so it needs no rule.

**Time.** The log has no zone: the caller says which (UTC by default). It has minutes only. Rows of one minute keep
their order by the event id, which sorts like it; but within one instant a reopening comes last (C21), so what follows
a reopening within its minute is put one second after it.

**Customer.** A missing caller gives a customer of its own, named after the incident (C19). Where the caller changes
(3 incidents) the contact stays with the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby
from typing import Any, Final

from schemas.events import EVENT, Channel, Event
from schemas.refusals import Reason, Refusal
from streams.ingest.servicenow_rows import ENDS, PAUSES, Row, parse_row, read_rows

SOURCE: Final = "/servicenow"
# What a row does, the last part of an event's id, and the type of event that says so.
_TYPES: Final[Mapping[str, str]] = {
    "opened": "contact.opened",
    "assigned": "contact.assigned",
    "updated": "contact.updated",
    "acknowledged": "contact.acknowledged",
    "asked": "message.sent",
    "paused": "contact.paused",
    "resumed": "contact.resumed",
    "answered": "message.sent",
    "resolved": "contact.resolved",
    "closed": "contact.closed",
    "reopened": "contact.reopened",
}
_AFTER_REOPENING = timedelta(seconds=1)


@dataclass(slots=True)
class Tally:
    """What became of the rows of one run: `rows` is always `telling + unchanged + repeated + refused`."""

    rows: int = 0
    contacts: int = 0
    events: int = 0
    telling: int = 0
    unchanged: int = 0
    repeated: int = 0
    refused: int = 0


def read(
    lines: Iterable[str | bytes], *, time_zone: tzinfo = UTC, tally: Tally | None = None
) -> Iterator[Event | Refusal]:
    """Events of an audit log given as its lines, the first of them the header.

    `lines` is an open file, best a binary one: then a line that is not UTF-8 costs that line only, as in a text stream
    opened with `errors="surrogateescape"`; a strict text stream ends there. A byte order mark, CRLF and blank lines
    are fine; a value cannot span lines. Raises nothing for what the file holds: a fault is a `Refusal` that names its
    line, also a gzip stream cut short, after which what was read before still becomes events.
    """
    yield from _tell(read_rows(lines, zone=time_zone), tally or Tally())


def rows_to_events(
    rows: Iterable[Mapping[str, str]], *, time_zone: tzinfo = UTC, tally: Tally | None = None
) -> Iterator[Event | Refusal]:
    """Events of audit rows given as mappings by column name, in any order; `servicenow_rows.COLUMNS` are needed.

    Refusals name a row by its line in a file with a header, so the first row is line 2.
    """
    parsed = ((line, parse_row(line, cells, zone=time_zone)) for line, cells in enumerate(rows, start=2))
    yield from _tell(parsed, tally or Tally())


def _tell(numbered: Iterable[tuple[int, Row | Refusal]], tally: Tally) -> Iterator[Event | Refusal]:
    incidents: dict[str, list[Row]] = {}
    for line, row in numbered:
        tally.rows += line > 0
        if isinstance(row, Refusal):
            tally.refused += line > 0
            yield row
        else:
            incidents.setdefault(row.number, []).append(row)
    tally.contacts += len(incidents)
    for saves in incidents.values():
        rows, refusals = _in_order(saves)
        tally.refused += len(refusals)
        tally.repeated += len(saves) - len(rows) - len(refusals)
        yield from refusals
        for events in _incident(rows):
            tally.telling += bool(events)
            tally.unchanged += not events
            tally.events += len(events)
            yield from events


def _in_order(saves: Iterable[Row]) -> tuple[list[Row], list[Refusal]]:
    """One incident's rows as they happened, each once. Of different rows in one place the smaller holds (C24)."""
    rows: list[Row] = []
    refusals: list[Refusal] = []
    for _, same in groupby(sorted(saves, key=lambda row: row.place), key=lambda row: row.place):
        first, *others = same
        if others:
            first, *others = sorted([first, *others], key=lambda row: (repr(replace(row, line=0)), row.line))
        rows.append(first)
        refusals += [_reused(other, first) for other in others if other != first]
    return rows, refusals


def _reused(row: Row, held: Row) -> Refusal:
    detail = f"line {row.line}: {row.number} was saved as {row.mod_count} with other values on line {held.line}"
    return Refusal(reason=Reason.ID_REUSED, detail=detail, field="sys_mod_count")


def _incident(rows: Sequence[Row]) -> Iterator[list[Event]]:
    """The events of each row of one incident; `rows` in order."""
    contact = f"servicenow:{rows[0].number}"
    customer = rows[0].caller or contact
    before: Row | None = None
    earliest = rows[0].at
    for row in rows:
        at = max(row.at, earliest)
        now = row if before is None else _held(row, before)
        events = []
        for deed, data in _deeds(before, now):
            events.append(_event(row, contact, _opened_at(row) if deed == "opened" else at, deed, customer, data))
            if deed == "reopened":
                earliest = at = at + _AFTER_REOPENING
        yield events
        before = now


def _event(row: Row, contact: str, at: datetime, deed: str, customer: str, data: dict[str, Any]) -> Event:
    return EVENT.validate_python(
        {
            "id": f"{row.number}/{row.minute}/{row.mod_count:05d}/{deed}",
            "source": SOURCE,
            "type": _TYPES[deed],
            "time": at,
            "subject": contact,
            "data": {"customer_id": customer, **data},
        }
    )


def _opened_at(row: Row) -> datetime:
    return row.at if row.opened_at is None else min(row.opened_at, row.at)


def _held(row: Row, before: Row) -> Row:
    """`row`, with what it does not say as it was before."""
    return replace(
        row,
        state=row.state or before.state,
        channel=row.channel or before.channel,
        priority=row.priority or before.priority,
        group=row.group or before.group,
        agent=row.agent or before.agent,
    )


def _deeds(before: Row | None, now: Row) -> Iterator[tuple[str, dict[str, Any]]]:
    """What was done from `before` to `now`, in order, each with its event's data."""
    who = {"agent_id": now.updated_by}
    state = before.state if before else None
    if state in ENDS and now.state not in ENDS:
        yield "reopened", who
    if before is None:
        channel = now.channel or Channel.OTHER
        yield "opened", {"channel": channel, "priority": now.priority, "queue": now.group, "source_ref": now.number}
        if now.agent:
            yield "assigned", {"agent_id": now.agent}
    else:
        yield from _changes(before, now)
    if now.state and now.state != state:
        yield from _transition(state, now.state, who)


def _changes(before: Row, now: Row) -> Iterator[tuple[str, dict[str, Any]]]:
    updated = {
        name: value
        for name, old, value in (
            ("priority", before.priority, now.priority),
            ("channel", before.channel, now.channel),
        )
        if value != old
    }
    if updated:
        yield "updated", updated
    assigned = {
        name: value
        for name, old, value in (("queue", before.group, now.group), ("agent_id", before.agent, now.agent))
        if value != old
    }
    if assigned:
        yield "assigned", assigned


def _transition(state: str | None, new: str, who: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    if new in PAUSES:
        if new == "Awaiting User Info":
            yield "asked", who
        yield "paused", {"reason": PAUSES[new], **who}
    elif new == "Resolved":
        yield "answered", who
        yield "resolved", {"by": "agent", **who}
    elif new == "Closed":
        yield "closed", who
    elif state in PAUSES:
        yield "resumed", who
    elif new == "Active" and state in (None, "New"):
        yield "acknowledged", who
