"""Contacts that move: a record goes on to its customer's home, and a contact to another customer's (C17, C19).

A customer has one home (DESIGN section 2, point 10). What moves is the whole contact in one record of
`contact-events`, with the revisions that were published of it, so that ids and revisions go on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import replace
from typing import Final

import orjson

from streams.engine import timeline as facts
from streams.engine.timeline import Contact, Timeline, customer_of, in_order, known_by_merges, named_by_merges
from streams.track.desk import Desk
from streams.track.state import ContactState, decode_body, encode_body, encode_contact
from streams.track.work import Place, Work
from streams.transport import Record

MOVED: Final = "heardback.moved"
HOPS: Final = "heardback.hops"
LEAVES: Final = "heardback.leaves"
GIVEN: Final = b"given:"  # before the home of a contact that gives way to another home's, once for each time
ROUNDS_MAX: Final = 3
UNKNOWN: Final = "contact:"  # before a contact's id: the customer of one that names nobody


def hops_of(place: Place) -> int:
    """How often a record was sent on already."""
    hops = place.header(HOPS) or b"0"
    return int(hops) if hops.isdigit() and len(hops) < 4 else 0


def forward(place: Place, customer: str, desk: Desk, work: Work) -> None:
    """Send a record on, unchanged, to the home of its customer."""
    record = place.record
    headers = [*(h for h in record.headers if h[0] != HOPS), (HOPS, str(hops_of(place) + 1).encode())]
    sent_on = Record(key=customer.encode(), value=record.value, headers=headers, timestamp_ms=record.timestamp_ms)
    work.forwarded[desk.partition_of(customer)].append(sent_on)


def take_in(value: bytes | None, desk: Desk, work: Work) -> None:
    """A contact that comes from another home, with what was published of it there; or a copy of one."""
    if value is None:
        return
    told, _, body = value.partition(b"\n")
    given = told.count(GIVEN)
    came = decode_body(body, told.replace(GIVEN, b"").decode())
    name = came.name
    state = desk.state(name, work)
    if state is not None and state.moved_to is not None:
        let_go(state, desk, work)
        came_before = not given and came.moves <= state.moves  # sent again after a crash: it has gone on since
        if came_before or (given and _goes_on(given, state.moved_to, desk, work)):
            record = Record(key=came.home.encode(), value=GIVEN * bool(given) + value, headers=[(MOVED, b"1")])
            work.forwarded[desk.partition_of(state.moved_to)].append(record)
            return
        came.moves = max(came.moves, state.moves)
    if state is None or state.moved_to is not None:
        work.states[name] = came
    elif not _unite(state, came):
        return  # a copy that says nothing new: answering it would go round for ever
    work.touched.setdefault(name, [])
    work.woken.add(name)
    work.journeying |= {came.home, work.states[name].home}


def _goes_on(given: int, moved_to: str, desk: Desk, work: Work) -> bool:
    """Whether a contact follows the one that it gives way to. Two homes that each gave way to the other would send
    theirs round for ever: after some rounds the partition of the lower number keeps what comes."""
    return given < ROUNDS_MAX or work.partition > desk.partition_of(moved_to)


def _unite(state: ContactState, came: ContactState) -> bool:
    """Put together what two homes knew of one contact; whether anything was new."""
    known = {(item.source, item.id) for item in state.contact.facts}
    fresh = [item for item in came.contact.facts if (item.source, item.id) not in known]
    if state.is_copy and not fresh and state.contact.customer_id == came.contact.customer_id:
        return False
    state.contact.facts = in_order([*state.contact.facts, *fresh])
    if state.is_copy:  # the contact itself has the customer that all of its facts name
        state.contact.customer_id = came.contact.customer_id
    state.contact.carried = state.contact.carried or came.contact.carried
    state.woken_us, state.moves = max(state.woken_us, came.woken_us), max(state.moves, came.moves)
    for key, last in came.published.items():
        mine = state.published.get(key)
        if mine is None or mine.revision <= last.revision:  # of one revision nobody knows which was read first
            state.published[key] = last
    return True


def new_customer(state: ContactState, desk: Desk) -> str | None:
    """The customer that a contact turned out to belong to, where that is another than it was; else None."""
    if state.is_copy:
        return None
    customer = customer_of(state.contact.facts, desk.customers.directory)
    return None if customer == state.contact.customer_id else customer


def move(state: ContactState, customer: str, work: Work) -> None:
    """Have a contact leave for the home of `customer`. It stays here as it is until a record in this log says that
    this was kept: were it sent on at once, and the process ended, what came meanwhile might have it stay after all."""
    own = state.contact
    gives_way = int(own.contact_id in work.giving_way)
    left = replace(state, tiers=[], moved_to=customer, moves=state.moves + 1, leaving=gives_way)
    _keep(left, work)
    value = orjson.dumps([own.contact_id, customer])
    record = Record(key=own.customer_id.encode(), value=value, headers=[(LEAVES, b"1")])
    work.forwarded[work.partition].append(record)


def leave(value: bytes | None, desk: Desk, work: Work) -> None:
    """A contact that is kept as leaving goes. Raises ValueError, TypeError where the record says nothing of it."""
    contact_id, _ = contact_and_home(value)
    state = desk.state(contact_id, work)
    if state is not None:
        let_go(state, desk, work)


def contact_and_home(value: bytes | None) -> tuple[str, str]:
    """What homes tell each other of a contact. Raises ValueError, TypeError where the record says nothing of it."""
    contact_id, home = orjson.loads(value or b"null")
    if not (isinstance(contact_id, str) and isinstance(home, str)):
        raise TypeError("found a record that names no contact and no home")
    return contact_id, home


def let_go(state: ContactState, desk: Desk, work: Work) -> None:
    """Send a contact that is leaving to its home and keep a pointer; what was merged into it follows."""
    if state.leaving is None or state.moved_to is None:
        return
    own, there = state.contact, state.moved_to
    gone = Contact(own.contact_id, there, own.facts, own.carried)
    sent = ContactState(gone, there, state.woken_us, [], state.published, moves=state.moves)
    _send(sent, desk, work, GIVEN * state.leaving)
    pointer = Contact(own.contact_id, own.customer_id)
    _keep(ContactState(pointer, own.customer_id, moved_to=there, moves=state.moves), work)
    touch_tied(own.customer_id, desk, work)


def touch_tied(home: str, desk: Desk, work: Work) -> None:
    """Have all contacts of a home looked at that merges or links tie to others."""
    index = desk.homes[work.partition]
    if index.entangled(home):
        for name in sorted(index.names_of(home)):
            if index.headers[name].entangled and desk.state(name, work) is not None:
                work.touched.setdefault(name, [])


def _keep(state: ContactState, work: Work) -> None:
    work.states[state.name] = state
    work.contacts[state.name.encode()] = encode_contact(state, None, ())


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
                if elsewhere.leaving is None:  # else it goes first
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
    _send(ContactState(Contact(own.contact_id, own.customer_id, own.facts), home), desk, work)


def _send(state: ContactState, desk: Desk, work: Work, told: bytes = b"") -> None:
    value = told + state.home.encode() + b"\n" + encode_body(state)
    record = Record(key=state.home.encode(), value=value, headers=[(MOVED, b"1")])
    work.forwarded[desk.partition_of(state.home)].append(record)
