"""What the log says up to one cut: what was heard of each contact, and what was published and kept of it.

The cut is taken in this order: how far the tracker has committed, the ends of everything made from the events, and
the end of the events last. So whatever is seen of a contact comes from events that are seen too, and a contact of
which nothing lies beyond the committed position is seen whole: only such a contact can be judged. Read in bulk;
nothing is judged here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Container, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from sys import intern
from typing import Any, Final, NamedTuple

import orjson

from schemas.codec import decode
from schemas.events import WAKE_UP
from schemas.refusals import Refusal
from streams.audit.topics import Topics
from streams.engine.attributes import Tier
from streams.engine.calendar import to_us
from streams.engine.timeline import Fact, fact_of
from streams.track.state import decode_contact, decode_header, journeys_wake
from streams.transport import Batch, LogClient

OURS: Final = "heardback."
"""Headers of what homes tell each other begin so."""
HOPS: Final = "heardback.hops"
MOVED: Final = "heardback.moved"
JOURNEYS: Final = "/journeys"
"""The source of a wake-up that is for a customer's journeys ends so."""
TRIED: Final = frozenset({"trying", "not_taken", "unknown", "late"})
TOGETHER_MAX: Final = 200
"""A delivery names no more alerts than that."""

OwnerOf = Callable[[str], str]
Wanted = Callable[[str], bool]
"""Whether a contact is of this part of the audit."""


class Cut(NamedTuple):
    """`handled`: the tracker's committed positions; `ends` of each topic."""

    handled: Mapping[int, int]
    ends: Mapping[str, Mapping[int, int]]


async def cut(client: LogClient, topics: Topics) -> Cut:
    """The cut as it is now. Raises TransportError."""
    handled = await client.committed(topics.tracker, topics.events)
    ends = {name: await client.end_offsets(name) for name in topics.made}
    ends[topics.events] = await client.end_offsets(topics.events)
    return Cut(handled, ends)


class Told(NamedTuple):
    """A fact as the log has it: when it was appended, and where."""

    appended_us: int
    partition: int
    offset: int
    fact: Fact


@dataclass(slots=True)
class Heard:
    """Everything in the log of one contact. `touched_us` is when its last record was appended, `woken_us` the time of
    its last wake-up; `in_flight`: something of it is not handled yet."""

    told: list[Told] = field(default_factory=list)
    first_us: int = 0
    touched_us: int = 0
    woken_us: int = 0
    in_flight: bool = False

    def touch(self, appended_us: int, in_flight: bool) -> None:
        """A record of the contact."""
        self.first_us = self.first_us or appended_us
        self.touched_us = max(self.touched_us, appended_us)
        self.in_flight = self.in_flight or in_flight


class Published(NamedTuple):
    """What was last published of an outcome. Instants as text."""

    revision: int
    customer_id: str
    target: str
    cycle: int
    policy_version: str
    calendar_version: str
    verdict: str
    reason: str
    stage: str
    step: int
    started_at: str
    due_at: str | None
    ended_at: str | None


class Waits(NamedTuple):
    """What was last published of a journey: `dead_ends` are contacts."""

    revision: int
    state: str
    dead_ends: frozenset[str]


class Firing(NamedTuple):
    """An alert that fires."""

    record: Mapping[str, Any]
    at_us: int


class Kept(NamedTuple):
    """What table `contacts` says of a contact: when to look at it again (None: never), the tiers that its customer had,
    when that was written, and whether it knows of facts that the log does not hold."""

    wake_us: int | None
    tiers: tuple[Tier, ...]
    written_us: int
    knows_more: bool


class Step(NamedTuple):
    """One step of telling a receiver."""

    result: str
    at_us: int


@dataclass(slots=True)
class Deliveries:
    """Of the alerts that fire, by alert and receiver: the last step, and when a firing of a kind was last accepted.
    Receivers for people are told of a customer with all alerts at once: `told_us` is when one was last told of each,
    `told_more_us` when of a customer with more alerts than a delivery names. `receivers` has the last step of each
    receiver, whatever it was about."""

    last: dict[tuple[str, str], Step] = field(default_factory=dict)
    accepted_us: dict[tuple[str, str, str], int] = field(default_factory=dict)
    told_us: dict[tuple[str, str], int] = field(default_factory=dict)
    told_more_us: dict[tuple[str, str], int] = field(default_factory=dict)
    receivers: dict[str, Step] = field(default_factory=dict)

    def take(self, delivery: Mapping[str, Any], wanted: Container[str]) -> None:
        """One step, in the order of the log; of alerts that are not `wanted` only how the receiver is."""
        at_us, receiver = _us(delivery["at"]), delivery["receiver"]
        step = Step(delivery["result"], at_us)
        if receiver not in self.receivers or self.receivers[receiver].at_us <= at_us:
            self.receivers[receiver] = step
        together = delivery.get("alert_ids") or ()
        for name in (delivery["alert_id"], *together):
            if name in wanted:
                self.last[name, receiver] = step
        if step.result == "delivered" and together:
            self.told_us.update({(name, receiver): at_us for name in together if name in wanted})
            if len(together) >= TOGETHER_MAX:
                self.told_more_us[delivery["customer_id"], receiver] = at_us
        elif step.result == "delivered" and delivery["state"] == "firing" and delivery["alert_id"] in wanted:
            self.accepted_us[delivery["alert_id"], receiver, delivery["kind"]] = at_us

    def has(self, alert: Mapping[str, Any], receiver: str, since_us: int) -> bool:
        """Whether a receiver has accepted an alert as it fires since then."""
        name, customer_id = alert["alert_id"], alert["customer_id"]
        times = (
            self.accepted_us.get((name, receiver, alert["kind"])),
            self.told_us.get((name, receiver)),
            self.told_more_us.get((customer_id, receiver)),
        )
        return any(at_us is not None and at_us >= since_us for at_us in times)


