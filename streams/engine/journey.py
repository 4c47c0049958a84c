"""Journeys: all attempts of one customer while no human has answered, over all channels (C14, C19).

An attempt is a customer's message or a mail of theirs that we bounced; an answer to the customer in any
contact ends the journey. Clocks of single contacts belong to `streams.engine.clocks`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.engine import timeline as facts
from streams.engine.clocks import Tier, attributes_at
from streams.engine.policy import Attributes, Policies, Policy
from streams.engine.timeline import Fact, Timeline

# What shows that somebody of ours has a form: then it did not land where nobody will answer it.
TOUCHES: Final = frozenset({facts.ACKNOWLEDGED, facts.ASSIGNED, facts.SENT, facts.LINKED})

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
    """One try of the customer. `dead_end_us` is when it was found to be a dead end."""

    contact_id: str
    channel: str
    at_us: int
    dead_end: str | None
    dead_end_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """A journey as it stands; durations to its end or to `now`. `wake_us` is the next instant after
    which a form may have become a dead end."""

    customer_id: str
    attempts: tuple[Attempt, ...]
    started_us: int
    ended_us: int | None
    answered_by: str | None
    policy: Policy | None
    tier: str | None
    open_us: int
    wall_us: int
    wake_us: int | None


class _Try(NamedTuple):
    at_us: int
    rank: int
    source: str
    id: str
    contact_id: str
    channel: str
    bounced: bool
    form_due_us: int | None
    attributes: Attributes


class _Answer(NamedTuple):
    at_us: int
    rank: int
    source: str
    id: str
    agent_id: str | None


def journeys(
    customer_id: str, timelines: Iterable[Timeline], policies: Policies, tiers: Sequence[Tier], now_us: int
) -> list[Journey]:
    """The journeys of one customer, in order, from the timelines of all their contacts. Timelines of
    contacts that were merged away are left out: their facts live on elsewhere. Raises NeverOpens."""
    living = [timeline for timeline in timelines if timeline.merged_into is None]
    tries: list[_Try] = []
    answers: dict[tuple[str, str], _Answer] = {}
    for timeline in living:
        tries += _tries(timeline, living, policies, tiers)
        answers.update({(a.source, a.id): a for a in _answers(timeline)})
    ordered: list[_Try | _Answer] = [*tries, *answers.values()]
    ordered.sort(key=lambda item: item[:4])
    return _between_answers(customer_id, ordered, policies, now_us)


def _between_answers(
    customer_id: str, ordered: Sequence[_Try | _Answer], policies: Policies, now_us: int
) -> list[Journey]:
    found: list[Journey] = []
    waiting: list[_Try] = []
    for item in ordered:
        if isinstance(item, _Try):
            if not any((one.contact_id, one.bounced) == (item.contact_id, item.bounced) for one in waiting):
                waiting.append(item)  # a contact is one attempt, however often the customer wrote in it
        elif waiting:
            found.append(_journey(customer_id, waiting, item, policies, now_us))
            waiting = []
    if waiting:
        found.append(_journey(customer_id, waiting, None, policies, now_us))
    return found


def _answers(timeline: Timeline) -> list[_Answer]:
    return [
        _Answer(f.at_us, f.rank, f.source, f.id, f.data.get("agent_id"))
        for f in timeline.facts
        if f.is_answer and (f.source, f.id) not in timeline.taken_back
    ]


def _tries(timeline: Timeline, living: Sequence[Timeline], policies: Policies, tiers: Sequence[Tier]) -> list[_Try]:
    if timeline.end is not None:
        return []  # spam, tests and duplicates were never owed an answer (C17)
    found = []
    for item in timeline.facts:
        bounced = facts.is_inbound_bounce(item) and item.data.get("permanent", True)
        if not bounced and not item.is_customer_message:
            continue
        attributes = attributes_at(timeline, tiers, item.at_us)
        if bounced:
            attributes = attributes._replace(channel="email")
        form_due_us = None
        if attributes.channel == "form" and not bounced:
            form_due_us = _form_due(timeline, item, living, policies, attributes)
        found.append(_Try(*item[:4], timeline.contact_id, attributes.channel, bounced, form_due_us, attributes))
    return found


def _form_due(
    timeline: Timeline, form: Fact, living: Sequence[Timeline], policies: Policies, attributes: Attributes
) -> int | None:
    """When a form becomes a dead end unless the customer is answered before, or None: it has a ticket."""
    policy = policies.pick(attributes, form.at_us)
    if policy is None or policy.dead_end_after_us is None:
        return None
    due_us = policy.calendar.due(form.at_us, policy.dead_end_after_us)
    touched = any(
        item.type in TOUCHES
        and not item.data.get("automated")
        and (item.type == facts.LINKED or form.at_us <= item.at_us <= due_us)
        for item in timeline.facts
    )
    if touched or timeline.joined or any(_is_ticket_of(timeline, form, other, due_us) for other in living):
        return None
    return due_us


def _is_ticket_of(form: Timeline, sent: Fact, other: Timeline, due_us: int) -> bool:
    """Another contact that came of the form: it names it, is linked to it, or began in that time."""
    if other.contact_id == form.contact_id:
        return False
    for item in other.facts:
        if item.type == facts.LINKED and item.data["contact_id"] == form.contact_id:
            return True  # links are retroactive (C17)
        if item.type == facts.OPENED and item.data.get("source_ref") == form.contact_id and item.at_us <= due_us:
            return True
    first = next((f for f in other.facts if f.type in (facts.OPENED, facts.RECEIVED)), None)
    return first is not None and first.data.get("channel") != "form" and sent.at_us <= first.at_us <= due_us


def _journey(
    customer_id: str, tries: Sequence[_Try], answer: _Answer | None, policies: Policies, now_us: int
) -> Journey:
    first = tries[0]
    until_us = answer.at_us if answer else max(now_us, tries[-1].at_us)
    attempts = tuple(_attempt(item, until_us) for item in tries)
    policy = policies.pick(first.attributes, first.at_us)
    pending = [t.form_due_us for t in tries if t.form_due_us is not None and t.form_due_us >= until_us]
    wall_us = until_us - first.at_us
    return Journey(
        customer_id=customer_id,
        attempts=attempts,
        started_us=first.at_us,
        ended_us=answer.at_us if answer else None,
        answered_by=answer.agent_id if answer else None,
        policy=policy,
        tier=first.attributes.tier,
        open_us=policy.calendar.elapsed(first.at_us, until_us) if policy else wall_us,
        wall_us=wall_us,
        wake_us=None if answer else min(pending, default=None),
    )


def _attempt(item: _Try, until_us: int) -> Attempt:
    """A form is a dead end once its time has passed without an answer to the customer."""
    if item.bounced:
        return Attempt(item.contact_id, item.channel, item.at_us, "bounced", item.at_us)
    due_us = item.form_due_us
    if due_us is not None and until_us > due_us:
        return Attempt(item.contact_id, item.channel, item.at_us, "no_ticket", due_us)
    return Attempt(item.contact_id, item.channel, item.at_us, None, None)


def by_customer(timelines: Mapping[str, Timeline]) -> dict[str, list[Timeline]]:
    """Timelines grouped by customer."""
    grouped: dict[str, list[Timeline]] = {}
    for timeline in timelines.values():
        grouped.setdefault(timeline.customer_id, []).append(timeline)
    return grouped
