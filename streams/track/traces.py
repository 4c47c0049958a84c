"""What a customer's contacts mean for their journeys, remembered between batches.

A customer may have thousands of contacts, and a batch touches one: the others are decoded and traced once, as long
as their value in table `contacts` is the same object. Forgetting any of it costs time, nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.engine.attributes import Tier
from streams.engine.journey import Trace, trace
from streams.engine.timeline import Timeline, alone
from streams.track.state import ContactState, decode_contact

REMEMBERED_MAX: Final = 50_000


class Traced(NamedTuple):
    """A contact's trace, up to when its facts were forgotten, and its last fact."""

    trace: Trace
    forgotten_us: int
    last_us: int


class Traces:
    """The traces of contacts by the name under which table `contacts` keeps them."""

    def __init__(self, most: int = REMEMBERED_MAX) -> None:
        self._most = most
        self._remembered: dict[str, tuple[bytes, Traced | None]] = {}

    def of_value(self, name: str, value: bytes, home: str, tiers: Sequence[Tier]) -> Traced | None:
        """The trace of a contact that nobody touched; None where it does not live in `home`."""
        remembered = self._remembered.get(name)
        if remembered is not None and remembered[0] is value:
            return remembered[1]
        if len(self._remembered) >= self._most:
            self._remembered.clear()
        traced = traced_of(decode_contact(value), home, tiers)
        self._remembered[name] = (value, traced)
        return traced


def traced_of(state: ContactState, home: str, tiers: Sequence[Tier], timeline: Timeline | None = None) -> Traced | None:
    """The trace of a contact by itself, by the tiers it knows, else by `tiers`; None where it does not live in
    `home`. `timeline` where it is known already."""
    if state.moved_to is not None or state.home != home:
        return None
    contact = state.contact
    forgotten_us = contact.carried.until_us if contact.carried else 0
    last_us = contact.facts[-1].at_us if contact.facts else 0
    return Traced(trace(timeline or alone(contact), state.tiers or tiers), forgotten_us, last_us)
