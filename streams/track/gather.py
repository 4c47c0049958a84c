"""The first step of a batch: each record becomes a fact in its contact, a wake-up, a record sent on, or a refusal.

What follows for clocks is decided afterwards, once per contact, in `streams.track.decide`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from schemas.codec import decode
from schemas.events import ID_CHARACTERS_MAX, ID_PATTERN, WAKE_UP, Event
from schemas.glance import Glance, glance
from schemas.refusals import Reason, Refusal
from streams.engine import timeline as facts
from streams.engine.calendar import SECOND_US, to_us
from streams.engine.journey import JOURNEYING
from streams.engine.outcome import instant_text
from streams.engine.timeline import Contact, Fact, customer_of, fact_of, glanced, in_order
from streams.track.desk import Desk
from streams.track.moving import LEAVES, MOVED, UNKNOWN, forward, hops_of, leave, let_go, take_in
from streams.track.seats import GIVE_WAY, SEAT, announce, give_way, seat_of, take_seats
from streams.track.state import ContactState, fact_bytes, too_large
from streams.track.waking import SOURCE, SOURCE_OF_JOURNEYS
from streams.track.work import Place, Work
from streams.transport import RECORD_BYTES_MAX

HOPS_MAX: Final = 3
CUSTOMER: Final = re.compile(ID_PATTERN)
FORWARDED_BYTES_MAX: Final = RECORD_BYTES_MAX - 1_024  # sent on, it carries a header more


def gather(place: Place, desk: Desk, work: Work) -> None:
    """Take one record in. Raises RefusedInARowError where it is one refusal too many."""
    batch, index = place
    value, headers = batch.values[index], batch.headers[index]
    if headers:
        for header, take in _OURS.items():
            if place.header(header) is not None:
                _gather_ours(header, take, place, desk, work)
                return
    elif (seen := glance(value)) is not None and _bounded(place) is None:
        if seen.type != WAKE_UP:
            _gather_fact(glanced(seen), seen.subject, place, desk, work)
        else:
            _gather_wake_up(seen, place, desk, work)
        return
    event = _bounded(place) or decode(value, headers)
    if isinstance(event, Refusal):
        work.events["", "refused"] += 1
        desk.refuse(place, event, work)
    elif event.type != WAKE_UP:
        _gather_fact(fact_of(event), event.subject, place, desk, work)
    else:
        _gather_wake_up(event, place, desk, work)


def _gather_wake_up(event: Event | Glance, place: Place, desk: Desk, work: Work) -> None:
    now_us = to_us(event.time)
    detail = f"found type {WAKE_UP}, which is internal"
    refusal: Refusal | None = Refusal(reason=Reason.RESERVED_TYPE, detail=detail, field="type")
    if event.source in (SOURCE, SOURCE_OF_JOURNEYS):
        refusal = _untimely(now_us, place, desk)
    if refusal is not None:
        work.events[WAKE_UP, "refused"] += 1
        desk.refuse(place, refusal, work)
        return
    if desk.unkept[work.partition].reach <= place.batch.offsets[place.row] < desk.homes[work.partition].heard_from:
        # It was there when the partition became ours, and nothing was said of it: it is sent again, behind all.
        work.events[WAKE_UP, "stale"] += 1
        now_us = 0
    else:
        work.events[WAKE_UP, "woken"] += 1
    if event.source == SOURCE:
        _wake(event.subject, now_us, desk, work)
    else:
        work.woken_journeys[event.subject] = max(now_us, work.woken_journeys.get(event.subject, 0))
        work.journeying.add(event.subject)


# What homes tell each other.
_OURS: Final = {MOVED: take_in, LEAVES: leave, SEAT: take_seats, GIVE_WAY: give_way}


def _gather_ours(
    header: str, take: Callable[[bytes | None, Desk, Work], None], place: Place, desk: Desk, work: Work
) -> None:
    try:
        take(place.batch.values[place.row], desk, work)
    except (ValueError, KeyError, TypeError, IndexError):
        detail = f"found header {header}, which is ours, on a record that does not say what it promises"
        work.events["", "refused"] += 1
        desk.refuse(place, Refusal(reason=Reason.NOT_CLOUDEVENTS, detail=detail), work)


def _bounded(place: Place) -> Refusal | None:
    """Whatever is taken must fit into records of ours, with key and headers."""
    batch, index = place
    size_bytes = len(batch.values[index] or b"") + len(batch.keys[index] or b"")
    if headers := batch.headers[index]:
        size_bytes += sum(len(name) + len(content) for name, content in headers)
    if size_bytes <= FORWARDED_BYTES_MAX:
        return None
    detail = f"found {size_bytes} bytes with key and headers, wanted at most {FORWARDED_BYTES_MAX}"
    return Refusal(reason=Reason.RECORD_TOO_LARGE, detail=detail)


def _gather_fact(item: Fact, contact_id: str, place: Place, desk: Desk, work: Work) -> None:
    refusal = _untimely(item.at_us, place, desk) or _put(item, contact_id, place, desk, work)
    if refusal is None:
        desk.refused_in_a_row = 0
        return
    work.events[item.type, "refused"] += 1
    desk.refuse(place, refusal, work)


def _put(item: Fact, contact_id: str, place: Place, desk: Desk, work: Work) -> Refusal | None:
    """Put a fact into its contact, send it on to its home, or say why it is refused."""
    state = desk.state(contact_id, work)
    if state is None:
        customer = _said_before(contact_id, desk, work) or _customer(item, place, desk)
        customer = customer or seat_of(contact_id, desk, work)
        if desk.partition_of(customer) != work.partition and hops_of(place) < HOPS_MAX:
            _send_on(item, place, customer, desk, work)
            return None
        state = ContactState(Contact(contact_id, customer), customer)
        announce(contact_id, customer, item.at_us, desk, work)
    elif state.moved_to is not None:
        let_go(state, desk, work)
        _send_on(item, place, state.moved_to, desk, work)
        return None
    count = len(state.contact.facts)
    if refusal := _add(item, state, desk):
        return refusal
    work.events[item.type, "taken" if len(state.contact.facts) > count else "duplicate"] += 1
    work.states[contact_id] = state
    work.touched.setdefault(contact_id, []).append(place)
    if len(state.contact.facts) > count:
        work.woken.discard(contact_id)
    if item.type in JOURNEYING:
        work.journeying.add(state.home)
    _hear(item, state, desk, work)
    return None


def _send_on(item: Fact, place: Place, customer: str, desk: Desk, work: Work) -> None:
    work.events[item.type, "forwarded"] += 1
    forward(place, customer, desk, work)


def _untimely(at_us: int, place: Place, desk: Desk) -> Refusal | None:
    """C20: measured against the log's append time, so that re-reading the log decides alike."""
    appended_us, limits = place.appended_us, desk.limits
    if at_us > appended_us + limits.ahead.seconds * SECOND_US:
        why, reason = f"after {instant_text(appended_us)} by more than {limits.ahead}", Reason.FROM_THE_FUTURE
    elif at_us < appended_us - desk.late_us:
        why, reason = f"before {instant_text(appended_us)} by more than {limits.late_after}", Reason.TOO_LATE
    else:
        return None
    return Refusal(reason=reason, detail=f"found {instant_text(at_us)}, which is {why}", field="time")


