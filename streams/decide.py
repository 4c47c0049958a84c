"""The second step of a batch: each touched contact is assessed once; what changed is to be published and kept.

Nothing is written here: `streams.track` makes it true. What a clock says is `streams.engine`'s.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from schemas.refusals import Reason, Refusal
from streams.desk import Desk, living
from streams.engine.calendar import DAY_US, NeverOpens
from streams.engine.clocks import Assessment, Clock, assess
from streams.engine.outcome import Content, Published, clock_digest, outcome_content, superseded
from streams.engine.rehearsal import url_of
from streams.engine.timeline import Carried, Contact, Timeline, ties, timelines
from streams.journeying import decide_journeys, somebody_waits
from streams.moving import carry_over, move, new_customer
from streams.state import ContactState, decode_contact, encode_contact
from streams.transport import Pace, Record
from streams.work import Work

LOOK_AGAIN_US: Final = DAY_US
SUPERSEDED: Final = "superseded"


async def decide(desk: Desk, work: Work, pace: Pace) -> None:
    """Decide everything that the gathered facts and wake-ups change."""
    for name in list(work.touched):
        _settle_home(work.states[name], desk, work)
    touched: dict[str, set[str]] = defaultdict(set)
    for name in work.touched:
        if work.states[name].moved_to is None:
            touched[work.states[name].home].add(name)
    for home, names in touched.items():
        _decide_contacts(home, names, desk, work)
        await pace()
    by_home: dict[str, set[str]] = defaultdict(set)
    for name, state in work.states.items():
        by_home[state.home].add(name)
    for customer in sorted(work.journeying):
        decide_journeys(customer, by_home.get(customer, set()), desk, work)
        await pace()


def _settle_home(state: ContactState, desk: Desk, work: Work) -> None:
    """A contact whose customer turned out to be another one is that one's now (C19), here or elsewhere."""
    customer = new_customer(state, desk)
    if customer is None:
        return
    work.journeying |= {state.home, customer}
    if desk.partition_of(customer) == work.partition:
        state.contact.customer_id = state.home = customer
        state.tiers = []  # those of somebody else
        return
    _publish_gone(set(state.published), state, desk, work)  # void, superseded, before the new home speaks
    move(state, customer, desk, work)


def _decide_contacts(home: str, touched: set[str], desk: Desk, work: Work) -> None:
    tied = _is_tied(home, touched, desk, work)
    names = touched | desk.homes[work.partition].contacts_of.get(home, set()) if tied else touched
    together = desk.living(names, home, work)
    if tied:
        carry_over(home, together, {work.states[name].contact.contact_id for name in touched}, desk, work)
    try:
        found = timelines({contact_id: state.contact for contact_id, state in together.items()})
        for contact_id, timeline in found.items():
            state = together.get(contact_id) or _known_by_merge(contact_id, timeline, home, desk, work)
            if state is not None:
                _decide_contact(state, timeline, desk, work)
    except NeverOpens as never:
        _refuse_touched(touched, never, desk, work)


def _is_tied(home: str, touched: Iterable[str], desk: Desk, work: Work) -> bool:
    """Whether merges or links tie contacts of this home to each other."""
    if desk.homes[work.partition].entangled(home):
        return True
    return any(ties(work.states[name].contact.facts) for name in touched)


def _known_by_merge(contact_id: str, timeline: Timeline, home: str, desk: Desk, work: Work) -> ContactState | None:
    """A contact without events of its own, into which another was merged."""
    if timeline.customer_id != home or desk.state(contact_id, work) is not None:
        return None
    state = work.states[contact_id] = ContactState(Contact(contact_id, home), home)
    return state


def _decide_contact(state: ContactState, timeline: Timeline, desk: Desk, work: Work) -> None:
    desk.note_tier(state)
    assessed = assess(timeline, desk.policies, state.tiers, state.woken_us)
    wake_us: int | None = None
    clocks: tuple[Clock, ...] = ()
    if not state.is_copy:
        clocks, wake_us = assessed.clocks, assessed.wake_us
        _publish_changes(state, timeline, assessed, desk, work)
        if state.contact.facts and all(clock.ended_us is not None for clock in clocks):
            wake_us = _forget_or_wait(state, assessed, desk, work)
        if assessed.uncovered and state.name not in work.before:
            attributes = assessed.attributes
            work.heard.append(lambda: desk.metrics.uncovered(attributes.channel, attributes.tier))
    value = encode_contact(state, wake_us, clocks)
    if value != work.before.get(state.name):
        work.contacts[state.name.encode()] = value


