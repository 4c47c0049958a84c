"""A contact as its facts in time order, and several contacts as one where they were merged or linked.

Facts are what events say, in the order of C21; merging moves facts (C17), linking shares answers, a
bounce takes an answer back (C13). What a fact means for a clock is decided in `streams.engine.reading`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, Final, NamedTuple

from schemas.events import EVENT_DATA, Event
from schemas.glance import Glance
from schemas.policies import TargetName
from streams.engine.calendar import to_us
from streams.engine.identity import Directory, normalised

OPENED: Final = "contact.opened"
RECEIVED: Final = "message.received"
SENT: Final = "message.sent"
BOUNCED: Final = "message.bounced"
ACKNOWLEDGED: Final = "contact.acknowledged"
ASSIGNED: Final = "contact.assigned"
UPDATED: Final = "contact.updated"
PAUSED: Final = "contact.paused"
RESUMED: Final = "contact.resumed"
RESOLVED: Final = "contact.resolved"
REOPENED: Final = "contact.reopened"
CLOSED: Final = "contact.closed"
MERGED: Final = "contact.merged"
LINKED: Final = "contact.linked"
VOIDED: Final = "contact.voided"
RATED: Final = "contact.rated"
CUSTOMER_CHANGED: Final = "customer.changed"  # ours: another tier or kind from this instant on

# C21: the order of facts at one instant. Assigning may acknowledge, so it stands with acknowledgements.
RANK: Final[Mapping[str, int]] = {
    OPENED: 0,
    RECEIVED: 0,
    UPDATED: 1,
    CUSTOMER_CHANGED: 1,
    ACKNOWLEDGED: 2,
    ASSIGNED: 2,
    PAUSED: 3,
    RESUMED: 3,
    SENT: 4,
    BOUNCED: 5,
    RESOLVED: 6,
    CLOSED: 6,
    REOPENED: 7,
    MERGED: 8,
    LINKED: 8,
    VOIDED: 9,
    RATED: 10,
}


class Fact(NamedTuple):
    """One event as the engine keeps it; tuples order by C21. `data` has no `customer_id`."""

    at_us: int
    rank: int
    source: str
    id: str
    type: str
    data: dict[str, Any]

    @property
    def is_customer_message(self) -> bool:
        """The customer wrote, himself: neither an automatic reply (C18) nor our own opening (C6)."""
        if self.type == RECEIVED:
            return not self.data.get("automated")
        return self.type == OPENED and self.data.get("opened_by") != "agent"

    @property
    def is_answer(self) -> bool:
        """From a human of ours, public (C4); whether it bounced is not known here."""
        return self.type == SENT and not self.data.get("automated") and bool(self.data.get("public", True))


ORDER: Final = itemgetter(0, 1, 2, 3)
_DEFAULTS: Final = {
    kind: {name: None if info.is_required() else info.default for name, info in data.model_fields.items()}
    for kind, data in EVENT_DATA.items()
}


def fact(at_us: int, source: str, event_id: str, event_type: str, data: dict[str, Any]) -> Fact:
    """A fact with its place in the order of C21."""
    return Fact(at_us, RANK[event_type], source, event_id, event_type, data)


def fact_of(event: Event) -> Fact:
    """The fact that an event states. What is absent or as by default is left out."""
    kind = event.type
    defaults = _DEFAULTS[kind]
    data = {key: value for key, value in event.data.__dict__.items() if value != defaults[key]}
    return Fact(to_us(event.time), RANK[kind], event.source, event.id, kind, data)


def glanced(event: Glance) -> Fact:
    """The fact that an event states which was read the short way."""
    kind = event.type
    return Fact(to_us(event.time), RANK[kind], event.source, event.id, kind, event.data)


def customer_of(facts: Iterable[Fact], directory: Directory) -> str | None:
    """The customer of a contact (C19): its earliest explicit `customer_id`, else its earliest identity,
    else None. `facts` in order."""
    identity = None
    for item in facts:
        named = item.data.get("customer_id")
        if named is not None:
            return str(named)
        identity = identity or identity_in(item)
    return directory.owner_of(identity) if identity else None


def customers_of(facts_of: Mapping[str, Sequence[Fact]], directory: Directory) -> dict[str, str]:
    """The customer of each contact; one that names none has that of what was merged into it, else, so
    that nobody is dropped, the contact stands for its customer (C19)."""
    known = {contact_id: customer_of(own, directory) for contact_id, own in facts_of.items()}
    named = named_by_merges(facts_of, known)
    return {contact_id: customer or f"contact:{contact_id}" for contact_id, customer in named.items()}


def named_by_merges(facts_of: Mapping[str, Sequence[Fact]], known: Mapping[str, str | None]) -> dict[str, str | None]:
    """The customer of each contact, also of those that name none and got one by what was merged into them."""
    named = dict(known)
    merges = [(item, source) for source, own in facts_of.items() for item in own if item.type == MERGED]
    merges = sorted((m for m in merges if named.get(m[0].data["into"], "") is None), key=lambda m: (ORDER(m[0]), m[1]))
    found = True
    while found:  # again for chains: what one merge brings may have come by another
        found = False
        for merge, source in merges:
            target = merge.data["into"]
            brought = merge.data.get("into_customer_id") or named[source]
            if named[target] is None and brought is not None:
                named[target], found = brought, True
    return named


def known_by_merges(contacts: Mapping[str, Contact]) -> dict[str, str]:
    """The customers of contacts of which nothing is known but what was merged into them."""
    known = {name: contact for name, contact in contacts.items() if contact.facts or contact.carried}
    merges = _Merges(known)
    return {target: _empty(target, merges, known).customer_id for target in merges.targets_without_facts()}


def identity_in(item: Fact) -> str | None:
    """The customer's address or handle in a fact, or None: who wrote to us, or whom we wrote to."""
    found = None
    if item.is_customer_message or item.type == RECEIVED or is_inbound_bounce(item):
        found = item.data.get("sender")
    elif item.type in (OPENED, BOUNCED) or (item.type == SENT and item.data.get("public", True)):
        found = item.data.get("recipient") if item.data.get("direction") != "inbound" else None
    return None if found is None else str(found)


