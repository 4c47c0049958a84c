"""What a contact is at an instant: channel, priority, queue, and the tier and kind of its customer (C16, C22).

Which policy that picks is `streams.engine.policy`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from streams.engine import timeline as facts
from streams.engine.policy import NORMAL, Attributes
from streams.engine.timeline import Timeline

OTHER: Final = "other"
OF_CONTACT: Final = ("channel", "priority", "queue")
"""Those that events of the contact name; tier and kind are its customer's."""


@dataclass(frozen=True, slots=True)
class Tier:
    """The customer's tier and kind from `since_us` on; the first one holds from the beginning."""

    since_us: int
    tier: str | None
    kind: str | None


def first_attributes(timeline: Timeline, tier: Tier) -> Attributes:
    """C22: those of `contact.opened` hold from the first message; without it, the message's channel."""
    if timeline.opened is not None:
        data = timeline.opened.data
        return Attributes(data["channel"], data.get("priority") or NORMAL, data.get("queue"), tier.tier, tier.kind)
    if timeline.carried is not None:
        left = timeline.carried
        return Attributes(left.channel, left.priority, left.queue, tier.tier, tier.kind)
    first = next((f for f in timeline.facts if f.is_customer_message), None)
    channel = first.data.get("channel") if first else None
    return Attributes(channel or OTHER, NORMAL, None, tier.tier, tier.kind)


def attributes_at(timeline: Timeline, tiers: Sequence[Tier], at_us: int) -> Attributes:
    """The contact's attributes at that instant, before the changes that happen at it (C21, C22)."""
    in_force = next((tier for tier in reversed(tiers) if tier.since_us < at_us), tiers[0] if tiers else None)
    attributes = first_attributes(timeline, in_force or Tier(0, None, None))
    for item in timeline.facts:
        if item.at_us >= at_us:
            break
        if item.type in (facts.UPDATED, facts.ASSIGNED):
            opened_us, names = opening(timeline)
            keys = [key for key in OF_CONTACT if item.data.get(key) and not (item.at_us < opened_us and key in names)]
            attributes = attributes._replace(**{key: item.data[key] for key in keys})
    return attributes


def attributes_never_change(timeline: Timeline, tiers: Sequence[Tier]) -> bool:
    """Whether `attributes_at` is the same at any instant, as it mostly is."""
    if len(tiers) > 1:
        return False
    changing = [f.data for f in timeline.facts if f.type in (facts.UPDATED, facts.ASSIGNED)]
    return all(data.keys().isdisjoint(OF_CONTACT) for data in changing)


def opening(timeline: Timeline) -> tuple[int, tuple[str, ...]]:
    """Since when what `contact.opened` names holds, from it or from an earlier message, and what it names (C22)."""
    opened = timeline.opened
    if opened is None:
        return 0, ()
    messages = (f.at_us for f in timeline.facts if f.type in (facts.RECEIVED, facts.SENT))
    return min(opened.at_us, next(messages, opened.at_us)), tuple(key for key in OF_CONTACT if opened.data.get(key))
