"""Contacts as they become known: read on from instant to instant, and from the beginning only where a fact changes
what was read before it.

A contact by itself is a part of what is known of a customer; contacts that merges or links tie together are one
part, and are read from the beginning each time. What is said of them belongs to `streams.engine.rehearsal`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from streams.engine import timeline as facts
from streams.engine.attributes import Tier
from streams.engine.policy import Policies
from streams.engine.reading import Reading, reading_of
from streams.engine.timeline import Contact, Fact, Timeline, once_each, timelines

TiersOf = Callable[[str], Sequence[Tier]]
Happened = tuple[Contact, Fact]


class Part(Protocol):
    """Contacts that must be read together: what is known of them so far, and what it means."""

    readings: dict[str, Reading]

    @property
    def acts_from_us(self) -> int:
        """Before that instant nothing is as it is because of what is known here."""

    def go_on(self, happened: Sequence[Happened]) -> None:
        """Take note of what happens at one instant."""

    def timelines(self) -> Iterable[Timeline]:
        """The timelines of all that is known."""


class _Alone:
    """A contact that nothing ties to another."""

    def __init__(self, contact: Contact, policies: Policies, tiers: Sequence[Tier]) -> None:
        self.readings: dict[str, Reading] = {}
        self._known = Contact(contact.contact_id, contact.customer_id, [])
        self._policies = policies
        self._tiers = tiers
        self._afresh = len(tiers) > 1 or once_each(contact.facts) is not contact.facts
        self._bounced = False

    @property
    def acts_from_us(self) -> int:
        return self._known.facts[0].at_us

    def go_on(self, happened: Sequence[Happened]) -> None:
        name, fresh = self._known.contact_id, [item for _, item in happened]
        reading = self.readings.get(name)
        self._known.facts += fresh
        if self._changes_the_past(fresh, reading) or reading is None:
            timeline = timelines({name: self._known})[name]
            self.readings[name] = reading_of(timeline, self._policies, self._tiers)
            return
        reading.timeline.facts = fresh
        reading.read()
        for running in reading.clocks:
            running.over = None  # an answer settles what was closed silently

    def _changes_the_past(self, fresh: Sequence[Fact], reading: Reading | None) -> bool:
        """Whether these facts change what was read before them: a bounce takes an answer back (C13), or shows a
        moment later which one, a first message or a late opening says what held from the beginning (C22), what is
        void was so from the start (C17)."""
        kinds = {item.type for item in fresh}
        bounced, self._bounced = self._bounced, self._bounced or facts.BOUNCED in kinds
        if self._afresh or reading is None or not reading.written:
            return True
        if not kinds.isdisjoint((facts.BOUNCED, facts.OPENED, facts.VOIDED)):
            return True
        return bounced and facts.SENT in kinds

    def timelines(self) -> Iterable[Timeline]:
        return timelines({self._known.contact_id: self._known}).values()


class _Tied:
    """Contacts that merges or links tie together (C17)."""

    def __init__(self, policies: Policies, tiers_of: TiersOf) -> None:
        self.readings: dict[str, Reading] = {}
        self._known: dict[str, Contact] = {}
        self._timelines: dict[str, Timeline] = {}
        self._policies = policies
        self._tiers_of = tiers_of

    @property
    def acts_from_us(self) -> int:
        return 0  # links are retroactive

    def go_on(self, happened: Sequence[Happened]) -> None:
        for contact, item in happened:
            known = self._known.get(contact.contact_id)
            if known is None:
                known = self._known[contact.contact_id] = Contact(contact.contact_id, contact.customer_id, [])
            known.facts.append(item)
        self._timelines = timelines(self._known)
        for name, timeline in self._timelines.items():
            self.readings[name] = reading_of(timeline, self._policies, self._tiers_of(timeline.customer_id))

    def timelines(self) -> Iterable[Timeline]:
        return self._timelines.values()


def parts_of(contacts: Sequence[Contact], policies: Policies, tiers_of: TiersOf) -> dict[str, Part]:
    """By contact, what it is read with."""
    root_of: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := root_of.get(name, name)) != name:
            name = above
        return name

    for contact in contacts:
        for item in contact.facts:
            if item.type == facts.MERGED or item.type == facts.LINKED:
                other = item.data["into" if item.type == facts.MERGED else "contact_id"]
                here = root(contact.contact_id)
                root_of[here] = root(other)
                root_of.setdefault(root(other), root(other))
    tied: dict[str, Part] = {}
    parts: dict[str, Part] = {}
    for contact in contacts:
        name = contact.contact_id
        if name in root_of:
            parts[name] = tied.setdefault(root(name), _Tied(policies, tiers_of))
        else:
            parts[name] = _Alone(contact, policies, tiers_of(contact.customer_id))
    return parts
