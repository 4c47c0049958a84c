"""Events in simulated time: the same engine over files, as fast as it can, and the same in any order.

Reading files and writing them belongs to `streams.cli`; here events go in and records come out. Nothing
is forgotten, every outcome has revision 1 (CONTRACT.md section 5).
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import orjson

from schemas.codec import BOM, RECORD_BYTES_MAX, decode_from_outside
from schemas.events import WAKE_UP
from schemas.glance import glance
from schemas.policies import TARGETS
from schemas.refusals import Reason, Refusal
from streams.engine import timeline as facts
from streams.engine.attributes import Tier
from streams.engine.calendar import NeverOpens, to_us
from streams.engine.identity import Directory
from streams.engine.journey import by_customer, journeys
from streams.engine.outcome import Content, instant_text, journey_content, outcome_content
from streams.engine.policy import Policies
from streams.engine.reading import Reading, reading_of
from streams.engine.rehearsal import Rehearsed, Said, rehearse, url_of
from streams.engine.timeline import Contact, Fact, customers_of, fact_of, glanced, in_order, timelines
from streams.engine.unfolding import TiersOf
from streams.track.state import fact_bytes, too_large

Watched = Callable[[Sequence[dict[str, Contact]]], Iterator[dict[str, Contact]]]
AlertsOf = Callable[[Sequence[Said]], list[Content]]


class Line(NamedTuple):
    """One record of an input: where it was, and its bytes."""

    where: str
    value: bytes


class Refused(NamedTuple):
    """A record that was not taken, with its reason."""

    line: Line
    refusal: Refusal


class _Read(NamedTuple):
    fact: Fact
    contact_id: str
    line: Line


@dataclass(slots=True)
class Replayed:
    """What a replay came to. All lists are in an order that does not depend on the input's. `tiers` are those of
    the contacts' customers, the others' are not kept; everything was judged at `until_us`."""

    outcomes: list[Content] = field(default_factory=list)
    journeys: list[Content] = field(default_factory=list)
    alerts: list[Content] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    contacts: dict[str, Contact] = field(default_factory=dict)
    tiers: dict[str, Sequence[Tier]] = field(default_factory=dict)
    until_us: int = 0
    summary: dict[str, Any] = field(default_factory=dict)


def replay(
    lines: Iterable[Line],
    policies: Policies,
    directory: Directory,
    *,
    until: datetime | None = None,
    alerts_of: AlertsOf | None = None,
    contact_bytes_max: int = 262_144,
    tiers_of: TiersOf | None = None,
    watched: Watched = iter,
) -> Replayed:
    """Run the engine over `lines` up to `until` (default: the last event's time). `alerts_of` makes
    alerts of what was said in each customer's life; without it there are none. `tiers_of` knows when
    tiers changed; without it each customer has had one tier, the directory's, from the start. `watched` is handed
    the groups of contacts that are judged one after the other."""
    result = Replayed()
    counts: Counter[str] = Counter()
    read = _taken(_read(lines, counts, result.refused), until, counts, result.refused)
    tiers_of = tiers_of or _tiers(directory)
    until_us = result.until_us = (
        to_us(until) if until is not None else max((item.fact.at_us for item in read), default=0)
    )
    result.contacts = _contacts(read, directory, contact_bytes_max, result.refused)
    result.tiers = {customer_id: tiers_of(customer_id) for customer_id in _customers(result.contacts.values())}
    uncovered = 0
    for group in watched(list(groups(result.contacts))):
        try:
            rehearsed = None if alerts_of is None else _rehearsed(group, policies, tiers_of, until_us)
            readings = rehearsed.readings if isinstance(rehearsed, Rehearsed) else {}
            uncovered += _judge(group, policies, tiers_of, until_us, readings, result)
            if isinstance(rehearsed, NeverOpens):
                raise rehearsed
            if rehearsed is not None and alerts_of is not None:
                result.alerts += alerts_of(rehearsed.said)
        except NeverOpens as never:
            result.refused += [_never(contact, never) for contact in group.values()]
    result.outcomes.sort(key=lambda o: (o["contact_id"], TARGETS.index(o["target"]), o["cycle"]))
    result.journeys.sort(key=lambda j: (j["started_at"], j["journey_id"]))
    result.alerts.sort(key=_alert_order)
    result.refused.sort(key=lambda refused: (refused.refusal.reason, refused.line.value, refused.refusal.detail))
    result.summary = _summary(result, counts, uncovered, until_us)
    return result


def _read(lines: Iterable[Line], counts: Counter[str], refused: list[Refused]) -> Iterator[_Read]:
    for line in lines:
        if not line.value.strip():
            continue
        counts["events"] += 1
        seen = glance(line.value) if len(line.value) <= RECORD_BYTES_MAX else None
        if seen is not None and seen.type != WAKE_UP:
            yield _Read(glanced(seen), seen.subject, line)
            continue
        event = decode_from_outside(line.value)
        if isinstance(event, Refusal):
            refused.append(Refused(line, event))
        else:
            yield _Read(fact_of(event), event.subject, line)


def _taken(read: Iterable[_Read], until: datetime | None, counts: Counter[str], refused: list[Refused]) -> list[_Read]:
    """In the order of (time, source, id), each identity once (C24), nothing after `until`."""
    until_us = None if until is None else to_us(until)
    ordered = sorted(read, key=lambda item: (item.fact.at_us, item.fact.source, item.fact.id))
    first: dict[tuple[str, str], _Read] = {}
    taken: list[_Read] = []
    for item in _ties_by_content(ordered):
        if until_us is not None and item.fact.at_us > until_us:
            counts["after_until"] += 1
            continue
        holder = first.setdefault((item.fact.source, item.fact.id), item)
        if holder is item:
            taken.append(item)
        elif (holder.fact, holder.contact_id) == (item.fact, item.contact_id):
            counts["duplicates"] += 1
        else:
            detail = f"source and id were used before for another content, at {instant_text(holder.fact.at_us)}"
            refused.append(Refused(item.line, Refusal(reason=Reason.ID_REUSED, detail=detail, field="id")))
    return _first_opener_holds(taken, refused)


def _ties_by_content(ordered: list[_Read]) -> list[_Read]:
    """Same time, source and id: the earlier canonical JSON first (C24)."""
    for position in range(1, len(ordered)):
        if ordered[position].fact[:4] == ordered[position - 1].fact[:4]:
            return sorted(ordered, key=lambda i: (i.fact.at_us, i.fact.source, i.fact.id, _canonical(i.line.value)))
    return ordered


def _canonical(value: bytes) -> bytes:
    """The content whatever its blanks and the order of its keys. Numbers beyond a double stay text."""
    value = value.removeprefix(BOM)
    try:
        return orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError:
        content = json.loads(value, parse_int=str, parse_float=str)
        return json.dumps(content, sort_keys=True, separators=(",", ":")).encode()


def _first_opener_holds(taken: list[_Read], refused: list[Refused]) -> list[_Read]:
    """A contact's id belongs to the source that opened it first (CONTRACT.md section 2)."""
    opener: dict[str, str] = {}
    kept = []
    for item in taken:
        if item.fact.type == facts.OPENED:
            source = opener.setdefault(item.contact_id, item.fact.source)
            if source != item.fact.source:
                detail = f"contact {item.contact_id} was opened by source {source} before"
                refusal = Refusal(reason=Reason.CONTACT_ID_REUSED, detail=detail, field="subject")
                refused.append(Refused(item.line, refusal))
                continue
        kept.append(item)
    return kept


def _contacts(
    taken: Iterable[_Read], directory: Directory, bytes_max: int, refused: list[Refused]
) -> dict[str, Contact]:
    gathered: dict[str, list[Fact]] = defaultdict(list)
    sizes: Counter[str] = Counter()
    for item in taken:
        sizes[item.contact_id] += fact_bytes(item.fact)
        if sizes[item.contact_id] > bytes_max:
            refused.append(Refused(item.line, too_large(bytes_max)))
        else:
            gathered[item.contact_id].append(item.fact)
    ordered = {contact_id: in_order(gathered[contact_id]) for contact_id in sorted(gathered)}
    customers = customers_of(ordered, directory)
    return {contact_id: Contact(contact_id, customers[contact_id], own) for contact_id, own in ordered.items()}


def groups(contacts: Mapping[str, Contact]) -> Iterator[dict[str, Contact]]:
    """Contacts that must be looked at together: those of one customer, and of customers whose contacts
    were merged into each other's, or into one that is known by merges alone."""
    joined: dict[str, str] = {}

    def root(customer_id: str) -> str:
        path = []
        while (above := joined.get(customer_id, customer_id)) != customer_id:
            path.append(customer_id)
            customer_id = above
        joined.update(dict.fromkeys(path, customer_id))  # or many merges into one contact would make a long way
        return customer_id

    groups: dict[str, dict[str, Contact]] = defaultdict(dict)
    for contact in contacts.values():
        for merge in (item for item in contact.facts if item.type == facts.MERGED):
            target = contacts.get(merge.data["into"])
            named = merge.data.get("into_customer_id")
            for other in (target.customer_id,) if target else (named, f"\0{merge.data['into']}"):
                if other is not None:
                    joined[root(other)] = root(contact.customer_id)
    for contact_id, contact in contacts.items():
        groups[root(contact.customer_id)][contact_id] = contact
    yield from groups.values()


def _customers(contacts: Iterable[Contact]) -> list[str]:
    """The contacts' customers, and those into whose contacts some were merged."""
    found = set()
    for contact in contacts:
        found.add(contact.customer_id)
        into = (item.data.get("into_customer_id") for item in contact.facts if item.type == facts.MERGED)
        found.update(customer_id for customer_id in into if customer_id)
    return sorted(found)


def _tiers(directory: Directory) -> TiersOf:
    def tiers_of(customer_id: str) -> Sequence[Tier]:
        known = directory.customers.get(customer_id)
        return (Tier(0, known.tier, known.kind),) if known else ()

    return tiers_of


def _judge(
    group: dict[str, Contact],
    policies: Policies,
    tiers_of: TiersOf,
    until_us: int,
    readings: Mapping[str, Reading],
    result: Replayed,
) -> int:
    """Final outcomes and journeys; `readings` are of contacts that were read before. Raises NeverOpens."""
    uncovered = 0
    outcomes, found = [], []
    judged = timelines(group)
    for timeline in judged.values():
        reading = readings.get(timeline.contact_id)
        if reading is None:
            reading = reading_of(timeline, policies, tiers_of(timeline.customer_id))
        assessment = reading.assessment(until_us)
        uncovered += assessment.uncovered
        url = url_of(timeline)
        for clock in assessment.clocks:
            outcomes.append(_revised(outcome_content(clock, timeline.customer_id, url), "outcome_id"))
    for customer_id, own in by_customer(judged).items():
        for journey in journeys(customer_id, own, policies, tiers_of(customer_id), until_us):
            found.append(_revised(journey_content(journey), "journey_id"))
    result.outcomes += outcomes
    result.journeys += found
    return uncovered


def _revised(content: Content, key: str) -> Content:
    return {key: content[key], "revision": 1, **content}


def _rehearsed(
    group: dict[str, Contact], policies: Policies, tiers_of: TiersOf, until_us: int
) -> Rehearsed | NeverOpens:
    try:
        return rehearse(group.values(), policies, tiers_of, until_us)
    except NeverOpens as never:
        return never


def _alert_order(alert: Content) -> tuple[str, str, str, str]:
    return alert["at"].removesuffix("Z"), alert["alert_id"], alert["kind"], alert["state"]


def _never(contact: Contact, never: NeverOpens) -> Refused:
    line = Line(f"contact {contact.contact_id}", contact.contact_id.encode())
    return Refused(line, Refusal(reason=Reason.CALENDAR_NEVER_OPENS, detail=str(never)))


def _summary(result: Replayed, counts: Counter[str], uncovered: int, until_us: int) -> dict[str, Any]:
    judged: dict[str, dict[str, dict[str, int]]] = {}
    for outcome in result.outcomes:
        targets = judged.setdefault(outcome["policy"], {})
        verdicts = targets.setdefault(outcome["target"], {"kept": 0, "broken": 0, "void": 0, "open": 0})
        verdicts[outcome["verdict"]] += 1
    reasons = Counter(str(refused.refusal.reason) for refused in result.refused)
    return {
        "events": counts["events"],
        "duplicates": counts["duplicates"],
        "after_until": counts["after_until"],
        "refused": dict(sorted(reasons.items())),
        "contacts": len(result.contacts),
        "customers": len({contact.customer_id for contact in result.contacts.values()}),
        "uncovered": uncovered,
        "until": instant_text(until_us),
        "policies": {
            policy: {target: targets[target] for target in TARGETS if target in targets}
            for policy, targets in sorted(judged.items())
        },
    }
