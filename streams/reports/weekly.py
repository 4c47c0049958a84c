"""One week's report as data: `weekly(facts, week)`. How it looks belongs to `render`.

Which week a promise belongs to: the one in which its verdict fell (`known.fell_at`), and no other. A promise that
broke on Monday 00:00 sharp is the new week's, for weeks are half-open and met at the due instant is met (C3). A broken
promise that stays unanswered is not counted again in later weeks; its customer is shown there as let down while they
wait. Facts that come late, such as an answer that bounced after the week, change the report of that week.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from streams.reports.customers import (
    DeadEnd,
    LetDown,
    SilentClose,
    StillWaiting,
    TakenBack,
    customers,
)
from streams.reports.definitions import DEFINITIONS
from streams.reports.headline import headline
from streams.reports.known import ANSWERS, Facts, Window
from streams.reports.shares import (
    DIMENSIONS,
    Breakdown,
    Share,
    TargetShare,
    Waits,
    breakdown,
    by_target,
    fallen,
    share_of,
    waits,
)
from streams.reports.week import Week


@dataclass(frozen=True, slots=True, kw_only=True)
class WeekReport:
    """Everything that the report of one week says. `complete` is False where the facts end before the week does.
    `definitions` says in words what each part counts."""

    week: str
    time_zone: str
    starts_at: datetime
    ends_at: datetime
    until: datetime
    complete: bool
    headline: str
    answers: Share
    targets: tuple[TargetShare, ...]
    waits: tuple[Waits, ...]
    breakdowns: tuple[Breakdown, ...]
    let_down: tuple[LetDown, ...]
    dead_ends: tuple[DeadEnd, ...]
    taken_back: tuple[TakenBack, ...]
    silent_closes: tuple[SilentClose, ...]
    waiting: tuple[StillWaiting, ...]
    closed_on: int
    alerts: Mapping[str, int]
    definitions: Mapping[str, str]

    @property
    def empty(self) -> bool:
        """Whether nothing is known of that week."""
        return self.until <= self.starts_at or not (
            self.targets or self.waits or self.let_down or self.dead_ends or self.waiting or self.closed_on
            or self.taken_back or self.silent_closes or self.alerts
        )  # fmt: skip


def weekly(facts: Facts, week: Week) -> WeekReport:
    """The report of a week. The same facts, in any order, give the same report."""
    window = Window(starts_at=week.starts_at, until=min(week.ends_at, facts.known_until))
    fell = fallen(facts.outcomes, window)
    answers = share_of([one for one in fell if one.target in ANSWERS], window)
    found = customers(facts, window)
    return WeekReport(
        week=week.name,
        time_zone=week.time_zone,
        starts_at=week.starts_at,
        ends_at=week.ends_at,
        until=window.until,
        complete=facts.known_until >= week.ends_at,
        headline=headline(answers, found, week),
        answers=answers,
        targets=by_target(fell, window),
        waits=waits(facts, window),
        breakdowns=tuple(breakdown(fell, by, window) for by in DIMENSIONS),
        let_down=found.let_down,
        dead_ends=found.dead_ends,
        taken_back=found.taken_back,
        silent_closes=found.silent_closes,
        waiting=found.waiting,
        closed_on=found.closed_on,
        alerts=_alerts(facts, window),
        definitions=DEFINITIONS,
    )


def _alerts(facts: Facts, window: Window) -> Mapping[str, int]:
    """How many alerts fired in the window, by kind; a kind of an alert fires once."""
    fired = {(one.alert_id, one.kind) for one in facts.alerts if one.state == "firing" and one.at in window}
    return dict(sorted(Counter(kind for _, kind in fired).items()))
