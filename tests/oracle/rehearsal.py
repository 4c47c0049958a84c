"""The past as it would have been lived, the plain way: at each instant everything known by then is read from its
beginning, every contact and journey looked at, and every revision said. `streams.engine.rehearsal` must come to the
same alerts by less work; it is compared with this in `tests.streams.engine.test_rehearsal`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from itertools import groupby
from typing import NamedTuple

from streams.engine import timeline as facts
from streams.engine.journey import JOURNEYING, journeys
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
from streams.engine.reading import Reading, reading_of
from streams.engine.rehearsal import Said, url_of
from streams.engine.timeline import Contact, Fact, Timeline, timelines
from streams.engine.unfolding import TiersOf


def rehearse(contacts: Iterable[Contact], policies: Policies, tiers_of: TiersOf, until_us: int) -> list[Said]:
    """Every revision of every outcome and journey of `contacts` (all contacts of one customer, or of
    several whose contacts were merged), in the order of time up to `until`. Raises NeverOpens."""
    rehearsal = _Rehearsal(policies, tiers_of)
    for at_us, together in groupby(_by_time(contacts), key=lambda pair: pair[1].at_us):
        rehearsal.pass_time(at_us)
        rehearsal.happen(at_us, list(together))
    rehearsal.pass_time(until_us)
    return rehearsal.said


def _by_time(contacts: Iterable[Contact]) -> list[tuple[Contact, Fact]]:
    pairs = [(contact, item) for contact in contacts for item in contact.facts]
    return sorted(pairs, key=lambda pair: facts.ORDER(pair[1]))


class _Last(NamedTuple):
    """What was said last of an outcome."""

    revision: int
    says: tuple[object, ...]
    content: Content


class _Rehearsal:
    """The contacts of a customer up to now, and what was said of them."""

    def __init__(self, policies: Policies, tiers_of: TiersOf) -> None:
        self.policies = policies
        self.tiers_of = tiers_of
        self.said: list[Said] = []
        self.known: dict[str, Contact] = {}
        self.entangled = False
        self.now_us = 0
        self.timelines: dict[str, Timeline] = {}
        self.readings: dict[str, Reading] = {}
        self.wakes: dict[str, int] = {}
        self.outcomes: dict[str, dict[str, _Last]] = {}
        self.published: dict[str, Published] = {}
        self.journeys: dict[str, dict[str, str]] = {}

    def happen(self, at_us: int, together: Sequence[tuple[Contact, Fact]]) -> None:
        """What happens at one instant is seen together: reply-and-solve pages nobody in between."""
        touched = {contact.contact_id for contact, _ in together}
        for contact, item in together:
            known = self.known.get(contact.contact_id)
            if known is None:
                known = self.known[contact.contact_id] = Contact(contact.contact_id, contact.customer_id, [])
            known.facts.append(item)
            self.entangled = self.entangled or item.type in (facts.MERGED, facts.LINKED)
        if self.entangled:
            self.timelines = timelines(self.known)
            touched = set(self.timelines)
        else:
            self.timelines.update(timelines({contact_id: self.known[contact_id] for contact_id in touched}))
        for contact_id in sorted(touched):
            timeline = self.timelines[contact_id]
            self.readings[contact_id] = reading_of(timeline, self.policies, self.tiers_of(timeline.customer_id))
            self._look_at_contact(contact_id, at_us)
        if any(item.type in JOURNEYING for _, item in together):
            self._look_at_journeys(at_us)

    def pass_time(self, until_us: int) -> None:
        """Send every wake-up whose instant has passed before `until`, the earliest first."""
        while self.wakes:
            wake_us, name = min((wake_us, name) for name, wake_us in self.wakes.items())
            if wake_us >= until_us:
                return
            self.now_us = max(self.now_us, wake_us + 1)
            if name.startswith("journey:"):
                self._look_at_journeys(wake_us)
            else:
                self._look_at_contact(name.removeprefix("contact:"), wake_us)

    def _wake(self, name: str, wake_us: int | None) -> None:
        if wake_us is None:
            self.wakes.pop(name, None)
        else:
            self.wakes[name] = wake_us

    def _look_at_contact(self, contact_id: str, at_us: int) -> None:
        timeline = self.timelines[contact_id]
        found = self.readings[contact_id].assessment(self.now_us)
        self._wake(f"contact:{contact_id}", found.wake_us)
        customer_id, url = timeline.customer_id, url_of(timeline)
        last = self.outcomes.setdefault(contact_id, {})
        for clock in found.clocks:
            key, says = f"{clock.target}:{clock.cycle}", clock_says(clock, customer_id, url)
            known = last.get(key)
            if known is None or known.says != says:
                self._say_outcome(last, key, says, outcome_content(clock, customer_id, url), at_us)
        if len(last) > len(found.clocks):
            self._supersede(last, last.keys() - {f"{clock.target}:{clock.cycle}" for clock in found.clocks}, at_us)

    def _supersede(self, last: dict[str, _Last], gone: Set[str], at_us: int) -> None:
        """An outcome that no longer exists is said once more, as void."""
        for key in [key for key in last if key in gone]:
            content = last[key].content
            if content["reason"] != "superseded":
                self._say_outcome(last, key, (), superseded(content["outcome_id"], content), at_us)

    def _say_outcome(
        self, last: dict[str, _Last], key: str, says: tuple[object, ...], content: Content, at_us: int
    ) -> None:
        revision = last[key].revision + 1 if key in last else 1
        last[key] = _Last(revision, says, content)
        said = {"outcome_id": content["outcome_id"], "revision": revision, **content}
        self.said.append(Said(at_us, "outcome", said))

    def _look_at_journeys(self, at_us: int) -> None:
        for customer_id in sorted({timeline.customer_id for timeline in self.timelines.values()}):
            own = [timeline for timeline in self.timelines.values() if timeline.customer_id == customer_id]
            found = journeys(customer_id, own, self.policies, self.tiers_of(customer_id), self.now_us)
            wakes = [journey.wake_us for journey in found if journey.wake_us is not None]
            self._wake(f"journey:{customer_id}", min(wakes, default=None))
            contents = [journey_content(journey) for journey in found]
            for content in changes(
                self.published, [*contents, *self._gone(customer_id, contents, at_us)], "journey_id"
            ):
                unrevised = {key: value for key, value in content.items() if key != "revision"}
                self.published[content["journey_id"]] = Published(content["revision"], digest(unrevised))
                self.said.append(Said(at_us, "journey", content))

    def _gone(self, customer_id: str, contents: Sequence[Content], at_us: int) -> list[Content]:
        """Journeys that were told of and are no more, once."""
        before, now = self.journeys.get(customer_id, {}), {one["journey_id"]: one["started_at"] for one in contents}
        self.journeys[customer_id] = now
        at = instant_text(at_us)
        return [gone_journey(name, customer_id, before[name], at) for name in sorted(before.keys() - now.keys())]
