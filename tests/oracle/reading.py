"""What is known of which contact: events read, refused, counted once, and put in order (C19 to C24).

What a fact means for a clock does not belong here. A fact is the event's dict with a few keys more:
`at` (the instant), `rank` (its place within an instant, C21), `key` (its place in a timeline).
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

Fact = dict[str, Any]
Refused = Counter[str]

RANK = {
    "contact.opened": 0, "message.received": 0,
    "contact.updated": 1,
    "contact.acknowledged": 2, "contact.assigned": 2,
    "contact.paused": 3, "contact.resumed": 3,
    "message.sent": 4,
    "message.bounced": 5,
    "contact.resolved": 6, "contact.closed": 6,
    "contact.reopened": 7,
    "contact.merged": 8,
    "contact.voided": 9,
    "contact.linked": 10, "contact.rated": 10,
}  # fmt: skip


def known_facts(events: list[dict[str, Any]], until: datetime | None) -> tuple[list[Fact], datetime, Counter[str]]:
    """Accepted facts in order of (time, source, id), the instant `now`, and counts.

    Counts: `events`, `duplicates`, `after_until` and one per reason of refusal.
    """
    counts: Counter[str] = Counter(events=len(events))
    facts = [fact for event in events if (fact := _read(event, counts)) is not None]
    if until is not None:
        counts["after_until"] = sum(fact["at"] > until for fact in facts)
        facts = [fact for fact in facts if fact["at"] <= until]
    facts = _one_content_each(facts, counts)
    facts = _one_source_each(facts, counts)
    now = until or max((fact["at"] for fact in facts), default=datetime(2000, 1, 1, tzinfo=UTC))
    return facts, now, counts


def _read(event: Any, counts: Refused) -> Fact | None:
    reason = _fault(event)
    if reason:
        counts[reason] += 1
        return None
    at = datetime.fromisoformat(event["time"]).astimezone(UTC)
    rank = RANK[event["type"]]
    data = {name: value for name, value in (event.get("data") or {}).items() if value is not None}
    return event | {"at": at, "rank": rank, "key": (at, rank, event["source"], event["id"]), "data": data}


def _fault(event: Any) -> str | None:
    if not isinstance(event, dict):
        return "not_an_object"
    if event.get("type") == "deadline.reached":
        return "reserved_type"
    if event.get("type") not in RANK:
        return "unknown_type" if event.get("type") else "missing_field"
    if any(not event.get(name) for name in ("id", "source", "time", "subject")):
        return "missing_field"
    if datetime.fromisoformat(event["time"]).tzinfo is None:
        return "naive_instant"
    return None


DEFAULTS = {
    "contact.opened": {"opened_by": "customer"},
    "message.received": {"automated": False},
    "message.sent": {"automated": False, "public": True},
    "message.bounced": {"permanent": True},
}


def _content(fact: Fact) -> str:
    named = {name: fact[name] for name in ("type", "source", "id", "subject", "data")}
    plain = DEFAULTS.get(fact["type"], {})
    named["data"] = {name: value for name, value in fact["data"].items() if name not in plain or plain[name] != value}
    return json.dumps(named | {"time": fact["at"].isoformat()}, sort_keys=True, separators=(",", ":"))


def _one_content_each(facts: list[Fact], counts: Refused) -> list[Fact]:
    """C24: the earlier by (time, canonical JSON) of two contents under one source and id."""
    held: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        held.setdefault((fact["source"], fact["id"]), []).append(fact)
    kept = []
    for copies in held.values():
        first = min(copies, key=lambda fact: (fact["at"], _content(fact)))
        kept.append(first)
        contents = {_content(fact) for fact in copies}
        counts["duplicates"] += sum(_content(fact) == _content(first) for fact in copies) - 1
        counts["id_reused"] += sum(_content(fact) != _content(first) for fact in copies) if len(contents) > 1 else 0
    return sorted(kept, key=lambda fact: (fact["at"], fact["source"], fact["id"]))


def _one_source_each(facts: list[Fact], counts: Refused) -> list[Fact]:
    """The earliest `contact.opened` says whose contact it is; another source's is refused."""
    owner: dict[str, str] = {}
    kept = []
    for fact in facts:
        opened = fact["type"] == "contact.opened"
        if opened and owner.setdefault(fact["subject"], fact["source"]) != fact["source"]:
            counts["contact_id_reused"] += 1
        else:
            kept.append(fact)
    return kept


def identity(text: str) -> str:
    """An address or handle in one spelling: `mailto:…` or as it is, in lower case."""
    plain = text.strip().casefold()
    return f"mailto:{plain}" if "@" in plain and ":" not in plain else plain


def customer_of(text: str, customers: list[dict[str, Any]]) -> str:
    """The customer who has this identity, by address or handle first, then by domain; else a derived one."""
    wanted = identity(text)
    for customer in customers:
        if wanted in [identity(one) for one in customer.get("identities", [])]:
            return customer["customer_id"]
    domain = "domain:" + wanted.rpartition("@")[2]
    for customer in customers:
        if wanted.startswith("mailto:") and domain in [identity(one) for one in customer.get("identities", [])]:
            return customer["customer_id"]
    return f"derived:{wanted}"


def identity_in(fact: Fact) -> str | None:
    """The customer's own address or handle in a fact, where it carries one."""
    data = fact["data"]
    if fact["type"] in ("contact.opened", "message.received"):
        return None if data.get("opened_by") == "agent" else data.get("sender")
    if fact["type"] == "message.sent" and data.get("public", True):
        return data.get("recipient")
    if fact["type"] == "message.bounced":
        return data.get("sender" if data.get("direction") == "inbound" else "recipient")
    return None
