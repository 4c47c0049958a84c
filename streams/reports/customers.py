"""Customers of a week: who was let down, who still waits, which attempts went nowhere, which answers came back.

Everything is seen as the week ended: an answer that came later has not come yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal

from schemas.outcomes import Journey, Outcome
from streams.engine.calendar import Calendar, to_us
from streams.reports.known import (
    ANSWERS,
    RESPONSES,
    Facts,
    Window,
    fell_at,
    open_between,
    standing,
    wall_seconds,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One attempt of a customer. `dead_end` says why nobody would answer it there."""

    contact_id: str
    channel: str
    at: datetime
    dead_end: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A journey as the week ended: from the first attempt until a human answered (`ended_at`) or, where that is None,
    until the week's end. `days` are the local dates that it touched, `working_days` those of them that were open;
    open time and days are None where the calendar is not known."""

    started_at: datetime
    ended_at: datetime | None
    wall_seconds: float
    open_seconds: float | None
    days: int | None
    working_days: int | None
    tries: tuple[Try, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenPromise:
    """A promise of an answer that was not kept. `over_seconds` is open time from the due instant until the customer was
    answered, there or anywhere, or to the week's end; None where that was before it was due, or the calendar is not
    known."""

    contact_id: str
    url: str | None
    target: str
    policy: str
    started_at: datetime
    due_at: datetime | None
    ended_at: datetime | None
    stood: Literal["late", "unanswered", "closed"]
    answer_bounced: bool
    over_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LetDown:
    """A customer who did not hear back as promised, with their waits, the longest first."""

    customer_id: str
    tier: str | None
    wall_seconds: float
    waits: tuple[Wait, ...]
    promises: tuple[BrokenPromise, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StillWaiting:
    """A customer who waits as the week ends. `overdue_since` is the earliest due instant that has passed, `next_due`
    the earliest to come; both None where nothing was promised."""

    customer_id: str
    tier: str | None
    wait: Wait
    overdue_since: datetime | None
    next_due: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadEnd:
    """An attempt that landed where nobody would answer it, found in the week. `answered_at` is when a human answered
    that customer, anywhere; None: nobody had as the week ended."""

    customer_id: str
    contact_id: str
    channel: str
    kind: str
    at: datetime
    found_at: datetime
    answered_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakenBack:
    """An answer of ours that was found bounced in the week: the clock ran on from its start."""

    customer_id: str
    contact_id: str
    target: str
    bounced_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SilentClose:
    """A contact that was closed in the week with the customer's message unanswered. `settled_at` is when the customer
    was answered or asked again; None: neither as the week ended."""

    customer_id: str
    contact_id: str
    url: str | None
    waited_since: datetime
    closed_at: datetime
    settled_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Customers:
    """All of them, each list in its own order. `closed_on` counts customers who wait only in contacts that were
    closed on them: nobody works on an answer."""

    let_down: tuple[LetDown, ...]
    waiting: tuple[StillWaiting, ...]
    closed_on: int
    dead_ends: tuple[DeadEnd, ...]
    taken_back: tuple[TakenBack, ...]
    silent_closes: tuple[SilentClose, ...]


def customers(facts: Facts, window: Window) -> Customers:
    """The customers of a window, from records that touch it."""
    seen = _Seen(facts, window)
    waiting, closed_on = seen.waiting()
    return Customers(
        let_down=tuple(seen.let_down()),
        waiting=tuple(waiting),
        closed_on=closed_on,
        dead_ends=tuple(seen.dead_ends()),
        taken_back=tuple(seen.taken_back()),
        silent_closes=tuple(seen.silent_closes()),
    )


class _Seen:
    """Records by customer, as they stood."""

    def __init__(self, facts: Facts, window: Window) -> None:
        self.facts, self.window = facts, window
        self.journeys: dict[str, list[Journey]] = defaultdict(list)
        for journey in facts.journeys:
            if journey.attempts and _touches(journey, window):
                self.journeys[journey.customer_id].append(journey)
        self.clocks: dict[str, list[Outcome]] = defaultdict(list)
        self.of_contact: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in facts.outcomes:
            if outcome.target in RESPONSES and standing(outcome, window.until) not in (None, "void"):
                self.clocks[outcome.customer_id].append(outcome)
                self.of_contact[outcome.contact_id].append(outcome)

    # -- let down

    def let_down(self) -> list[LetDown]:
        found = []
        for customer_id in sorted({*self.clocks, *self.journeys}):
            journeys = self.journeys[customer_id]
            broken = [one for one in self.clocks[customer_id] if self._is_broken(one, journeys)]
            shown = [one for one in journeys if self._lets_down(one, broken)]
            if broken or shown:
                found.append(self._let_down(customer_id, broken, shown))
        return sorted(found, key=lambda one: (-one.wall_seconds, one.customer_id))

    def _is_broken(self, outcome: Outcome, journeys: Sequence[Journey]) -> bool:
        """A promise of an answer that was not kept in this week, or before while its customer goes on waiting."""
        stood = standing(outcome, self.window.until)
        if outcome.target not in ANSWERS or stood not in ("late", "unanswered", "closed"):
            return False
        if fell_at(outcome) in self.window:
            return True
        over = outcome.ended_at is not None and outcome.ended_at < self.window.starts_at
        return not over and any(_is_in(outcome, journey) for journey in journeys)

    def _lets_down(self, journey: Journey, broken: Sequence[Outcome]) -> bool:
        """Whether a wait belongs to what was not kept, or knocked at a door without anybody behind it."""
        if any(_is_in(outcome, journey) for outcome in broken):
            return True
        found = [attempt.dead_end_at or attempt.at for attempt in journey.attempts if attempt.dead_end]
        return any(at in self.window for at in found) or (bool(found) and journey.ended_at in self.window)

    def _let_down(self, customer_id: str, broken: Sequence[Outcome], journeys: Sequence[Journey]) -> LetDown:
        waits = sorted((self._wait(one) for one in journeys), key=lambda one: (-one.wall_seconds, one.started_at))
        return LetDown(
            customer_id=customer_id,
            tier=_tier([*broken, *journeys]),
            wall_seconds=waits[0].wall_seconds if waits else max(map(self._wall_seconds, broken)),
            waits=tuple(waits),
            promises=tuple(
                self._promise(one, journeys)
                for one in sorted(broken, key=lambda o: (o.started_at, o.contact_id, o.target))
            ),
        )

    def _promise(self, outcome: Outcome, journeys: Sequence[Journey]) -> BrokenPromise:
        until = self.window.until
        stood = standing(outcome, until)
        assert stood in ("late", "unanswered", "closed")
        ended_at = _by(outcome.ended_at, until)
        answered = [_by(one.ended_at, until) for one in journeys if _is_in(outcome, one)]
        over_at = min([ended_at or until, *(at for at in answered if at is not None and at > outcome.started_at)])
        over = None
        if outcome.due_at is not None and outcome.due_at < over_at:
            over = open_between(outcome.due_at, over_at, self.facts.calendars.get(outcome.calendar_version))
        return BrokenPromise(
            contact_id=outcome.contact_id,
            url=outcome.url,
            target=outcome.target,
            policy=outcome.policy,
            started_at=outcome.started_at,
            due_at=outcome.due_at,
            ended_at=ended_at,
            stood=stood,
            answer_bounced=outcome.reason == "answer_bounced",
            over_seconds=over,
        )

    # -- waiting

    def waiting(self) -> tuple[list[StillWaiting], int]:
        """The longest first, and how many more only wait in contacts that were closed on them."""
        found, closed_on = [], 0
        for customer_id, journeys in self.journeys.items():
            for journey in journeys:
                if _by(journey.ended_at, self.window.until) is not None:
                    continue
                running = [one for one in self.clocks[customer_id] if self._runs(one, journey)]
                if not running and self._all_closed(journey):
                    closed_on += 1
                else:
                    found.append(self._still_waiting(journey, running))
        return sorted(found, key=lambda one: (one.wait.started_at, one.customer_id)), closed_on

    def _runs(self, outcome: Outcome, journey: Journey) -> bool:
        return standing(outcome, self.window.until) in ("running", "unanswered") and _is_in(outcome, journey)

    def _all_closed(self, journey: Journey) -> bool:
        """Every attempt that somebody could have seen is in a contact that was closed on the customer."""
        attempts = [one for one in journey.attempts if one.at < self.window.until]
        return all(
            any(standing(one, self.window.until) == "closed" for one in self.of_contact[attempt.contact_id])
            for attempt in attempts
        )

    def _still_waiting(self, journey: Journey, running: Sequence[Outcome]) -> StillWaiting:
        until = self.window.until
        dues = sorted(one.due_at for one in running if one.target in ANSWERS and one.due_at is not None)
        return StillWaiting(
            customer_id=journey.customer_id,
            tier=journey.tier,
            wait=self._wait(journey),
            overdue_since=next((due for due in dues if due < until), None),
            next_due=next((due for due in dues if due >= until), None),
        )

    # -- what went nowhere

    def dead_ends(self) -> list[DeadEnd]:
        found = []
        for journey in (one for journeys in self.journeys.values() for one in journeys):
            for attempt in journey.attempts:
                found_at = attempt.dead_end_at or attempt.at
                if attempt.dead_end is not None and found_at in self.window:
                    found.append(
                        DeadEnd(
                            customer_id=journey.customer_id,
                            contact_id=attempt.contact_id,
                            channel=attempt.channel,
                            kind=attempt.dead_end,
                            at=attempt.at,
                            found_at=found_at,
                            answered_at=_by(journey.ended_at, self.window.until),
                        )
                    )
        return sorted(found, key=lambda one: (one.found_at, one.customer_id, one.contact_id, one.kind))

    def taken_back(self) -> list[TakenBack]:
        found = [
            TakenBack(
                customer_id=one.customer_id,
                contact_id=one.contact_id,
                target=one.target,
                bounced_at=one.bounced_at,
                ended_at=_by(one.ended_at, self.window.until),
            )
            for clocks in self.clocks.values()
            for one in clocks
            if one.target in ANSWERS and one.bounced_at is not None and one.bounced_at in self.window
        ]
        return sorted(found, key=lambda one: (one.bounced_at, one.contact_id, one.target))

    def silent_closes(self) -> list[SilentClose]:
        """One for each contact and instant, whatever clocks it ended; that of an answer knows what became of it."""
        found: dict[tuple[str, datetime], SilentClose] = {}
        for clocks in self.clocks.values():
            for one in sorted(clocks, key=lambda clock: (clock.target not in ANSWERS, clock.started_at)):
                if standing(one, self.window.until) == "closed" and one.ended_at in self.window:
                    assert one.ended_at is not None
                    close = SilentClose(
                        customer_id=one.customer_id,
                        contact_id=one.contact_id,
                        url=one.url,
                        waited_since=one.started_at,
                        closed_at=one.ended_at,
                        settled_at=_by(one.settled_at, self.window.until),
                    )
                    found.setdefault((one.contact_id, one.ended_at), close)
        return sorted(found.values(), key=lambda one: (one.closed_at, one.contact_id))

    # -- waits

    def _wait(self, journey: Journey) -> Wait:
        until = self.window.until
        ended_at = _by(journey.ended_at, until)
        end = ended_at or until
        calendar = self._calendar(journey)
        days = _days(journey.started_at, end, calendar) if calendar else None
        return Wait(
            started_at=journey.started_at,
            ended_at=ended_at,
            wall_seconds=wall_seconds(journey.started_at, end),
            open_seconds=journey.open_seconds if ended_at else open_between(journey.started_at, end, calendar),
            days=days[0] if days else None,
            working_days=days[1] if days else None,
            tries=tuple(
                Try(
                    contact_id=attempt.contact_id,
                    channel=attempt.channel,
                    at=attempt.at,
                    dead_end=attempt.dead_end if (attempt.dead_end_at or attempt.at) < until else None,
                )
                for attempt in sorted(journey.attempts, key=lambda one: (one.at, one.contact_id, one.dead_end or ""))
                if attempt.at < until
            ),
        )

    def _calendar(self, journey: Journey) -> Calendar | None:
        """The calendar that judged one of its contacts under its policy, else the one of that policy now."""
        for attempt in journey.attempts:
            for outcome in self.of_contact[attempt.contact_id]:
                if outcome.policy == journey.policy and outcome.calendar_version in self.facts.calendars:
                    return self.facts.calendars[outcome.calendar_version]
        return self.facts.calendar(journey)

    def _wall_seconds(self, outcome: Outcome) -> float:
        return wall_seconds(outcome.started_at, _by(outcome.ended_at, self.window.until) or self.window.until)


def _touches(journey: Journey, window: Window) -> bool:
    over = journey.ended_at is not None and journey.ended_at < window.starts_at
    return journey.started_at < window.until and not over


def _is_in(outcome: Outcome, journey: Journey) -> bool:
    """Whether a clock is of one of a journey's contacts and ran while it lasted."""
    return (
        any(attempt.contact_id == outcome.contact_id for attempt in journey.attempts)
        and (outcome.ended_at is None or outcome.ended_at >= journey.started_at)
        and (journey.ended_at is None or outcome.started_at < journey.ended_at)
    )


def _tier(records: Iterable[Outcome | Journey]) -> str | None:
    return next((one.tier for one in records if one.tier is not None), None)


def _by(instant: datetime | None, until: datetime) -> datetime | None:
    """An instant, unless it had not come yet."""
    return instant if instant is not None and instant < until else None


def _days(start: datetime, end: datetime, calendar: Calendar) -> tuple[int, int]:
    """How many local dates a wait touched, and on how many of them the calendar opened."""
    first, last = calendar.local(to_us(start)).date(), calendar.local(to_us(end) - 1).date()
    last = max(first, last)
    spans = calendar.open_spans(calendar.midnight_us(first), calendar.midnight_us(last + timedelta(days=1)))
    opened: set[date] = {calendar.local(opens_us).date() for opens_us, _ in spans}
    days = (last - first).days + 1
    return days, days if calendar.always_open else len(opened)
