"""What one batch of `contact-events` comes to: gathered, then decided, then applied.

A plain record of intentions. `gather` and `decide` fill it; `agent` alone makes it true.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.dead_letters import DeadLetter, to_headers
from schemas.refusals import Refusal
from streams.engine.outcome import Content, instant_text
from streams.engine.timeline import Timeline
from streams.metrics import EventResult
from streams.track.state import ContactState, Header
from streams.transport import KEPT_BYTES_MAX, Batch, Fence, Record

Seat = tuple[str, str, int]  # a contact, in whose home it is, since when (microseconds since 1970)


class Place(NamedTuple):
    """A record of a batch, and where it was."""

    batch: Batch
    row: int

    @property
    def appended_us(self) -> int:
        """The log's append time."""
        return self.batch.timestamps_ms[self.row] * 1_000

    @property
    def record(self) -> Record:
        """The record as it came."""
        return Record(
            key=self.batch.keys[self.row],
            value=self.batch.values[self.row],
            headers=self.batch.headers[self.row],
            timestamp_ms=self.batch.timestamps_ms[self.row],
        )

    def header(self, name: str) -> bytes | None:
        """The first header of that name, or None."""
        return next((content for found, content in self.batch.headers[self.row] if found == name), None)

    def dead_letter(self, refusal: Refusal) -> Record:
        """The record for `dead-letters`: the original bytes, with origin and reason in headers."""
        batch, index = self.batch, self.row
        letter = DeadLetter(
            key=batch.keys[index],
            value=batch.values[index],
            headers=tuple(batch.headers[index]),
            reason=refusal.reason,
            detail=refusal.detail,
            field=refusal.field,
            origin=f"{batch.topic}/{batch.partition}/{batch.offsets[index]}",
            refused_at=instant_text(self.appended_us),
        )
        headers = to_headers(letter)
        return Record(key=letter.origin.encode(), value=letter.value, headers=headers, bytes_max=KEPT_BYTES_MAX)


@dataclass(slots=True)
class Work:
    """States by the name under which table `contacts` keeps them; `before` has the values that they had there.
    `touched` are those to be looked at, with the records that touched them; `woken` those whom nothing touched
    since their last wake-up; `journeying` the customers whose
    journeys may have changed; `unkept` has outcomes that a batch before a crash published; `giving_way`
    has contacts that another home had first, `announced` those that are new here, by the partition of their ids;
    `timelines` are those of contacts that were decided by themselves,
    `headers` what the index will know of those to be written, `started` one first outcome of each set of labels;
    the rest is what is to be written, and what the metrics will hear."""

    partition: int
    fence: Fence | None
    end: int
    states: dict[str, ContactState] = field(default_factory=dict)
    before: dict[str, bytes] = field(default_factory=dict)
    touched: dict[str, list[Place]] = field(default_factory=dict)
    woken: set[str] = field(default_factory=set)
    journeying: set[str] = field(default_factory=set)
    unkept: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    woken_journeys: dict[str, int] = field(default_factory=dict)
    outcomes: list[Record] = field(default_factory=list)
    journeys: list[Record] = field(default_factory=list)
    announced: dict[int, list[Seat]] = field(default_factory=lambda: defaultdict(list))
    forwarded: dict[int, list[Record]] = field(default_factory=lambda: defaultdict(list))
    dead: list[Record] = field(default_factory=list)
    contacts: dict[bytes, bytes | None] = field(default_factory=dict)
    journey_states: dict[bytes, bytes | None] = field(default_factory=dict)
    seats: dict[bytes, bytes | None] = field(default_factory=dict)
    judged: dict[bytes, bytes | None] = field(default_factory=dict)
    giving_way: dict[str, str] = field(default_factory=dict)
    events: Counter[tuple[str, EventResult]] = field(default_factory=Counter)
    timelines: dict[str, Timeline] = field(default_factory=dict)
    headers: dict[str, Header] = field(default_factory=dict)
    started: dict[tuple[str | None, ...], Content] = field(default_factory=dict)
    heard: list[Callable[[], None]] = field(default_factory=list)