def is_inbound_bounce(item: Fact) -> bool:
    """A customer's mail that we bounced (C14)."""
    return item.type == BOUNCED and item.data["direction"] == "inbound"


@dataclass(frozen=True, slots=True)
class Carried:
    """What is kept of a contact whose facts are forgotten: how far its cycles counted, since when it had been
    answered, its attributes, whether its last close was a silent one that nothing has settled since (C10), whether the
    customer had written, and whether it was resolved. `until_us` is its last fact, or of what was tied to it."""

    until_us: int
    cycles: Mapping[TargetName, int]
    answered_us: int | None
    channel: str
    priority: str
    queue: str | None
    unanswered_at_close: bool = False
    written: bool = True
    resolved: bool = True


@dataclass(slots=True)
class Contact:
    """A contact's own facts in order, each `source` + `id` once."""

    contact_id: str
    customer_id: str
    facts: list[Fact] = field(default_factory=list)
    carried: Carried | None = None


@dataclass(frozen=True, slots=True)
class End:
    """Why and when all clocks of a contact become void (C17)."""

    at_us: int
    rank: int
    reason: str


@dataclass(slots=True)
class Timeline:
    """What one contact's clocks are judged on: own facts, facts merged into it and answers shared by
    links, in order; `taken_back` has the identities of answers that bounced, with the bounce's instant."""

    contact_id: str
    customer_id: str
    facts: Sequence[Fact]
    taken_back: Mapping[tuple[str, str], int] = field(default_factory=dict)
    end: End | None = None
    opened: Fact | None = None
    merged_into: str | None = None
    joined_us: int | None = None  # when another contact was first merged into this one
    carried: Carried | None = None


def in_order(facts: Iterable[Fact]) -> list[Fact]:
    """Facts by C21."""
    return sorted(facts, key=ORDER)


def timelines(contacts: Mapping[str, Contact]) -> dict[str, Timeline]:
    """The timeline of every contact of one customer (or of several, where merges cross customers). A
    contact that was merged away is seen as it was until then: with the merges and links made before."""
    if not _entangled(contacts.values()):
        return {contact_id: alone(contact) for contact_id, contact in contacts.items()}
    merges = _Merges(contacts)
    found = _gathered_world(contacts, merges, None)
    ends = _link_ends(contacts)
    for contact_id, (target, merge) in merges.into.items():
        if contact_id in merges.members or contact_id in ends:  # else nothing came to it from others, now or then
            found[contact_id] = _as_it_was(contacts, contact_id, merge, shares=bool(ends))
        found[contact_id].end = _end_of(contacts[contact_id].facts, merge)
        found[contact_id].merged_into = target
        found[contact_id].taken_back = {**found[contact_id].taken_back, **found[merges.root(contact_id)].taken_back}
    return found


def _as_it_was(contacts: Mapping[str, Contact], contact_id: str, merge: Fact, *, shares: bool) -> Timeline:
    """A contact before it was merged away; `shares`: links may have given it answers of others."""
    earlier = _Merges(contacts, merge)
    if shares:
        return _gathered_world(contacts, earlier, merge)[contact_id]
    return _gathered(contacts[contact_id], earlier)


def _link_ends(contacts: Mapping[str, Contact]) -> set[str]:
    links = [(item, name) for name, contact in contacts.items() for item in contact.facts if item.type == LINKED]
    return {end for link, name in links for end in (name, link.data["contact_id"])}


