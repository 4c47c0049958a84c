"""Which policy and target judge a clock, and when it is due (C1, C2, C16).

Finding out when a clock starts and ends does not belong here.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from tests.oracle.open_time import Stretch, elapsed, end_of_working_day, used_up, zone_of
from tests.oracle.reading import Fact

Attributes = dict[str, str | None]
Policy = dict[str, Any]
DAY_RANK = 1  # the place of attributes within an instant (C21)


def covering(config: dict[str, Any], attributes: Attributes, start: datetime) -> Policy | None:
    """The first policy effective at `start` that matches."""
    for policy in config["policies"]:
        if _effective_from(config, policy) <= start and _matches(policy.get("match", {}), attributes):
            return policy
    return None


def target_of(policy: Policy, target: str, priority: str | None) -> str | None:
    """The promised duration as written, the priority's own first; None where the policy has no such target."""
    special = policy.get("priority_targets", {}).get(priority, {})
    return special.get(target, policy.get("targets", {}).get(target))


def promised(calendar: dict[str, Any], start: datetime, written: str) -> timedelta:
    """A target as open time; `2wd` is what lies between `start` and its closing."""
    if days := re.fullmatch(r"(\d+)wd", written):
        return elapsed(calendar, start, end_of_working_day(calendar, start, int(days[1])))
    units = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
    return sum((timedelta(**{units[unit]: int(n)}) for n, unit in re.findall(r"(\d+)([dhms])", written)), timedelta(0))


def due_at(calendar: dict[str, Any], start: datetime, written: str, pauses: list[Stretch]) -> datetime | None:
    """When the target is used up; None while a pause without end keeps it from ever being."""
    return used_up(calendar, start, promised(calendar, start, written), pauses)


def attribute_changes(own: list[Fact], family: list[Fact]) -> list[tuple[datetime, int, Attributes]]:
    """Changes of channel, priority and queue: (instant, rank within it, what changed), in order.

    The first `contact.opened` counts from the contact's first message, even an earlier one (C22).
    """
    changes = []
    opened = [fact for fact in own if fact["type"] == "contact.opened"]
    messages = [fact for fact in family if fact["type"] in ("contact.opened", "message.received", "message.sent")]
    for fact in own:
        at, rank, data = fact["at"], DAY_RANK, fact["data"]
        if fact["type"] == "contact.opened" and fact is opened[0]:
            at, rank = min([fact["at"]] + [message["at"] for message in messages]), -1
        elif fact["type"] not in ("contact.opened", "contact.updated", "contact.assigned"):
            continue
        wanted = ("queue",) if fact["type"] == "contact.assigned" else ("channel", "priority", "queue")
        changes.append((at, rank, fact["source"], fact["id"], {name: data[name] for name in wanted if name in data}))
    ordered = sorted(changes, key=lambda change: change[:4])
    return [(at, rank, what) for at, rank, _, _, what in ordered if what]


def first_attributes(own: list[Fact], written: list[Fact], tier: str | None) -> Attributes:
    """Before any change: without `contact.opened` the first customer message's channel, else `other`."""
    channel = written[0]["data"].get("channel") if written else None
    if any(fact["type"] == "contact.opened" for fact in own):
        channel = None
    return {"channel": channel or "other", "priority": "normal", "queue": None, "tier": tier}


def _matches(match: dict[str, Any], attributes: Attributes) -> bool:
    return all(attributes[name] in ([wanted] if isinstance(wanted, str) else wanted) for name, wanted in match.items())


def _effective_from(config: dict[str, Any], policy: Policy) -> datetime:
    text = policy.get("effective_from")
    if text is None:
        return datetime.min.replace(tzinfo=UTC)
    if "T" in str(text):
        return datetime.fromisoformat(text).astimezone(UTC)
    zone = zone_of(config["calendars"][policy["calendar"]])
    return datetime.combine(date.fromisoformat(str(text)), time(), tzinfo=zone).astimezone(UTC)
