"""How the customers who wait stand at one instant: in what order, how long, and what is known of each.

The longest over their promise come first, in open time of the calendar that judged; then those whose promise runs
out next; then those to whom nothing is promised, the longest wait first. An attempt in a dead end counts as over
from the instant it was found: nobody will answer there. Pure: `now` is handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from schemas.customers import Customer
from streams.board.calendars import Calendars
from streams.board.heard import Attempt, Clock
from streams.board.paging import Late, Paging, paging_of
from streams.board.waiting import Entry

FILTERS: Final = ("tier", "queue", "channel", "owner")
NONE: Final = "none"
"""What a filter calls a customer without a tier, queue or owner."""

Known = Callable[[str], Customer | None]


class Deadline(NamedTuple):
    """What a customer waits for and by when: a clock, or an attempt in a dead end."""

    calendar_version: str
    at_us: int
    clock: Clock | None
    attempt: Attempt | None

    def over(self, now_us: int) -> bool:
        """Whether the promise is broken: met at the due instant is met (C3). A dead end is one when it is found."""
        return self.at_us < now_us if self.clock else self.at_us <= now_us

    @property
    def late(self) -> Late:
        """The same as a broken promise."""
        return Late(self.at_us, self.clock.alerts if self.clock else True)


class Tried(NamedTuple):
    """A channel that the customer tried, in the order of the first try; `dead_end` says why nobody answers there."""

    channel: str
    dead_end: str | None


class Facts(NamedTuple):
    """Of one customer what does not move with time: by what they are filtered, and by what they are ranked."""

    tier: str | None
    owner: str | None
    queues: tuple[str, ...]
    channels: tuple[Tried, ...]
    deadlines: tuple[Deadline, ...]
    since_us: int


class Ranked(NamedTuple):
    """A customer in the order of urgency. `past_us` is open time over the promise, negative before it; None where
    nothing is promised."""

    group: Literal[0, 1, 2]
    urgency: int
    at_us: int
    customer_id: str
    past_us: int | None
    deadline: Deadline | None
    entry: Entry
    facts: Facts


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which customers are asked for; None takes all. `NONE` asks for those without."""

    tier: str | None = None
    queue: str | None = None
    channel: str | None = None
    owner: str | None = None

    def takes(self, facts: Facts) -> bool:
        """Whether a customer is asked for."""
        return (
            (self.tier is None or self.tier == (facts.tier or NONE))
            and (self.owner is None or self.owner == (facts.owner or NONE))
            and (self.queue is None or self.queue in (facts.queues or (NONE,)))
            and (self.channel is None or any(self.channel == tried.channel for tried in facts.channels))
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One customer who waits, as the board shows them. Durations are seconds; `past_seconds` is open time over the
    promise (negative: left until it; None: nothing is promised), `wait_seconds` wall time."""

    customer_id: str
    name: str | None
    tier: str | None
    owner: str | None
    annual_value: float | None
    currency: str | None
    queues: tuple[str, ...]
    channels: tuple[Tried, ...]
    contacts: int
    attempts: int
    past_seconds: float | None
    open_time: bool
    target: str | None
    contact_id: str | None
    due_us: int | None
    time_zone: str
    since_us: int
    wait_seconds: float
    paging: Paging


class Standing:
    """Everybody who waits at `now_us`, ranked; rows are made for those who are looked at. `remembered_us`: for how
    long the topics keep what was paged."""

    def __init__(
        self,
        ranked: Sequence[Ranked],
        calendars: Calendars,
        known: Known,
        *,
        now_us: int,
        alerts_from_us: int | None,
        remembered_us: int,
    ) -> None:
        self.ranked = ranked
        self.now_us = now_us
        self._calendars = calendars
        self._known = known
        self._alerts_from_us = alerts_from_us
        self._told_since_us = now_us - remembered_us
        self._rows: dict[str, Row] = {}
        self._choices: dict[str, list[str]] | None = None

    def asked(self, wanted: Filter) -> list[Ranked]:
        """Those whom a filter takes, in order."""
        return [one for one in self.ranked if wanted.takes(one.facts)]

    def choices(self) -> dict[str, list[str]]:
        """By filter the values that it can take now, in alphabetical order."""
        if self._choices is None:
            self._choices = self._chosen()
        return self._choices

    def _chosen(self) -> dict[str, list[str]]:
        found: dict[str, set[str]] = {name: set() for name in FILTERS}
        for one in self.ranked:
            facts = one.facts
            found["tier"].add(facts.tier or NONE)
            found["owner"].add(facts.owner or NONE)
            found["queue"].update(facts.queues or (NONE,))
            found["channel"].update(tried.channel for tried in facts.channels)
        return {name: sorted(values) for name, values in found.items()}

    def row(self, ranked: Ranked) -> Row:
        """One customer in full."""
        found = self._rows.get(ranked.customer_id)
        if found is None:
            found = self._rows[ranked.customer_id] = self._made(ranked)
        return found

    def _made(self, ranked: Ranked) -> Row:
        entry, facts, deadline = ranked.entry, ranked.facts, ranked.deadline
        customer = self._known(entry.customer_id)
        clock, attempt = (deadline.clock, deadline.attempt) if deadline else (None, None)
        version = deadline.calendar_version if deadline else ""
        waited_for = entry.waited_for
        attempts = [attempt for journey in entry.journeys.values() for attempt in journey.attempts]
        return Row(
            customer_id=entry.customer_id,
            name=customer.name if customer else None,
            tier=facts.tier,
            owner=facts.owner,
            annual_value=customer.annual_value if customer else None,
            currency=customer.currency if customer else None,
            queues=facts.queues,
            channels=facts.channels,
            contacts=len({clock.contact_id for clock in waited_for} | {attempt.contact_id for attempt in attempts}),
            attempts=len(attempts),
            past_seconds=None if ranked.past_us is None else ranked.past_us / 1_000_000,
            open_time=self._calendars.knows(version),
            target=clock.target if clock else "dead_end" if attempt else None,
            contact_id=clock.contact_id if clock else attempt.contact_id if attempt else None,
            due_us=deadline.at_us if deadline else None,
            time_zone=self._calendars.zone(version).key,
            since_us=facts.since_us,
            wait_seconds=max(0, self.now_us - facts.since_us) / 1_000_000,
            paging=paging_of(
                entry.alerts.values(),
                [one.late for one in _deadlines(entry, waited_for, self._calendars) if one.over(self.now_us)],
                alerts_from_us=self._alerts_from_us,
                told_since_us=self._told_since_us,
                promised=deadline is not None,
            ),
        )


def facts_of(entry: Entry, calendars: Calendars, customer: Customer | None) -> Facts:
    """What is asked of a customer again and again, until something of theirs changes."""
    waited_for = entry.waited_for
    attempts = sorted(
        (attempt for journey in entry.journeys.values() for attempt in journey.attempts), key=lambda one: one.at_us
    )
    tiers = [clock.tier for clock in waited_for] + [journey.tier for journey in entry.journeys.values()]
    sinces = [clock.started_us for clock in waited_for] + [attempt.at_us for attempt in attempts]
    sinces = sinces or [alert.starts_us for alert in entry.alerts.values()]
    return Facts(
        tier=(customer.tier if customer else None) or next((tier for tier in tiers if tier), None),
        owner=customer.owner if customer else None,
        queues=tuple(dict.fromkeys(clock.queue for clock in waited_for if clock.queue)),
        channels=tuple(_tried(attempts, waited_for)),
        deadlines=tuple(_earliest(_deadlines(entry, waited_for, calendars))),
        since_us=min(sinces),
    )


def _tried(attempts: Iterable[Attempt], clocks: Iterable[Clock]) -> Iterator[Tried]:
    """Each channel once; a dead end is said only where every try by that channel ended in one."""
    ends: dict[str, str | None] = {}
    for attempt in attempts:
        if attempt.channel not in ends or ends[attempt.channel] is not None:
            ends[attempt.channel] = attempt.dead_end
    for clock in clocks:
        ends.setdefault(clock.channel, None)
    return (Tried(channel, dead_end) for channel, dead_end in ends.items())


def _deadlines(entry: Entry, waited_for: Iterable[Clock], calendars: Calendars) -> Iterator[Deadline]:
    for clock in waited_for:
        if clock.deadline_us is not None:
            yield Deadline(clock.calendar_version, clock.deadline_us, clock, None)
    for journey in entry.journeys.values():
        version = calendars.version_of(journey.policy)
        for attempt in journey.attempts:
            if attempt.dead_end is not None:
                found_us = attempt.at_us if attempt.dead_end_us is None else attempt.dead_end_us
                yield Deadline(version, found_us, None, attempt)


def _earliest(deadlines: Iterable[Deadline]) -> Iterable[Deadline]:
    """The first on each calendar: whatever the instant, it is the furthest past on that calendar."""
    first: dict[str, Deadline] = {}
    for one in deadlines:
        known = first.get(one.calendar_version)
        if known is None or one.at_us < known.at_us:
            first[one.calendar_version] = one
    return first.values()


def ranked_of(entry: Entry, facts: Facts, calendars: Calendars, now_us: int) -> Ranked:
    """Where a customer stands at `now_us`."""
    past_us, worst = None, None
    for deadline in facts.deadlines:
        this_us = calendars.past_us(deadline.calendar_version, deadline.at_us, now_us)
        if past_us is None or this_us > past_us or (this_us == past_us and worst and deadline.at_us < worst.at_us):
            past_us, worst = this_us, deadline
    if past_us is None or worst is None:
        return Ranked(2, facts.since_us, facts.since_us, entry.customer_id, None, None, entry, facts)
    return Ranked(
        0 if worst.over(now_us) else 1, -past_us, worst.at_us, entry.customer_id, past_us, worst, entry, facts
    )


def in_order(ranked: Iterable[Ranked]) -> list[Ranked]:
    """The order of the board; who is over by the same open time stands by the instant: a night has none."""
    return sorted(ranked, key=lambda one: one[:4])
