"""Journeys: all attempts of one customer while no human has answered, over all channels (C14, C19).

An attempt is a customer's message or a mail of theirs that we bounced; an answer to the customer in any
contact ends the journey. Clocks of single contacts belong to `streams.engine.reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.engine import timeline as facts
from streams.engine.attributes import Tier, attributes_at, attributes_never_change
from streams.engine.policy import Attributes, Policies, Policy
from streams.engine.timeline import Timeline

# What shows that somebody of ours has a form: then it did not land where nobody will answer it.
TOUCHES: Final = frozenset({facts.ACKNOWLEDGED, facts.ASSIGNED, facts.SENT})

_DOORS: Final = frozenset({facts.OPENED, facts.RECEIVED})

# What may change a journey: attempts, answers, what a policy is picked by, and what shows that somebody has a form.
JOURNEYING: Final = TOUCHES | {
    facts.OPENED,
    facts.RECEIVED,
    facts.BOUNCED,
    facts.MERGED,
    facts.VOIDED,
    facts.UPDATED,
}


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try of the customer. `dead_end_us` is when it was found to be a dead end, `waited_us` the open time that
    the customer had waited by then, `url` the contact in its own system."""

    contact_id: str
    channel: str
    at_us: int
    dead_end: str | None
    dead_end_us: int | None
    waited_us: int | None
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """A journey as it stands; durations to its end or to `now`. `chased_us` is when the customer had asked as often
    as a policy lets pass (C40), `chased_open_us` the open time that they had waited by then. `wake_us` is the next
    instant after which a form may have become a dead end, or the customer be found chasing."""

    customer_id: str
    attempts: tuple[Attempt, ...]
    started_us: int
    ended_us: int | None
    answered_by: str | None
    policy: Policy | None
    tier: str | None
    open_us: int
    wall_us: int
    chased_us: int | None
    chased_open_us: int | None
    wake_us: int | None


class _Try(NamedTuple):
    at_us: int
    rank: int
    source: str
    id: str
    contact_id: str
    channel: str
    bounced: bool
    attributes: Attributes
    url: str | None


class _Answer(NamedTuple):
    at_us: int
    rank: int
    source: str
    id: str
    agent_id: str | None


@dataclass(frozen=True, slots=True)
class Trace:
    """What one contact means for its customer's journeys. `touched` are instants at which somebody of ours
    took it in hand, `tied_us` when a link or a merge first tied it to another, `door` its first message or
    opening (instant and channel), `form` what its opening names in `source_ref` (and when), `links` whom it
    is linked with (and when)."""

    contact_id: str
    tries: tuple[_Try, ...]
    answers: tuple[_Answer, ...]
    touched: tuple[int, ...]
    tied_us: int | None
    door: tuple[int, str | None] | None
    form: tuple[int, str] | None
    links: frozenset[tuple[int, str]]


def journeys(
    customer_id: str, timelines: Iterable[Timeline], policies: Policies, tiers: Sequence[Tier], now_us: int
) -> list[Journey]:
    """The journeys of one customer, in order, from the timelines of all their contacts. Raises NeverOpens."""
    return journeys_of(customer_id, [trace(timeline, tiers) for timeline in timelines], policies, now_us)


def trace(timeline: Timeline, tiers: Sequence[Tier]) -> Trace:
    """What a contact means for its customer's journeys: nothing where it was merged away, for its facts live
    on elsewhere."""
    if timeline.merged_into is not None:
        return Trace(timeline.contact_id, (), (), (), None, None, None, frozenset())
    doors = [f for f in timeline.facts if f.type in _DOORS]
    door, opened = doors[0] if doors else None, next((f for f in doors if f.type == facts.OPENED), None)
    source_ref = opened.data.get("source_ref") if opened else None
    links = frozenset([(f.at_us, f.data["contact_id"]) for f in timeline.facts if f.type == facts.LINKED])
    ties = [at_us for at_us, _ in links] + ([] if timeline.joined_us is None else [timeline.joined_us])
    return Trace(
        contact_id=timeline.contact_id,
        tries=tuple(_tries(timeline, tiers)),
        answers=tuple(_answers(timeline)),
        touched=tuple([f.at_us for f in timeline.facts if f.type in TOUCHES and not f.data.get("automated")]),
        tied_us=min(ties, default=None),
        door=(door.at_us, door.data.get("channel")) if door else None,
        form=(opened.at_us, source_ref) if opened and source_ref else None,
        links=links,
    )


def journeys_of(
    customer_id: str, traces: Sequence[Trace], policies: Policies, now_us: int, since_us: int | None = None
) -> list[Journey]:
    """The journeys of one customer, in order; with `since_us` only those that had not ended before it. Raises
    NeverOpens."""
    answers = {(one.source, one.id): one for contact in traces for one in contact.answers}
    ordered: list[_Try | _Answer] = [one for contact in traces for one in contact.tries]
    ordered += answers.values()
    ordered.sort(key=lambda item: item[:4])
    found: list[Journey] = []
    for tries, answer in _between_answers(ordered):
        if answer is None or since_us is None or answer.at_us >= since_us:
            found.append(_journey(customer_id, tries, answer, traces, policies, now_us))
    return found


def _between_answers(ordered: Sequence[_Try | _Answer]) -> Iterator[tuple[list[_Try], _Answer | None]]:
    """A contact is one attempt, however often the customer wrote in it."""
    waiting: dict[tuple[str, bool], _Try] = {}
    for item in ordered:
        if isinstance(item, _Try):
            waiting.setdefault((item.contact_id, item.bounced), item)
        elif waiting:
            yield list(waiting.values()), item
            waiting = {}
    if waiting:
        yield list(waiting.values()), None


