"""The second step of a batch: each touched contact is assessed once; what changed is to be published and kept.

Nothing is written here: `streams.track.agent` makes it true. What a clock says is `streams.engine`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from schemas.refusals import Reason, Refusal
from streams.engine.attributes import attributes_at
from streams.engine.calendar import NeverOpens
from streams.engine.clocks import Assessment, Clock, forgotten_clock
from streams.engine.outcome import Content, Published, clock_digest, numbered, outcome_content, superseded
from streams.engine.reading import assess, reading_of
from streams.engine.rehearsal import url_of
from streams.engine.timeline import MERGED, Contact, Timeline, alone, ties, timelines
from streams.track.desk import Desk, living
from streams.track.forgetting import LOOK_AGAIN_US, Judged, forget_or_wait, over
from streams.track.journeying import decide_journeys
from streams.track.merging import carry_over, contacts_known, merged_customers
from streams.track.moving import move, new_customer, touch_tied
from streams.track.seats import announce
from streams.track.state import SUPERSEDED, ContactState, decode_contact, encode_under, header_of, postponed
from streams.track.work import Work
from streams.transport import Pace, Record

_LATE: Final = ("at_risk", "overdue", "escalated")


async def decide(desk: Desk, work: Work, pace: Pace) -> None:
    """Decide everything that the gathered facts and wake-ups change."""
    _touch_unkept(desk, work)
    for name in list(work.touched):
        _settle_home(work.states[name], desk, work)
    touched = _touched_by_home(work)
    tied = {home: names for home, names in touched.items() if _is_tied(home, names, desk, work)}
    for home, names in tied.items():
        _settle_merged(home, names, desk, work)
    for home, names in (_touched_by_home(work) if tied else touched).items():
        _decide_contacts(home, names, desk, work)
        await pace()
    by_home: dict[str, set[str]] = defaultdict(set)
    for name, state in work.states.items():
        by_home[state.home].add(name)
    for customer in sorted(work.journeying):
        decide_journeys(customer, by_home.get(customer, set()), desk, work)
        await pace()


def _touched_by_home(work: Work) -> dict[str, set[str]]:
    touched: dict[str, set[str]] = defaultdict(set)
    for name in work.touched:
        if work.states[name].moved_to is None:
            touched[work.states[name].home].add(name)
    return touched


def _touch_unkept(desk: Desk, work: Work) -> None:
    """Once everything has been read again that was known when the process ended, what it had published is looked at.
    What was said of a contact that left was taken back when it did; where none came about again, one without facts
    takes it back, and gives way."""
    unkept = desk.unkept[work.partition]
    for name, told in [one for one in unkept.outcomes.items() if one[1].reach <= work.end]:
        state = desk.state(name, work) or _stand_in(name, told.customer, told.started_us, desk, work)
        if state.moved_to is None:
            work.touched.setdefault(name, [])
        else:
            del unkept.outcomes[name]
    work.journeying.update(customer for customer, told in unkept.journeys.items() if told.reach <= work.end)


def _settle_home(state: ContactState, desk: Desk, work: Work) -> None:
    """A contact whose customer turned out to be another one is that one's now (C19), here or elsewhere. One that is
    leaving goes where it was sent."""
    if state.moved_to is not None:
        return
    customer = work.giving_way.get(state.name) or new_customer(state, desk)
    if customer is not None:
        _go_home(state, customer, desk, work)


def _settle_merged(home: str, touched: set[str], desk: Desk, work: Work) -> None:
    """A contact that names nobody is the customer's whose contact was merged into it first (C19)."""
    together = desk.living(touched.union(desk.homes[work.partition].names_of(home)), home, work)
    for name, customer in merged_customers(together, desk).items():
        work.touched.setdefault(name, [])
        _go_home(together[name], customer, desk, work)


def _go_home(state: ContactState, customer: str, desk: Desk, work: Work) -> None:
    """A contact is another customer's, here or elsewhere, and what was merged into it must follow."""
    touch_tied(state.home, desk, work)
    work.journeying |= {state.home, customer}
    _count_unkept(state, desk, work)
    if desk.partition_of(customer) == work.partition:
        state.contact.customer_id = state.home = customer
        state.tiers = []  # those of somebody else
        return
    _publish_gone(set(state.published), state, desk, work)  # void, superseded, before the new home speaks
    move(state, customer, work)


def _decide_contacts(home: str, touched: set[str], desk: Desk, work: Work) -> None:
    if _is_tied(home, touched, desk, work):
        _decide_together(home, touched, desk, work)
        return
    for name in sorted(touched):
        state = work.states[name]
        timeline = work.timelines[name] = alone(state.contact)
        if (judged := _judged(state, timeline, desk, work)) is not None:
            _decide_contact(judged, over([judged], desk.late_us), desk, work)


