"""A desk's week as records of `contact-events`: kept and broken promises, bounces, pauses, and who still waits.

Three contacts a customer, four events a contact. The instants lie in the past and are always the same; the log's
timestamps are the events' own, so that wake-ups fall due between them. Running it is the other modules' business.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from streams.transport import Record, TransportSettings, by_partition

SEED: Final = 20_260_105
START: Final = datetime(2026, 1, 5, 8, tzinfo=UTC)
UNTIL: Final = START + timedelta(days=12)
EVENTS_OF_A_CONTACT: Final = 4
CONFIGURATION: Final = b"""\
calendars: {london: {time_zone: Europe/London, hours: {mon-fri: ["09:00-17:30"]}}}
policies:
  - name: desk
    calendar: london
    targets: {acknowledgement: 1h, first_response: 4h, next_response: 4h, resolution: 16h}
    at_risk: [50%, 80%]
    assignment_acknowledges: true
alerts: {escalations: [{after: 0m}, {after: 2h, severity: critical}]}
"""
Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One event, whose it is, and when it was appended."""

    at: datetime
    customer_id: str
    value: bytes


@dataclass(slots=True)
class _Contact:
    """Writes the events of one contact."""

    number: int
    opened: datetime
    told: list[Told] = field(default_factory=list)

    def tell(self, kind: str, after: timedelta, **data: Any) -> None:
        at, customer_id = self.opened + after, f"c-{self.number // 3}"
        event = {
            "specversion": "1.0",
            "id": f"e-{self.number}-{len(self.told)}",
            "source": "/bench",
            "type": kind,
            "time": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "subject": f"T-{self.number}",
            "data": {"customer_id": customer_id, **data},
        }
        self.told.append(Told(at=at, customer_id=customer_id, value=orjson.dumps(event)))


def week(contacts: int) -> list[Told]:
    """`contacts` contacts opened over five days, in the order of time: of ten, seven are answered (many too late)
    and resolved, one's answer bounces while it is on hold, two write again and still wait."""
    chance = random.Random(SEED)
    told: list[Told] = []
    for number in range(contacts):
        contact = _Contact(number, START + timedelta(seconds=chance.randrange(5 * 86_400)))
        contact.tell("contact.opened", timedelta(), channel="ticket", priority="normal", queue=f"q{number % 5}",
                     message_id=f"m-{number}")  # fmt: skip
        _continue(contact, chance)
        told += contact.told
    return sorted(told, key=lambda one: one.at)


def _continue(contact: _Contact, chance: random.Random) -> None:
    kind, hour = chance.random(), timedelta(hours=1)
    if kind < 0.1:
        sent = {"message_id": f"r-{contact.number}", "recipient": "customer@example.com"}
        contact.tell("contact.paused", hour, reason="on_hold")
        contact.tell("message.sent", 2 * hour, agent_id="a-1", **sent)
        contact.tell("message.bounced", 3 * hour, direction="outbound", **sent)
    elif kind < 0.8:
        contact.tell("contact.assigned", timedelta(minutes=5), agent_id="a-1")
        contact.tell("message.sent", timedelta(minutes=chance.randrange(10, 500)), agent_id="a-1")
        contact.tell("contact.resolved", 9 * hour, agent_id="a-1")
    else:
        contact.tell("message.received", hour)
        contact.tell("contact.updated", 2 * hour, priority="high")
        contact.tell("message.received", 5 * hour)


def waiting(contacts: int, opened: datetime, customers: str = "w") -> list[Told]:
    """`contacts` contacts of as many customers, opened a millisecond after each other, in which nobody answers."""
    told = []
    for number in range(contacts):
        at, customer_id = opened + timedelta(milliseconds=number), f"{customers}-{number}"
        event = {
            "specversion": "1.0", "id": f"{customer_id}-opened", "source": "/bench", "type": "contact.opened",
            "time": at.isoformat(), "subject": f"T-{customer_id}",
            "data": {"customer_id": customer_id, "channel": "ticket", "priority": "normal", "queue": "billing",
                     "summary": "upgrade screen hangs", "message_id": f"m-{customer_id}"},
        }  # fmt: skip
        told.append(Told(at=at, customer_id=customer_id, value=orjson.dumps(event)))
    return told


def records(told: Sequence[Told], partitions: int) -> dict[int, list[Record]]:
    """As they lie in the log: by the customer's partition, each appended when it happened."""
    made = [
        Record(key=one.customer_id.encode(), value=one.value, timestamp_ms=int(one.at.timestamp() * 1_000))
        for one in told
    ]
    return by_partition(made, partitions)


def slices(told: Sequence[Told], size: int = 5_000) -> Iterator[Sequence[Told]]:
    """Parts that one append can take."""
    return (told[first : first + size] for first in range(0, len(told), size))


def transport(prefix: str = "", share: int = 1) -> TransportSettings:
    """As by default, but nothing in the past is too old to be kept; with batches of the `share`-th part."""
    batch_records = TransportSettings().batch_records // share
    return TransportSettings(topic_prefix=prefix, retention_days=36_500, batch_records=batch_records)
