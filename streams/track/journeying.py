"""A customer's journeys in a batch: reassessed when one of their contacts was touched, published when they changed.

What a journey is belongs to `streams.engine.journey`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from streams.engine.attributes import Tier
from streams.engine.calendar import NeverOpens, to_us
from streams.engine.journey import journeys_of, trace
from streams.engine.outcome import Content, Published, digest, gone_journey, instant_text, journey_content, numbered
from streams.engine.timeline import ties, timelines
from streams.track.desk import Desk
from streams.track.merging import contacts_known
from streams.track.state import JourneyState, decode_journeys, encode_journeys
from streams.track.traces import Traced, traced_of
from streams.track.work import Work
from streams.transport import Record

GONE: Final = "gone"


def somebody_waits(customer: str, desk: Desk, work: Work) -> bool:
    """Whether a journey of this customer has not been answered."""
    value = desk.journeys.partition(work.partition).get(customer.encode())
    return value is not None and any(ended_us is None for _, ended_us in decode_journeys(value).spans.values())


def decide_journeys(customer: str, touched: set[str], desk: Desk, work: Work) -> None:
    """Look at a customer's journeys again; `touched` are names of contacts that the batch brought here."""
    value = desk.journeys.partition(work.partition).get(customer.encode())
    known = decode_journeys(value) if value is not None else JourneyState(None, 0, {}, {})
    woken_us = max(known.woken_us, work.woken_journeys.get(customer, 0))
    contacts = _traced(customer, touched, desk, work)
    unkept = customer in desk.unkept[work.partition].journeys
    hold = unkept and _count_unkept(customer, known, desk, work)
    since_us = 0 if unkept else _changed_since(customer, touched, known, desk, work)
    try:
        found = journeys_of(customer, [one.trace for one in contacts], desk.policies, woken_us, since_us)
    except NeverOpens:
        return  # said when the contact's clocks were refused
    if hold:
        wake_us = min((journey.wake_us for journey in found if journey.wake_us is not None), default=None)
        held = JourneyState(wake_us, woken_us, known.published, known.spans)
        work.journey_states[customer.encode()] = encode_journeys(held)
        return
    complete_from_us = max((one.forgotten_us for one in contacts), default=0)
    published, spans = dict(known.published), dict(known.spans)
    told = set()
    old_us = woken_us - 2 * desk.late_us
    for journey in found:
        content = journey_content(journey)
        known_end_us = known.spans.get(content["journey_id"], (0, 0))[1]
        past = journey.started_us <= complete_from_us or (journey.ended_us or old_us) < old_us
        if journey.ended_us is not None and known_end_us is not None and past:
            continue  # told long ago, when all of its facts were here
        _publish(content, published, desk, work)
        spans[content["journey_id"]] = (journey.started_us, journey.ended_us)
        told.add(content["journey_id"])
    at_us = max((one.last_us for one in contacts), default=0)
    for name, (started_us, ended_us) in list(spans.items()):
        if ended_us is not None and ended_us < old_us:
            published.pop(name, None)
            del spans[name]
        elif ended_us is not None and ended_us < since_us:
            continue
        elif name not in told and (ended_us is None or started_us > complete_from_us):
            spans[name] = (started_us, _publish_gone(name, customer, started_us, at_us, published, work))
    wake_us = min((journey.wake_us for journey in found if journey.wake_us is not None), default=None)
    if wake_us is None and spans:
        wake_us = _when_all_is_old(spans, desk.late_us)
    encoded = encode_journeys(JourneyState(wake_us, woken_us, published, spans)) if spans else None
    if encoded != value:
        work.journey_states[customer.encode()] = encoded


def _count_unkept(customer: str, known: JourneyState, desk: Desk, work: Work) -> bool:
    """What a batch had published before a crash kept it out of the table is published, and counts on. Whether less
    is known yet than then."""
    unkept = desk.unkept[work.partition].journeys
    told = unkept[customer]
    for name, content in told.contents.items():
        last = known.published.get(name)
        if last is None or last.revision < content["revision"]:
            known.published[name] = Published(content["revision"], "" if content["attempts"] else GONE)
            started_us, ended_at = _us(content["started_at"]), content["ended_at"]
            known.spans[name] = (started_us, None if ended_at is None else _us(ended_at))
    if told.reach <= work.end:
        del unkept[customer]
    return told.reach > work.end


def _us(instant: str) -> int:
    return to_us(datetime.fromisoformat(instant))


def _when_all_is_old(spans: Mapping[str, tuple[int, int | None]], late_us: int) -> int | None:
    """When what is kept of a customer can go; None while somebody waits."""
    ends = [ended_us for _, ended_us in spans.values() if ended_us is not None]
    return max(ends) + 2 * late_us if len(ends) == len(spans) else None


def _changed_since(customer: str, touched: set[str], known: JourneyState, desk: Desk, work: Work) -> int:
    """Journeys that had ended before are as they were: nothing of a contact acts before its first fact, but
    through merges and links."""
    if _is_tied(customer, touched, desk, work):
        return 0
    firsts = [own[0].at_us for name in touched if (own := work.states[name].contact.facts)]
    began = [started_us for started_us, ended_us in known.spans.values() if ended_us is None]
    moved = any(work.states[name].moved_to is not None or work.states[name].home != customer for name in touched)
    return 0 if moved or not firsts else min(firsts + began)


def _is_tied(customer: str, touched: set[str], desk: Desk, work: Work) -> bool:
    entangled = desk.homes[work.partition].entangled(customer)
    return entangled or any(ties(work.states[name].contact.facts) for name in touched)


def _traced(customer: str, touched: set[str], desk: Desk, work: Work) -> list[Traced]:
    """What each contact of a customer means for their journeys; tied ones are looked at together."""
    index, table = desk.homes[work.partition], desk.contacts.partition(work.partition)
    names = sorted(touched.union(index.names_of(customer)))
    current = desk.customers.tier(customer)
    tiers = [current] if current else []
    if _is_tied(customer, touched, desk, work):
        return _tied(customer, names, tiers, desk, work)
    found: list[Traced | None] = []
    for name in names:
        state, value = work.states.get(name), table.get(name.encode())
        if state is not None:
            found.append(traced_of(state, customer, tiers, work.timelines.get(name)))
        elif value is not None:
            found.append(desk.traces.of_value(name, value, customer, tiers))
    return [traced for traced in found if traced is not None]


def _tied(customer: str, names: Iterable[str], tiers: Sequence[Tier], desk: Desk, work: Work) -> list[Traced]:
    living = desk.living(names, customer, work)
    own = (state for state in living.values() if not state.is_copy)
    known = max((state.tiers for state in own), key=len, default=[])
    found = []
    for contact_id, timeline in timelines(contacts_known(living, desk, work)).items():
        if timeline.customer_id == customer and contact_id in living:  # what merges alone name may live elsewhere
            left, last_us = timeline.carried, timeline.facts[-1].at_us if timeline.facts else 0
            found.append(Traced(trace(timeline, known or tiers), left.until_us if left else 0, last_us))
    return found


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
    work.journeys.append(Record(content["customer_id"].encode(), numbered(content, revision)))
