"""Contacts that move: a record goes on to its customer's home, and a contact to another customer's (C17, C19).

A customer has one home (DESIGN section 2, point 10). What moves is the whole contact in one record of
`contact-events`, with the revisions that were published of it, so that ids and revisions go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Final

from streams.engine import timeline as facts
from streams.engine.timeline import Contact, customer_of, in_order
from streams.track.desk import Desk
from streams.track.state import ContactState, decode_body, encode_body, encode_contact
from streams.track.work import Place, Work
from streams.transport import Record

MOVED: Final = "heardback.moved"
HOPS: Final = "heardback.hops"
GIVEN: Final = b"given:"  # before the home of a contact that gives way to another home's, once for each time
ROUNDS_MAX: Final = 3


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
    if given and state is not None and state.moved_to is not None and _goes_on(given, state.moved_to, desk, work):
        record = Record(key=came.home.encode(), value=GIVEN + value, headers=[(MOVED, b"1")])
        work.forwarded[desk.partition_of(state.moved_to)].append(record)
        return  # it gives way to a contact that has moved on itself
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
    state.woken_us = max(state.woken_us, came.woken_us)
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


def move(state: ContactState, customer: str, desk: Desk, work: Work) -> None:
    """Send a contact to the home of `customer` and leave a pointer behind."""
    own = state.contact
    gone = Contact(own.contact_id, customer, own.facts, own.carried)
    gives_way = own.contact_id in work.giving_way
    _send(ContactState(gone, customer, state.woken_us, [], dict(state.published)), desk, work, GIVEN * gives_way)
    left = ContactState(Contact(own.contact_id, own.customer_id), own.customer_id, moved_to=customer)
    work.states[own.contact_id] = left
    work.contacts[own.contact_id.encode()] = encode_contact(left, None, ())


def carry_over(home: str, together: Mapping[str, ContactState], touched: Set[str], desk: Desk, work: Work) -> None:
    """Merges into other customers' contacts: the homes of those need copies of the facts (C17), also along chains.
    `together` are all contacts of this home and the copies here, `touched` the ids of those that changed."""
    for contact_id, state in together.items():
        path, customers = _merged_along(contact_id, together)
        if path & touched:
            own = state.contact
            for other in sorted(customers - {home, own.customer_id}):
                _send(ContactState(Contact(contact_id, own.customer_id, own.facts), other), desk, work)


def _merged_along(contact_id: str, together: Mapping[str, ContactState]) -> tuple[set[str], set[str]]:
    """The contacts into which this one was merged, itself among them, as far as this home knows them, and the
    customers whose contacts they are."""
    path: set[str] = set()
    customers: set[str] = set()
    ahead = [contact_id]
    while ahead:
        here = ahead.pop()
        if here in path or here not in together:
            continue
        path.add(here)
        for merge in (item for item in together[here].contact.facts if item.type == facts.MERGED):
            ahead.append(merge.data["into"])
            if other := merge.data.get("into_customer_id"):
                customers.add(other)
    return path, customers


def _send(state: ContactState, desk: Desk, work: Work, told: bytes = b"") -> None:
    value = told + state.home.encode() + b"\n" + encode_body(state)
    record = Record(key=state.home.encode(), value=value, headers=[(MOVED, b"1")])
    work.forwarded[desk.partition_of(state.home)].append(record)
