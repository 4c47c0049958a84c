"""One contact, one home: who first took a contact in, kept in the partition of the contact's own id.

Two events of one contact may name different customers, an address in one and a `customer_id` in the other, and so
come to different homes, which know nothing of each other. Each home that takes a new contact in says so where the
contact's id belongs; there the second one is told to give way, and its facts move to the first. Which customer the
contact has then follows from all of its facts (C19).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import orjson

from streams.track.desk import Desk
from streams.track.moving import UNKNOWN, contact_and_home, let_go
from streams.track.work import Seat, Work
from streams.transport import Record

SEAT: Final = "heardback.seats"
GIVE_WAY: Final = "heardback.give_way"
SEATS_IN_A_RECORD: Final = 200  # ids of the greatest length make 820 KB of them


def seat_of(contact_id: str, desk: Desk, work: Work) -> str:
    """For an event that names nobody: the customer in whose home the contact is, where that is known here; else
    the contact stands for its customer, and its own partition is asked (C35)."""
    held = _held(contact_id.encode(), desk, work)
    return str(orjson.loads(held)[0]) if held is not None else UNKNOWN + contact_id


def announce(contact_id: str, customer: str, at_us: int, desk: Desk, work: Work) -> None:
    """A contact is new in the home of `customer`."""
    partition = desk.partition_of(UNKNOWN + contact_id)
    if partition == work.partition:
        _sit(contact_id, customer, at_us, desk, work)
        return
    work.announced[partition].append((contact_id, customer, at_us))


def announcements(work: Work) -> dict[int, list[Record]]:
    """What a batch announces, by partition: many contacts in one record, for most contacts are announced."""
    return {
        partition: [Record(some[0][0].encode(), orjson.dumps(some), [(SEAT, b"1")]) for some in _together(announced)]
        for partition, announced in work.announced.items()
    }


def _together(announced: Sequence[Seat]) -> Iterator[Sequence[Seat]]:
    return (announced[first : first + SEATS_IN_A_RECORD] for first in range(0, len(announced), SEATS_IN_A_RECORD))


def take_seats(value: bytes | None, desk: Desk, work: Work) -> None:
    """A home says which contacts it took in. Raises ValueError, TypeError where the record says nothing of it."""
    for contact_id, customer, at_us in [_seat(*said) for said in orjson.loads(value or b"null")]:
        _sit(contact_id, customer, at_us, desk, work)


def _seat(contact_id: str, customer: str, at_us: int) -> Seat:
    if not (isinstance(contact_id, str) and isinstance(customer, str) and isinstance(at_us, int)):
        raise TypeError("found a seat that names no contact, no customer or no instant")
    return contact_id, customer, at_us


def _sit(contact_id: str, customer: str, at_us: int, desk: Desk, work: Work) -> None:
    """The first home keeps the contact; one in another partition gives way to it."""
    key = contact_id.encode()
    held = _held(key, desk, work)
    first: str = orjson.loads(held)[0] if held is not None else ""
    if held is None or (first.startswith(UNKNOWN) and not customer.startswith(UNKNOWN)):
        work.seats[key] = orjson.dumps([customer, at_us])
        if held is not None:
            _give_way(contact_id, customer, desk, work)
        return
    if desk.partition_of(first) == desk.partition_of(customer):
        return  # one table: the contact is there once
    _tell(contact_id, first, customer, desk, work)


def _tell(contact_id: str, first: str, customer: str, desk: Desk, work: Work) -> None:
    """Tell the home of `customer` to give way to the one of `first`."""
    value = orjson.dumps([contact_id, first])
    told = Record(key=customer.encode(), value=value, headers=[(GIVE_WAY, b"1")])
    work.forwarded[desk.partition_of(customer)].append(told)


def give_way(value: bytes | None, desk: Desk, work: Work) -> None:
    """Another home had the contact first: it moves there, wherever it is by now. Raises ValueError, TypeError where
    the record says nothing of it."""
    contact_id, first = contact_and_home(value)
    _give_way(contact_id, first, desk, work)


def _give_way(contact_id: str, first: str, desk: Desk, work: Work) -> None:
    state, there = desk.state(contact_id, work), desk.partition_of(first)
    if state is None or there == work.partition or there in state.left:
        return  # whoever left there, or followed who did, is the one to whom others give way
    if state.moved_to is not None:
        let_go(state, desk, work)
        _tell(contact_id, first, state.moved_to, desk, work)
        return
    work.giving_way[contact_id] = first
    work.touched.setdefault(contact_id, [])


def _held(key: bytes, desk: Desk, work: Work) -> bytes | None:
    return work.seats.get(key) or desk.seats.partition(work.partition).get(key)


def seat_at_us(value: bytes) -> int:
    """When a contact was taken in first."""
    at_us: int = orjson.loads(value)[1]
    return at_us
