"""What the rules C1 to C24 say about a list of events: a naive second opinion to hold against the engine.

`judge(events, config, customers, until)` takes and gives plain dicts. Nothing here is fast, and nothing
here knows how the engine does it.

Where the rules leave something open, this is what was decided, as a service desk would want it:

 1. Reading. `until` is applied first, then C24, then `contact_id_reused`. Contents are compared after reading
    (instant in UTC; null and defaults left out, also in the canonical JSON that decides a tie). The source of
    the earliest (time, source, id) `contact.opened` owns the contact; only another source's `contact.opened`
    is refused, its messages are not.
 2. A contact's second `contact.opened` (same source) is no message; what it names counts as an update at its time.
 3. One message: internal notes and automatic messages are set aside first, then the earliest message with a
    message_id holds, per direction, within the contact and what was merged into it; answers also over links.
    So a resend under a bounced message_id stays bounced.
 4. Customer (C19): earliest is in C21's order; every event of the contact may name it; `recipient` counts only
    of a public message or an outbound bounce, `sender` only of the customer's message or an inbound bounce. Addresses
    compare without case and `mailto:`; an exact identity beats a domain; subdomains are not the domain. An
    explicit customer_id that no record knows stands, with tier null. A contact with facts by merge only
    belongs to `into_customer_id`, else to the source's customer. A contact with none is a derived customer's
    by its own id: nobody is dropped.
 5. Merges are taken in order (time, rank, source, id): a contact's first merge holds, one that would close a
    ring is ignored. A voided contact that is merged still moves its facts; a void of the source never voids
    the target. The first of merge and void (C21's order) gives reason and instant.
 6. A merged contact's void clocks are those of the world without that merge, with merges and links made
    before it, cut at its place in C21's order. An answer that a bounce in the target took back is taken back there
    too, whenever it bounced (C13: within its own contact and those merged into it).
 7. A target without events of its own gets clocks from what was carried over; its channel is that of the first
    customer message carried (an opening's channel is its message's channel too).
 8. Both ends of a link are followed to where the contact lives on; links of other customers' contacts do not
    join, nor pass on; a contact of which only the name is known passes on. A link shares answers whole: they also
    start and end `update` clocks and acknowledge.
 9. An answer is to the customer whatever its `recipient` says. A contact opened by us is not an answer.
10. A bounce whose unknown id comes without a recipient takes nothing back. A known id takes back that message
    wherever it lies in time; an id known only as the customer's own message is unknown. "Latest" is by C21's
    order, among human public messages, those before the customer first wrote included.
11. An inbound bounce is an attempt (journey), not a customer message: it starts no clock. A transient one is nothing.
12. Any resolve or close while the customer waits is a silent close, also the second one without a reopening.
    Broken by it has reason `closed_unanswered` too, unless a bounced answer would have kept it
    (`answer_bounced` goes before every other reason of broken).
13. An answer after a silent close leaves its verdict, and then a reopening starts no response clock.
14. No `update` clock starts while the contact is resolved (until reopened): it would page for ever. An update
    clock past due that is ended by resolving is broken with reason `resolved` too. An update clock never
    depends on whether a message waits.
15. Resolving and reopening before the customer first wrote do nothing; the resolution clock starts at the first
    message. A reopening of a contact not resolved starts nothing.
16. Cycles are counted by what happened, not by which policy covered them.
17. Acknowledgement: `assignment_acknowledges` is read from the policy that judges the clock, for the whole
    clock: a policy attached later while it runs looks back at earlier assignments. Links share no touches.
    Verdict reasons are `answered_in_time` and `answered_late`; a bounced answer is no touch.
18. Policy (C16): effective and matching at the clock's own start (an update clock's start is the answer).
    Changes at one instant act together, once; changes at the start's instant come after the start. A change
    exactly at the due instant counts. A policy that lacks the target removes the clock until a later change
    brings it back; without a due instant in force nothing sticks. A clock that ended uncovered stays unrecorded.
19. Attributes shown are those in force when the clock ended, or was breached: later ones do not judge it.
    The first `contact.opened` overrides updates before the contact's first message (of either side), but only
    in what it names.
20. A pause that begins at the due instant or later does not move it; the due instant is the earliest at which
    open time less pauses reaches the target. A clock broken before its pause stays broken with its due_at, and
    its stage is overdue or escalated. A pause that runs when a clock ends counts until then. `2wd` is turned
    into the open seconds up to its closing; dates that open at all are open days.
21. "Passed" is strictly after, for shares and escalations as for due instants. A share is a share of the open
    time promised. Escalations run in open time after the due instant, less pauses. An entry `after: 0m` is the
    breach itself: stage overdue, step 0; step counts the others passed, and one of them makes it escalated.
    Without any share passed the step is 0, as it is when ended or paused.
22. agent_id is that of the event that ended the clock, else null. Void by merge keeps a natural end's agent.
23. Pauses count only for resolution and update; else paused_seconds is 0.
24. Journeys: an attempt is one contact (where it lives on) in which the customer wrote, at its first message
    since the last human answer to that customer anywhere; an inbound bounce is an attempt of its own, per
    contact, and comes after an answer of the same instant (C21). Void contacts make no attempts; answers in
    them count. Policies do not matter, resolving neither. `no_ticket`: a form in which no human of ours wrote
    (a note or an answer that bounced will do), neither acknowledged, assigned, linked nor merged, and no other
    contact of that customer began by another channel from then on, until `dead_end_after` (open time) passed.
    answered_by is the agent; open_seconds runs on the first attempt's policy, else wall time.
25. The default of `until` is the last accepted event's time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from tests.oracle import families, journeys
from tests.oracle.families import Key, World
from tests.oracle.histories import Clock, End, History, history_of, is_paused, pauses_within
from tests.oracle.open_time import elapsed, paused_open, used_up
from tests.oracle.promises import (
    Attributes,
    Policy,
    attribute_changes,
    covering,
    due_at,
    first_attributes,
    promised,
    target_of,
)
from tests.oracle.reading import Fact, known_facts

NEVER = datetime.max.replace(tzinfo=UTC)
PAUSABLE = ("resolution", "update")


@dataclass
class Pick:
    """The policy and promise that judge a clock, the attributes they were picked by, and what ended it."""

    policy: Policy | None
    written: str | None
    shown: Attributes
    end: End | None


@dataclass
class Contact:
    """All that judging one contact's clocks needs."""

    name: str
    customer: str
    first: Attributes
    changes: list[tuple[datetime, int, Attributes]]
    history: History
    bounced: list[Fact]
    cut: tuple[Key, str] | None


