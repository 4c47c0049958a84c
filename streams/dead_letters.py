"""Dead letters in the log: reading them, and putting them back where they came from.

A letter that was put back stays where it is; a record behind it says so (`schemas.dead_letters`). The original
is appended before that record: a crash between the two repeats an event, which is harmless, and loses none.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

import orjson

from schemas import dead_letters
from schemas.dead_letters import DeadLetter
from schemas.topics import CONTACT_EVENTS, DEAD_LETTERS
from streams.transport import LogClient, Record, TopicMismatch, partition_for

PARTITION: Final = 0
_ORIGIN: Final = re.compile(r"(.+)/\d+/\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A dead letter and its offset."""

    offset: int
    letter: DeadLetter


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A record of topic `dead-letters` that is no dead letter, and why."""

    offset: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A partition of a topic."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


class DeadLetters:
    """The dead letters of a started log whose topics carry `prefix`."""

    def __init__(self, log: LogClient, prefix: str = "") -> None:
        self._log = log
        self._prefix = prefix
        self.topic = prefix + DEAD_LETTERS.name
        self._topics: Mapping[str, int] = {}

    async def check(self) -> None:
        """Raises TopicMismatch where there is no topic of dead letters."""
        self._topics = await self._log.topics()
        if self.topic not in self._topics:
            there = ", ".join(sorted(self._topics)) or "none"
            raise TopicMismatch(f"found no topic {self.topic}, has heardback run here? There are: {there}")

    async def replays(self) -> dict[int, str]:
        """When letters were last put back, by offset."""
        found: dict[int, str] = {}
        async for batch in self._log.scan(self.topic):
            for headers in map(dict, batch.headers):
                if (offset := headers.get(dead_letters.REPLAYED)) and offset.isdigit():
                    found[int(offset)] = headers.get(dead_letters.REPLAYED_AT, b"").decode(errors="replace")
        return found

    async def read(self, offset: int | None = None) -> AsyncIterator[Kept | Unreadable]:
        """Every letter as far as the log reaches now, oldest first; or only the one at `offset`."""
        start = None if offset is None else {PARTITION: offset}
        async for batch in self._log.scan(self.topic, start):
            for at, value, headers in zip(batch.offsets, batch.values, batch.headers, strict=True):
                if offset is not None and at != offset:
                    return
                if any(name == dead_letters.REPLAYED for name, _ in headers):
                    continue
                try:
                    yield Kept(offset=at, letter=dead_letters.from_record(value, headers))
                except ValueError as broken:
                    yield Unreadable(offset=at, why=str(broken))

    async def ends(self) -> tuple[int, int]:
        """The first offset that may still exist, and the one that the next letter will get."""
        begin, end = await self._log.begin_offsets(self.topic), await self._log.end_offsets(self.topic)
        return begin[PARTITION], end[PARTITION]

    def home(self, letter: DeadLetter) -> Place:
        """Where the original belongs: the topic it came from, else contact events; the partition of its
        key, else of the customer that it names. Track forwards what still arrives elsewhere."""
        topic = self._topic_of(letter.origin)
        key = letter.key or _customer_in(letter.value)
        return Place(topic=topic, partition=partition_for(key, self._topics[topic]) if key else 0)

    def _topic_of(self, origin: str) -> str:
        found = _ORIGIN.fullmatch(origin)
        for topic in (found[1], self._prefix + found[1]) if found else ():
            if topic in self._topics:
                return topic
        topic = self._prefix + CONTACT_EVENTS.name
        if topic not in self._topics:
            raise TopicMismatch(f"found no topic {topic} to put a letter from {origin} back to")
        return topic

    async def put_back(self, kept: Kept, at: str) -> Place:
        """Append the original to its home, then say so behind the letters. Raises TransportError."""
        place, letter = self.home(kept.letter), kept.letter
        original = Record(key=letter.key, value=letter.value, headers=letter.headers)
        await self._log.append(place.topic, {place.partition: [original]})
        headers = dead_letters.replayed_headers(kept.offset, at, str(place))
        said = Record(key=letter.origin.encode(), value=None, headers=headers)
        await self._log.append(self.topic, {PARTITION: [said]})
        return place


def _customer_in(value: bytes | None) -> bytes | None:
    """The customer that a broken event may still name."""
    try:
        content = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    data = content.get("data") if isinstance(content, dict) else None
    customer_id = data.get("customer_id") if isinstance(data, dict) else None
    return customer_id.encode() if isinstance(customer_id, str) else None
