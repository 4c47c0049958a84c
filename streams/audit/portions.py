"""The log in portions that fit into memory, such that contacts that belong together are in one.

Only where the log holds more events than are looked at together: then it is read once more for each portion. And for
the second look, what belongs together with a contact in which something was found. What ties contacts is guessed
generously here, from whatever names a customer or another contact; the engine decides later.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Set
from typing import Any, Final

import orjson

from streams.audit.topics import Topics
from streams.audit.view import Cut, Wanted
from streams.engine.identity import Directory
from streams.transport import LogClient

EVENTS_AT_ONCE: Final = 100_000
"""Of four records a contact and three clocks, about 250 MB."""
_CUSTOMERS: Final = ("customer_id", "into_customer_id")
_IDENTITIES: Final = ("sender", "recipient")
_CONTACTS: Final = ("into", "contact_id")


async def portions(
    client: LogClient, topics: Topics, at: Cut, directory: Directory, events_at_once: int = EVENTS_AT_ONCE
) -> list[Wanted]:
    """Every contact is wanted by exactly one of these; one that no event names by the first."""
    begins, ends = await client.begin_offsets(topics.events), at.ends[topics.events]
    if sum(ends.values()) - sum(begins.values()) <= events_at_once:
        return [lambda _: True]
    place = _packed((await _ties(client, topics, directory)).groups(), events_at_once)
    count = max(place.values(), default=0) + 1
    return [lambda contact_id, number=number: place.get(contact_id, 0) == number for number in range(count)]  # type: ignore[misc]


async def together_with(client: LogClient, topics: Topics, directory: Directory, contacts: Set[str]) -> Wanted:
    """These contacts and all that belong together with one of them by now: also those that came in meanwhile."""
    wanted = set(contacts)
    for _, group in (await _ties(client, topics, directory)).groups():
        if not contacts.isdisjoint(group):
            wanted.update(group)
    return wanted.__contains__


async def _ties(client: LogClient, topics: Topics, directory: Directory) -> _Ties:
    ties = _Ties()
    async for batch in client.scan(topics.events):
        for value in batch.values:
            for contact_id, others in _named(value, directory):
                ties.add(contact_id, others)
    return ties


def _named(value: bytes | None, directory: Directory) -> Iterator[tuple[str, list[str]]]:
    """The contact of an event, and everything that it names: customers after a blank, as no contact is called."""
    try:
        content = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return
    subject = content.get("subject") if isinstance(content, dict) else None
    if isinstance(subject, str):
        data = content.get("data")
        yield subject, list(_others(data, directory)) if isinstance(data, dict) else []


def _others(data: Mapping[str, Any], directory: Directory) -> Iterator[str]:
    for name in _CUSTOMERS:
        if isinstance(customer := data.get(name), str):
            yield " " + customer
    for name in _IDENTITIES:
        if isinstance(identity := data.get(name), str):
            yield " " + directory.owner_of(identity)
    for name in _CONTACTS:
        if isinstance(contact_id := data.get(name), str):
            yield contact_id


class _Ties:
    """Which contacts belong together."""

    def __init__(self) -> None:
        self._above: dict[str, str] = {}
        self._events: Counter[str] = Counter()

    def add(self, contact_id: str, others: list[str]) -> None:
        """One event of a contact that names others."""
        self._events[contact_id] += 1
        for other in others:
            self._above[self._root(other)] = self._root(contact_id)

    def groups(self) -> Iterator[tuple[int, list[str]]]:
        """The contacts that belong together, and how many events they have."""
        groups: dict[str, list[str]] = defaultdict(list)
        for contact_id in self._events:
            groups[self._root(contact_id)].append(contact_id)
        for group in groups.values():
            yield sum(self._events[contact_id] for contact_id in group), group

    def _root(self, name: str) -> str:
        path = []
        while (above := self._above.setdefault(name, name)) != name:
            path.append(name)
            name = above
        for below in path:
            self._above[below] = name
        return name


def _packed(groups: Iterator[tuple[int, list[str]]], events_at_once: int) -> dict[str, int]:
    """The number of the portion of each contact."""
    place: dict[str, int] = {}
    number, held = 0, 0
    for events, group in groups:
        if held and held + events > events_at_once:
            number, held = number + 1, 0
        held += events
        place.update(dict.fromkeys(group, number))
    return place
