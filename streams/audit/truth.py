"""The contacts as they ought to be known: the facts of the log under the rules of what is taken, and whose they are.

The rules are those of a live run: what was appended first holds (C20, C24). What the facts mean for clocks is the
engine's; what was made of them live is not looked at here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from schemas.configuration import Limits
from streams.audit.view import Heard, Told
from streams.engine import timeline as facts
from streams.engine.calendar import SECOND_US
from streams.engine.identity import Directory
from streams.engine.timeline import Contact, Fact, customers_of, in_order
from streams.track.state import fact_bytes


def contacts_of(heard: Mapping[str, Heard], directory: Directory, limits: Limits) -> dict[str, Contact]:
    """Every contact of which a fact was taken, by its id in order."""
    gathered = {contact_id: in_order(_taken(heard[contact_id].told, limits)) for contact_id in sorted(heard)}
    gathered = {contact_id: own for contact_id, own in gathered.items() if own}
    customers = customers_of(gathered, directory)
    return {contact_id: Contact(contact_id, customers[contact_id], own) for contact_id, own in gathered.items()}


def _taken(told: Iterable[Told], limits: Limits) -> Iterator[Fact]:
    """In the order in which they were appended; a record that was sent on to another home is there twice."""
    first: set[tuple[str, str]] = set()
    opener: str | None = None
    size = 0
    for one in sorted(told, key=lambda one: one[:3]):
        item = one.fact
        if (item.source, item.id) in first or not _in_time(one, limits):
            continue
        if item.type == facts.OPENED:
            if opener not in (None, item.source):
                continue
            opener = item.source
        if size + fact_bytes(item) > limits.contact_bytes:
            continue
        size += fact_bytes(item)
        first.add((item.source, item.id))
        yield item


def _in_time(one: Told, limits: Limits) -> bool:
    late_us, ahead_us = limits.late_after.seconds * SECOND_US, limits.ahead.seconds * SECOND_US
    return one.appended_us - late_us <= one.fact.at_us <= one.appended_us + ahead_us


def tied(contacts: Iterable[Contact]) -> bool:
    """Whether merges or links tie some of these together: then the clocks of one follow from the facts of others."""
    return any(facts.ties(contact.facts) for contact in contacts)
