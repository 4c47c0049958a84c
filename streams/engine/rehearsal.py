"""The past as it would have been lived: contacts event by event, with the wake-ups between them.

What was said at each instant follows from the facts known by then, never from later ones. A replay uses
this for its alerts; final outcomes need only one look at everything. Which record makes an alert is decided
elsewhere; left out here is what nobody could have to know, such as a clock that ends before its first warning.

A contact is read on from instant to instant, and from its beginning only where a fact changes what was read
before; a clock is judged when it changes or passes a threshold. Contacts that merges or links tie together are
read from the beginning each time.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush
from itertools import groupby
from typing import NamedTuple, Protocol

from streams.engine import timeline as facts
from streams.engine.calendar import SECOND_US
from streams.engine.clocks import RESPONSES, Clock, Reading, Running, Tier, reading_of, thresholds
from streams.engine.journey import JOURNEYING, Trace, journeys_of, trace
from streams.engine.outcome import (
    Content,
    Published,
    changes,
    clock_says,
    digest,
    gone_journey,
    instant_text,
    journey_content,
    outcome_content,
    superseded,
)
from streams.engine.policy import Policies
from streams.engine.timeline import Contact, Fact, Timeline, once_each, timelines


class Said(NamedTuple):
    """A record as it would have been published at `at_us`; `kind` is `outcome` or `journey`."""

    at_us: int
    kind: str
    content: Content


class Rehearsed(NamedTuple):
    """What was said, in the order of time, and the readings of contacts, each to its end."""

    said: list[Said]
    readings: dict[str, Reading]


TiersOf = Callable[[str], Sequence[Tier]]
_Happened = tuple[Contact, Fact]
_TO_RECKON, _OF_CONTACT, _OF_JOURNEYS = 0, 1, 2  # what a wake-up is for, in this order; the first is no real one


def rehearse(contacts: Iterable[Contact], policies: Policies, tiers_of: TiersOf, until_us: int) -> Rehearsed:
    """Every revision of every outcome and journey of `contacts` (all contacts of one customer, or of several whose
    contacts were merged) that somebody may have to know, in the order of time up to `until`. Raises NeverOpens."""
    together = list(contacts)
    life = _Life(together, policies, tiers_of)
    for at_us, happened in groupby(_by_time(together), key=lambda pair: pair[1].at_us):
        life.pass_time(at_us)
        life.happen(at_us, list(happened))
    life.pass_time(until_us)
    return Rehearsed(life.said, {name: reading for part in life.parts for name, reading in part.readings.items()})


def _by_time(contacts: Iterable[Contact]) -> list[_Happened]:
    pairs = [(contact, item) for contact in contacts for item in contact.facts]
    return sorted(pairs, key=lambda pair: facts.ORDER(pair[1]))


# -- contacts as they become known -------------------------------------------------------------------------


class _Part(Protocol):
    """Contacts that must be read together: what is known of them so far, and what it means."""

    readings: dict[str, Reading]

    def go_on(self, happened: Sequence[_Happened]) -> None:
        """Take note of what happens at one instant."""

    def timelines(self) -> Iterable[Timeline]:
        """The timelines of all that is known."""


class _Alone:
    """A contact that nothing ties to another."""

    def __init__(self, contact: Contact, policies: Policies, tiers: Sequence[Tier]) -> None:
        self.readings: dict[str, Reading] = {}
        self._known = Contact(contact.contact_id, contact.customer_id, [])
        self._policies = policies
        self._tiers = tiers
        self._afresh = len(tiers) > 1 or once_each(contact.facts) is not contact.facts
        self._bounced = False

    def go_on(self, happened: Sequence[_Happened]) -> None:
        name, fresh = self._known.contact_id, [item for _, item in happened]
        reading = self.readings.get(name)
        self._known.facts += fresh
        if self._changes_the_past(fresh, reading) or reading is None:
            timeline = timelines({name: self._known})[name]
            self.readings[name] = reading_of(timeline, self._policies, self._tiers)
            return
        reading.timeline.facts = fresh
        reading.read()
        for running in reading.clocks:
            running.over = None  # an answer settles what was closed silently

    def _changes_the_past(self, fresh: Sequence[Fact], reading: Reading | None) -> bool:
        """Whether these facts change what was read before them: a bounce takes an answer back (C13), or shows a
        moment later which one, a first message or a late opening says what held from the beginning (C22), what is
        void was so from the start (C17)."""
        kinds = {item.type for item in fresh}
        bounced, self._bounced = self._bounced, self._bounced or facts.BOUNCED in kinds
        if self._afresh or reading is None or not reading.written:
            return True
        if not kinds.isdisjoint((facts.BOUNCED, facts.OPENED, facts.VOIDED)):
            return True
        return bounced and facts.SENT in kinds

    def timelines(self) -> Iterable[Timeline]:
        return timelines({self._known.contact_id: self._known}).values()


class _Tied:
    """Contacts that merges or links tie together (C17)."""

    def __init__(self, policies: Policies, tiers_of: TiersOf) -> None:
        self.readings: dict[str, Reading] = {}
        self._known: dict[str, Contact] = {}
        self._timelines: dict[str, Timeline] = {}
        self._policies = policies
        self._tiers_of = tiers_of

    def go_on(self, happened: Sequence[_Happened]) -> None:
        for contact, item in happened:
            known = self._known.get(contact.contact_id)
            if known is None:
                known = self._known[contact.contact_id] = Contact(contact.contact_id, contact.customer_id, [])
            known.facts.append(item)
        self._timelines = timelines(self._known)
        for name, timeline in self._timelines.items():
            self.readings[name] = reading_of(timeline, self._policies, self._tiers_of(timeline.customer_id))

    def timelines(self) -> Iterable[Timeline]:
        return self._timelines.values()


def _parts(contacts: Sequence[Contact], policies: Policies, tiers_of: TiersOf) -> dict[str, _Part]:
    """By contact, what it is read with."""
    root_of: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := root_of.get(name, name)) != name:
            name = above
        return name

    for contact in contacts:
        for item in contact.facts:
            if item.type == facts.MERGED or item.type == facts.LINKED:
                other = item.data["into" if item.type == facts.MERGED else "contact_id"]
                here = root(contact.contact_id)
                root_of[here] = root(other)
                root_of.setdefault(root(other), root(other))
    tied: dict[str, _Part] = {}
    parts: dict[str, _Part] = {}
    for contact in contacts:
        name = contact.contact_id
        if name in root_of:
            parts[name] = tied.setdefault(root(name), _Tied(policies, tiers_of))
        else:
            parts[name] = _Alone(contact, policies, tiers_of(contact.customer_id))
    return parts


# -- what is said of them ----------------------------------------------------------------------------------


class _Told(NamedTuple):
    """What was said last of an outcome, and of which clock."""

    revision: int
    says: tuple[object, ...]
    content: Content
    clock: Clock | None


class _Seen:
    """A clock that runs, as it was looked at last. `by` is what its thresholds depend on; `ahead` are those that were
    ahead when they were reckoned, `passed` of them have passed, `next_us` is the next. As long as `ahead` is None,
    `next_us` is an instant before which it passes none."""

    __slots__ = ("_clock", "_mark", "ahead", "by", "late", "next_us", "passed", "running")

    def __init__(self, running: Running, by: tuple[object, ...]) -> None:
        self.running = running
        self.by = by
        self.late = False
        self.ahead: list[int] | None = None
        self.passed = 0
        self.next_us: int | None = _passes_none_before(running)
        self._clock: Clock | None = None
        self._mark: tuple[object, ...] = ()

    def reckon(self, policies: Policies, now_us: int) -> None:
        """Find the thresholds that are ahead at `now`."""
        self.late, ahead = thresholds(self.running, policies, now_us)
        self.ahead, self.passed = ahead, bisect_left(ahead, now_us)
        self.next_us = ahead[self.passed] if self.passed < len(ahead) else None

    def pass_time(self, policies: Policies, now_us: int) -> None:
        """Let the thresholds before `now` pass."""
        if self.next_us is None or now_us <= self.next_us:
            return
        if self.ahead is None or (not self.late and now_us > self.ahead[-1]):
            self.reckon(policies, now_us)
            return
        self.passed = bisect_left(self.ahead, now_us)
        self.next_us = self.ahead[self.passed] if self.passed < len(self.ahead) else None

    def has_news(self, reading: Reading) -> bool:
        """Whether somebody may have to know: it warns, or our answer to it bounced, and it may alert (C8)."""
        if not (self.passed or self.late or self.running.taken_back):
            return False
        return reading.answered_us is not None or self.running.target in ("acknowledgement", "first_response")

    def clock(self, reading: Reading, now_us: int) -> Clock | None:
        """The clock as it stands."""
        mark = (self.late, self.passed, reading.answered_us)
        if self._clock is None or self._mark != mark:
            self._clock, self._mark = reading.clock_of(self.running, now_us), mark
        return self._clock


def _passes_none_before(running: Running) -> int:
    """Open time is never longer than the time on the wall."""
    assert running.policy is not None
    assert running.span is not None
    shares = running.policy.at_risk
    if not shares and running.base_due_us is not None:
        return running.base_due_us
    return running.start_us + (round(running.span.seconds * SECOND_US * shares[0]) if shares else 0)


class _Contact:
    """A contact as it was looked at last: its clocks that run, and what was said of it by target and cycle."""

    __slots__ = ("name", "part", "seen", "told")

    def __init__(self, name: str, part: _Part) -> None:
        self.name = name
        self.part = part
        self.seen: dict[str, _Seen] = {}
        self.told: dict[tuple[str, int], _Told] = {}

    @property
    def reading(self) -> Reading:
        """All of it that is known."""
        return self.part.readings[self.name]

    def look(self) -> None:
        """See which clocks run now, and which are another or have another due instant."""
        reading, seen = self.reading, self.seen
        self.seen = {}
        if reading.timeline.end is not None:
            return
        for target, running in reading.running.items():
            if running.policy is not None and running.span is not None:
                by = (
                    running.policy, running.base_due_us, running.attributes, running.paused_us, len(running.pauses),
                    len(running.taken_back),
                )  # fmt: skip
                known = seen.get(target)
                same = known is not None and known.running is running and known.by == by
                self.seen[target] = known if known is not None and same else _Seen(running, by)


class _Life:
    """The contacts of a customer up to now, and what was said of them."""

    def __init__(self, contacts: Sequence[Contact], policies: Policies, tiers_of: TiersOf) -> None:
        self.said: list[Said] = []
        self._policies = policies
        self._tiers_of = tiers_of
        self._part_of = _parts(contacts, policies, tiers_of)
        self._contacts: dict[str, _Contact] = {}
        self._now_us = 0
        self._wakes: dict[tuple[int, str], int] = {}
        self._queue: list[tuple[int, tuple[int, str]]] = []
        self._telling = _journeys_may_tell(contacts, policies)
        self._untraced: set[_Part] = set()
        self._traces: dict[str, dict[str, Trace]] = {}
        self._published: dict[str, Published] = {}
        self._journeys: dict[str, dict[str, str]] = {}

    @property
    def parts(self) -> Iterable[_Part]:
        return self._part_of.values()

    def happen(self, at_us: int, together: Sequence[_Happened]) -> None:
        """What happens at one instant is seen together: reply-and-solve pages nobody in between."""
        touched: dict[_Part, list[_Happened]] = {}
        for happened in together:
            touched.setdefault(self._part_of[happened[0].contact_id], []).append(happened)
        names: set[str] = set()
        for part, here in touched.items():
            part.go_on(here)
            names.update(part.readings)
            for name in part.readings:
                if name not in self._contacts:
                    self._contacts[name] = _Contact(name, part)
        for name in sorted(names):
            self._look_at_contact(self._contacts[name], at_us)
        if self._telling:
            self._untraced.update(touched)
            if any(item.type in JOURNEYING for _, item in together):
                self._look_at_journeys(at_us)

    def pass_time(self, until_us: int) -> None:
        """Send every wake-up whose instant has passed before `until`, the earliest first."""
        while self._queue and self._queue[0][0] < until_us:
            wake_us, name = heappop(self._queue)
            if self._wakes.get(name) != wake_us:
                continue  # put off since
            kind, of = name
            if kind == _TO_RECKON:
                self._reckon(self._contacts[of], wake_us)
                continue
            self._now_us = max(self._now_us, wake_us + 1)
            if kind == _OF_CONTACT:
                self._look_at_running(self._contacts[of], wake_us)
            else:
                self._look_at_journeys(wake_us)

    def _wake(self, kind: int, of: str, wake_us: int | None) -> None:
        name = kind, of
        if wake_us is None:
            self._wakes.pop(name, None)
        elif self._wakes.get(name) != wake_us:
            self._wakes[name] = wake_us
            heappush(self._queue, (wake_us, name))

    def _reckon(self, contact: _Contact, from_us: int) -> None:
        """A clock may pass its first threshold from now on: find out when."""
        for seen in contact.seen.values():
            if seen.ahead is None and seen.next_us is not None and seen.next_us <= from_us:
                seen.reckon(self._policies, self._now_us)
        self._sleep(contact)

    def _sleep(self, contact: _Contact) -> None:
        """Until the next threshold of a contact passes, as far as they are known, and until the others must be."""
        wake_us, reckon_us = None, None
        for seen in contact.seen.values():
            next_us = seen.next_us
            if next_us is None:
                continue
            if seen.ahead is None:
                reckon_us = next_us if reckon_us is None or next_us < reckon_us else reckon_us
            else:
                wake_us = next_us if wake_us is None or next_us < wake_us else wake_us
        self._wake(_OF_CONTACT, contact.name, wake_us)
        self._wake(_TO_RECKON, contact.name, reckon_us)

    def _look_at_contact(self, contact: _Contact, at_us: int) -> None:
        """Look at all of its clocks: something happened."""
        contact.look()
        self._look_at_running(contact, at_us)
        reading, told = contact.reading, contact.told
        voided = reading.timeline.end is not None
        for running in reading.clocks:
            if voided or running.ended_us is not None:
                silent = running.ended_by == "close" and running.target in RESPONSES and not voided
                if silent or (told and (running.target, running.cycle) in told):
                    self._say(contact, reading.clock_of(running, self._now_us), at_us)
        if told:
            found = {(running.target, running.cycle) for running in reading.clocks if running.policy and running.span}
            for key in [key for key in told if key not in found]:
                self._supersede(contact, key, at_us)

    def _look_at_running(self, contact: _Contact, at_us: int) -> None:
        """Look at its clocks that run: time has passed."""
        reading, told, now_us = contact.reading, contact.told, self._now_us
        for seen in contact.seen.values():
            seen.pass_time(self._policies, now_us)
            if seen.has_news(reading) or (told and (seen.running.target, seen.running.cycle) in told):
                self._say(contact, seen.clock(reading, now_us), at_us)
        self._sleep(contact)

    def _say(self, contact: _Contact, clock: Clock | None, at_us: int) -> None:
        if clock is None:
            return
        key = clock.target, clock.cycle
        last = contact.told.get(key)
        if last is not None and last.clock is clock:
            return
        timeline = contact.part.readings[contact.name].timeline
        url = url_of(timeline)
        says = clock_says(clock, timeline.customer_id, url)
        if last is None or last.says != says:
            content = outcome_content(clock, timeline.customer_id, url)
            self._publish(contact, key, says, content, clock, at_us)

    def _supersede(self, contact: _Contact, key: tuple[str, int], at_us: int) -> None:
        """An outcome that no longer exists is said once more, as void."""
        content = contact.told[key].content
        if content["reason"] != "superseded":
            self._publish(contact, key, (), superseded(content["outcome_id"], content), None, at_us)

    def _publish(
        self,
        contact: _Contact,
        key: tuple[str, int],
        says: tuple[object, ...],
        content: Content,
        clock: Clock | None,
        at_us: int,
    ) -> None:
        revision = contact.told[key].revision + 1 if key in contact.told else 1
        contact.told[key] = _Told(revision, says, content, clock)
        self.said.append(Said(at_us, "outcome", {**content, "revision": revision}))

    # -- journeys --------------------------------------------------------------------------------------------

    def _trace(self) -> None:
        for timeline in (timeline for part in self._untraced for timeline in part.timelines()):
            for own in self._traces.values():
                own.pop(timeline.contact_id, None)  # one known only by a merge may turn out to be another customer's
            own = self._traces.setdefault(timeline.customer_id, {})
            own[timeline.contact_id] = trace(timeline, self._tiers_of(timeline.customer_id))
        self._untraced.clear()

    def _look_at_journeys(self, at_us: int) -> None:
        self._trace()
        for customer_id, traces in sorted(self._traces.items()):
            found = journeys_of(customer_id, list(traces.values()), self._policies, self._now_us)
            wakes = [journey.wake_us for journey in found if journey.wake_us is not None]
            self._wake(_OF_JOURNEYS, customer_id, min(wakes, default=None))
            contents = [journey_content(journey) for journey in found]
            contents += self._gone(customer_id, contents, at_us)
            for content in changes(self._published, contents, "journey_id"):
                unrevised = {key: value for key, value in content.items() if key != "revision"}
                self._published[content["journey_id"]] = Published(content["revision"], digest(unrevised))
                self.said.append(Said(at_us, "journey", content))

    def _gone(self, customer_id: str, contents: Sequence[Content], at_us: int) -> list[Content]:
        """Journeys that were told of and are no more, once."""
        before, now = self._journeys.get(customer_id, {}), {one["journey_id"]: one["started_at"] for one in contents}
        self._journeys[customer_id] = now
        at = instant_text(at_us)
        return [gone_journey(name, customer_id, before[name], at) for name in sorted(before.keys() - now.keys())]


def _journeys_may_tell(contacts: Sequence[Contact], policies: Policies) -> bool:
    """Whether a journey of these contacts could have a dead end (C14), several channels, or be chased (C40)."""
    channels: set[str | None] = set()
    for contact in contacts:
        opened_first = bool(contact.facts) and contact.facts[0].type == facts.OPENED
        if not opened_first:
            channels.add("other")
        for item in contact.facts:
            if facts.is_inbound_bounce(item):
                return True
            if item.type in (facts.OPENED, facts.UPDATED) or (item.type == facts.RECEIVED and not opened_first):
                channels.add(item.data.get("channel"))
    channels.discard(None)
    if len(channels) > 1 or "form" in channels:
        return True
    return any((policy.spec.chasing_after or len(contacts) + 1) <= len(contacts) for policy in policies.policies)


def url_of(timeline: Timeline) -> str | None:
    """The contact in its own system, where its first `contact.opened` says it (CONTRACT.md section 2)."""
    return timeline.opened.data.get("url") if timeline.opened else None
