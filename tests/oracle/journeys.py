"""A customer's attempts over all contacts while no human has answered (C14).

Clocks do not belong here: a journey knows no target.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.oracle import families
from tests.oracle.families import World
from tests.oracle.open_time import elapsed, used_up
from tests.oracle.promises import attribute_changes, covering, first_attributes, promised
from tests.oracle.reading import Fact

Attempt = dict[str, Any]


def journeys_of(world: World, config: dict[str, Any], now: datetime) -> list[dict[str, Any]]:
    """Every journey of every customer, in order of customer and start."""
    alive = [name for name in families.contacts_of(world) if name not in world.merges]
    found = []
    for customer in sorted({families.customer_id(world, name) for name in alive}):
        mine = [name for name in alive if families.customer_id(world, name) == customer]
        found += _journeys(world, config, customer, mine, now)
    return found


def _journeys(
    world: World, config: dict[str, Any], customer: str, contacts: list[str], now: datetime
) -> list[dict[str, Any]]:
    steps = [(fact["key"], "answer", name, fact) for name in contacts for fact in families.answers_for(world, name)[0]]
    for name in contacts:
        if families.cut_of(world, name) is None:
            steps += [(fact["key"], "attempt", name, fact) for fact in _attempts(world, name)]
    journeys: list[dict[str, Any]] = []
    for _, kind, name, fact in sorted(steps, key=lambda step: step[0]):
        waiting = bool(journeys) and journeys[-1]["state"] == "waiting"
        if kind == "answer" and waiting:
            journeys[-1] |= {"state": "answered", "ended_at": fact["at"], "answered_by": fact["data"].get("agent_id")}
        elif kind == "attempt":
            if not waiting:
                journeys.append({"customer_id": customer, "state": "waiting", "started_at": fact["at"]})
                journeys[-1] |= {"ended_at": None, "answered_by": None, "attempts": []}
            _try(journeys[-1]["attempts"], name, fact)
    return [_finished(world, config, journey, contacts, now) for journey in journeys]


def _attempts(world: World, name: str) -> list[Fact]:
    family = families.family(world, name)
    bounces = [fact for fact in family if fact["type"] == "message.bounced" and fact["data"].get("permanent", True)]
    return families.customer_messages(family) + [fact for fact in bounces if fact["data"]["direction"] == "inbound"]


def _try(attempts: list[Attempt], name: str, fact: Fact) -> None:
    bounced = fact["type"] == "message.bounced"
    if not any(one["contact_id"] == name and (one["dead_end"] == "bounced") == bounced for one in attempts):
        attempts.append({"contact_id": name, "at": fact["at"], "dead_end": "bounced" if bounced else None})


def _finished(
    world: World, config: dict[str, Any], journey: dict[str, Any], contacts: list[str], now: datetime
) -> dict[str, Any]:
    end = journey["ended_at"] or now
    policies = [_judge(world, config, one) for one in journey["attempts"]]
    for attempt, policy in zip(journey["attempts"], policies, strict=True):
        if attempt["channel"] == "form" and attempt["dead_end"] is None and policy and policy.get("dead_end_after"):
            calendar = config["calendars"][policy["calendar"]]
            limit = used_up(calendar, attempt["at"], promised(calendar, attempt["at"], policy["dead_end_after"]), [])
            assert limit is not None
            if limit < end and not _known(world, attempt, contacts, limit):
                attempt["dead_end"] = "no_ticket"
    calendar = config["calendars"][policies[0]["calendar"]] if policies[0] else {"always_open": True}
    journey["wall_seconds"] = (end - journey["started_at"]).total_seconds()
    journey["open_seconds"] = elapsed(calendar, journey["started_at"], end).total_seconds()
    for one in [journey, *journey["attempts"]]:
        for name in ("started_at", "ended_at", "at"):
            if isinstance(one.get(name), datetime):
                one[name] = one[name].astimezone(UTC).isoformat().replace("+00:00", "Z")
    return journey


def _judge(world: World, config: dict[str, Any], attempt: Attempt) -> dict[str, Any] | None:
    """Notes the attempt's channel and returns the policy that covers it."""
    own = world.own.get(attempt["contact_id"], [])
    family = families.family(world, attempt["contact_id"])
    customer = families.customer_id(world, attempt["contact_id"])
    tier = next((one.get("tier") for one in reversed(world.customers) if one["customer_id"] == customer), None)
    shown = first_attributes(own, families.customer_messages(family), tier)
    for at, rank, what in attribute_changes(own, family):
        if (at, rank) <= (attempt["at"], 0):
            shown |= what
    if attempt["dead_end"] == "bounced":
        shown |= {"channel": "email"}
    attempt["channel"] = shown["channel"]
    return covering(config, shown, attempt["at"])


def _known(world: World, attempt: Attempt, contacts: list[str], limit: datetime) -> bool:
    """Has a human or another door of ours taken the form up in time?"""
    form = attempt["contact_id"]
    family = families.family(world, form)
    touches = [fact for fact in family if fact["type"] in ("contact.acknowledged", "contact.assigned")]
    touches += [fact for fact in family if fact["type"] == "message.sent" and not fact["data"].get("automated", False)]
    if any(attempt["at"] <= fact["at"] <= limit for fact in touches):
        return True
    ties = [merge["at"] for merge in world.merges.values() if merge["data"]["into"] == form]
    ties += [link["at"] for link in world.links if link["subject"] == form]
    ties += [link["at"] for link in world.links if link["data"]["contact_id"] == form and link["subject"] in contacts]
    if any(at <= limit for at in ties):
        return True
    doors = ("contact.opened", "message.received")
    others = [families.family(world, name) for name in contacts if name != form]
    firsts = [next((fact for fact in other if fact["type"] in doors), None) for other in others]
    return any(
        first is not None and attempt["at"] <= first["at"] <= limit and first["data"].get("channel") != "form"
        for first in firsts
    )