def _gathered_world(contacts: Mapping[str, Contact], merges: _Merges, before: Fact | None) -> dict[str, Timeline]:
    gathered = {contact_id: _gathered(contact, merges) for contact_id, contact in contacts.items()}
    for target in merges.targets_without_facts():
        gathered[target] = _gathered(_empty(target, merges, contacts), merges)
    _share_answers(gathered, contacts, merges, before)
    return gathered


def _entangled(contacts: Iterable[Contact]) -> bool:
    return any(ties(contact.facts) for contact in contacts)


def ties(facts: Iterable[Fact]) -> bool:
    """Whether merges or links among these facts tie their contact to others."""
    return RANK[MERGED] in [item.rank for item in facts]  # which is that of links too, and of nothing else


def alone(contact: Contact) -> Timeline:
    """The timeline of a contact that nothing ties to others: what `timelines` gives for it."""
    own = contact.facts
    facts, ranks = once_each(own), [item.rank for item in own]
    return Timeline(
        contact.contact_id,
        contact.customer_id,
        facts,
        taken_back(facts) if RANK[BOUNCED] in ranks else {},
        _end_of(own, None) if RANK[VOIDED] in ranks else None,
        _first_opened(own) if RANK[OPENED] in ranks else None,
        carried=contact.carried,
    )


def once_each(facts: Sequence[Fact]) -> Sequence[Fact]:
    """Each message once (C6): of those by a human, the first with a `message_id` holds, per direction. Only
    a contact's first `contact.opened` opens it; what a later one names is an update at its instant."""
    if _all_differ(facts):
        return facts
    seen: set[tuple[bool, str]] = set()
    opened, changed = False, False
    kept: list[Fact] = []
    for item in facts:
        if item.type == OPENED and opened:
            kept.append(item._replace(type=UPDATED, rank=RANK[UPDATED]))
            changed = True
            continue
        opened = opened or item.type == OPENED
        message_id = item.data.get("message_id")
        if message_id is not None and (item.is_customer_message or item.is_answer):
            key = (item.type == SENT, message_id)
            if key in seen:
                changed = True
                continue
            seen.add(key)
        kept.append(item)
    return in_order(kept) if changed else facts


def _all_differ(facts: Sequence[Fact]) -> bool:
    """Whether at a glance no message and no opening can be there twice, as nearly always."""
    ids = [message_id for item in facts if (message_id := item.data.get("message_id")) is not None]
    if len(ids) > 1 and len(set(ids)) < len(ids):
        return False
    return [item.type for item in facts].count(OPENED) <= 1


def taken_back(facts: Sequence[Fact]) -> dict[tuple[str, str], int]:
    """Answers that bounced (C13): their identity and the instant of the first bounce that took them."""
    taken: dict[tuple[str, str], int] = {}
    for position, bounce in enumerate(facts):
        if bounce.type != BOUNCED:
            continue
        answer = bounced_answer(bounce, position, facts)
        if answer is not None:
            taken.setdefault((answer.source, answer.id), bounce.at_us)
    return taken


def bounced_answer(bounce: Fact, position: int, facts: Sequence[Fact]) -> Fact | None:
    """The answer that a bounce at `position` of `facts` takes back, or None (C13)."""
    data = bounce.data
    if data.get("direction") != "outbound" or not data.get("permanent", True):
        return None
    message_id, recipient = data.get("message_id"), data.get("recipient")
    if message_id is not None:
        named = [sent for sent in facts if sent.type == SENT and sent.data.get("message_id") == message_id]
        if named:
            return next((sent for sent in named if sent.is_answer), None)
    if recipient is None:
        return None
    address = normalised(str(recipient))
    earlier: Fact
    for earlier in reversed(facts[:position]):
        if earlier.is_answer:
            sent_to = earlier.data.get("recipient")
            if sent_to is None or normalised(str(sent_to)) == address:
                return earlier
    return None


def _end_of(facts: Iterable[Fact], merge: Fact | None) -> End | None:
    ends = [f for f in facts if f.type == VOIDED]
    if merge is not None:
        ends.append(merge)
    if not ends:
        return None
    first = min(ends, key=ORDER)
    return End(first.at_us, first.rank, "merged" if first.type == MERGED else first.data["reason"])


def _first_opened(facts: Iterable[Fact]) -> Fact | None:
    for item in facts:
        if item.type == OPENED:
            return item
    return None