@dataclass(slots=True)
class View:
    """A part of the log: `contacts`, `outcomes` and `kept` are of this part, journeys are all. `since_us`: from when on
    a topic still has everything."""

    cut: Cut
    events: int = 0
    unreadable: int = 0
    contacts: dict[str, Heard] = field(default_factory=dict)
    customers_in_flight: set[str] = field(default_factory=set)
    journeys_woken_us: dict[str, int] = field(default_factory=dict)
    outcomes: dict[str, dict[str, Published]] = field(default_factory=dict)
    journeys: dict[str, dict[str, Waits]] = field(default_factory=dict)
    kept: dict[str, Kept] = field(default_factory=dict)
    kept_journeys: dict[str, int | None] = field(default_factory=dict)
    firing: dict[str, dict[str, Firing]] = field(default_factory=dict)
    deliveries: Deliveries = field(default_factory=Deliveries)
    since_us: dict[str, int] = field(default_factory=dict)

    @property
    def whole_since_us(self) -> int:
        """From when on every topic still has everything."""
        return max(self.since_us.values(), default=0)


async def view(client: LogClient, topics: Topics, at: Cut, wanted: Wanted, owner_of: OwnerOf) -> View:
    """What the log says of the contacts that are `wanted`; `owner_of` gives an identity's customer. Raises
    TransportError."""
    found = View(at)
    async for batch, count in _until(client, topics.events, found):
        _take_events(batch, count, found, wanted, owner_of)
    async for batch, count in _until(client, topics.outcomes, found):
        _take_each(batch, count, found, lambda record: _take_outcome(record, found, wanted))
    async for batch, count in _until(client, topics.journeys, found):
        _take_each(batch, count, found, lambda record: _take_journey(record, found))
    await _take_tables(client, topics, found, wanted)
    async for batch, count in _until(client, topics.alerts, found):
        _take_each(batch, count, found, lambda record: _take_alert(record, found, wanted))
    async for batch, count in _until(client, topics.deliveries, found):
        _take_each(batch, count, found, lambda record: found.deliveries.take(record, found.firing))
    return found


async def _until(client: LogClient, topic: str, found: View) -> AsyncIterator[tuple[Batch, int]]:
    """The topic's batches and how many records of each lie before the cut; notes from when on it has everything."""
    begun: set[int] = set()
    async for batch in client.scan(topic):
        end = found.cut.ends[topic].get(batch.partition, 0)
        if batch.partition not in begun:
            begun.add(batch.partition)
            if batch.offsets[0] > 0:
                found.since_us[topic] = max(found.since_us.get(topic, 0), batch.timestamps_ms[0] * 1_000)
        count = len(batch) if batch.next_offset <= end else sum(offset < end for offset in batch.offsets)
        if count:
            yield batch, count


def _take_each(batch: Batch, count: int, found: View, take: Callable[[dict[str, Any]], None]) -> None:
    """The records of a topic that heardback alone writes. What is no such record was written by somebody else: it says
    nothing, and is counted."""
    for value in batch.values[:count]:
        try:
            take(orjson.loads(value or b""))
        except (ValueError, KeyError, TypeError, AttributeError):
            found.unreadable += 1


# -- events ------------------------------------------------------------------------------------------------


def _take_events(batch: Batch, count: int, found: View, wanted: Wanted, owner_of: OwnerOf) -> None:
    handled = found.cut.handled.get(batch.partition, 0)
    found.events += count
    for index in range(count):
        value, headers, offset = batch.values[index], batch.headers[index], batch.offsets[index]
        appended_us, in_flight = batch.timestamps_ms[index] * 1_000, offset >= handled
        ours = next((name for name, _ in headers if name.startswith(OURS) and name != HOPS), None) if headers else None
        if ours is not None:
            contact_id = _subject_of_ours(ours, value)
            if contact_id is not None and wanted(contact_id):
                heard = found.contacts.setdefault(contact_id, Heard())
                heard.in_flight = heard.in_flight or in_flight
            continue
        if not headers and (subject := subject_of(value)) is not None and not wanted(subject):
            continue  # without decoding it as a whole
        event = decode(value, headers)
        if isinstance(event, Refusal):
            continue
        if event.type == WAKE_UP and event.source.endswith(JOURNEYS):
            woken_us = max(found.journeys_woken_us.get(event.subject, 0), to_us(event.time))
            found.journeys_woken_us[event.subject] = woken_us
            if in_flight:
                found.customers_in_flight.add(event.subject)
        elif wanted(event.subject):
            heard = found.contacts.setdefault(event.subject, Heard())
            heard.touch(appended_us, in_flight)
            if event.type == WAKE_UP:
                heard.woken_us = max(heard.woken_us, to_us(event.time))
            elif in_flight:
                _touches(fact_of(event), found, owner_of)
            else:
                heard.told.append(Told(appended_us, batch.partition, offset, fact_of(event)))


