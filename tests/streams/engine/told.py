"""A mini language to tell what happened to contacts, so that a test reads as the story that it is about.

    Mon 09:10 A opened channel=ticket priority=high
    Mon 09:20 A answered by=anna
    +Tue 11:00 A wrote

Days are those of the week of Monday 2026-11-16, `+` a week later; London's wall time, which is UTC then. `A` and
`B` are contacts of customer `c`; a contact named `x/A` belongs to customer `x`. Of two events told with the same
words at the same instant each is a fact of its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from schemas.policies import DAYS, CalendarSpec, PolicySpec
from streams.engine import timeline as facts
from streams.engine.attributes import Tier
from streams.engine.calendar import SECOND_US, from_us, to_us
from streams.engine.clocks import Assessment, Clock
from streams.engine.policy import Escalation, Policies, compile_policies
from streams.engine.reading import assess
from streams.engine.timeline import Contact, Fact, Timeline, in_order, timelines

MONDAY: Final = datetime(2026, 11, 16, tzinfo=UTC)
LATER: Final = "+Fri 18:00"
LONDON: Final = {"time_zone": "Europe/London", "hours": {"mon-fri": ["09:00-17:30"]}}
GOLD: Final = {
    "name": "gold",
    "calendar": "london",
    "targets": {"acknowledgement": "15m", "first_response": "1h", "next_response": "2h", "resolution": "8h"},
    "at_risk": ["50%", "80%"],
}
VERBS: Final = {
    "opened": (facts.OPENED, {"channel": "ticket"}),
    "wrote": (facts.RECEIVED, {}),
    "auto-replied": (facts.RECEIVED, {"automated": True}),  # the customer's out of office
    "answered": (facts.SENT, {}),
    "noted": (facts.SENT, {"public": False}),
    "bot-answered": (facts.SENT, {"automated": True}),
    "bounced": (facts.BOUNCED, {"direction": "outbound"}),
    "acknowledged": (facts.ACKNOWLEDGED, {}),
    "assigned": (facts.ASSIGNED, {}),
    "updated": (facts.UPDATED, {}),
    "paused": (facts.PAUSED, {}),
    "resumed": (facts.RESUMED, {}),
    "resolved": (facts.RESOLVED, {}),
    "closed": (facts.CLOSED, {}),
    "reopened": (facts.REOPENED, {}),
    "merged": (facts.MERGED, {}),
    "linked": (facts.LINKED, {}),
    "voided": (facts.VOIDED, {}),
    "rated": (facts.RATED, {}),
}
WORDS: Final = {"by": "agent_id", "id": "message_id", "to": "recipient", "with": "contact_id"}


def at(told: str) -> int:
    """Microseconds since 1970 of `Mon 09:10`, `+Tue 11:00:30`."""
    day, wall = told.split()
    hour, minute, second = (int(part) for part in [*wall.split(":"), "0"][:3])
    days = DAYS.index(day.lstrip("+").lower()) + 7 * day.count("+")
    return to_us(MONDAY + timedelta(days=days, hours=hour, minutes=minute, seconds=second))


def shown(instant_us: int | None) -> str | None:
    """The same, said back; None stays None."""
    if instant_us is None:
        return None
    instant = from_us(instant_us)
    week, day = divmod((instant - MONDAY).days, 7)
    seconds = f":{instant:%S}" if instant.second else ""
    return f"{'+' * week}{DAYS[day].capitalize()} {instant:%H:%M}{seconds}"


def facts_by_contact(story: str) -> dict[str, list[Fact]]:
    """The facts of every contact, in the order told."""
    found: dict[str, list[Fact]] = {}
    for number, line in enumerate(filter(None, map(str.strip, story.splitlines()))):
        day, wall, contact, verb, *words = line.split()
        kind, given = VERBS[verb]
        data: dict[str, Any] = {**given}
        for word in words:
            key, _, value = word.partition("=")
            data[WORDS.get(key, key)] = {"true": True, "false": False}.get(value, value)
        found.setdefault(contact, []).append(facts.fact(at(f"{day} {wall}"), "/told", f"e-{number:03}", kind, data))
    return found


def contacts(story: str, shuffled: random.Random | None = None) -> dict[str, Contact]:
    """The contacts of a story, facts in order; or arrived in another order and some of them twice."""
    found = {contact: in_order(items) for contact, items in facts_by_contact(story).items()}
    if shuffled is not None:
        found = {contact: _as_arrived(items, shuffled) for contact, items in _reordered(found, shuffled)}
    return {contact: Contact(contact, _customer(contact), items) for contact, items in found.items()}


def _reordered(found: dict[str, list[Fact]], chance: random.Random) -> list[tuple[str, list[Fact]]]:
    items = list(found.items())
    chance.shuffle(items)
    return items


def _as_arrived(items: list[Fact], chance: random.Random) -> list[Fact]:
    arrived = [*items, *chance.choices(items, k=len(items))]
    chance.shuffle(arrived)
    return in_order({(item.source, item.id): item for item in arrived}.values())


def _customer(contact: str) -> str:
    return contact.partition("/")[0] if "/" in contact else "c"


def promises(
    *policies: dict[str, Any], calendar: dict[str, Any] | None = None, escalations: Sequence[Escalation] = ()
) -> Policies:
    """Compiled policies, each written as what differs from gold; all on one calendar, London's office hours."""
    specs = [PolicySpec.model_validate({**GOLD, **policy}) for policy in policies or ({},)]
    calendars = {"london": LONDON if calendar is None else calendar, "always": {"always_open": True}}
    return compile_policies(
        {name: CalendarSpec.model_validate(spec) for name, spec in calendars.items()}, specs, escalations
    )


EVERYBODY: Final = (Tier(0, None, None),)
PROMISED: Final = promises()


@dataclass(frozen=True, slots=True)
class Told:
    """What the engine makes of one contact of a story."""

    assessment: Assessment
    timeline: Timeline

    def clock(self, target: str, cycle: int = 1) -> Clock:
        """That clock; the test fails where there is none."""
        return next(c for c in self.assessment.clocks if (c.target, c.cycle) == (target, cycle))

    def says(self, target: str) -> list[str]:
        """Verdict and reason of each cycle of a target."""
        return [f"{c.verdict} {c.reason}" for c in self._cycles(target)]

    def spans(self, target: str) -> list[tuple[str | None, str | None]]:
        """Start and end of each cycle of a target."""
        return [(shown(c.started_us), shown(c.ended_us)) for c in self._cycles(target)]

    def due(self, target: str, cycle: int = 1) -> str | None:
        """The due instant of a clock."""
        return shown(self.clock(target, cycle).due_us)

    def _cycles(self, target: str) -> list[Clock]:
        return sorted((c for c in self.assessment.clocks if c.target == target), key=lambda c: c.cycle)


def judge(
    story: str,
    *,
    contact: str = "A",
    now: str = LATER,
    policies: Policies = PROMISED,
    tiers: Sequence[Tier] = EVERYBODY,
) -> Told:
    """What the engine says of a contact of the story at `now`."""
    timeline = timelines(contacts(story))[contact]
    return Told(assess(timeline, policies, tiers, at(now)), timeline)


def minutes(length_us: int) -> float:
    """A duration in minutes."""
    return length_us / (60 * SECOND_US)