def _answers(timeline: Timeline) -> Iterator[_Answer]:
    for item in timeline.facts:
        if item.is_answer and (item.source, item.id) not in timeline.taken_back:
            yield _Answer(item.at_us, item.rank, item.source, item.id, item.data.get("agent_id"))


def _tries(timeline: Timeline, tiers: Sequence[Tier]) -> Iterator[_Try]:
    if timeline.end is not None:
        return  # spam, tests and duplicates were never owed an answer (C17)
    url = timeline.opened.data.get("url") if timeline.opened else None
    lasting = attributes_at(timeline, tiers, 0) if attributes_never_change(timeline, tiers) else None
    for item in timeline.facts:
        bounced = facts.is_inbound_bounce(item) and item.data.get("permanent", True)
        if not bounced and not item.is_customer_message:
            continue
        attributes = lasting or attributes_at(timeline, tiers, item.at_us)
        if bounced:
            attributes = attributes._replace(channel="email")
        yield _Try(*item[:4], timeline.contact_id, attributes.channel, bounced, attributes, url)


def _form_due(form: _Try, traces: Sequence[Trace], policies: Policies) -> int | None:
    """When a form becomes a dead end unless the customer is answered before, or None: it has a ticket."""
    if form.channel != "form" or form.bounced:
        return None
    policy = policies.pick(form.attributes, form.at_us)
    if policy is None or policy.dead_end_after_us is None:
        return None
    due_us = policy.calendar.due(form.at_us, policy.dead_end_after_us)
    return None if any(_takes_up(other, form, due_us) for other in traces) else due_us


def _takes_up(other: Trace, form: _Try, due_us: int) -> bool:
    """Whether a contact shows that somebody has a form in time: itself, where it was touched or tied to another;
    another one that names it, is linked to it, or began in that time. What is tied later shares answers only (C17)."""
    if other.contact_id == form.contact_id:
        tied = other.tied_us is not None and other.tied_us <= due_us
        return tied or any(form.at_us <= at_us <= due_us for at_us in other.touched)
    if any(at_us <= due_us and linked == form.contact_id for at_us, linked in other.links):
        return True
    if other.form is not None and other.form[1] == form.contact_id and other.form[0] <= due_us:
        return True
    if other.door is None:
        return False
    at_us, channel = other.door
    return channel != "form" and form.at_us <= at_us <= due_us


def _chasing_us(tries: Sequence[_Try], policies: Policies) -> int | None:
    """The attempt that is one too many: as many as the strictest policy of those so far lets pass (C40)."""
    fewest = None
    for count, item in enumerate(tries, start=1):
        policy = policies.pick(item.attributes, item.at_us)
        if policy is not None and policy.spec.chasing_after is not None:
            fewest = min(policy.spec.chasing_after, fewest or policy.spec.chasing_after)
        if fewest is not None and count >= fewest:
            return item.at_us
    return None


def _journey(
    customer_id: str,
    tries: Sequence[_Try],
    answer: _Answer | None,
    traces: Sequence[Trace],
    policies: Policies,
    now_us: int,
) -> Journey:
    first = tries[0]
    until_us = answer.at_us if answer else max(now_us, tries[-1].at_us)
    dues = [_form_due(item, traces, policies) for item in tries]
    policy = policies.pick(first.attributes, first.at_us)
    wakes = [due for due in dues if due is not None and due >= until_us]
    chased_us = _chasing_us(tries, policies)
    if chased_us is not None and answer is None and chased_us >= now_us:
        wakes.append(chased_us)  # only a wake-up, behind every answer in the log, says that they chase

    def waited(by_us: int) -> int:
        return policy.calendar.elapsed(first.at_us, by_us) if policy else by_us - first.at_us

    if chased_us is not None and chased_us >= (answer.at_us if answer else now_us):
        chased_us = None
    return Journey(
        customer_id=customer_id,
        attempts=tuple(_attempt(item, due_us, until_us, waited) for item, due_us in zip(tries, dues, strict=True)),
        started_us=first.at_us,
        ended_us=answer.at_us if answer else None,
        answered_by=answer.agent_id if answer else None,
        policy=policy,
        tier=first.attributes.tier,
        open_us=waited(until_us),
        wall_us=until_us - first.at_us,
        chased_us=chased_us,
        chased_open_us=None if chased_us is None else waited(chased_us),
        wake_us=None if answer else min(wakes, default=None),
    )


def _attempt(item: _Try, due_us: int | None, until_us: int, waited: Callable[[int], int]) -> Attempt:
    """A form is a dead end once its time has passed without an answer to the customer."""
    dead_end, found_us = None, None
    if item.bounced:
        dead_end, found_us = "bounced", item.at_us
    elif due_us is not None and until_us > due_us:
        dead_end, found_us = "no_ticket", due_us
    by_then = None if found_us is None else waited(found_us)
    return Attempt(item.contact_id, item.channel, item.at_us, dead_end, found_us, by_then, item.url)


def by_customer(timelines: Mapping[str, Timeline]) -> dict[str, list[Timeline]]:
    """Timelines grouped by customer."""
    grouped: dict[str, list[Timeline]] = {}
    for timeline in timelines.values():
        grouped.setdefault(timeline.customer_id, []).append(timeline)
    return grouped
