"""Which facts a contact is judged by: its own, carried over by merges, shared by links (C13, C17, C19).

How a clock runs over them does not belong here. `World` holds everything known at `now`.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from tests.oracle.reading import Fact, customer_of, identity, identity_in

MOVED = {  # what a merge carries over
    "contact.opened", "message.received", "message.sent", "message.bounced", "contact.acknowledged", "contact.assigned",
}  # fmt: skip
Key = tuple[Any, ...]


@dataclass
class World:
    """All known facts of all contacts, with the merges that hold."""

    own: dict[str, list[Fact]]
    customers: list[dict[str, Any]]
    merges: dict[str, Fact]  # source contact -> its merge
    links: list[Fact]
    taken_back: set[tuple[str, str]] = field(default_factory=set)  # source and id of answers that bounced


def world_of(facts: list[Fact], customers: list[dict[str, Any]]) -> World:
    """The world of `facts`: merges accepted, bounced answers taken back."""
    own: dict[str, list[Fact]] = defaultdict(list)
    for fact in sorted(facts, key=lambda fact: fact["key"]):
        own[fact["subject"]].append(fact)
    links = [fact for fact in facts if fact["type"] == "contact.linked"]
    return _with_bounces(World(own=dict(own), customers=customers, merges=_accepted_merges(facts), links=links))


def contacts_of(world: World) -> list[str]:
    """Every contact that has facts, of its own or carried over."""
    return sorted(set(world.own) | {fact["data"]["into"] for fact in world.merges.values()})


def without_merge_of(world: World, source: str) -> World:
    """The world in which `source` lived until its merge: its void clocks are those of this world, cut there."""
    gone = world.merges[source]
    merges = {
        contact: fact
        for contact, fact in world.merges.items()
        if contact != source and not (root(world, contact, until=source) == source and fact["key"] > gone["key"])
    }
    links = [fact for fact in world.links if fact["key"] < gone["key"]]
    return replace(world, merges=merges, links=links)  # what bounced has bounced, in the target too (C13)


def root(world: World, contact: str, until: str | None = None) -> str:
    """Where a contact lives on: chains of merges are followed."""
    while contact in world.merges and contact != until:
        contact = world.merges[contact]["data"]["into"]
    return contact


def family(world: World, contact: str) -> list[Fact]:
    """The contact's own facts and what merges carried into it, in C21's order."""
    carried = [
        fact
        for source in world.merges
        if source != contact and root(world, source, until=contact) == contact
        for fact in world.own[source]
        if fact["type"] in MOVED
    ]
    return sorted(world.own.get(contact, []) + carried, key=lambda fact: fact["key"])


def customer_messages(facts: list[Fact]) -> list[Fact]:
    """C6, C18: what the customer wrote; automatic replies are nothing, a repeated message_id is one."""
    firsts: dict[str, Fact] = {}
    for fact in facts:
        if fact["type"] == "contact.opened":
            firsts.setdefault(fact["subject"], fact)
    wrote = [
        fact
        for fact in facts
        if (fact["type"] == "message.received" and not fact["data"].get("automated", False))
        or (fact in firsts.values() and fact["data"].get("opened_by", "customer") == "customer")
    ]
    return _once_each(wrote)


def human_answers(facts: list[Fact]) -> list[Fact]:
    """C4: what a human of ours sent to the customer, bounced or not; a repeated message_id is one."""
    return _once_each([fact for fact in facts if fact["type"] == "message.sent" and _is_human(fact)])


def answers_for(world: World, contact: str) -> tuple[list[Fact], list[Fact]]:
    """Answers that count for the contact, of its own family and by links; and those that bounced."""
    shared = [human_answers(family(world, other)) for other in linked(world, contact)]
    everything = sorted((fact for facts in shared for fact in facts), key=lambda fact: fact["key"])
    arrived = [fact for fact in everything if (fact["source"], fact["id"]) not in world.taken_back]
    bounced = [fact for fact in everything if (fact["source"], fact["id"]) in world.taken_back]
    return _once_each(arrived), bounced


def linked(world: World, contact: str) -> set[str]:
    """The contact and all that links join to it, within its customer (C17)."""
    edges = [(root(world, fact["subject"]), root(world, fact["data"]["contact_id"])) for fact in world.links]
    mine, known = customer_id(world, contact), contacts_of(world)
    found, fresh = set[str](), {contact}
    while fresh:
        found |= fresh
        near = {b for a, b in edges if a in fresh} | {a for a, b in edges if b in fresh}
        fresh = {other for other in near - found if other in known and customer_id(world, other) == mine}
    return found


def customer_id(world: World, contact: str) -> str:
    """C19: the earliest explicit customer_id, else the earliest identity; a contact that has neither
    belongs to whom the first merge into it says, else to the customer of what was merged, else to itself."""
    facts = world.own.get(contact, [])
    for fact in facts:
        if fact["data"].get("customer_id"):
            return fact["data"]["customer_id"]
    for fact in facts:
        if text := identity_in(fact):
            return customer_of(text, world.customers)
    for fact in sorted(world.merges.values(), key=lambda fact: fact["key"]):
        if fact["data"]["into"] == contact:
            return fact["data"].get("into_customer_id") or customer_id(world, fact["subject"])
    return f"derived:contact:{contact}"


def cut_of(world: World, contact: str) -> tuple[Key, str] | None:
    """Where and why all the contact's clocks become void: its merge, or spam, test or duplicate."""
    voids = [fact for fact in world.own.get(contact, []) if fact["type"] == "contact.voided"]
    cuts = [(fact["key"], fact["data"]["reason"]) for fact in voids]
    if contact in world.merges:
        cuts.append((world.merges[contact]["key"], "merged"))
    return min(cuts, default=None)


