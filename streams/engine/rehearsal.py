"""The past as it would have been lived: contacts event by event, with the wake-ups between them.

What was said at each instant follows from the facts known by then, never from later ones. A replay uses
this for its alerts; final outcomes need only one look at everything. Which record makes an alert is decided
elsewhere; left out here is what nobody could have to know, such as a clock that ends before its first warning.

A clock is judged only where it changes or passes a threshold and somebody may have to know; how contacts are read
belongs to `streams.engine.unfolding`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from heapq import heappop, heappush
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

from streams.engine import timeline as facts
from streams.engine.calendar import SECOND_US
from streams.engine.clocks import RESPONSES, Clock, Running
from streams.engine.journey import JOURNEYING, trace
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
from streams.engine.reading import Reading
from streams.engine.retracing import Retracing
from streams.engine.thresholds import thresholds
from streams.engine.timeline import Contact, Timeline
from streams.engine.unfolding import Happened, Part, TiersOf, parts_of


class Said(NamedTuple):
    """A record as it would have been published at `at_us`; `kind` is `outcome` or `journey`."""

    at_us: int
    kind: str
    content: Content


class Rehearsed(NamedTuple):
    """What was said, in the order of time, and the readings of contacts, each to its end."""

    said: list[Said]
    readings: dict[str, Reading]


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


def _by_time(contacts: Iterable[Contact]) -> list[Happened]:
    pairs = [(contact, item) for contact in contacts for item in contact.facts]
    return sorted(pairs, key=lambda pair: facts.ORDER(pair[1]))


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
    """A contact as it was looked at last: its clocks that run, when and why to look again, and what was said of it by
    target and cycle."""

    __slots__ = ("name", "part", "seen", "told", "wake")

    def __init__(self, name: str, part: Part) -> None:
        self.name = name
        self.part = part
        self.seen: dict[str, _Seen] = {}
        self.wake: tuple[int | None, int] = None, _OF_CONTACT
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
        self._part_of = parts_of(contacts, policies, tiers_of)
        self._contacts: dict[str, _Contact] = {}
        self._now_us = 0
        self._queue: list[tuple[int, int, str]] = []
        self._journeys_wake: dict[str, int] = {}
        self._telling = _journeys_may_tell(contacts, policies)
        self._untraced: set[Part] = set()
        self._retracing: dict[str, Retracing] = {}
        self._published: dict[str, Published] = {}

    @property
    def parts(self) -> Iterable[Part]:
        """What is known, in its parts."""
        return self._part_of.values()

    def happen(self, at_us: int, together: Sequence[Happened]) -> None:
        """What happens at one instant is seen together: reply-and-solve pages nobody in between."""
        touched: dict[Part, list[Happened]] = {}
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
            wake_us, kind, of = heappop(self._queue)
            if kind == _OF_JOURNEYS:
                if self._journeys_wake.get(of) == wake_us:
                    self._now_us = max(self._now_us, wake_us + 1)
                    self._look_at_journeys(wake_us)
                continue
            contact = self._contacts[of]
            if contact.wake != (wake_us, kind):
                continue  # put off since
            if kind == _TO_RECKON:
                self._reckon(contact, wake_us)
            else:
                self._now_us = max(self._now_us, wake_us + 1)
                self._look_at_running(contact, wake_us)

    def _wake_journeys(self, customer_id: str, wake_us: int | None) -> None:
        if wake_us is None:
            self._journeys_wake.pop(customer_id, None)
        elif self._journeys_wake.get(customer_id) != wake_us:
            self._journeys_wake[customer_id] = wake_us
            heappush(self._queue, (wake_us, _OF_JOURNEYS, customer_id))

    def _reckon(self, contact: _Contact, from_us: int) -> None:
        """A clock may pass its first threshold from now on: find out when."""
        for seen in contact.seen.values():
            if seen.ahead is None and seen.next_us is not None and seen.next_us <= from_us:
                seen.reckon(self._policies, self._now_us)
        self._sleep(contact)

    def _sleep(self, contact: _Contact) -> None:
        """Until its next threshold passes, or an instant from which on it must be known."""
        next_us, kind = None, _OF_CONTACT
        for seen in contact.seen.values():
            at_us = seen.next_us
            if at_us is not None and (next_us is None or at_us <= next_us):
                unknown = seen.ahead is None
                kind = _TO_RECKON if unknown or (at_us == next_us and kind == _TO_RECKON) else _OF_CONTACT
                next_us = at_us
        if contact.wake != (next_us, kind):
            contact.wake = next_us, kind
            if next_us is not None:
                heappush(self._queue, (next_us, kind, contact.name))

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

    def _trace(self, at_us: int) -> None:
        for part in self._untraced:
            for timeline in part.timelines():
                customer_id = timeline.customer_id
                for other, retracing in self._retracing.items():
                    if other != customer_id:  # one known only by a merge may turn out to be another customer's
                        retracing.forget(timeline.contact_id)
                found = trace(timeline, self._tiers_of(customer_id))
                self._retracing.setdefault(customer_id, Retracing()).note(found, at_us, part.acts_from_us)
        self._untraced.clear()

    def _look_at_journeys(self, at_us: int) -> None:
        self._trace(at_us)
        for customer_id, retracing in sorted(self._retracing.items(), key=itemgetter(0)):
            found, after_us = retracing.look(customer_id, self._policies, self._now_us)
            wakes = [journey.wake_us for journey in found if journey.wake_us is not None]
            self._wake_journeys(customer_id, min(wakes, default=None))
            contents = [journey_content(journey) for journey in found]
            names = [(one["journey_id"], journey.started_us) for one, journey in zip(contents, found, strict=True)]
            for name, started_us in retracing.gone(names, after_us):
                contents.append(gone_journey(name, customer_id, instant_text(started_us), instant_text(at_us)))
            for content in changes(self._published, contents, "journey_id"):
                unrevised = {key: value for key, value in content.items() if key != "revision"}
                self._published[content["journey_id"]] = Published(content["revision"], digest(unrevised))
                self.said.append(Said(at_us, "journey", content))


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
