"""A contact's facts in words: what each counted as, by which rule, and what it did to the clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from streams.engine import timeline as facts
from streams.engine.attributes import Tier
from streams.engine.explain.explanation import CountsAs, ExplainedFact
from streams.engine.explain.marks import end_words
from streams.engine.explain.witness import Witness, key_of
from streams.engine.timeline import ORDER, Contact, Fact, Timeline, bounced_answer


class _Said(NamedTuple):
    words: str
    rule: str
    counts_as: CountsAs = "neither"


class _Told(NamedTuple):
    """What the words of one fact depend on."""

    timeline: Timeline
    witness: Witness
    origin: Mapping[tuple[str, str], str]


def story(
    timeline: Timeline, contacts: Mapping[str, Contact], tiers: Sequence[Tier], witness: Witness
) -> tuple[ExplainedFact, ...]:
    """Every fact of the contact, those that merges and links brought included, in order."""
    origin = {(item.source, item.id): contact.contact_id for contact in contacts.values() for item in contact.facts}
    known = {key_of(item) for item in timeline.facts}
    own = contacts[timeline.contact_id].facts if timeline.contact_id in contacts else []
    dropped = [item for item in own if key_of(item) not in known]
    changes = [
        facts.fact(tier.since_us, "", "", facts.CUSTOMER_CHANGED, {"tier": tier.tier, "kind": tier.kind})
        for tier in tiers[1:]
    ]
    told = _Told(timeline, witness, origin)
    ordered = sorted([*timeline.facts, *dropped, *changes], key=ORDER)
    repeated = {key_of(item) for item in dropped}
    return tuple(_explained(item, told, repeated=key_of(item) in repeated) for item in ordered)


def _explained(item: Fact, told: _Told, *, repeated: bool) -> ExplainedFact:
    contact_id = told.origin.get((item.source, item.id), told.timeline.contact_id)
    said = _said(item, told, repeated=repeated)
    words = said.words
    if contact_id != told.timeline.contact_id:
        words = f"in {contact_id}: {words}"
    return ExplainedFact(
        fact=item,
        contact_id=contact_id,
        words=words,
        counts_as=said.counts_as,
        rule=said.rule,
        effects=_effects(item, told.witness),
    )


def _said(item: Fact, told: _Told, *, repeated: bool) -> _Said:
    end = told.timeline.end
    said = _Said("the same message told again: it is one message", "C6") if repeated else _SAID[item.type](item, told)
    if end is not None and (item.at_us, item.rank) >= (end.at_us, end.rank) and not _is_the_end(item):
        return _Said(f"{said.words}; after the contact was {end_words(told.timeline)}: nothing starts here", "C17")
    return said


def _is_the_end(item: Fact) -> bool:
    return item.type in (facts.MERGED, facts.VOIDED)


def _effects(item: Fact, witness: Witness) -> tuple[str, ...]:
    """`starts first_response 1, resolution 1`; cycles that are no clock in the end are left out."""
    by_verb: dict[str, list[str]] = {}
    for verb, name in witness.effects.get(key_of(item), ()):
        running = witness.clocks[name]
        if running.policy is not None and running.span is not None:
            by_verb.setdefault(verb, []).append(f"{name[0]} {name[1]}")
    return tuple(f"{verb} {', '.join(names)}" for verb, names in by_verb.items())


# -- what each fact is ---------------------------------------------------------------------------------


def _opened(item: Fact, _: _Told) -> _Said:
    details = [str(item.data[key]) for key in ("channel",) if item.data.get(key)]
    details += [f"{key} {item.data[key]}" for key in ("priority", "queue") if item.data.get(key)]
    if not item.is_customer_message:
        return _Said(f"we opened the contact ({', '.join(details)}): no customer message", "C6")
    return _Said(f"the customer opened the contact ({', '.join(details)})", "C6", "customer_message")


def _received(item: Fact, told: _Told) -> _Said:
    if not item.is_customer_message:
        return _Said("automatic reply of the customer: starts and ends nothing", "C18")
    first = next(one for one in told.timeline.facts if one.is_customer_message) is item
    return _Said("the customer wrote", "C6" if first else "C7", "customer_message")


def _sent(item: Fact, told: _Told) -> _Said:
    by = _by(item)
    if not item.data.get("public", True):
        return _Said(f"internal note{by}: not an answer", "C4")
    if item.data.get("automated"):
        return _Said(f"automatic message of ours{by}: not an answer", "C4")
    if (item.source, item.id) in told.timeline.taken_back:
        return _Said(f"answer{by}, but it bounced: taken back", "C13")
    if key_of(item) in told.witness.before_the_customer:
        return _Said(f"we wrote{by} before the customer first did: answers nothing", "C4")
    return _Said(f"answer{by}", "C4", "answer")


def _bounced(item: Fact, told: _Told) -> _Said:
    data = item.data
    permanent = data.get("permanent", True)
    if data.get("direction") == "inbound":
        if permanent:
            return _Said("the customer's mail bounced at our side: an attempt at a dead end", "C14")
        return _Said("the customer's mail was delayed at our side: no attempt", "C14")
    if not permanent:
        return _Said("delivery failed for a while only: takes nothing back", "C13")
    taken = bounced_answer(item, told.timeline.facts.index(item), told.timeline.facts)
    if taken is not None:
        return _Said(f"our answer{_by(taken)} bounced: it is taken back", "C13")
    if data.get("message_id") is None and data.get("recipient") is None:
        return _Said("a bounce that names neither message nor recipient: takes nothing back", "C13")
    return _Said("a bounce of no answer that we know: takes nothing back", "C13")


def _acknowledged(item: Fact, told: _Told) -> _Said:
    if key_of(item) in told.witness.before_the_customer:
        return _Said(f"acknowledged{_by(item)} before the customer wrote: acknowledges nothing", "C4")
    return _Said(f"acknowledged{_by(item)}: a human has it; not an answer", "C5")


def _assigned(item: Fact, _: _Told) -> _Said:
    to = [str(item.data[key]) for key in ("queue", "agent_id") if item.data.get(key)]
    return _Said(f"assigned to {' / '.join(to) or 'nobody'}: not an answer", "C4")


def _updated(item: Fact, _: _Told) -> _Said:
    changed = [f"{key} {item.data[key]}" for key in ("channel", "priority", "queue") if item.data.get(key)]
    changed += ["summary"] if item.data.get("summary") else []
    return _Said(f"changed: {', '.join(changed) or 'nothing that counts'}", "C16")


def _customer_changed(item: Fact, _: _Told) -> _Said:
    return _Said(f"the customer is now tier {item.data['tier'] or 'none'}, kind {item.data['kind'] or 'none'}", "C16")


def _paused(item: Fact, told: _Told) -> _Said:
    reason = f" ({item.data['reason']})" if item.data.get("reason") else ""
    if all(pause.at_us != item.at_us for pause in told.witness.pauses):
        return _Said(f"paused{reason}{_by(item)} while paused already: changes nothing", "C9")
    return _Said(f"paused{reason}{_by(item)}: stops resolution and update, never a response", "C9")


def _linked(item: Fact, _: _Told) -> _Said:
    return _Said(f"linked with {item.data['contact_id']}: an answer to one answers both", "C17")


def _merged(item: Fact, told: _Told) -> _Said:
    into, end = item.data["into"], told.timeline.end
    if told.timeline.merged_into is not None and end is not None and item.at_us > end.at_us:
        return _Said(f"merged into {into} after it had ended: changes nothing", "C17")
    if told.timeline.merged_into is None:
        return _Said(f"merging into {into} would close a ring: ignored", "C17")
    return _Said(f"merged into {into}, where messages and answers live on", "C17")


def _stated(words: str, rule: str) -> Callable[[Fact, _Told], _Said]:
    def said(item: Fact, _: _Told) -> _Said:
        by: Any = item.data.get("agent_id") or item.data.get("by")
        return _Said(words.format(**{**item.data, "by": f" by {by}" if by else ""}), rule)

    return said


def _by(item: Fact) -> str:
    return f" by {item.data['agent_id']}" if item.data.get("agent_id") else ""


_SAID: Final[Mapping[str, Callable[[Fact, _Told], _Said]]] = {
    facts.OPENED: _opened,
    facts.RECEIVED: _received,
    facts.SENT: _sent,
    facts.BOUNCED: _bounced,
    facts.ACKNOWLEDGED: _acknowledged,
    facts.ASSIGNED: _assigned,
    facts.UPDATED: _updated,
    facts.CUSTOMER_CHANGED: _customer_changed,
    facts.PAUSED: _paused,
    facts.RESUMED: _stated("resumed{by}", "C9"),
    facts.RESOLVED: _stated("resolved{by}: not an answer", "C10"),
    facts.CLOSED: _stated("closed{by}: not an answer", "C10"),
    facts.REOPENED: _stated("reopened{by}", "C11"),
    facts.MERGED: _merged,
    facts.LINKED: _linked,
    facts.VOIDED: _stated("voided as {reason}: never owed an answer", "C17"),
    facts.RATED: _stated("rated {score:g}: no clock depends on it", "C4"),
}
