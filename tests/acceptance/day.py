"""A day at a service desk, all of it in the past: events for processes that are killed, and what must come of them.

Every instant at which anything falls due has passed too, so that what a process makes of the day does not depend
on how long that takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson
import yaml

from schemas.customers import Customer
from streams import settings
from streams.engine.identity import directory
from streams.replay import Line, Replayed, replay
from streams.transport import Record, partition_for

CUSTOMERS: Final = 40
BAD_EVERY: Final = 60
Event = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What happened, in the order in which it is fed, and the configuration that judges it."""

    events: tuple[Event, ...]
    customers: tuple[dict[str, Any], ...]
    config: dict[str, Any]

    def write(self, folder: Path) -> None:
        """Write the files that a worker reads."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "events.jsonl").write_bytes(b"".join(orjson.dumps(event) + b"\n" for event in self.events))
        (folder / "customers.jsonl").write_bytes(b"".join(orjson.dumps(one) + b"\n" for one in self.customers))
        (folder / "heardback.yaml").write_text(yaml.safe_dump(self.config, sort_keys=False), encoding="utf-8")

    def replayed(self) -> Replayed:
        """What a replay makes of it."""
        known, _ = directory([Customer.model_validate(one) for one in self.customers])
        configuration = settings.parse(yaml.safe_dump(self.config).encode(), file="day")
        lines = [Line("", orjson.dumps(event)) for event in self.events]
        return replay(lines, settings.policies_of(configuration), known, until=datetime.now(UTC))

    def answered(self) -> set[str]:
        """Contacts that we answered for good, and those that were never owed an answer."""
        return {event["subject"] for event in self.events if event["type"] in ("message.sent", "contact.voided")}

    def bounced(self) -> set[str]:
        """Contacts in which an answer bounced: what was said of them may be said again."""
        return {event["subject"] for event in self.events if event["type"] == "message.bounced"}

    def taken_back(self) -> set[str]:
        """Customers from whom an answer was taken back: their journeys may go on, and a dead end be one again."""
        return {event["data"]["customer_id"] for event in self.events if event["data"].get("direction") == "outbound"}


def day(seed: int, contacts: int, receivers: Sequence[dict[str, Any]] = ()) -> Day:
    """A day with so many contacts, the same for the same seed but for the hour."""
    random = Random(seed)
    base = datetime.now(UTC).replace(microsecond=0)
    events = [event for number in range(contacts) for event in _contact(number, base, random)]
    events.sort(key=lambda event: (event["time"], event["id"]))
    return Day(events=tuple(_with_bad(events)), customers=_customers(), config=_config(receivers))


def record_of(event: Event, partitions: int, random: Random) -> Record:
    """The record as its sender would write it; one in twenty is sent to some other partition."""
    data = event.get("data") or {}
    key = str(data.get("customer_id") or data.get("sender") or "nobody").encode()
    partition = random.randrange(partitions) if random.random() < 0.05 else partition_for(key, partitions)
    return Record(key=key, value=orjson.dumps(event), partition=partition)


def _contact(number: int, base: datetime, random: Random) -> list[Event]:
    opened = base - timedelta(minutes=random.uniform(200, 300))
    customer = f"c-{number % CUSTOMERS}"
    name = f"T-{number}"
    told: list[Event] = []

    def tell(kind: str, minutes: float, **data: Any) -> None:
        at = (opened + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")
        event_id = f"e-{number}-{len(told)}"
        told.append({"specversion": "1.0", "id": event_id, "source": "/desk", "type": kind, "time": at,
                     "subject": name, "data": {"customer_id": customer, **data}})  # fmt: skip

    if random.random() < 0.05:
        tell("message.bounced", 0, direction="inbound", sender=f"a@{customer}.example")
        return told
    tell("contact.opened", 0, channel=random.choice(["ticket", "form", "chat", "email"]))
    if random.random() < 0.2:
        tell("contact.updated", random.uniform(0, 5), priority=random.choice(["high", "urgent"]))
    if random.random() < 0.6:
        at = random.uniform(1, 50)
        tell("message.sent", at, agent_id="a-1", message_id=f"m-{number}")
        if random.random() < 0.15:
            tell("message.bounced", at + 5, direction="outbound", message_id=f"m-{number}")
        if random.random() < 0.5:
            tell("contact.resolved", at + random.uniform(1, 40), by="agent")
    elif random.random() < 0.1:
        tell("contact.voided", random.uniform(1, 60), reason="spam")
    return told


def _with_bad(events: Sequence[Event]) -> list[Event]:
    """Some that are refused: their dead letters are a step of their own."""
    found: list[Event] = []
    for number, event in enumerate(events):
        found.append(event)
        if number % BAD_EVERY == 0:
            found.append({**event, "id": f"bad-{number}", "type": "contact.teleported"})
    return found


def _customers() -> tuple[dict[str, Any], ...]:
    return tuple(
        {"customer_id": f"c-{n}", "tier": "gold" if n % 2 else "silver", "identities": [f"domain:c-{n}.example"]}
        for n in range(CUSTOMERS)
    )


def _config(receivers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    targets = {"acknowledgement": "5m", "first_response": "10m", "resolution": "30m"}
    return {
        "calendars": {"always": {"always_open": True}},
        "policies": [
            {"name": "gold", "match": {"tier": ["gold"]}, "calendar": "always", "targets": targets, "at_risk": ["50%"],
             "dead_end_after": "20m"},
            {"name": "rest", "calendar": "always", "targets": {"first_response": "30m"}, "dead_end_after": "20m"},
        ],
        "alerts": {
            "from": "2026-01-01T00:00:00Z",
            "escalations": [{"after": "0m", "severity": "page"}, {"after": "20m", "severity": "critical"}],
            "receivers": list(receivers),
        },
    }  # fmt: skip