def _decide_together(home: str, touched: set[str], desk: Desk, work: Work) -> None:
    """Merges and links tie contacts of this home to each other: all of them are looked at."""
    together = desk.living(touched.union(desk.homes[work.partition].names_of(home)), home, work)
    found = timelines(contacts_known(together, desk, work))
    carry_over(home, together, found, {work.states[name].contact.contact_id for name in touched}, desk, work)
    judged = []
    for contact_id, timeline in found.items():
        state = together.get(contact_id) or _known_by_merge(contact_id, timeline, home, together, desk, work)
        if state is not None and (one := _judged(state, timeline, desk, work)) is not None:
            judged.append(one)
    done = over(judged, desk.late_us)
    for one in judged:
        _decide_contact(one, done, desk, work)


def _judged(state: ContactState, timeline: Timeline, desk: Desk, work: Work) -> Judged | None:
    try:
        return Judged(state, timeline, _assessed(state, timeline, desk, work))
    except NeverOpens as never:
        _refuse(state, never, desk, work)
        return None


def _is_tied(home: str, touched: Iterable[str], desk: Desk, work: Work) -> bool:
    """Whether merges or links tie contacts of this home to each other."""
    if desk.homes[work.partition].entangled(home):
        return True
    return any(ties(work.states[name].contact.facts) for name in touched)


def _known_by_merge(
    contact_id: str, timeline: Timeline, home: str, together: Mapping[str, ContactState], desk: Desk, work: Work
) -> ContactState | None:
    """A contact without events of its own here, into which another was merged. Where another home has it, this one
    will be told to give way."""
    if timeline.customer_id != home or desk.state(contact_id, work) is not None:
        return None
    merges = (item for state in together.values() for item in state.contact.facts if item.type == MERGED)
    at_us = max(item.at_us for item in merges if item.data["into"] == contact_id)
    return _stand_in(contact_id, home, at_us, desk, work)


def _stand_in(contact_id: str, home: str, at_us: int, desk: Desk, work: Work) -> ContactState:
    """A contact without events of its own; `at_us` is when it was named."""
    announce(contact_id, home, at_us, desk, work)
    state = work.states[contact_id] = ContactState(Contact(contact_id, home), home)
    return state


def _assessed(state: ContactState, timeline: Timeline, desk: Desk, work: Work) -> Assessment:
    """Only a wake-up makes a customer late, and it comes behind every answer in the log: a clock that arrives
    late waits for the next one, though the contact was woken before for something else."""
    if desk.note_tier(state) and state.name in work.before:
        work.journeying.add(state.home)
    reading = reading_of(timeline, desk.policies, state.tiers)
    found = reading.assessment(state.woken_us)
    if not state.woken_us or state.name in work.woken:
        return found
    header = desk.homes[work.partition].headers.get(state.name)
    late = [clock for clock in found.clocks if clock.stage in _LATE]
    known = {clock.target for clock in header.running if clock.state != "ok"} if header and late else set()
    fresh = {(clock.target, clock.cycle) for clock in late if clock.target not in known}
    if not fresh:
        return found
    calm = reading.assessment(0).clocks
    clocks = tuple(c if (c.target, c.cycle) in fresh else now for now, c in zip(found.clocks, calm, strict=True))
    wake_us = min((clock.wake_us for clock in clocks if clock.wake_us is not None), default=None)
    return replace(found, clocks=clocks, wake_us=wake_us)


def _decide_contact(one: Judged, done: Mapping[str, int], desk: Desk, work: Work) -> None:
    state, timeline, assessed = one
    wake_us: int | None = None
    clocks: tuple[Clock, ...] = ()
    if not state.is_copy:
        clocks, wake_us = assessed.clocks, assessed.wake_us
        _publish_changes(state, timeline, assessed, desk, work)
        if state.contact.facts and all(clock.ended_us is not None for clock in clocks):
            wake_us = forget_or_wait(one, done.get(state.name), desk, work)
        if assessed.uncovered and state.contact.facts and state.name not in work.before:  # none that stands in
            attributes = assessed.attributes
            work.heard.append(lambda: desk.metrics.uncovered(attributes.channel, attributes.tier))
    elif state.name in done:
        work.contacts[state.name.encode()] = None  # a copy has nothing to go on with
        return
    name, header = state.name, header_of(state, wake_us, clocks)
    value = encode_under(header, state)
    if value != work.before.get(name):
        work.contacts[name.encode()] = value
        work.headers[name] = header


def _publish_changes(state: ContactState, timeline: Timeline, assessed: Assessment, desk: Desk, work: Work) -> None:
    if _count_unkept(state, desk, work):
        return
    url, customer, published = url_of(timeline), state.contact.customer_id, state.published
    for clock in assessed.clocks:
        key, says = f"{clock.target}:{clock.cycle}", clock_digest(clock, customer, url)
        last = published.get(key)
        if last is None or last.digest != says:
            _publish(key, outcome_content(clock, customer, url), says, state, desk, work)
    if len(published) > len(assessed.clocks):
        keys = {f"{clock.target}:{clock.cycle}" for clock in assessed.clocks}
        _publish_gone(published.keys() - keys, state, desk, work)


