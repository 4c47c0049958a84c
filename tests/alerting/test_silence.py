"""When a source is silent, and how it is said."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from alerting.fold import Known
from alerting.silence import WEEK_HOURS, WEEKS, Silence, Source, chance, on_silence, silence
from schemas.alerts import Alert
from tests.alerting.silence_simulation import alarms, counts, profile, wrong

BOOKS = "https://books.example.com/"
AT = "2026-11-10T12:00:00Z"
NORMAL_WEEKS = WEEKS + 4
CHANGED = NORMAL_WEEKS * WEEK_HOURS
TUESDAY_MORNING = 24 + 9


def days_until_found(told: list[int], since: int) -> float | None:
    """How many days after an hour it is first found; an alarm before is a failure."""
    found = alarms(told)
    assert all(hour > since for hour in found)
    return (found[0] - since) / 24 if found else None


def test_a_form_that_goes_from_30_a_week_to_5_is_found() -> None:
    """Not in every one: a form that was near 15 in one of its weeks may be near 5 in another."""
    days = []
    for seed in range(20):
        random, shares = Random(seed), profile("working hours")
        told = counts(random, shares, 30, NORMAL_WEEKS, 0.1) + counts(random, shares, 5, 2, 0.1)
        days.append(days_until_found(told, CHANGED))
    found = [one for one in days if one is not None]
    assert len(found) >= 17
    assert sorted(found)[len(found) // 2] <= 7


@pytest.mark.parametrize(("a_week", "days_most"), [(30, 8), (150, 1.5), (1_000, 0.5)])
def test_a_source_that_stops_on_a_tuesday_morning_is_found_the_sooner_the_more_it_sent(
    a_week: float, days_most: float
) -> None:
    for seed in range(5):
        random, shares = Random(seed), profile("working hours")
        stopped = CHANGED + TUESDAY_MORNING
        told = counts(random, shares, a_week, NORMAL_WEEKS + 1, 0.1)[:stopped] + [0] * (2 * WEEK_HOURS)
        days = days_until_found(told, stopped)
        assert days is not None
        assert days <= days_most


def steady(a_day: int, days: int) -> Source:
    """So many at noon of every day."""
    source = Source()
    for day in range(days):
        for _ in range(a_day):
            source.heard(day * 24 + 12)
    return source


def never(_: int) -> bool:
    return False


def test_a_source_that_is_always_sparse_is_never_judged() -> None:
    source = steady(1, 70)
    assert silence(source, 84 * 24, never) is None


def test_a_source_that_is_new_is_not_judged() -> None:
    assert silence(steady(20, 30), 34 * 24, never) is None
    assert silence(steady(20, 36), 40 * 24, never) is not None


def test_a_quiet_holiday_alarms_nobody() -> None:
    source = steady(20, 60)
    assert silence(source, 61 * 24, never) == Silence(24, 0, 20)
    assert silence(source, 61 * 24, lambda hour: hour // 24 == 60) is None


def test_what_was_quiet_in_one_of_the_weeks_before_may_be_quiet_again() -> None:
    source = steady(20, 60)
    for hour in [hour for hour in source.counts if hour // 24 == 60 - 14]:
        del source.counts[hour]
    assert silence(source, 61 * 24, never) is None


def test_what_is_too_old_is_forgotten_and_changes_nothing() -> None:
    source = steady(20, 100)
    before = silence(source, 101 * 24, never)
    source.forget(101 * 24)
    assert len(source.counts) <= 37
    assert silence(source, 101 * 24, never) == before


def test_the_chance_is_that_of_poisson() -> None:
    assert chance(0, 12) == pytest.approx(6.144e-6, rel=1e-3)
    assert chance(5, 30) == pytest.approx(2.257e-8, rel=1e-2)
    assert chance(12, 12) == 1.0
    assert chance(400, 2_000) < 1e-9


def test_it_is_seldom_wrong() -> None:
    """On sources rougher than the rule takes them to be; what a longer run measured is in the documentation."""
    found = wrong(sources=40, weeks=26, seed=7)
    assert found.source_weeks == 1_040
    assert found.false_alarms <= 12


def test_it_fires_once_and_ends_when_the_source_speaks_as_before() -> None:
    found = Silence(24, 0, 20)
    [fires], known = on_silence("/forms/contact", found, None, AT, speaks=False, runbook_url=BOOKS)
    Alert.model_validate(fires.record)
    assert (fires.record["severity"], fires.record["customer_id"]) == ("warning", None)
    assert fires.record["labels"] == {"source": "/forms/contact"}
    assert fires.record["summary"] == (
        "Source /forms/contact has sent nothing in 1 d: in the same hours of the four weeks before it was never less "
        "than 20."
    )
    assert known is not None
    known = Known.from_bytes(known.to_bytes())

    def again(silent: Silence | None, *, speaks: bool) -> tuple[list[Any], Any]:
        return on_silence("/forms/contact", silent, known, "2026-11-11T12:00:00Z", speaks=speaks, runbook_url=BOOKS)

    assert again(found, speaks=True)[0] == []
    assert again(None, speaks=False)[0] == [], "a silence that lasts does not become normal"
    [ends], _ = again(None, speaks=True)
    Alert.model_validate(ends.record)
    assert (ends.number, ends.record["state"], ends.record["alert_id"]) == (2, "resolved", fires.record["alert_id"])


def test_a_source_that_speaks_is_not_mentioned() -> None:
    assert on_silence("/desk", None, None, AT, speaks=True, runbook_url=BOOKS) == ([], None)
