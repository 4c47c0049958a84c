"""One partition as a worker knows it: which contacts live here, whose they are, what waits, what is due.

Everything here is rebuilt from the tables when a partition is ready, and dropped when it is revoked.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from streams.metrics import Waiting
from streams.track.due import JOURNEYS_OF, DueIndex
from streams.track.state import Header, decode_header, journeys_wake
from streams.transport import Fenced


@dataclass(slots=True)
class Home:
    """The index of one partition."""

    headers: dict[str, Header] = field(default_factory=dict)
    contacts_of: dict[str, str | set[str]] = field(default_factory=dict)  # most customers have one
    due: DueIndex = field(default_factory=DueIndex)
    seats: deque[bytes] = field(default_factory=deque)  # keys of table `seats`, about the oldest first
    tied: Counter[str] = field(default_factory=Counter)  # by customer, contacts that merges or links tie to others
    heard_from: int = 0  # the offset from which on wake-ups are heard
    judged_by_others: set[str] | None = None  # by another configuration, and not looked at since; None: all is known

    def put(self, contact_id: str, header: Header | None) -> None:
        """Take note of a contact as it is now; None: it is gone."""
        before = self.headers.get(contact_id)
        if before is not None and before.entangled:
            self._untie(before.home)
        if before is not None and (header is None or header.home != before.home):
            self._take_away(contact_id, before.home)
        self.due.put(contact_id, header.wake_us if header else None)
        if header is None:
            self.headers.pop(contact_id, None)
            return
        self.headers[contact_id] = header
        if header.entangled:
            self.tied[header.home] += 1
        known = self.contacts_of.setdefault(header.home, contact_id)
        if isinstance(known, set):
            known.add(contact_id)
        elif known != contact_id:
            self.contacts_of[header.home] = {known, contact_id}

    def _untie(self, customer_id: str) -> None:
        self.tied[customer_id] -= 1
        if not self.tied[customer_id]:
            del self.tied[customer_id]

    def _take_away(self, contact_id: str, customer_id: str) -> None:
        known = self.contacts_of[customer_id]
        if isinstance(known, set):
            known.discard(contact_id)
        if not known or known == contact_id:
            del self.contacts_of[customer_id]

    def names_of(self, customer_id: str) -> Collection[str]:
        """The contacts that live in the home of a customer."""
        known = self.contacts_of.get(customer_id, ())
        return (known,) if isinstance(known, str) else known

    def put_journeys(self, customer_id: str, wake_us: int | None) -> None:
        """Take note of when a customer's journeys must be looked at."""
        self.due.put(JOURNEYS_OF + customer_id, wake_us)

    def entangled(self, customer_id: str) -> bool:
        """Whether merges or links tie contacts of this customer to others."""
        return self.tied.get(customer_id, 0) > 0

    def running(self, customer_id: str) -> bool:
        """Whether a clock of this customer's contacts runs."""
        return any(self.headers[name].kinds for name in self.names_of(customer_id))

    def look_again(self, names: Iterable[str], now_us: int) -> None:
        """Have contacts or journeys looked at at once; copies belong to the contact's own home. A timer that
        finds the partition lost may fail to, and whoever has it then looks by himself."""
        for name in names:
            if name.startswith(JOURNEYS_OF) or "\0" not in name:
                self.due.put(name, now_us - 1)

    def old_seats(self, before_us: int, most: int, since_us: Callable[[bytes], int | None]) -> list[bytes]:
        """At most `most` contacts whose seat is older than that; they are not named again. `since_us` tells since when
        a seat is taken; None: no more."""
        old: list[bytes] = []
        while self.seats and len(old) < most:
            taken_us = since_us(self.seats[0])
            if taken_us is not None and taken_us >= before_us:
                break
            old.append(self.seats.popleft())
        return old

    def waiting(self) -> Iterator[Waiting]:
        """Every clock that runs here, without detours: there may be hundreds of thousands."""
        for header in list(self.headers.values()):
            since, due = header.since_us, header.due_us
            for at, (target, state, tier, channel) in enumerate(header.kinds):
                since_us = since[at] if isinstance(since, tuple) else since
                due_us = due[at] if isinstance(due, tuple) else due
                yield Waiting(target, state, tier, header.home, since_us, channel, due_us)


class Homes(dict[int, Home]):
    """By partition, those that are ours and ready. Asking for another raises `Fenced`: a batch that outlives
    its partition is dropped."""

    def __missing__(self, partition: int) -> Home:
        raise Fenced(f"partition {partition} is not ours, or not ready")


def home_from_tables(contacts: Mapping[bytes, bytes], journeys: Mapping[bytes, bytes]) -> Home:
    """The index of a partition whose tables have been recovered."""
    home = Home()
    for key, value in contacts.items():
        home.put(key.decode(), decode_header(value))
    for key, value in journeys.items():
        home.put_journeys(key.decode(), journeys_wake(value))
    return home