def _count_unkept(state: ContactState, desk: Desk, work: Work) -> bool:
    """What a batch had published before a crash kept it out of the table is published, and counts on. Whether less
    is known yet than then."""
    unkept = desk.unkept[work.partition].outcomes
    told = unkept.get(state.name) if unkept else None
    if told is None:
        return False
    for key, content in told.contents.items():
        last = state.published.get(key)
        says = SUPERSEDED if content["reason"] == SUPERSEDED else ""
        elsewhere = last is not None and last.digest == SUPERSEDED and not says  # taken back there, not here
        if last is None or last.revision < content["revision"] or elsewhere:
            revision, ended = max(content["revision"], last.revision if last else 0), content["ended_at"] is not None
            state.published[key] = Published(revision, says, content["verdict"], ended)
        work.unkept[state.name, key] = {name: value for name, value in content.items() if name != "revision"}
    if told.reach <= work.end:
        del unkept[state.name]
    return told.reach > work.end


def _publish(key: str, content: Content, says: str, state: ContactState, desk: Desk, work: Work) -> None:
    last = state.published.get(key)
    revision = last.revision + 1 if last else 1
    ended, verdict = content["ended_at"] is not None, content["verdict"]
    state.published[key] = Published(revision, says, verdict, ended)
    work.outcomes.append(Record(content["customer_id"].encode(), numbered(content, revision)))
    if last is None:
        work.started[content["policy"], content["target"], content["channel"], content["tier"]] = content
    if ended or verdict != "open":
        work.heard.append(lambda: _hear(content, last, desk))


def _hear(content: Content, last: Published | None, desk: Desk) -> None:
    had_ended = last is not None and last.ended
    desk.metrics.outcome(content, last_verdict=last.verdict if last else None, had_ended=had_ended)
    closed = content["silently_closed"] and content["target"] in ("first_response", "next_response")
    if closed and not had_ended:
        desk.metrics.silent_close(content["policy"])


def _publish_gone(gone: Iterable[str], state: ContactState, desk: Desk, work: Work) -> None:
    """An outcome that no longer exists is published once more as void, superseded."""
    told = [key for key in sorted(gone) if state.published[key].digest != SUPERSEDED]
    old = _contents_before(state.name, desk, work) if told else {}
    for key in told:
        content = work.unkept.get((state.name, key)) or old.get(key) or _no_longer_promised(key, state, desk)
        if content is not None:
            _publish(key, superseded(content["outcome_id"], content), SUPERSEDED, state, desk, work)


def _contents_before(name: str, desk: Desk, work: Work) -> Mapping[str, Content]:
    """The outcomes of a contact as it was before the batch, among those that it was tied to."""
    table, index = desk.contacts.partition(work.partition), desk.homes[work.partition]
    if name not in work.before:
        return {}
    state = decode_contact(work.before[name])
    if state.moved_to is not None:
        return {}  # it was elsewhere
    names = {name, *(index.names_of(state.home) if index.entangled(state.home) else ())}
    others = [decode_contact(value) for one in sorted(names) if (value := table.get(one.encode())) is not None]
    together = living(others, state.home)
    timeline = timelines({contact_id: one.contact for contact_id, one in together.items()})[state.contact.contact_id]
    clocks = assess(timeline, desk.policies, state.tiers, state.woken_us).clocks
    customer, url = state.contact.customer_id, url_of(timeline)
    return {f"{clock.target}:{clock.cycle}": outcome_content(clock, customer, url) for clock in clocks}


def _no_longer_promised(key: str, state: ContactState, desk: Desk) -> Content | None:
    """An outcome of a promise that the configuration no longer makes, as far as it can still be told: the
    policy of another clock of the contact stands for the one that is gone."""
    policy = next(iter(desk.policies.policies), None)
    if policy is None or not state.contact.facts:
        return None
    target, _, cycle = key.partition(":")
    timeline = timelines({state.contact.contact_id: state.contact})[state.contact.contact_id]
    start_us = state.contact.facts[0].at_us
    attributes = attributes_at(timeline, state.tiers, start_us + 1)
    policy = desk.policies.pick(attributes, start_us) or policy
    clock = forgotten_clock(state.contact.contact_id, target, int(cycle), policy, attributes, start_us)
    return outcome_content(clock, state.contact.customer_id, url_of(timeline))


def _refuse(state: ContactState, never: NeverOpens, desk: Desk, work: Work) -> None:
    """A calendar without open time left judges nothing: what touched the contact is refused, one by one."""
    name = state.name
    before, places = work.before.get(name), work.touched.get(name, [])
    if before is None:
        del work.states[name]
    else:
        work.states[name] = decode_contact(before)
        if not places:  # woken: again, but not at once
            work.contacts[name.encode()] = postponed(before, state.woken_us + LOOK_AGAIN_US)
    for place in places:
        desk.refuse(place, Refusal(reason=Reason.CALENDAR_NEVER_OPENS, detail=str(never)), work)
