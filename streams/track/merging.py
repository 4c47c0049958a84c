"""Merges across homes: the homes of the contacts into which others were merged have copies of their facts (C17, C33).

Who goes where by that; how a contact or a copy travels is `streams.track.moving`'s, what a merge means
`streams.engine.timeline`'s.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set

from streams.engine import timeline as facts
from streams.engine.timeline import Contact, Timeline, customer_of, known_by_merges, named_by_merges
from streams.track.desk import Desk
from streams.track.moving import UNKNOWN, send
from streams.track.state import ContactState
from streams.track.work import Work


def merged_customers(together: Mapping[str, ContactState], desk: Desk) -> dict[str, str]:
    """Contacts of a home that name nobody and are another customer's, by what was merged into them (C19).
    `together` are all contacts of this home and the copies here."""
    contacts = {contact_id: state.contact for contact_id, state in together.items()}
    own = {contact_id: state for contact_id, state in together.items() if not state.is_copy}
    known = {contact_id: _known_customer(state, desk) for contact_id, state in together.items() if state.contact.facts}
    named = named_by_merges({contact_id: contacts[contact_id].facts for contact_id in known}, known)
    empty = known_by_merges(contacts)
    found = {contact_id: named[contact_id] if contact_id in known else empty.get(contact_id) for contact_id in own}
    return {name: customer for name, customer in found.items() if customer and customer != contacts[name].customer_id}


def contacts_known(together: Mapping[str, ContactState], desk: Desk, work: Work) -> dict[str, Contact]:
    """The contacts of a home, and those that it knows to be elsewhere, without their facts, into which some of its
    own were merged: a link ends at another customer's (C34)."""
    contacts = {contact_id: state.contact for contact_id, state in together.items()}
    for state in together.values():
        for into in (item.data["into"] for item in state.contact.facts if item.type == facts.MERGED):
            if into not in contacts and (elsewhere := desk.state(into, work)) is not None:
                contacts[into] = Contact(into, elsewhere.moved_to or elsewhere.home)
    return contacts


def _known_customer(state: ContactState, desk: Desk) -> str | None:
    """As the contact's own facts say."""
    customer = state.contact.customer_id
    if state.is_copy:
        return None if customer.startswith(UNKNOWN) else customer
    return customer if state.contact.carried else customer_of(state.contact.facts, desk.customers.directory)


def carry_over(
    home: str,
    together: Mapping[str, ContactState],
    found: Mapping[str, Timeline],
    touched: Set[str],
    desk: Desk,
    work: Work,
) -> None:
    """Merges into other customers' contacts: the homes of those need copies of the facts (C17), also along chains.
    `together` are all contacts of this home and the copies here, `found` their timelines, `touched` the ids of
    those that changed."""
    for contact_id, state in together.items():
        path, homes = _merged_along(contact_id, together, found, desk, work)
        if path & touched:
            for other in sorted(homes - {home, state.contact.customer_id}):
                _send_copy(state, other, desk, work)
    for contact_id, other in sorted(_to_give_back(home, together, found, touched)):
        _send_copy(together[contact_id], other, desk, work)


def _merged_along(
    contact_id: str, together: Mapping[str, ContactState], found: Mapping[str, Timeline], desk: Desk, work: Work
) -> tuple[set[str], set[str]]:
    """The contacts into which this one was merged, itself among them, as far as this home knows them, and the
    homes in which they are, or are looked for."""
    path: set[str] = set()
    homes: set[str] = set()
    ahead = [contact_id]
    while ahead:
        here = ahead.pop()
        if here in path or here not in together:
            continue
        path.add(here)
        for merge in (item for item in together[here].contact.facts if item.type == facts.MERGED):
            into = merge.data["into"]
            ahead.append(into)
            if into in together:
                homes.add(together[into].contact.customer_id)
            elif (elsewhere := desk.state(into, work)) is not None:
                if not elsewhere.leaving:  # else it goes first
                    homes.add(elsewhere.moved_to or elsewhere.home)
            else:
                named = [merge.data.get("into_customer_id"), found[into].customer_id if into in found else None]
                homes.update(customer for customer in named if customer)
    return path, homes


def _to_give_back(
    home: str, together: Mapping[str, ContactState], found: Mapping[str, Timeline], touched: Set[str]
) -> set[tuple[str, str]]:
    """Contacts of which the homes of others that were merged with them into one of this home need copies: where
    something bounced it may have been an answer of theirs (C33), which changes how their cycles counted."""
    merged: dict[str, list[str]] = defaultdict(list)
    for contact_id in together:
        merged[_lives_on_in(contact_id, found)].append(contact_id)
    given: set[tuple[str, str]] = set()
    for root, members in merged.items():
        if found[root].customer_id != home or touched.isdisjoint(members):
            continue
        bounced = {name for name in members if any(f.type == facts.BOUNCED for f in together[name].contact.facts)}
        for source in (name for name in members if together[name].is_copy and bounced - {name}):
            if any(item.is_answer for item in found[source].facts):
                customer = together[source].contact.customer_id
                given |= {(name, customer) for name in members if together[name].contact.customer_id != customer}
    return given


def _lives_on_in(contact_id: str, found: Mapping[str, Timeline]) -> str:
    while (into := found[contact_id].merged_into) is not None:
        contact_id = into
    return contact_id


def _send_copy(state: ContactState, home: str, desk: Desk, work: Work) -> None:
    own = state.contact
    send(ContactState(Contact(own.contact_id, own.customer_id, own.facts), home), desk, work)
