"""One customer as their page tells of them: what is promised, and the journey over all channels in time.

It follows from what the board holds of them; what ended long ago is in the weekly report.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo

from schemas.customers import Customer
from streams.board import Alert, Attempt, Board, Clock, Entry, Journey, Lately, Row
from streams.engine.calendar import from_us, to_us
from streams.gateway.drawing import Scale, Tick

Kind = Literal["attempt", "dead_end", "due", "warning", "alert", "taken", "closed", "answered", "ended", "over", "now"]
_LEAST: Final = timedelta(minutes=30)
_ORDER: Final[tuple[Kind, ...]] = get_args(Kind)
_SEVERITY: Final = {"warning": "warned", "page": "paged", "critical": "paged as critical"}


class Step(NamedTuple):
    """Something that happened, or will, on the way; `ahead` says that it lies after now."""

    at: datetime
    kind: Kind
    channel: str | None
    contact_id: str | None
    words: str
    ahead: bool = False


class Promise(NamedTuple):
    """A clock that runs, with open seconds over its due instant, negative before it; None where it has none."""

    clock: Clock
    past_seconds: float | None
    open_time: bool
    time_zone: str


class Lane(NamedTuple):
    """One channel in the picture: from its first attempt on, and what happened on it, in percent of the width."""

    channel: str
    x: float
    width: float
    points: Sequence[tuple[float, str, str]]


class Picture(NamedTuple):
    """The journey over all channels. `now_x`: where now is; None where it has ended."""

    lanes: Sequence[Lane]
    ticks: Sequence[Tick]
    now_x: float | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """All that the page says. `row` as on the board, None where the customer does not wait."""

    customer_id: str
    customer: Customer | None
    now: datetime
    now_us: int
    row: Row | None
    clocks: Sequence[Promise]
    alerts: Sequence[Alert]
    steps: Sequence[Step]
    picture: Picture | None
    time_zone: str
    journey_over: Journey | None


def told_of(customer_id: str, board: Board, now: datetime) -> Told | None:
    """What is known of a customer at `now`, or None: nothing."""
    entry, lately = board.waiting.entries.get(customer_id), board.waiting.lately.get(customer_id)
    customer = board.known(customer_id)
    if entry is None and lately is None and customer is None:
        return None
    entry, lately = entry or Entry(customer_id), lately or Lately()
    now_us = to_us(now)
    row = board.standing_of(customer_id)
    over = None if entry.journeys or not lately.journeys else lately.journeys[-1]
    journeys = list(entry.journeys.values()) or ([over] if over else [])
    since_us = min((journey.started_us for journey in journeys), default=now_us - 14 * 86_400_000_000)
    running = sorted(entry.clocks.values(), key=lambda clock: (clock.deadline_us or clock.started_us, clock.target))
    clocks = [_promise(clock, board, now_us) for clock in running]
    steps = sorted(_steps(entry, lately, journeys, since_us, now_us), key=lambda s: (s.at, _ORDER.index(s.kind)))
    zone = row.time_zone if row else clocks[0].time_zone if clocks else _zone_of(journeys, board)
    return Told(
        customer_id=customer_id,
        customer=customer,
        now=now,
        now_us=now_us,
        row=row,
        clocks=clocks,
        alerts=sorted(entry.alerts.values(), key=lambda alert: alert.starts_us),
        steps=steps,
        picture=_picture(journeys, steps, now, ZoneInfo(zone)),
        time_zone=zone,
        journey_over=over,
    )


def _promise(clock: Clock, board: Board, now_us: int) -> Promise:
    version, deadline_us = clock.calendar_version, clock.deadline_us
    past = None if deadline_us is None else board.calendars.past_us(version, deadline_us, now_us) / 1_000_000
    return Promise(clock, past, board.calendars.knows(version), board.calendars.zone(version).key)


def _zone_of(journeys: Sequence[Journey], board: Board) -> str:
    versions = [board.calendars.version_of(journey.policy) for journey in journeys]
    return board.calendars.zone(versions[0] if versions else "").key


def _steps(entry: Entry, lately: Lately, journeys: Sequence[Journey], since_us: int, now_us: int) -> Iterator[Step]:
    for journey in journeys:
        yield from _steps_of_journey(journey)
    for clock in entry.clocks.values():
        if clock.closed_on_the_customer and clock.ended_us is not None:
            words = f"closed without an answer to the {_plain(clock.target)}"
            yield Step(from_us(clock.ended_us), "closed", clock.channel, clock.contact_id, words)
        elif (due_us := clock.deadline_us) is not None:
            words = f"{_plain(clock.target)} {'due' if due_us > now_us else 'was due'}"
            yield Step(from_us(due_us), "due", clock.channel, clock.contact_id, words, due_us > now_us)
    for clock in lately.clocks:
        if clock.ended_us is not None and clock.ended_us >= since_us:
            words = f"{_plain(clock.target)}: {clock.verdict}, {_plain(clock.reason)}"
            yield Step(from_us(clock.ended_us), "ended", clock.channel, clock.contact_id, words)
    for alert in [*lately.alerts, *entry.alerts.values()]:
        if alert.starts_us >= since_us or alert.firing:
            yield from _steps_of_alert(alert)
    if entry.waits:
        yield Step(from_us(now_us), "now", None, None, "now: still waiting")


def _steps_of_journey(journey: Journey) -> Iterator[Step]:
    for number, attempt in enumerate(journey.attempts, 1):
        words = "first try" if number == 1 else f"try {number}"
        if attempt.dead_end == "bounced":
            words += ": the mail bounced at our side, nobody will answer it"
        yield Step(from_us(attempt.at_us), "attempt", attempt.channel, attempt.contact_id, words)
        if attempt.dead_end == "no_ticket":
            found = from_us(attempt.at_us if attempt.dead_end_us is None else attempt.dead_end_us)
            words = "found to be a dead end: the form became no ticket"
            yield Step(found, "dead_end", attempt.channel, attempt.contact_id, words)
    if journey.ended_us is not None:
        by = f" by {journey.answered_by}" if journey.answered_by else ""
        yield Step(from_us(journey.ended_us), "answered", None, None, f"answered{by}")


def _steps_of_alert(alert: Alert) -> Iterator[Step]:
    of = f", {_plain(alert.target)}" if alert.target else ""
    for said in alert.said:
        words = f"{_SEVERITY.get(said.severity, said.severity)}: {_plain(said.kind)}{of}"
        kind: Kind = "warning" if said.severity == "warning" else "alert"
        yield Step(from_us(said.at_us), kind, None, alert.contact_id, words)
    if alert.acknowledged_us is not None:
        by = f" by {alert.acknowledged_by}" if alert.acknowledged_by else ""
        yield Step(from_us(alert.acknowledged_us), "taken", None, alert.contact_id, f"page acknowledged{by}")
    if alert.ends_us is not None:
        words = f"{_plain(alert.kind)}{of} over: {alert.resolution or 'resolved'}"
        yield Step(from_us(alert.ends_us), "over", None, alert.contact_id, words)


def _picture(journeys: Sequence[Journey], steps: Sequence[Step], now: datetime, zone: ZoneInfo) -> Picture | None:
    """Lanes of the channels in the order of their first attempts; None without attempts."""
    attempts = sorted((one for journey in journeys for one in journey.attempts), key=lambda one: one.at_us)
    if not attempts:
        return None
    ended = [journey.ended_us for journey in journeys]
    over = None if None in ended else from_us(max(us for us in ended if us is not None))
    start, until = from_us(attempts[0].at_us), over or now
    end = max(until, max((step.at for step in steps if step.kind == "due" and not over), default=until), start + _LEAST)
    scale = Scale(start=start, end=end)
    channels = dict.fromkeys(attempt.channel for attempt in attempts)
    lanes = [_lane(channel, attempts, steps, scale, until) for channel in channels]
    tries = f"{len(attempts)} {'attempt' if len(attempts) == 1 else 'attempts'} over {', '.join(channels)}"
    words = f"{tries}; {'answered' if over else 'no answer yet'}. The list below says the same in words."
    return Picture(lanes, scale.ticks(zone), None if over else scale.x(now), words)


def _lane(channel: str, attempts: Sequence[Attempt], steps: Sequence[Step], scale: Scale, until: datetime) -> Lane:
    own = [attempt for attempt in attempts if attempt.channel == channel]
    x = scale.x(from_us(own[0].at_us))
    points = [
        (scale.x(from_us(attempt.at_us)), "dead_end" if attempt.dead_end else "attempt", attempt.contact_id)
        for attempt in own
    ]
    points += [
        (scale.x(step.at), step.kind, step.words)
        for step in steps
        if step.channel == channel and step.kind in ("due", "closed")
    ]
    points += [(scale.x(step.at), "answered", step.words) for step in steps if step.kind == "answered"]
    return Lane(channel, x, round(scale.x(until) - x, 3), points)


def _plain(name: str) -> str:
    return name.replace("_", " ")