def _touches(item: Fact, found: View, owner_of: OwnerOf) -> None:
    """Whom else a fact may concern that is not handled yet: customers, and contacts that it ties its own to."""
    data = item.data
    named = [data[name] for name in ("customer_id", "into_customer_id") if data.get(name)]
    named += [owner_of(data[name]) for name in ("sender", "recipient") if data.get(name)]
    found.customers_in_flight.update(named)
    for name in ("into", "contact_id"):
        if data.get(name):
            found.contacts.setdefault(data[name], Heard()).in_flight = True


def subject_of(value: bytes | None) -> str | None:
    """The contact that an event in structured form is about, or None where it cannot be told so easily."""
    try:
        content = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    subject = content.get("subject") if isinstance(content, dict) else None
    wakes_journeys = subject is not None and str(content.get("source")).endswith(JOURNEYS)
    return subject if isinstance(subject, str) and not wakes_journeys else None


def _subject_of_ours(header: str, value: bytes | None) -> str | None:
    """The contact of which homes tell each other something."""
    try:
        told = orjson.loads((value or b"").partition(b"\n")[2] if header == MOVED else value or b"")
        contact_id = told["id"] if header == MOVED else told[0]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return contact_id if isinstance(contact_id, str) else None


# -- what was made of them ---------------------------------------------------------------------------------


def _take_outcome(record: Mapping[str, Any], found: View, wanted: Wanted) -> None:
    if not wanted(record["contact_id"]):
        return
    outcomes = found.outcomes.setdefault(record["contact_id"], {})
    last = outcomes.get(record["outcome_id"])
    if last is None or record["revision"] >= last.revision:
        outcomes[record["outcome_id"]] = Published(*(_shared(record[name]) for name in Published._fields))


def _shared(value: Any) -> Any:
    """The same words again and again, kept once."""
    return intern(value) if type(value) is str else value


def _take_journey(record: Mapping[str, Any], found: View) -> None:
    of_customer = found.journeys.setdefault(record["customer_id"], {})
    last = of_customer.get(record["journey_id"])
    if last is None or record["revision"] >= last.revision:
        dead_ends = frozenset(one["contact_id"] for one in record["attempts"] if one["dead_end"] is not None)
        of_customer[record["journey_id"]] = Waits(record["revision"], record["state"], dead_ends)


def _take_alert(record: Mapping[str, Any], found: View, wanted: Wanted) -> None:
    customer_id, contact_id = record["customer_id"], record["contact_id"]
    if customer_id is None or (contact_id is not None and not wanted(contact_id)):
        return
    of_alert = found.firing.setdefault(record["alert_id"], {})
    if record["state"] == "firing":
        of_alert[customer_id] = Firing(record, _us(record["at"]))
        return
    of_alert.pop(customer_id, None)
    if not of_alert:
        del found.firing[record["alert_id"]]


async def _take_tables(client: LogClient, topics: Topics, found: View, wanted: Wanted) -> None:
    contacts = await _last(client, topics.contacts_table, found, lambda name: "\0" not in name and wanted(name))
    trimmed = bool(found.since_us.get(topics.events))
    for (_, name), (value, written_us) in contacts.items():
        state = decode_contact(value)
        if state.moved_to is not None:
            continue
        heard = found.contacts.get(name)
        known = {(told.fact.source, told.fact.id) for told in heard.told} if heard and trimmed else set()
        more = state.contact.carried is not None or any((f.source, f.id) not in known for f in state.contact.facts)
        knows_more = trimmed and more
        found.kept[name] = Kept(decode_header(value).wake_us, tuple(state.tiers), written_us, knows_more)
    for (_, name), (value, _) in (await _last(client, topics.journeys_table, found, lambda _: True)).items():
        found.kept_journeys[name] = journeys_wake(value)
    for compacted in (topics.contacts_table, topics.journeys_table):
        found.since_us.pop(compacted, None)  # what is gone there was overwritten


async def _last(client: LogClient, topic: str, found: View, wanted: Wanted) -> dict[tuple[int, str], tuple[bytes, int]]:
    """The last value of each key of a partition, and when it was written."""
    last: dict[tuple[int, str], tuple[bytes, int]] = {}
    async for batch, count in _until(client, topic, found):
        for index in range(count):
            key, value = batch.keys[index], batch.values[index]
            if key is None or not wanted(name := key.decode()):
                continue
            if value is None:
                last.pop((batch.partition, name), None)
            else:
                last[batch.partition, name] = value, batch.timestamps_ms[index] * 1_000
    return last


def _us(instant: str) -> int:
    return to_us(datetime.fromisoformat(instant))
