"""Weeks: their names, and the instants between which they lie."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.reports import NotAWeek, Week

ZONES = ["UTC", "Europe/London", "America/Sao_Paulo", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran"]
LONDON = "Europe/London"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hours(week: Week) -> float:
    return (week.ends_at - week.starts_at) / timedelta(hours=1)


def test_a_week_is_seven_local_days_also_where_clocks_change() -> None:
    assert hours(Week.parse("2026-W46", time_zone=LONDON)) == 168
    assert hours(Week.parse("2026-W13", time_zone=LONDON)) == 167, "spring, 29 March"
    assert hours(Week.parse("2026-W43", time_zone=LONDON)) == 169, "autumn, 25 October"
    assert Week.parse("2026-W13", time_zone=LONDON).starts_at == datetime(2026, 3, 23, tzinfo=UTC)
    assert Week.parse("2026-W13", time_zone=LONDON).ends_at == datetime(2026, 3, 29, 23, tzinfo=UTC)


def test_a_midnight_that_clocks_jump_over_is_the_instant_at_which_they_do() -> None:
    week = Week.parse("2018-W45", time_zone="America/Sao_Paulo", starts_on="sunday")  # its Sunday began at 1
    assert week.first_day == date(2018, 11, 4)
    assert week.starts_at == datetime(2018, 11, 4, 3, tzinfo=UTC)
    assert hours(week) == 167


def test_a_week_that_starts_on_sunday_holds_the_monday_of_its_name() -> None:
    week = Week.parse("2026-W46", starts_on="sunday")
    assert (week.first_day, week.last_day) == (date(2026, 11, 8), date(2026, 11, 14))
    assert Week.holding(datetime(2026, 11, 8, tzinfo=UTC), starts_on="sunday") == week
    assert Week.holding(datetime(2026, 11, 15, tzinfo=UTC), starts_on="sunday").name == "2026-W47"


@pytest.mark.parametrize(
    "name",
    ["2026-W00", "2026-W54", "2025-W53", "2026-46", "2026-W6", "26-W46", "W46", "", "2026-W46 ",
     "\N{FULLWIDTH DIGIT TWO}026-W01",
     "1989-W10", "2200-W01", "../../etc/passwd", "2026-W46\n", "9" * 10_000],
)  # fmt: skip
def test_what_is_no_week_is_refused_and_says_what_was_wanted(name: str) -> None:
    with pytest.raises(NotAWeek, match="wanted one such as 2026-W46") as refused:
        Week.parse(name)
    assert len(str(refused.value)) < 100


@given(
    st.integers(8_000, 83_000).map(
        lambda days: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=days, hours=days % 24)
    ),
    st.sampled_from(ZONES),
    st.sampled_from(["monday", "sunday"]),
)
def test_every_instant_lies_in_one_week_and_weeks_follow_each_other(instant: datetime, zone: str, on: str) -> None:
    week = Week.holding(instant, time_zone=zone, starts_on=on)  # type: ignore[arg-type]
    assert week.starts_at <= instant < week.ends_at
    assert week.before().ends_at == week.starts_at
    assert Week.parse(week.name, time_zone=zone, starts_on=on) == week  # type: ignore[arg-type]
    assert week.before(3).before(2) == week.before(5)
