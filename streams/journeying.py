"""A customer's journeys in a batch: reassessed when one of their contacts was touched, published when they changed.

What a journey is belongs to `streams.engine.journey`.
"""

from __future__ import annotations

from typing import Final

import orjson

from streams.desk import Desk
from streams.engine.calendar import NeverOpens
from streams.engine.journey import Journey, journeys
from streams.engine.outcome import Content, Published, digest, gone_journey, instant_text, journey_content
from streams.engine.timeline import timelines
from streams.state import ContactState, JourneyState, decode_journeys, encode_journeys
from streams.transport import Record
from streams.work import Work

GONE: Final = "gone"


def somebody_waits(customer: str, desk: Desk, work: Work) -> bool:
    """Whether a journey of this customer has not been answered."""
    value = desk.journeys.partition(work.partition).get(customer.encode())
    return value is not None and any(ended_us is None for _, ended_us in decode_journeys(value).spans.values())


def decide_journeys(customer: str, touched: set[str], desk: Desk, work: Work) -> None:
    """Look at a customer's journeys again; `touched` are names of contacts that the batch brought here."""
    value = desk.journeys.partition(work.partition).get(customer.encode())
    known = decode_journeys(value) if value is not None else JourneyState(None, 0, {}, {})
    names = desk.homes[work.partition].contacts_of.get(customer, set()) | touched
    living = desk.living(names, customer, work)
    woken_us = max(known.woken_us, work.woken_journeys.get(customer, 0))
    try:
        found = _assessed(customer, living, woken_us, desk)
    except NeverOpens:
        return  # said when the contact's clocks were refused
    forgotten = (state.contact.carried.until_us for state in living.values() if state.contact.carried)
    complete_from_us = max(forgotten, default=0)
    published, spans = dict(known.published), dict(known.spans)
    told = set()
    for journey in found:
        if journey.ended_us is not None and journey.started_us <= complete_from_us:
            continue  # told long ago, when all of its facts were here
        content = journey_content(journey)
        _publish(content, published, desk, work)
        spans[content["journey_id"]] = (journey.started_us, journey.ended_us)
        told.add(content["journey_id"])
    at_us = max((item.at_us for state in living.values() for item in state.contact.facts), default=0)
    for name, (started_us, ended_us) in list(spans.items()):
        if ended_us is not None and ended_us < woken_us - 2 * desk.late_us:
            published.pop(name, None)
            del spans[name]
        elif name not in told and (ended_us is None or started_us > complete_from_us):
            spans[name] = (started_us, _publish_gone(name, customer, started_us, at_us, published, work))
    wake_us = min((journey.wake_us for journey in found if journey.wake_us is not None), default=None)
    encoded = encode_journeys(JourneyState(wake_us, woken_us, published, spans))
    if encoded != value:
        work.journey_states[customer.encode()] = encoded


def _assessed(customer: str, living: dict[str, ContactState], woken_us: int, desk: Desk) -> list[Journey]:
    current = desk.customers.tier(customer)
    own = (state for state in living.values() if not state.is_copy)
    known = max((state.tiers for state in own), key=len, default=[])
    tiers = known or ([current] if current else [])
    judged = timelines({contact_id: state.contact for contact_id, state in living.items()})
    theirs = [timeline for timeline in judged.values() if timeline.customer_id == customer]
    return journeys(customer, theirs, desk.policies, tiers, woken_us)


def _publish(content: Content, published: dict[str, Published], desk: Desk, work: Work) -> None:
    name = content["journey_id"]
    last, says = published.get(name), digest(content)
    if last is not None and last.digest == says:
        return
    published[name] = Published(last.revision + 1 if last else 1, says)
    _write(content, published[name].revision, work)
    if content["state"] == "waiting":
        for channel in [attempt["channel"] for attempt in content["attempts"] if attempt["dead_end"] is not None]:
            work.heard.append(lambda channel=channel: desk.metrics.dead_end(channel))  # type: ignore[misc]


def _publish_gone(
    name: str, customer: str, started_us: int, at_us: int, published: dict[str, Published], work: Work
) -> int:
    """Say once more, without attempts, what no longer exists; its revision stays known, for it may come back."""
    at_us = max(at_us, started_us)
    if published[name].digest != GONE:
        published[name] = Published(published[name].revision + 1, GONE)
        content = gone_journey(name, customer, instant_text(started_us), instant_text(at_us))
        _write(content, published[name].revision, work)
    return at_us


def _write(content: Content, revision: int, work: Work) -> None:
    record = {"journey_id": content["journey_id"], "revision": revision, **content}
    work.journeys.append(Record(key=content["customer_id"].encode(), value=orjson.dumps(record)))
