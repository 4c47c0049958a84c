"""Contacts that move: a record goes on to its customer's home, and a contact to another customer's (C17, C19).

A customer has one home (DESIGN section 2, point 10). What moves is the whole contact in one record of
`contact-events`, with the revisions that were published of it, so that ids and revisions go on.

Parts of one contact may come about in several homes, and a record may be sent twice. Each part knows how often it
left which partition: where one left of which it knows nothing, it goes after that one, and so they come together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import orjson

from streams.engine.timeline import Contact, customer_of, in_order
from streams.track.desk import Desk
from streams.track.state import SUPERSEDED, ContactState, decode_body, encode_body, encode_contact
from streams.track.work import Place, Work
from streams.transport import Record

MOVED: Final = "heardback.moved"
HOPS: Final = "heardback.hops"
LEAVES: Final = "heardback.leaves"
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
    home, _, body = value.partition(b"\n")
    came = decode_body(body, home.decode())
    name = came.name
    state = desk.state(name, work)
    if state is not None and state.moved_to is not None:
        let_go(state, desk, work)
        if _goes_on(came, state.left, state.moved_to, desk, work):
            _follow(came, state.left, state.moved_to, desk, work)
            return
    if state is None or state.moved_to is not None:
        work.states[name] = replace(came, follows=False)
    elif not _unite(state, came):
        return  # a copy that says nothing new: answering it would go round for ever
    work.touched.setdefault(name, [])
    work.woken.add(name)
    work.journeying |= {came.home, work.states[name].home}


def _goes_on(came: ContactState, left: Mapping[int, int], moved_to: str, desk: Desk, work: Work) -> bool:
    """Whether what comes goes after the contact that left: if it knows nothing of that, it is the same, sent again
    after a crash, or another part. Parts that go after each other come round in a ring, and stay where it leads to a
    higher partition."""
    here = work.partition
    if came.left.get(here, 0) < left.get(here, 0):
        return True
    return came.follows and here > desk.partition_of(moved_to)


def _follow(came: ContactState, left: Mapping[int, int], moved_to: str, desk: Desk, work: Work) -> None:
    """Send what comes after the contact that left; it knows of that now."""
    known = _known(came.left, {work.partition: left.get(work.partition, 0)})
    contact = replace(came.contact, customer_id=moved_to)
    send(replace(came, contact=contact, home=moved_to, left=known, follows=True), desk, work)


def _known(one: Mapping[int, int], other: Mapping[int, int]) -> dict[int, int]:
    """How often a contact left each partition, as far as either knows."""
    return {here: max(one.get(here, 0), other.get(here, 0)) for here in {**one, **other}}


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
    state.left = _known(state.left, came.left)
    for key, last in came.published.items():
        mine = state.published.get(key)
        if mine is None or (mine.digest == SUPERSEDED and mine.revision <= last.revision):
            state.published[key] = last
        elif mine.revision <= last.revision:  # what stands here is said anew, behind what was taken back there
            state.published[key] = mine._replace(revision=last.revision, digest="")
    return True


def new_customer(state: ContactState, desk: Desk) -> str | None:
    """The customer that a contact turned out to belong to, where that is another than it was; else None. What is kept
    of one that was forgotten does not say whose it was."""
    if state.is_copy:
        return None
    own, left = state.contact.facts, state.contact.carried
    customer = customer_of([item for item in own if not left or item.at_us > left.until_us], desk.customers.directory)
    return None if customer == state.contact.customer_id else customer


def move(state: ContactState, customer: str, work: Work) -> None:
    """Have a contact leave for the home of `customer`. It stays here as it is until a record in this log says that
    this was kept: were it sent on at once, and the process ended, what came meanwhile might have it stay after all."""
    own, here = state.contact, work.partition
    left = {**state.left, here: state.left.get(here, 0) + 1}
    _keep(replace(state, tiers=[], moved_to=customer, leaving=True, left=left), work)
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
    if not state.leaving or state.moved_to is None:
        return
    own, there = state.contact, state.moved_to
    gone = Contact(own.contact_id, there, own.facts, own.carried)
    send(ContactState(gone, there, state.woken_us, [], state.published, left=state.left), desk, work)
    pointer = Contact(own.contact_id, own.customer_id)
    _keep(ContactState(pointer, own.customer_id, moved_to=there, left=state.left), work)
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


def send(state: ContactState, desk: Desk, work: Work) -> None:
    """Send a contact, or a copy of it, to its home."""
    value = state.home.encode() + b"\n" + encode_body(state)
    record = Record(key=state.home.encode(), value=value, headers=[(MOVED, b"1")])
    work.forwarded[desk.partition_of(state.home)].append(record)