def judge(
    events: list[dict[str, Any]], config: dict[str, Any], customers: list[dict[str, Any]], until: datetime | None = None
) -> dict[str, Any]:
    """`outcomes` and `journeys` as in CONTRACT section 5 (without ids and versions), and `counts`."""
    facts, now, counts = known_facts(events, until)
    world = families.world_of(facts, customers)
    outcomes = []
    for name in families.contacts_of(world):
        contact = _contact(world, name)
        judged = [_outcome(contact, clock, config, now) for clock in contact.history.clocks]
        outcomes += [outcome for outcome in judged if outcome is not None]
    counts["contacts"] = len(world.own)
    found = journeys.journeys_of(world, config, now)
    return {"outcomes": outcomes, "journeys": found, "counts": _nonzero(counts), "now": _text(now)}


def _contact(world: World, name: str) -> Contact:
    cut = families.cut_of(world, name)
    lived = families.without_merge_of(world, name) if cut and name in world.merges else world
    family = families.family(lived, name)
    answers, bounced = families.answers_for(lived, name)
    customer = families.customer_id(world, name)
    tier = next((one.get("tier") for one in reversed(world.customers) if one["customer_id"] == customer), None)
    own = world.own.get(name, [])
    return Contact(
        name=name,
        customer=customer,
        first=first_attributes(own, families.customer_messages(family), tier),
        changes=attribute_changes(own, family),
        history=history_of(family, answers, cut[0] if cut else None),
        bounced=bounced,
        cut=cut,
    )


def _outcome(contact: Contact, clock: Clock, config: dict[str, Any], now: datetime) -> dict[str, Any] | None:
    pick = _pick(contact, clock, config, now)
    if pick.policy is None or pick.written is None:
        return None
    calendar = config["calendars"][pick.policy["calendar"]]
    start = clock.start[0]
    ended = pick.end.key[0] if pick.end else contact.cut[0][0] if contact.cut else None
    due = _due(contact, clock, pick, config, ended or now, running=ended is None)
    verdict, reason = _verdict(contact, clock, pick, due, now)
    if verdict == "open" and clock.target in PAUSABLE and is_paused(contact.history, now):
        due = None
    pauses = pauses_within(contact.history, start, ended or now, None) if clock.target in PAUSABLE else []
    paused = paused_open(calendar, pauses)
    stage, step = _stage(contact, clock, pick, config, verdict, due, ended, now)
    return {
        "contact_id": contact.name, "customer_id": contact.customer, "target": clock.target, "cycle": clock.cycle,
        "verdict": verdict, "reason": reason, "policy": pick.policy["name"], "calendar": pick.policy["calendar"],
        "started_at": _text(start), "due_at": _text(due), "ended_at": _text(ended),
        "open_seconds": (elapsed(calendar, start, ended or now) - paused).total_seconds(),
        "wall_seconds": ((ended or now) - start).total_seconds(), "paused_seconds": paused.total_seconds(),
        "stage": stage, "step": step, **pick.shown, "agent_id": pick.end.agent_id if pick.end else None,
    }  # fmt: skip


