"""The agent of `contact-events`: facts into contacts, contacts into outcomes, journeys and wake-ups.

A batch is gathered, decided and applied: each touched contact is assessed once. Publishing comes before
the tables, and the acknowledgement last, so that a crash anywhere repeats work and loses none (DESIGN
section 2, point 5). Clocks are judged by `streams.engine`; what is true for whom is not decided here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

import orjson

from schemas.codec import decode
from schemas.configuration import Limits
from schemas.dead_letters import DeadLetter, to_headers
from schemas.events import WAKE_UP
from schemas.refusals import Reason, Refusal
from schemas.topics import CONTACT_EVENTS, DEAD_LETTERS, JOURNEYS, OUTCOMES
from streams.customers import Customers, affected
from streams.due import JOURNEYS_OF
from streams.engine import timeline as facts
from streams.engine.calendar import DAY_US, SECOND_US, NeverOpens, to_us
from streams.engine.clocks import Assessment, Clock, assess
from streams.engine.journey import journeys
from streams.engine.outcome import (
    Content,
    Published,
    clock_digest,
    digest,
    instant_text,
    journey_content,
    outcome_content,
    record_id,
    superseded,
)
from streams.engine.policy import Policies
from streams.engine.rehearsal import url_of
from streams.engine.timeline import Carried, Contact, Fact, Timeline, customer_of, fact_of, in_order, timelines
from streams.homes import Home, home_from_tables
from streams.metrics import EventResult, Metrics
from streams.replay import too_large
from streams.state import (
    ContactState,
    JourneyState,
    decode_body,
    decode_contact,
    decode_header,
    decode_journeys,
    encode_body,
    encode_contact,
    encode_journeys,
    fact_bytes,
)
from streams.transport import Batch, BulkTable, Fence, Pace, Record, Runtime, partition_for

SOURCE: Final = "/heardback"
MOVED: Final = "heardback.moved"
HOPS: Final = "heardback.hops"
HOPS_MAX: Final = 3
LOOK_AGAIN_US: Final = DAY_US
SUPERSEDED: Final = "superseded"
WAKE_UPS_AT_ONCE: Final = 5_000
# What changes a journey: attempts, answers, and what shows that somebody has a form.
_JOURNEYING: Final = frozenset(
    {
        facts.OPENED,
        facts.RECEIVED,
        facts.SENT,
        facts.BOUNCED,
        facts.ACKNOWLEDGED,
        facts.ASSIGNED,
        facts.MERGED,
        facts.LINKED,
        facts.VOIDED,
        facts.UPDATED,
    }
)


class RefusedInARowError(RuntimeError):
    """So many records in a row were refused that something is wrong with the topic, not with a record."""


@dataclass(slots=True)
class _Place:
    """A record of a batch, and where it was."""

    batch: Batch
    index: int

    @property
    def appended_us(self) -> int:
        return self.batch.timestamps_ms[self.index] * 1_000

    @property
    def record(self) -> Record:
        return Record(
            key=self.batch.keys[self.index],
            value=self.batch.values[self.index],
            headers=self.batch.headers[self.index],
            timestamp_ms=self.batch.timestamps_ms[self.index],
        )

    def header(self, name: str) -> bytes | None:
        return next((content for found, content in self.batch.headers[self.index] if found == name), None)


@dataclass(slots=True)
class _Work:
    """What one batch comes to: gathered, then decided, then applied."""

    partition: int
    fence: Fence | None
    states: dict[str, ContactState] = field(default_factory=dict)
    before: dict[str, bytes | None] = field(default_factory=dict)
    touched: dict[str, _Place | None] = field(default_factory=dict)
    journeying: set[str] = field(default_factory=set)
    woken_journeys: dict[str, int] = field(default_factory=dict)
    outcomes: list[Record] = field(default_factory=list)
    journeys: list[Record] = field(default_factory=list)
    forwarded: dict[int, list[Record]] = field(default_factory=lambda: defaultdict(list))
    dead: list[Record] = field(default_factory=list)
    contacts: dict[bytes, bytes | None] = field(default_factory=dict)
    journey_states: dict[bytes, bytes | None] = field(default_factory=dict)
    events: Counter[tuple[str, EventResult]] = field(default_factory=Counter)
    heard: list[Callable[[], None]] = field(default_factory=list)


def _nothing(_: str) -> None:
    """No step is of interest."""


class Track:
    """The agent, its two tables, and the index of each partition that is ours."""

    def __init__(
        self,
        runtime: Runtime,
        policies: Policies,
        customers: Customers,
        limits: Limits,
        metrics: Metrics,
        now: Callable[[], datetime],
        after_step: Callable[[str], None] = _nothing,
    ) -> None:
        self._runtime = runtime
        self._policies = policies
        self._customers = customers
        self._limits = limits
        self._metrics = metrics
        self._now = now
        self._after_step = after_step
        self._late_us = limits.late_after.seconds * SECOND_US
        self._ahead_us = limits.ahead.seconds * SECOND_US
        self._refused_in_a_row = 0
        self.homes: dict[int, Home] = {}
        self.contacts: BulkTable = runtime.table("contacts")
        self.journeys: BulkTable = runtime.table("journeys")
        runtime.on_partition_ready(self._ready)
        runtime.on_partition_revoked(self._revoked)
        runtime.agent(CONTACT_EVENTS.name, self.handle)

    # -- partitions come and go ----------------------------------------------------------------------

    def _ready(self, partition: int) -> None:
        self.homes[partition] = home_from_tables(self.contacts.partition(partition), self.journeys.partition(partition))

    def _revoked(self, partition: int) -> None:
        self.homes.pop(partition, None)

    def state_of(self, contact_id: str) -> ContactState | None:
        """A contact that lives in one of our partitions, or None."""
        for partition in self.homes:
            value = self.contacts.partition(partition).get(contact_id.encode())
            if value is not None:
                state = decode_contact(value)
                if state.moved_to is None and not state.is_copy:
                    return state
        return None

    def group_of(self, contact_id: str) -> dict[str, Contact]:
        """A contact and all others of the home that it lives in, or nothing."""
        for partition, home in self.homes.items():
            header = home.headers.get(contact_id)
            if header is not None:
                table = self.contacts.partition(partition)
                names = home.contacts_of.get(header.home, ())
                return {name: decode_contact(table[name.encode()]).contact for name in names}
        return {}

    # -- wake-ups ------------------------------------------------------------------------------------

    async def send_wake_ups(self) -> None:
        """Send `deadline.reached` for what is due, to its own partition, behind every answer there."""
        now = self._now()
        now_us = to_us(now)
        for partition, home in list(self.homes.items()):
            passed = home.due.passed(now_us, WAKE_UPS_AT_ONCE)
            if not passed:
                continue
            records = [_wake_up(name, wake_us, now) for wake_us, name in passed]
            try:
                await self._runtime.send(
                    CONTACT_EVENTS.name, {partition: records}, fence=self._runtime.fence(partition)
                )
            except BaseException:
                home.due.again(passed)
                raise
            for wake_us, name in passed:
                home.due.sent(name, wake_us)

    async def customers_changed(self, changed: set[str]) -> None:
        """Contacts and journeys of customers (or identities) that changed are looked at again, and move home
        where they must."""
        now = self._now()
        for partition, home in list(self.homes.items()):
            customers = sorted(affected(self._customers.directory, list(home.contacts_of), changed))
            names = [name for customer in customers for name in sorted(home.contacts_of[customer])]
            names += [JOURNEYS_OF + customer for customer in customers]
            records = [_wake_up(name, to_us(now), now) for name in names]
            if records:
                await self._runtime.send(
                    CONTACT_EVENTS.name, {partition: records}, fence=self._runtime.fence(partition)
                )

    # -- a batch -------------------------------------------------------------------------------------

    async def handle(self, batch: Batch) -> None:
        """Gather, decide, apply. Raises `Fenced` where the partition is no longer ours; whatever else is
        raised stops the process, and the batch is handed out again."""
        work = _Work(batch.partition, batch.fence)
        pace = Pace()
        for index in range(len(batch)):
            self._gather(_Place(batch, index), work)
            await pace()
        await self._decide(work, pace)
        await self._apply(work)

    def _gather(self, place: _Place, work: _Work) -> None:
        moved = place.header(MOVED)
        if moved is not None:
            self._take_in(place.batch.values[place.index], work)
            return
        event = decode(place.batch.values[place.index], place.batch.headers[place.index])
        if isinstance(event, Refusal):
            self._refuse(place, event, work)
            work.events["", "refused"] += 1
            return
        if event.type == WAKE_UP:
            if event.source == SOURCE:
                work.events[WAKE_UP, "woken"] += 1
                self._wake(event.subject, to_us(event.time), work)
            else:
                detail = f"found type {WAKE_UP}, which is internal"
                self._refuse(place, Refusal(reason=Reason.RESERVED_TYPE, detail=detail, field="type"), work)
            return
        refusal = self._place_fact(fact_of(event), event.subject, place, work)
        if refusal is not None:
            self._refuse(place, refusal, work)
            work.events[event.type, "refused"] += 1

    def _place_fact(self, item: Fact, contact_id: str, place: _Place, work: _Work) -> Refusal | None:
        """Put a fact into its contact, send it on to its home, or say why it is refused."""
        self._refused_in_a_row = 0
        if refusal := self._untimely(item, place):
            return refusal
        state = self._state(contact_id, work)
        if state is not None and state.moved_to is not None:
            self._forward(place, state.moved_to, work)
            work.events[item.type, "forwarded"] += 1
            return None
        if state is None:
            customer = self._customer(item, place)
            if customer is None:
                detail = "found no customer_id, sender or recipient, and the contact is not known here"
                return Refusal(reason=Reason.NO_CUSTOMER, detail=detail, field="data.customer_id")
            if not self._lives_here(customer, place, work):
                self._forward(place, customer, work)
                work.events[item.type, "forwarded"] += 1
                return None
            state = ContactState(Contact(contact_id, customer), customer)
        count = len(state.contact.facts)
        if refusal := self._add(item, state):
            return refusal
        work.events[item.type, "taken" if len(state.contact.facts) > count else "duplicate"] += 1
        work.states[contact_id] = state
        if work.touched.get(contact_id) is None:
            work.touched[contact_id] = place
        if item.type in _JOURNEYING:
            work.journeying.add(state.home)
        self._hear(item, state, work)
        return None

    def _untimely(self, item: Fact, place: _Place) -> Refusal | None:
        """C20: measured against the log's append time, so that re-reading the log decides alike."""
        if item.at_us > place.appended_us + self._ahead_us:
            detail = f"found {instant_text(item.at_us)}, which is after {instant_text(place.appended_us)} by more than "
            return Refusal(reason=Reason.FROM_THE_FUTURE, detail=detail + str(self._limits.ahead), field="time")
        if item.at_us < place.appended_us - self._late_us:
            detail = (
                f"found {instant_text(item.at_us)}, which is before {instant_text(place.appended_us)} by more than "
            )
            return Refusal(reason=Reason.TOO_LATE, detail=detail + str(self._limits.late_after), field="time")
        return None

    def _add(self, item: Fact, state: ContactState) -> Refusal | None:
        """Add a fact in its place; a repeat changes nothing, another content under its id is refused (C24)."""
        own, left = state.contact.facts, state.contact.carried
        if left is not None and item.at_us <= left.until_us:
            detail = f"the contact was closed and forgotten with everything up to {instant_text(left.until_us)}"
            return Refusal(reason=Reason.CONTACT_FORGOTTEN, detail=detail, field="time")
        for known in own:
            if known.id == item.id and known.source == item.source:
                if known == item:
                    return None
                detail = f"source and id were used before for another content, at {instant_text(known.at_us)}"
                return Refusal(reason=Reason.ID_REUSED, detail=detail, field="id")
            if known.type == item.type == facts.OPENED and known.source != item.source:
                detail = f"contact {state.contact.contact_id} was opened by source {known.source} before"
                return Refusal(reason=Reason.CONTACT_ID_REUSED, detail=detail, field="subject")
        if len(own) > 100 and state.size_bytes + fact_bytes(item) > self._limits.contact_bytes:
            return too_large(self._limits.contact_bytes)
        if not own or facts.ORDER(own[-1]) < facts.ORDER(item):
            own.append(item)
        else:
            state.contact.facts = in_order([*own, item])
        return None

    def _customer(self, item: Fact, place: _Place) -> str | None:
        customer = customer_of([item], self._customers.directory)
        key = place.batch.keys[place.index]
        if customer is None and key:
            customer = key.decode(errors="replace")
            item.data["customer_id"] = customer
        return customer

    def _lives_here(self, customer: str, place: _Place, work: _Work) -> bool:
        hops = int(place.header(HOPS) or b"0")
        return self._partition_of(customer) == work.partition or hops >= HOPS_MAX

    def _partition_of(self, customer: str) -> int:
        return _partition_of(customer, self._runtime.settings.partitions)

    def _forward(self, place: _Place, customer: str, work: _Work) -> None:
        record = place.record
        hops = int(place.header(HOPS) or b"0") + 1
        headers = [*(h for h in record.headers if h[0] != HOPS), (HOPS, str(hops).encode())]
        sent_on = Record(key=customer.encode(), value=record.value, headers=headers, timestamp_ms=record.timestamp_ms)
        work.forwarded[self._partition_of(customer)].append(sent_on)

    def _wake(self, name: str, now_us: int, work: _Work) -> None:
        if name.startswith(JOURNEYS_OF):
            customer = name.removeprefix(JOURNEYS_OF)
            work.woken_journeys[customer] = max(now_us, work.woken_journeys.get(customer, 0))
            work.journeying.add(customer)
            return
        state = self._state(name, work)
        if state is None or state.moved_to is not None:
            return
        state.woken_us = max(state.woken_us, now_us)
        work.touched.setdefault(name, None)
        home = self.homes[work.partition].headers.get(name)
        if home is not None and home.wake_us is not None and home.wake_us < now_us:
            delay = (now_us - home.wake_us) / SECOND_US
            work.heard.append(lambda: self._metrics.deadline_delay(delay))

    def _state(self, contact_id: str, work: _Work) -> ContactState | None:
        state = work.states.get(contact_id)
        if state is not None:
            return state
        value = self.contacts.partition(work.partition).get(contact_id.encode())
        if value is None:
            return None
        work.before.setdefault(contact_id, value)
        work.states[contact_id] = state = decode_contact(value)
        return state

    def _hear(self, item: Fact, state: ContactState, work: _Work) -> None:
        if item.type == facts.BOUNCED:
            direction, permanent = item.data["direction"], item.data.get("permanent", True)
            work.heard.append(lambda: self._metrics.bounced(direction, permanent))
        if item.type == facts.OPENED:
            channel, tier = item.data["channel"], self._customers.tier_of(state.contact.customer_id)
            work.heard.append(lambda: self._metrics.opened(channel, tier))

    def _refuse(self, place: _Place, refusal: Refusal, work: _Work) -> None:
        batch, index = place.batch, place.index
        letter = DeadLetter(
            key=batch.keys[index],
            value=batch.values[index],
            headers=tuple(batch.headers[index]),
            reason=refusal.reason,
            detail=refusal.detail,
            field=refusal.field,
            origin=f"{batch.topic}/{batch.partition}/{batch.offsets[index]}",
            refused_at=instant_text(place.appended_us),
        )
        work.dead.append(Record(key=letter.origin.encode(), value=letter.value, headers=to_headers(letter)))
        work.heard.append(lambda: self._metrics.refused(str(refusal.reason)))
        self._refused_in_a_row += 1
        if self._refused_in_a_row > self._limits.refusals_in_a_row:
            raise RefusedInARowError(
                f"{self._refused_in_a_row} records in a row were refused, the last as {refusal.reason} "
                f"({refusal.detail}) at {letter.origin}; nothing more is diverted until somebody has looked"
            )

    # -- contacts that move --------------------------------------------------------------------------

    def _take_in(self, body: bytes | None, work: _Work) -> None:
        """A contact that comes from another home, with what was published of it there."""
        if body is None:
            return
        home, _, rest = body.partition(b"\n")
        came = decode_body(rest, home.decode())
        contact_id = came.contact.contact_id
        state = self._state(contact_id, work)
        if state is None or state.moved_to is not None:
            work.states[contact_id] = came
        else:
            known = {(item.source, item.id) for item in state.contact.facts}
            fresh = [item for item in came.contact.facts if (item.source, item.id) not in known]
            state.contact.facts = in_order([*state.contact.facts, *fresh])
            state.woken_us = max(state.woken_us, came.woken_us)
            for key, last in came.published.items():
                mine = state.published.get(key)
                if mine is None or mine.revision < last.revision:
                    state.published[key] = last
        work.touched.setdefault(contact_id, None)
        work.journeying.add(work.states[contact_id].home)

    def _move_if_needed(self, state: ContactState, work: _Work) -> bool:
        """Whether the contact's customer turned out to be another one, and its facts are on their way."""
        if state.is_copy:
            return False
        own = state.contact
        customer = customer_of(own.facts, self._customers.directory)
        if customer is None or customer == own.customer_id:
            return False
        if self._partition_of(customer) == work.partition:
            work.journeying |= {own.customer_id, customer}
            own.customer_id = state.home = customer
            return False
        self._void_here(state, work)
        gone = ContactState(
            Contact(own.contact_id, customer, own.facts), customer, state.woken_us, [], dict(state.published)
        )
        self._send_state(gone, customer, work)
        work.journeying.add(own.customer_id)
        left = ContactState(Contact(own.contact_id, own.customer_id), own.customer_id, moved_to=customer)
        work.states[own.contact_id] = left
        work.contacts[own.contact_id.encode()] = encode_contact(left, None, ())
        return True

    def _void_here(self, state: ContactState, work: _Work) -> None:
        """The old home's clocks become void, superseded (DESIGN section 2, point 10)."""
        value = work.before.get(state.contact.contact_id)
        if value is None:
            return
        old = decode_contact(value)
        for key, content in self._contents(old).items():
            last = state.published.get(key)
            if last is not None:
                self._publish(key, superseded(content["outcome_id"], content), SUPERSEDED, state, work)

    def _send_state(self, state: ContactState, home: str, work: _Work) -> None:
        body = home.encode() + b"\n" + encode_body(state)
        record = Record(key=home.encode(), value=body, headers=[(MOVED, b"1")])
        work.forwarded[self._partition_of(home)].append(record)

    def _carry_over(self, state: ContactState, work: _Work) -> None:
        """A merge into another customer's contact: that home needs a copy of the facts (C17)."""
        for merge in (item for item in state.contact.facts if item.type == facts.MERGED):
            other = merge.data.get("into_customer_id")
            if other is None or other == state.contact.customer_id:
                continue
            copy = ContactState(
                Contact(state.contact.contact_id, state.contact.customer_id, state.contact.facts), other
            )
            self._send_state(copy, other, work)

    # -- decide --------------------------------------------------------------------------------------

    async def _decide(self, work: _Work, pace: Pace) -> None:
        for contact_id in list(work.touched):
            state = work.states[contact_id]
            if not self._move_if_needed(state, work):
                self._carry_over(state, work) if not state.is_copy else None
        groups: dict[str, set[str]] = defaultdict(set)
        for contact_id in work.touched:
            state = work.states[contact_id]
            if state.moved_to is None:
                groups[state.home].add(contact_id)
        for home, touched in groups.items():
            self._decide_contacts(home, touched, work)
            await pace()
        by_home: dict[str, set[str]] = defaultdict(set)
        for contact_id, state in work.states.items():
            by_home[state.home].add(contact_id)
        for customer in work.journeying:
            self._decide_journeys(customer, by_home, work)
            await pace()

    def _decide_contacts(self, home: str, touched: set[str], work: _Work) -> None:
        together = self._together(home, touched, work)
        try:
            found = timelines({name: state.contact for name, state in together.items()})
            for contact_id, state in together.items():
                if contact_id in touched or len(together) > len(touched):
                    self._decide_contact(state, found[contact_id], work)
        except NeverOpens as never:
            self._refuse_touched(touched, never, work)

    def _together(self, home: str, touched: set[str], work: _Work) -> dict[str, ContactState]:
        """The touched contacts, and where merges or links tie them, all others of that home."""
        index = self.homes[work.partition]
        tied = index.entangled(home) or any(
            item.type in (facts.MERGED, facts.LINKED) for name in touched for item in work.states[name].contact.facts
        )
        names = touched | index.contacts_of.get(home, set()) if tied else touched
        states = {name: state for name in sorted(names) if (state := self._state(name, work)) is not None}
        return {name: state for name, state in states.items() if state.moved_to is None and state.home == home}

    def _decide_contact(self, state: ContactState, timeline: Timeline, work: _Work) -> None:
        contact_id = state.contact.contact_id
        self._note_tier(state)
        assessed = assess(timeline, self._policies, state.tiers, state.woken_us)
        if state.is_copy:
            work.contacts[contact_id.encode()] = encode_contact(state, None, ())
            return
        self._publish_changes(state, timeline, assessed, work)
        wake_us = assessed.wake_us
        if all(clock.ended_us is not None for clock in assessed.clocks) and state.contact.facts:
            wake_us = self._forget_or_wait(state, assessed, work)
        if assessed.uncovered and contact_id not in work.before:
            attributes = assessed.attributes
            work.heard.append(lambda: self._metrics.uncovered(attributes.channel, attributes.tier))
        value = encode_contact(state, wake_us, assessed.clocks)
        if value != work.before.get(contact_id):
            work.contacts[contact_id.encode()] = value

    def _forget_or_wait(self, state: ContactState, assessed: Assessment, work: _Work) -> int | None:
        """A contact with nothing left to run leaves the state once no late event can be taken any more (C20);
        until then, when to look again. While somebody waits for an answer, or merges and links need its
        facts, it stays."""
        last_us = state.contact.facts[-1].at_us
        if state.woken_us <= last_us + self._late_us:
            return last_us + self._late_us
        index, home = self.homes[work.partition], state.home
        waits = any(index.headers[name].running for name in index.contacts_of.get(home, ()) if name in index.headers)
        value = self.journeys.partition(work.partition).get(home.encode())
        unanswered = value is not None and None in decode_journeys(value).ends.values()
        if unanswered or (waits and index.entangled(home)):
            return state.woken_us + LOOK_AGAIN_US
        attributes = assessed.attributes
        cycles: Counter[str] = Counter()
        for clock in assessed.clocks:
            cycles[clock.target] = max(cycles[clock.target], clock.cycle)
        earlier = state.contact.carried.cycles if state.contact.carried else {}
        state.contact.carried = Carried(
            until_us=last_us,
            cycles={**earlier, **cycles},
            answered_us=assessed.answered_us,
            channel=attributes.channel,
            priority=attributes.priority,
            queue=attributes.queue,
        )
        state.contact.facts, state.published = [], {}
        return None

    def _note_tier(self, state: ContactState) -> None:
        """A change of tier acts from its instant on (C16); the first that is known holds from the start."""
        now = self._customers.tier(state.contact.customer_id)
        if now is None:
            return
        if not state.tiers:
            state.tiers = [replace(now, since_us=0)]
        elif (state.tiers[-1].tier, state.tiers[-1].kind) != (now.tier, now.kind):
            state.tiers.append(now)

    def _publish_changes(self, state: ContactState, timeline: Timeline, assessed: Assessment, work: _Work) -> None:
        url = url_of(timeline)
        customer = state.contact.customer_id
        for clock in assessed.clocks:
            key, says = f"{clock.target}:{clock.cycle}", clock_digest(clock, customer, url)
            last = state.published.get(key)
            if last is None or last.digest != says:
                self._publish(key, outcome_content(clock, customer, url), says, state, work)
        if len(state.published) > len(assessed.clocks):
            gone = state.published.keys() - {f"{clock.target}:{clock.cycle}" for clock in assessed.clocks}
            self._publish_gone(gone, state, work)

    def _publish(self, key: str, content: Content, says: str, state: ContactState, work: _Work) -> None:
        last = state.published.get(key)
        revision = last.revision + 1 if last else 1
        record = {"outcome_id": content["outcome_id"], "revision": revision, **content}
        ended = content["ended_at"] is not None
        state.published[key] = Published(revision, says, content["verdict"], ended)
        work.outcomes.append(Record(key=content["customer_id"].encode(), value=orjson.dumps(record)))
        work.heard.append(lambda: self._hear_outcome(content, last))

    def _hear_outcome(self, content: Content, last: Published | None) -> None:
        had_ended = last is not None and last.ended
        self._metrics.outcome(content, last_verdict=last.verdict if last else None, had_ended=had_ended)
        closed = content["silently_closed"] and content["target"] in ("first_response", "next_response")
        if closed and not had_ended:
            self._metrics.silent_close(content["policy"])

    def _publish_gone(self, gone: Iterable[str], state: ContactState, work: _Work) -> None:
        """An outcome that no longer exists is published once more as void, superseded."""
        value = work.before.get(state.contact.contact_id)
        old = self._contents(decode_contact(value)) if value is not None else {}
        for key in sorted(gone):
            content = old.get(key)
            if content is not None and state.published[key].digest != SUPERSEDED:
                self._publish(key, superseded(content["outcome_id"], content), SUPERSEDED, state, work)

    def _contents(self, state: ContactState) -> dict[str, Content]:
        """The outcomes of a contact as it was."""
        timeline = timelines({state.contact.contact_id: state.contact})[state.contact.contact_id]
        clocks: Sequence[Clock] = assess(timeline, self._policies, state.tiers, state.woken_us).clocks
        customer, url = state.contact.customer_id, url_of(timeline)
        return {f"{clock.target}:{clock.cycle}": outcome_content(clock, customer, url) for clock in clocks}

    def _refuse_touched(self, touched: set[str], never: NeverOpens, work: _Work) -> None:
        for contact_id in touched:
            place = work.touched[contact_id]
            before = work.before.get(contact_id)
            if before is None:
                del work.states[contact_id]
            else:
                work.states[contact_id] = decode_contact(before)
            if place is not None:
                self._refuse(place, Refusal(reason=Reason.CALENDAR_NEVER_OPENS, detail=str(never)), work)

    def _decide_journeys(self, customer: str, by_home: Mapping[str, set[str]], work: _Work) -> None:
        table = self.journeys.partition(work.partition)
        value = table.get(customer.encode())
        known = decode_journeys(value) if value is not None else JourneyState(None, 0, {}, {})
        index = self.homes[work.partition]
        names = index.contacts_of.get(customer, set()) | by_home.get(customer, set())
        states = [state for name in sorted(names) if (state := self._state(name, work)) is not None]
        living = {s.contact.contact_id: s for s in states if s.home == customer and s.moved_to is None}
        woken_us = max(known.woken_us, work.woken_journeys.get(customer, 0))
        tier = self._customers.tier(customer)
        found_timelines = timelines({name: state.contact for name, state in living.items()})
        own = [timeline for timeline in found_timelines.values() if timeline.customer_id == customer]
        try:
            found = journeys(customer, own, self._policies, [tier] if tier else [], woken_us)
        except NeverOpens:
            return  # said when the contact's clocks were refused
        published, ends = dict(known.published), dict(known.ends)
        forgotten = (state.contact.carried.until_us for state in living.values() if state.contact.carried)
        complete_from_us = max(forgotten, default=0)
        for journey in found:
            if journey.ended_us is not None and journey.started_us <= complete_from_us:
                continue  # told long ago, when all of its facts were here
            content = journey_content(journey)
            self._publish_journey(content, published, work)
            ends[content["journey_id"]] = journey.ended_us
        wake_us = min((j.wake_us for j in found if j.wake_us is not None), default=None)
        self._forget_old(published, ends, woken_us)
        encoded = encode_journeys(JourneyState(wake_us, woken_us, published, ends))
        if encoded != value:
            work.journey_states[customer.encode()] = encoded

    def _publish_journey(self, content: Content, published: dict[str, Published], work: _Work) -> None:
        name = content["journey_id"]
        last, now = published.get(name), digest(content)
        if last is not None and last.digest == now:
            return
        revision = last.revision + 1 if last else 1
        published[name] = Published(revision, now)
        record = {"journey_id": name, "revision": revision, **content}
        work.journeys.append(Record(key=content["customer_id"].encode(), value=orjson.dumps(record)))
        for attempt in content["attempts"]:
            if attempt["dead_end"] is not None and content["state"] == "waiting":
                channel = attempt["channel"]
                work.heard.append(lambda channel=channel: self._metrics.dead_end(channel))  # type: ignore[misc]

    def _forget_old(self, published: dict[str, Published], ends: dict[str, int | None], now_us: int) -> None:
        for name, ended_us in list(ends.items()):
            if ended_us is not None and ended_us < now_us - 2 * self._late_us:
                del ends[name]
                published.pop(name, None)

    # -- apply ---------------------------------------------------------------------------------------

    async def _apply(self, work: _Work) -> None:
        """Each step awaited before the next: records, then tables (changelog first), then the index."""
        here, fence = work.partition, work.fence
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        if work.outcomes:
            steps.append((OUTCOMES.name, lambda: self._send(OUTCOMES.name, {here: work.outcomes}, fence)))
        if work.journeys:
            steps.append((JOURNEYS.name, lambda: self._send(JOURNEYS.name, {here: work.journeys}, fence)))
        if work.dead:
            steps.append((DEAD_LETTERS.name, lambda: self._send(DEAD_LETTERS.name, {0: work.dead}, fence)))
        if work.forwarded:
            steps.append((CONTACT_EVENTS.name, lambda: self._send(CONTACT_EVENTS.name, work.forwarded, fence)))
        steps.append(("contacts", lambda: self.contacts.write(here, work.contacts, fence=fence)))
        steps.append(("journeys-table", lambda: self.journeys.write(here, work.journey_states, fence=fence)))
        for name, step in steps:
            await step()
            self._after_step(name)
        self._index(work)
        for (kind, result), count in work.events.items():
            self._metrics.event(kind, result, count)
        for hear in work.heard:
            hear()

    async def _send(self, topic: str, records: Mapping[int, Sequence[Record]], fence: Fence | None) -> None:
        await self._runtime.send(topic, records, fence=fence)

    def _index(self, work: _Work) -> None:
        home = self.homes[work.partition]
        for key, value in work.contacts.items():
            home.put(key.decode(), None if value is None else decode_header(value))
        for name in work.touched:
            header = home.headers.get(name)
            if header is not None:
                home.due.put(name, header.wake_us)
        for key, value in work.journey_states.items():
            if value is not None:
                home.put_journeys(key.decode(), decode_journeys(value).wake_us)


@lru_cache(maxsize=65_536)
def _partition_of(customer: str, partitions: int) -> int:
    return partition_for(customer.encode(), partitions)


def _wake_up(name: str, wake_us: int, now: datetime) -> Record:
    """`deadline.reached` for a contact or a customer's journeys; its time says how far time has passed."""
    event = {
        "specversion": "1.0",
        "id": f"{name}@{instant_text(wake_us)}",
        "source": SOURCE,
        "type": WAKE_UP,
        "time": instant_text(max(to_us(now), wake_us + 1)),
        "subject": name,
        "data": {},
    }
    return Record(key=record_id(name).encode(), value=orjson.dumps(event), timestamp_ms=_ms(now))


def _ms(now: datetime) -> int:
    return int((now - datetime.fromtimestamp(0, now.tzinfo)) / timedelta(milliseconds=1))