class _Merges:
    """Which contact lives on in which (C17): the first merge of a contact holds, chains are followed, and
    a merge that would close a ring is ignored. `before` leaves out merges from that place in the order on."""

    def __init__(self, contacts: Mapping[str, Contact], before: Fact | None = None) -> None:
        self.into: dict[str, tuple[str, Fact]] = {}
        self.members: dict[str, list[str]] = {}
        self._contacts = contacts
        merges = [
            (f, contact_id) for contact_id, contact in contacts.items() for f in contact.facts if f.type == MERGED
        ]
        for merge, source in sorted(merges, key=lambda pair: (ORDER(pair[0]), pair[1])):
            target = merge.data["into"]
            if before is not None and ORDER(merge) >= ORDER(before):
                break
            if source not in self.into and self.root(target) != source:
                self.into[source] = (target, merge)
                self.members.setdefault(target, []).append(source)

    def root(self, contact_id: str) -> str:
        """The contact in which this one lives on; itself where it was not merged."""
        while contact_id in self.into:
            contact_id = self.into[contact_id][0]
        return contact_id

    def joined_us(self, contact_id: str) -> int | None:
        """When another contact was first merged into this one."""
        sources = self.members.get(contact_id)
        return self.into[sources[0]][1].at_us if sources else None

    def targets_without_facts(self) -> list[str]:
        """Contacts that are known only because something was merged into them."""
        return [target for target in self.members if target not in self._contacts]

    def moved_into(self, contact_id: str, forgotten_us: int | None) -> list[Fact]:
        """Facts that merging brought here, of whole chains. What had come by `forgotten_us` and was forgotten here is
        not judged again, though another home may tell of it once more."""
        moved: list[Fact] = []
        ahead = [*reversed(self.members.get(contact_id, ()))]
        while ahead:  # a chain may be longer than calls may nest
            source = ahead.pop()
            own, since_us = self._contacts[source].facts, self.into[source][1].at_us
            opened = _first_opened(own)
            for item in own:
                known = forgotten_us is not None and max(item.at_us, since_us) <= forgotten_us
                if not known and (travelled := _moved(item, opened)):
                    moved.append(travelled)
            ahead += reversed(self.members.get(source, ()))
        return moved


def _moved(item: Fact, opened: Fact | None) -> Fact | None:
    """What a merged fact is in its new contact: no state and no attribute (C17)."""
    if item.type in (RECEIVED, SENT, BOUNCED, ACKNOWLEDGED):
        return item
    if item.type == OPENED:
        return item._replace(type=RECEIVED) if item is opened and item.is_customer_message else None
    if item.type == ASSIGNED:
        return item._replace(data={k: v for k, v in item.data.items() if k != "queue"})
    return None


def _gathered(contact: Contact, merges: _Merges) -> Timeline:
    forgotten_us = contact.carried.until_us if contact.carried else None
    facts = once_each(in_order([*contact.facts, *merges.moved_into(contact.contact_id, forgotten_us)]))
    return Timeline(
        contact.contact_id,
        contact.customer_id,
        facts,
        taken_back(facts),
        _end_of(contact.facts, None),
        _first_opened(contact.facts),
        joined_us=merges.joined_us(contact.contact_id),
        carried=contact.carried,
    )


def _empty(target: str, merges: _Merges, contacts: Mapping[str, Contact]) -> Contact:
    source = merges.members[target][0]
    merge = merges.into[source][1]
    customer = merge.data.get("into_customer_id") or (contacts[source].customer_id if source in contacts else "")
    return Contact(target, customer)


def _share_answers(
    gathered: dict[str, Timeline], contacts: Mapping[str, Contact], merges: _Merges, before: Fact | None
) -> None:
    """Give every contact the answers of those that it is linked with: symmetric, transitive, within one
    customer, retroactive (C17)."""
    for group in _linked(gathered, contacts, merges, before):
        answers = {root: [f for f in gathered[root].facts if f.is_answer] for root in group if root in gathered}
        for root in answers:
            shared = [f for other in sorted(group) if other != root for f in answers.get(other, ())]
            if shared:
                timeline = gathered[root]
                timeline.facts = once_each(in_order([*timeline.facts, *shared]))
        together = {key: at_us for root in answers for key, at_us in gathered[root].taken_back.items()}
        for root in answers:
            gathered[root].taken_back = together


def _linked(
    gathered: Mapping[str, Timeline], contacts: Mapping[str, Contact], merges: _Merges, before: Fact | None
) -> list[set[str]]:
    groups: list[set[str]] = []
    for contact_id, contact in contacts.items():
        for link in (f for f in contact.facts if f.type == LINKED):
            if before is not None and ORDER(link) >= ORDER(before):
                continue
            here, there = merges.root(contact_id), merges.root(link.data["contact_id"])
            known = gathered.get(there)
            if here == there or known is None or known.customer_id != gathered[here].customer_id:
                continue  # what is not known as this customer's ties nothing together
            joined = {here, there}.union(*(group for group in groups if group & {here, there}))
            groups = [group for group in groups if not group & joined] + [joined]
    return groups
