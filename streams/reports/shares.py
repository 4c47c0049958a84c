"""How much of what was promised was kept, and how long customers waited, those who still wait included.

A clock counts once, in the week in which its verdict fell (`known.fell_at`): over all weeks the numbers add up to
those of a replay's summary. The unanswered and the silently closed are not kept; there is no mean of the answered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Final

from schemas.outcomes import Outcome
from schemas.policies import TARGETS
from streams.reports.known import ANSWERS, Facts, Window, fell_at, open_seconds, standing, wall_seconds

DIMENSIONS: Final = ("policy", "tier", "channel", "queue")
QUANTILES: Final = (0.5, 0.9)
_ALMOST: Final = 1e-9  # shares are products of fractions


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Promises whose verdict fell in the week. `late` ended since, `unanswered` had not ended as the week ended,
    `closed` were closed on a customer who waited."""

    kept: int = 0
    late: int = 0
    unanswered: int = 0
    closed: int = 0

    @property
    def n(self) -> int:
        """All of them."""
        return self.kept + self.late + self.unanswered + self.closed

    @property
    def kept_share(self) -> float | None:
        """Kept ones among all, 0 to 1; None of none."""
        return self.kept / self.n if self.n else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetShare:
    """The share of one target."""

    target: str
    share: Share


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One value of a dimension (None: contacts without one), with its share of each target."""

    value: str | None
    n: int
    targets: tuple[TargetShare, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Kept shares by one dimension, the most promises first."""

    by: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantile:
    """A share of the customers had been answered within `seconds`; None: fewer had, even by `at_least`."""

    share: float
    seconds: float | None
    at_least: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long the waits that began in the week took, in open and in wall time, seen as the week ended."""

    target: str
    n: int
    answered: int
    waiting: int
    closed: int
    open: tuple[Quantile, ...]
    wall: tuple[Quantile, ...]


def fallen(outcomes: Iterable[Outcome], window: Window) -> list[Outcome]:
    """The clocks whose verdict fell in the window."""
    return [outcome for outcome in outcomes if fell_at(outcome) in window]


def share_of(fallen: Iterable[Outcome], window: Window) -> Share:
    """What clocks whose verdict fell in the window came to, as it ended."""
    counts = Counter(standing(outcome, window.until) for outcome in fallen)
    return Share(kept=counts["kept"], late=counts["late"], unanswered=counts["unanswered"], closed=counts["closed"])


def by_target(fallen: Sequence[Outcome], window: Window) -> tuple[TargetShare, ...]:
    """The share of each target that has any, in the order of the targets."""
    found = []
    for target in TARGETS:
        own = [outcome for outcome in fallen if outcome.target == target]
        if own:
            found.append(TargetShare(target=target, share=share_of(own, window)))
    return tuple(found)


def breakdown(fallen: Sequence[Outcome], by: str, window: Window) -> Breakdown:
    """Kept shares by a dimension and target."""
    grouped: dict[str | None, list[Outcome]] = {}
    for outcome in fallen:
        grouped.setdefault(getattr(outcome, by), []).append(outcome)
    ordered = sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0] is None, item[0] or ""))
    rows = [Row(value=value, n=len(own), targets=by_target(own, window)) for value, own in ordered]
    return Breakdown(by=by, rows=tuple(rows))


# -- waits


def waits(facts: Facts, window: Window) -> tuple[Waits, ...]:
    """The waits for an answer that began in the window, by target."""
    found = []
    for target in ANSWERS:
        began = [one for one in facts.outcomes if one.target == target and one.started_at in window]
        stood = [(one, standing(one, window.until)) for one in began]
        owed = [(one, how) for one, how in stood if how not in (None, "void")]
        if owed:
            found.append(_waits(target, owed, facts, window))
    return tuple(found)


def _waits(target: str, owed: Sequence[tuple[Outcome, str | None]], facts: Facts, window: Window) -> Waits:
    answered = [(one, how in ("kept", "late")) for one, how in owed if how != "closed"]
    closed = len(owed) - len(answered)

    def until(one: Outcome) -> float:
        end = window.until if one.ended_at is None else min(one.ended_at, window.until)
        return wall_seconds(one.started_at, end)

    in_open = [(open_seconds(one, window.until, facts), over) for one, over in answered]
    in_wall = [(until(one), over) for one, over in answered]
    return Waits(
        target=target,
        n=len(owed),
        answered=sum(over for _, over in answered),
        waiting=sum(not over for _, over in answered),
        closed=closed,
        open=tuple(quantile(in_open, closed, share) for share in QUANTILES),
        wall=tuple(quantile(in_wall, closed, share) for share in QUANTILES),
    )


def quantile(waits: Sequence[tuple[float, bool]], never: int, share: float) -> Quantile:
    """When that share of the waits was over, by Kaplan and Meier (1958): a wait that is not over counts as far as it
    has come. `waits` are seconds and whether it is over; `never` are those that nobody will answer any more."""
    left, at_risk, longest = 1.0, len(waits) + never, 0.0
    for longest, same in groupby(sorted(waits), key=itemgetter(0)):
        here = list(same)
        over = sum(ended for _, ended in here)
        left *= 1 - over / at_risk
        if over and left <= 1 - share + _ALMOST:
            return Quantile(share=share, seconds=longest, at_least=longest)
        at_risk -= len(here)
    return Quantile(share=share, seconds=None, at_least=longest)
