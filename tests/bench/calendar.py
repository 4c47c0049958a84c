"""What one question to a calendar costs, beside businesstimedelta on the same schedule and questions.

A figure counts only if both gave the same answers.
"""

from __future__ import annotations

import random
import time as clock
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

import businesstimedelta as peer
import holidays
import pytz

from schemas.policies import CalendarSpec
from streams.engine.calendar import SECOND_US, Calendar, from_us, to_us

SEED: Final = 17
ROUNDS: Final = 5  # the fastest of these: what else ran on the machine is no cost of ours
LONDON: Final = {
    "time_zone": "Europe/London",
    "hours": {"mon-fri": ["09:00-17:30"]},
    "holidays": {"country": "GB", "subdivision": "ENG"},
}

Question = tuple[int, int]


def run(quick: bool) -> Iterator[dict[str, Any]]:
    """`calendar_due_us` and `calendar_elapsed_us`: CPU microseconds for one question, starts in and out of hours."""
    ours, theirs = Calendar("london", CalendarSpec.model_validate(LONDON)), _their_rules()
    chance = random.Random(SEED)
    count = 100 if quick else 500
    starts = [
        to_us(datetime(2026, 1, 1, tzinfo=UTC)) + chance.randrange(365 * 86_400) * SECOND_US for _ in range(count)
    ]
    lengths = [chance.randrange(15 * 60, 16 * 3600) * SECOND_US for _ in starts]
    ends = [start + chance.randrange(3600, 14 * 86_400) * SECOND_US for start in starts]

    def their_due(start: datetime, length: timedelta) -> datetime:
        due: datetime = start + peer.BusinessTimeDelta(theirs, timedelta=length)
        return due

    def their_elapsed(start: datetime, end: datetime) -> timedelta:
        open_time: timedelta = theirs.difference(start, end).timedelta
        return open_time

    due = list(zip(starts, lengths, strict=True))
    _must_agree([from_us(ours.due(*q)) for q in due], [their_due(from_us(s), _length(n)) for s, n in due], due)
    yield _figure("calendar_due_us", ours.due, their_due, due, [(from_us(s), _length(n)) for s, n in due])

    spans = list(zip(starts, ends, strict=True))
    at = [(from_us(start), from_us(end)) for start, end in spans]
    _must_agree([_length(ours.elapsed(*q)) for q in spans], [their_elapsed(*q) for q in at], spans)
    yield _figure("calendar_elapsed_us", ours.elapsed, their_elapsed, spans, at)


def _figure(
    name: str, ours: Callable[..., Any], theirs: Callable[..., Any], asked: Sequence[Any], asked_of_them: Sequence[Any]
) -> dict[str, Any]:
    value, baseline = _microseconds(ours, list(asked) * 40), _microseconds(theirs, asked_of_them)
    return {
        "name": name,
        "value": round(value, 3),
        "unit": "us",
        "baseline": round(baseline, 1),
        "ratio": round(baseline / value, 1),
        "against": "businesstimedelta",
    }


def _microseconds(answer: Callable[..., Any], questions: Sequence[Any]) -> float:
    """CPU time of one answer, the loop around it included."""
    fastest = float("inf")
    for _ in range(ROUNDS):
        began = clock.process_time_ns()
        for first, second in questions:
            answer(first, second)
        fastest = min(fastest, clock.process_time_ns() - began)
    return fastest / 1_000 / len(questions)


def _must_agree(ours: Sequence[Any], theirs: Sequence[Any], questions: Sequence[Question]) -> None:
    for got, wanted, question in zip(ours, theirs, questions, strict=True):
        if got != wanted:
            raise AssertionError(f"{question}: {got} here, {wanted} by businesstimedelta")


def _their_rules() -> peer.Rules:
    london = pytz.timezone("Europe/London")
    workdays = peer.WorkDayRule(start_time=time(9), end_time=time(17, 30), working_days=[0, 1, 2, 3, 4], tz=london)
    return peer.Rules([workdays, peer.HolidayRule(holidays.country_holidays("GB", subdiv="ENG"), tz=london)])


def _length(length_us: int) -> timedelta:
    return timedelta(microseconds=length_us)