def _pick(contact: Contact, clock: Clock, config: dict[str, Any], now: datetime) -> Pick:
    """C16: picked at the start, then anew at each change while the clock runs and is not past due."""
    place = clock.start[:2]
    shown = dict(contact.first)
    for at, rank, what in contact.changes:
        if (at, rank) <= place:
            shown |= what
    pick = _picked(None, clock, config, shown)
    later = [change for change in contact.changes if change[:2] > place and change[0] <= _last(contact, now)]
    for at, together in groupby(later, key=lambda change: change[0]):
        if pick.end and pick.end.key[:2] < (at, 1):
            break
        due = _due(contact, clock, pick, config, at, running=True) if pick.written else None
        if due is not None and at > due:
            break
        for _, _, what in together:
            shown = shown | what
        pick = _picked(pick, clock, config, shown)
    return pick


def _picked(last: Pick | None, clock: Clock, config: dict[str, Any], shown: Attributes) -> Pick:
    policy = covering(config, shown, clock.start[0])
    if policy is not None:
        written = target_of(policy, clock.target, shown["priority"])
    else:  # no match keeps the last
        policy, written = (last.policy, last.written) if last else (None, None)
    acknowledges = bool(policy and policy.get("assignment_acknowledges"))
    end = next((end for end in clock.ends if acknowledges or not end.assignment), None)
    return Pick(policy, written, shown, end)


def _last(contact: Contact, now: datetime) -> datetime:
    return contact.cut[0][0] if contact.cut else now


def _due(
    contact: Contact, clock: Clock, pick: Pick, config: dict[str, Any], as_of: datetime, *, running: bool
) -> datetime | None:
    """The due instant as known at `as_of`: null while a pause keeps it open."""
    assert pick.policy is not None
    assert pick.written is not None
    never = NEVER if running else None
    start = clock.start[0]
    pauses = pauses_within(contact.history, start, as_of, never) if clock.target in PAUSABLE else []
    return due_at(config["calendars"][pick.policy["calendar"]], start, pick.written, pauses)


def _verdict(contact: Contact, clock: Clock, pick: Pick, due: datetime | None, now: datetime) -> tuple[str, str]:
    if contact.cut:
        return "void", contact.cut[1]
    if pick.end is None:
        if due is None or now <= due:
            return "open", "running"
        why = "unresolved" if clock.target == "resolution" else "unanswered"
        return "broken", _why_broken(contact, clock, due, why)
    assert due is not None
    late = pick.end.key[0] > due
    match pick.end.kind, clock.target:
        case "answered", _:
            in_time, why = ("kept", "answered_in_time"), "answered_late"
        case "silent", _:
            in_time, why = ("void", "closed_unanswered"), "closed_unanswered"
        case "resolved", "resolution":
            in_time, why = ("kept", "resolved_in_time"), "resolved_late"
        case _:
            in_time, why = ("void", "resolved"), "resolved"
    return ("broken", _why_broken(contact, clock, due, why)) if late else in_time


def _why_broken(contact: Contact, clock: Clock, due: datetime, else_reason: str) -> str:
    """`answer_bounced` where an answer that was taken back would have kept the clock."""
    would_have = [fact for fact in contact.bounced if fact["key"] > clock.start and fact["at"] <= due]
    return "answer_bounced" if would_have and clock.target != "resolution" else else_reason


def _stage(
    contact: Contact,
    clock: Clock,
    pick: Pick,
    config: dict[str, Any],
    verdict: str,
    due: datetime | None,
    ended: datetime | None,
    now: datetime,
) -> tuple[str, int]:
    assert pick.policy is not None
    assert pick.written is not None
    if ended is not None:
        return "ended", 0
    calendar = config["calendars"][pick.policy["calendar"]]
    pauses = pauses_within(contact.history, clock.start[0], now, NEVER) if clock.target in PAUSABLE else []
    if verdict == "broken":
        assert due is not None
        waits = [promised(calendar, due, one["after"]) for one in config.get("alerts", {}).get("escalations", [])]
        passed = [used_up(calendar, due, wait, pauses) for wait in waits if wait]
        step = sum(instant is not None and instant < now for instant in passed)
        return ("escalated", step) if step else ("overdue", 0)
    if clock.target in PAUSABLE and is_paused(contact.history, now):
        return "paused", 0
    whole = promised(calendar, clock.start[0], pick.written)
    shares = [float(share.rstrip("%")) / 100 for share in pick.policy.get("at_risk", [])]
    passed = [used_up(calendar, clock.start[0], whole * share, pauses) for share in shares]
    step = sum(instant is not None and instant < now for instant in passed)
    return ("at_risk", step) if step else ("running", 0)


def _text(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _nonzero(counts: Counter[str]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}