def _publish_changes(state: ContactState, timeline: Timeline, assessed: Assessment, desk: Desk, work: Work) -> None:
    url = url_of(timeline)
    customer = state.contact.customer_id
    keys = set()
    for clock in assessed.clocks:
        key, says = f"{clock.target}:{clock.cycle}", clock_digest(clock, customer, url)
        keys.add(key)
        last = state.published.get(key)
        if last is None or last.digest != says:
            _publish(key, outcome_content(clock, customer, url), says, state, desk, work)
    if len(state.published) > len(keys):
        _publish_gone(state.published.keys() - keys, state, desk, work)


def _publish(key: str, content: Content, says: str, state: ContactState, desk: Desk, work: Work) -> None:
    last = state.published.get(key)
    revision = last.revision + 1 if last else 1
    ended = content["ended_at"] is not None
    state.published[key] = Published(revision, says, content["verdict"], ended)
    record = {"outcome_id": content["outcome_id"], "revision": revision, **content}
    work.outcomes.append(Record(key=content["customer_id"].encode(), value=orjson.dumps(record)))
    if ended or content["verdict"] != "open":
        work.heard.append(lambda: _hear(content, last, desk))


def _hear(content: Content, last: Published | None, desk: Desk) -> None:
    had_ended = last is not None and last.ended
    desk.metrics.outcome(content, last_verdict=last.verdict if last else None, had_ended=had_ended)
    closed = content["silently_closed"] and content["target"] in ("first_response", "next_response")
    if closed and not had_ended:
        desk.metrics.silent_close(content["policy"])


def _publish_gone(gone: Iterable[str], state: ContactState, desk: Desk, work: Work) -> None:
    """An outcome that no longer exists is published once more as void, superseded."""
    old = _contents_before(state.name, desk, work)
    for key in sorted(gone):
        content = old.get(key)
        if content is not None and state.published[key].digest != SUPERSEDED:
            _publish(key, superseded(content["outcome_id"], content), SUPERSEDED, state, desk, work)


def _contents_before(name: str, desk: Desk, work: Work) -> Mapping[str, Content]:
    """The outcomes of a contact as it was before the batch, among those that it was tied to."""
    table, index = desk.contacts.partition(work.partition), desk.homes[work.partition]
    if name not in work.before:
        return {}
    state = decode_contact(work.before[name])
    names = {name} | (index.contacts_of.get(state.home, set()) if index.entangled(state.home) else set())
    others = [decode_contact(value) for one in sorted(names) if (value := table.get(one.encode())) is not None]
    together = living(others, state.home)
    timeline = timelines({contact_id: one.contact for contact_id, one in together.items()})[state.contact.contact_id]
    clocks = assess(timeline, desk.policies, state.tiers, state.woken_us).clocks
    customer, url = state.contact.customer_id, url_of(timeline)
    return {f"{clock.target}:{clock.cycle}": outcome_content(clock, customer, url) for clock in clocks}


def _forget_or_wait(state: ContactState, assessed: Assessment, desk: Desk, work: Work) -> int | None:
    """A contact with nothing left to run leaves the state once no late event can be taken any more (C20);
    until then, when to look again. While somebody waits for an answer, or merges and links need its facts,
    it stays."""
    last_us = state.contact.facts[-1].at_us
    if state.woken_us <= last_us + desk.late_us:
        return last_us + desk.late_us
    index = desk.homes[work.partition]
    needed = index.entangled(state.home) and index.running(state.home)
    if needed or somebody_waits(state.home, desk, work):
        return state.woken_us + LOOK_AGAIN_US
    cycles: Counter[str] = Counter(state.contact.carried.cycles if state.contact.carried else {})
    for clock in assessed.clocks:
        cycles[clock.target] = max(cycles[clock.target], clock.cycle)
    attributes = assessed.attributes
    state.contact.carried = Carried(
        until_us=last_us,
        cycles=cycles,
        answered_us=assessed.answered_us,
        channel=attributes.channel,
        priority=attributes.priority,
        queue=attributes.queue,
    )
    state.contact.facts, state.published = [], {}
    return None


def _refuse_touched(touched: set[str], never: NeverOpens, desk: Desk, work: Work) -> None:
    """A calendar without open time left judges nothing: what touched these contacts is refused."""
    for name in touched:
        place, before = work.touched[name], work.before.get(name)
        if before is None:
            del work.states[name]
        else:
            work.states[name] = decode_contact(before)
        if place is not None:
            desk.refuse(place, Refusal(reason=Reason.CALENDAR_NEVER_OPENS, detail=str(never)), work)
