"""`explain`: everything that there is to say of one contact at one instant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.policies import TARGETS
from streams.engine.attributes import Tier
from streams.engine.calendar import Calendar
from streams.engine.clocks import Assessment, Clock
from streams.engine.explain.absence import absences
from streams.engine.explain.explanation import ExplainedClock, Explanation
from streams.engine.explain.marks import marks
from streams.engine.explain.story import story
from streams.engine.explain.stretches import stretches
from streams.engine.explain.witness import Witness
from streams.engine.journey import Journey, by_customer, journeys
from streams.engine.policy import Policies
from streams.engine.reading import assess
from streams.engine.rehearsal import url_of
from streams.engine.timeline import Contact, Timeline, timelines
from streams.engine.unfolding import TiersOf


def explain(
    contact_id: str, contacts: Mapping[str, Contact], policies: Policies, tiers_of: TiersOf, now_us: int
) -> Explanation | None:
    """The contact as it was known at `now`: later facts are left out. `contacts` are all contacts of its customer,
    and of customers whose contacts were merged with theirs. None where nothing was known of it then. Raises
    NeverOpens."""
    known = _known(contacts, now_us)
    judged = timelines(known)
    timeline = judged.get(contact_id)
    if timeline is None:
        return None
    tiers = [tier for place, tier in enumerate(tiers_of(timeline.customer_id)) if not place or tier.since_us <= now_us]
    witness = Witness(policies)
    assessment = assess(timeline, policies, tiers, now_us, watch=witness)
    return Explanation(
        contact_id=contact_id,
        customer_id=timeline.customer_id,
        now_us=now_us,
        attributes=assessment.attributes,
        summary=timeline.opened.data.get("summary") if timeline.opened else None,
        url=url_of(timeline),
        calendar=_calendar(assessment, policies, now_us),
        end=timeline.end,
        merged_into=timeline.merged_into,
        clocks=tuple(_clock(clock, witness, policies, timeline, now_us) for clock in _in_order(assessment)),
        absences=absences(timeline, assessment.clocks, witness, policies),
        facts=story(timeline, known, tiers, witness),
        journeys=_journeys(contact_id, by_customer(judged)[timeline.customer_id], policies, tiers, now_us),
    )


def _known(contacts: Mapping[str, Contact], now_us: int) -> dict[str, Contact]:
    known = {}
    for contact_id, contact in contacts.items():
        facts = [item for item in contact.facts if item.at_us <= now_us]
        if facts:
            known[contact_id] = Contact(contact_id, contact.customer_id, facts)
    return known


def _in_order(assessment: Assessment) -> list[Clock]:
    return sorted(assessment.clocks, key=lambda clock: (TARGETS.index(clock.target), clock.cycle))


def _clock(clock: Clock, witness: Witness, policies: Policies, timeline: Timeline, now_us: int) -> ExplainedClock:
    name = (clock.target, clock.cycle)
    running = witness.clocks[name]
    return ExplainedClock(
        clock=clock,
        promised=str(running.span),
        stretches=stretches(clock, witness.pauses),
        marks=marks(clock, running, witness.marks[name], witness.ended_by.get(name), policies, timeline, now_us),
    )


def _calendar(assessment: Assessment, policies: Policies, now_us: int) -> Calendar | None:
    """Whose local time is told: the first clock's, else that of the policy that would cover the contact now."""
    if assessment.clocks:
        return assessment.clocks[0].policy.calendar
    policy = policies.pick(assessment.attributes, now_us) or next(iter(policies.policies), None)
    return policy.calendar if policy else None


def _journeys(
    contact_id: str, own: Sequence[Timeline], policies: Policies, tiers: Sequence[Tier], now_us: int
) -> tuple[Journey, ...]:
    customer_id = own[0].customer_id
    return tuple(
        journey
        for journey in journeys(customer_id, own, policies, tiers, now_us)
        if any(attempt.contact_id == contact_id for attempt in journey.attempts)
    )
