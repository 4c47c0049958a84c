"""The past as it would have been lived: contacts event by event, with the wake-ups between them.

What was said at each instant follows from the facts known by then, never from later ones. A replay uses
this for its alerts; final outcomes need only one look at everything. Which outcome makes an alert is
handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from streams.engine import timeline as facts
from streams.engine.clocks import Tier, assess
from streams.engine.journey import journeys
from streams.engine.outcome import Content, Published, changes, digest, journey_content, outcome_content, superseded
from streams.engine.policy import Policies
from streams.engine.timeline import Contact, Fact, Timeline, timelines


class Said(NamedTuple):
    """A record as it would have been published at `at_us`; `kind` is `outcome` or `journey`."""

    at_us: int
    kind: str
    content: Content


TiersOf = Callable[[str], Sequence[Tier]]


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
        self.wakes: dict[str, int | None] = {}
        self.published: dict[str, Published] = {}
        self.last: dict[str, dict[str, Content]] = {}

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
            self._look_at_contact(contact_id, at_us)
        self._look_at_journeys(at_us)

    def pass_time(self, until_us: int) -> None:
        """Send every wake-up whose instant has passed before `until`, the earliest first."""
        while True:
            due = [
                (wake_us, name) for name, wake_us in self.wakes.items() if wake_us is not None and wake_us < until_us
            ]
            if not due:
                return
            wake_us, name = min(due)
            self.now_us = max(self.now_us, wake_us + 1)
            if name.startswith("journey:"):
                self._look_at_journeys(wake_us)
            else:
                self._look_at_contact(name.removeprefix("contact:"), wake_us)

    def _look_at_contact(self, contact_id: str, at_us: int) -> None:
        timeline = self.timelines[contact_id]
        found = assess(timeline, self.policies, self.tiers_of(timeline.customer_id), self.now_us)
        self.wakes[f"contact:{contact_id}"] = found.wake_us
        contents = [outcome_content(clock, timeline.customer_id, url_of(timeline)) for clock in found.clocks]
        self._say(contact_id, contents, "outcome_id", "outcome", at_us)

    def _look_at_journeys(self, at_us: int) -> None:
        for customer_id in sorted({timeline.customer_id for timeline in self.timelines.values()}):
            own = [timeline for timeline in self.timelines.values() if timeline.customer_id == customer_id]
            found = journeys(customer_id, own, self.policies, self.tiers_of(customer_id), self.now_us)
            wakes = [journey.wake_us for journey in found if journey.wake_us is not None]
            self.wakes[f"journey:{customer_id}"] = min(wakes, default=None)
            self._say(f"journey:{customer_id}", [journey_content(j) for j in found], "journey_id", "journey", at_us)

    def _say(self, whose: str, contents: list[Content], key: str, kind: str, at_us: int) -> None:
        gone = [last for name, last in self.last.get(whose, {}).items() if name not in {c[key] for c in contents}]
        if kind == "outcome":
            contents = contents + [
                superseded(last["outcome_id"], last) for last in gone if last["reason"] != "superseded"
            ]
        for content in changes(self.published, contents, key):
            self.published[content[key]] = Published(content["revision"], digest(_unrevised(content)))
            self.last.setdefault(whose, {})[content[key]] = _unrevised(content)
            self.said.append(Said(at_us, kind, content))


def _unrevised(content: dict[str, Any]) -> Content:
    return {key: value for key, value in content.items() if key != "revision"}


def url_of(timeline: Timeline) -> str | None:
    """The contact in its own system, where its first `contact.opened` says it (CONTRACT.md section 2)."""
    return timeline.opened.data.get("url") if timeline.opened else None