def _add(item: Fact, state: ContactState, desk: Desk) -> Refusal | None:
    """Add a fact in its place; a repeat changes nothing, another content under its id is refused (C24)."""
    own, left = state.contact.facts, state.contact.carried
    if left is not None and item.at_us <= left.until_us:
        detail = f"the contact was closed and forgotten with everything up to {instant_text(left.until_us)}"
        return Refusal(reason=Reason.CONTACT_FORGOTTEN, detail=detail, field="time")
    for known in own:
        if known.id == item.id and known.source == item.source:
            if known == item:
                return None
            detail = f"source and id were used before for another content, at {instant_text(known.at_us)}"
            return Refusal(reason=Reason.ID_REUSED, detail=detail, field="id")
        if known.type == item.type == facts.OPENED and known.source != item.source:
            detail = f"contact {state.contact.contact_id} was opened by source {known.source} before"
            return Refusal(reason=Reason.CONTACT_ID_REUSED, detail=detail, field="subject")
    most, added = desk.limits.contact_bytes, fact_bytes(item)
    if state.size_bytes_at_most + added > most and state.size_bytes + added > most:
        return too_large(most)
    state.size_bytes_at_most += added
    if not own or facts.ORDER(own[-1]) < facts.ORDER(item):
        own.append(item)
    else:
        state.contact.facts = in_order([*own, item])
    return None


def _said_before(contact_id: str, desk: Desk, work: Work) -> str | None:
    """Whose a contact was in what was said of it here before a crash. It comes about here again, to take that back and
    to go wherever it belongs by now with the revisions of what was said."""
    told = desk.unkept[work.partition].outcomes.get(contact_id)
    return told.customer if told is not None else None


def _customer(item: Fact, place: Place, desk: Desk) -> str | None:
    """The customer that a fact names (C19), else the one that the record's key is."""
    customer = customer_of([item], desk.customers.directory)
    key = place.batch.keys[place.row]
    if customer is not None or not key:
        return customer
    name = key.decode(errors="replace")
    if len(name) > ID_CHARACTERS_MAX or CUSTOMER.match(name) is None or name.startswith(UNKNOWN):
        return None
    return name


def _wake(name: str, now_us: int, desk: Desk, work: Work) -> None:
    """Have a contact looked at, as far as time has passed; 0: as far as it was known to."""
    state = desk.state(name, work)
    if state is None or state.moved_to is not None:
        return
    state.woken_us = max(state.woken_us, now_us)
    work.touched.setdefault(name, [])
    if now_us:
        work.woken.add(name)
    header = desk.homes[work.partition].headers.get(name)
    if header is not None and header.wake_us is not None and header.wake_us < now_us:
        delay = (now_us - header.wake_us) / SECOND_US
        work.heard.append(lambda: desk.metrics.deadline_delay(delay))


def _hear(item: Fact, state: ContactState, desk: Desk, work: Work) -> None:
    if item.type == facts.BOUNCED:
        direction, permanent = item.data["direction"], item.data.get("permanent", True)
        work.heard.append(lambda: desk.metrics.bounced(direction, permanent))
    if item.type == facts.OPENED:
        channel, tier = item.data["channel"], desk.customers.tier_of(state.contact.customer_id)
        work.heard.append(lambda: desk.metrics.opened(channel, tier))