def _with_bounces(world: World) -> World:
    living = [contact for contact in contacts_of(world) if contact not in world.merges]
    return replace(world, taken_back={one for contact in living for one in _taken_back(family(world, contact))})


def _accepted_merges(facts: list[Fact]) -> dict[str, Fact]:
    """The first merge of each contact, but none that would close a ring."""
    accepted: dict[str, Fact] = {}
    for fact in sorted((fact for fact in facts if fact["type"] == "contact.merged"), key=lambda fact: fact["key"]):
        end = fact["data"]["into"]
        while end in accepted and end != fact["subject"]:
            end = accepted[end]["data"]["into"]
        if fact["subject"] not in accepted and end != fact["subject"]:
            accepted[fact["subject"]] = fact
    return accepted


def _taken_back(facts: list[Fact]) -> set[tuple[str, str]]:
    """C13: the answers of one family that its permanent outbound bounces take back."""
    sent = [fact for fact in facts if fact["type"] == "message.sent"]
    answers = human_answers(facts)
    gone = []
    for bounce in facts:
        data = bounce["data"]
        if bounce["type"] != "message.bounced" or data["direction"] != "outbound" or not data.get("permanent", True):
            continue
        named = [fact for fact in sent if "message_id" in data and fact["data"].get("message_id") == data["message_id"]]
        if named:
            gone += [fact for fact in named if _is_human(fact)]
        elif "recipient" in data:
            gone += [fact for fact in answers if fact["key"] < bounce["key"] and _went_to(fact, data["recipient"])][-1:]
    return {(fact["source"], fact["id"]) for fact in gone}


def _went_to(answer: Fact, recipient: str) -> bool:
    return "recipient" not in answer["data"] or identity(answer["data"]["recipient"]) == identity(recipient)


def _is_human(sent: Fact) -> bool:
    return sent["data"].get("public", True) and not sent["data"].get("automated", False)


def _once_each(messages: list[Fact]) -> list[Fact]:
    seen, kept = set(), []
    for fact in messages:
        name = fact["data"].get("message_id")
        if name is None or name not in seen:
            kept.append(fact)
        seen.add(name)
    return kept
