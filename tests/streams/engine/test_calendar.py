"""Business time by example: C1 and C2, one sentence a test. The laws are in test_calendar_laws.py."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from schemas.policies import CalendarSpec
from streams.engine.calendar import SECOND_US, Calendar, NeverOpens, from_us, to_us

OFFICE = {"mon-fri": ["09:00-17:30"]}


def calendar(hours: Any = None, zone: str = "Europe/London", **spec: Any) -> Calendar:
    return Calendar("c", CalendarSpec.model_validate({"time_zone": zone, "hours": hours or OFFICE, **spec}))


def us(written: str) -> int:
    return to_us(datetime.fromisoformat(written).replace(tzinfo=UTC))


def hours_open(found: Calendar, first: str, last: str) -> float:
    return found.elapsed(us(first), us(last)) / 3600 / SECOND_US


def due(found: Calendar, start: str, hours: float) -> str:
    return f"{from_us(found.due(us(start), int(hours * 3600 * SECOND_US))):%Y-%m-%d %H:%M}"


def test_c1_open_at_opening_and_closed_at_closing() -> None:
    london = calendar()
    assert london.is_open(us("2026-11-16 09:00"))
    assert not london.is_open(us("2026-11-16 17:30"))
    assert london.is_open(us("2026-11-16 17:30") - 1)


def test_c1_a_25_hour_day_has_25_hours_and_a_23_hour_day_23() -> None:
    always = calendar({"mon-sun": ["00:00-24:00"]})
    assert hours_open(always, "2026-10-24 23:00", "2026-10-26 00:00") == 25
    assert hours_open(calendar({"sun": ["00:00-24:00"]}), "2026-10-20", "2026-10-28") == 25
    assert hours_open(calendar({"sun": ["00:00-24:00"]}), "2026-03-25", "2026-04-02") == 23


def test_c1_a_wall_time_in_the_spring_gap_is_shifted_later() -> None:
    night = calendar({"sun": ["01:30-03:00"]})
    assert night.open_spans(us("2026-03-29"), us("2026-03-30")) == [(us("2026-03-29 01:30"), us("2026-03-29 02:00"))]


def test_c1_a_stretch_swallowed_by_the_spring_gap_is_none() -> None:
    gone = calendar({"sun": ["01:30-02:30"]})
    assert hours_open(gone, "2026-03-29", "2026-03-30") == 0
    assert gone.open_day(us("2026-03-28 12:00"), 1)[0] == date(2026, 4, 5)


def test_c1_a_repeated_wall_time_is_its_first() -> None:
    night = calendar({"sun": ["01:30-02:30"]})
    assert night.open_spans(us("2026-10-25"), us("2026-10-26")) == [(us("2026-10-25 00:30"), us("2026-10-25 02:30"))]


def test_c1_half_an_hours_change_is_half_an_hour() -> None:
    lord_howe = calendar({"mon-sun": ["00:00-24:00"]}, zone="Australia/Lord_Howe")
    first, last = lord_howe.midnight_us(date(2026, 4, 5)), lord_howe.midnight_us(date(2026, 4, 6))
    assert lord_howe.elapsed(first, last) == timedelta(hours=24, minutes=30) // timedelta(microseconds=1)


def test_c1_a_day_that_starts_at_one_o_clock_opens_then() -> None:
    sao_paulo = calendar({"sun": ["00:00-02:00"]}, zone="America/Sao_Paulo")
    assert hours_open(sao_paulo, "2018-11-03", "2018-11-06") == 1


def test_c1_breaks_and_several_stretches_a_day() -> None:
    split = calendar({"mon": ["09:00-12:00", "13:00-15:00", "16:00-17:00"]})
    assert hours_open(split, "2026-11-16", "2026-11-17") == 6
    assert due(split, "2026-11-16 11:30", 3) == "2026-11-16 16:30"
    assert due(split, "2026-11-16 09:00", 3) == "2026-11-16 12:00"


def test_c1_stretches_that_overlap_count_once() -> None:
    assert hours_open(calendar({"mon": ["09:00-12:00", "11:00-13:00"]}), "2026-11-16", "2026-11-17") == 4


def test_c1_an_overnight_stretch_belongs_wholly_to_the_date_it_opens_on() -> None:
    night = calendar({"fri": ["22:00-06:00"]})
    assert hours_open(night, "2026-11-14 00:00", "2026-11-14 12:00") == 6
    assert hours_open(calendar({"fri": ["22:00-06:00"]}, holidays=["2026-11-13"]), "2026-11-13", "2026-11-15") == 0
    assert hours_open(calendar({"fri": ["22:00-06:00"]}, holidays=["2026-11-14"]), "2026-11-13", "2026-11-15") == 8


def test_c1_an_overnight_stretch_into_a_new_year_is_whole() -> None:
    assert hours_open(calendar({"mon-sun": ["22:00-06:00"]}), "2026-12-31 20:00", "2027-01-01 20:00") == 8


def test_c1_24_00_ends_the_day_and_the_next_goes_on_without_a_seam() -> None:
    week = calendar({"mon-sun": ["00:00-24:00"]}, zone="UTC")
    assert week.open_spans(us("2026-11-16 12:00"), us("2026-11-18")) == [(us("2026-11-16 12:00"), us("2026-11-18"))]
    assert due(week, "2026-11-16 12:00", 24) == "2026-11-17 12:00"


def test_c1_one_off_closures_include_both_ends() -> None:
    shut = calendar(closed=["2026-12-24..2026-12-31"])
    assert due(shut, "2026-12-23 17:30", 1) == "2027-01-01 10:00"
    assert hours_open(shut, "2026-12-24", "2027-01-01") == 0


def test_c1_extra_openings_open_a_closed_day() -> None:
    extra = calendar(open={"2026-12-05": ["10:00-14:00"]})
    assert due(extra, "2026-12-04 17:30", 4) == "2026-12-05 14:00"


def test_c1_hours_for_a_date_replace_its_hours_and_beat_holidays_and_closures() -> None:
    found = calendar(holidays=["2026-11-16"], closed=["2026-11-16"], open={"2026-11-16": ["10:00-11:00"]})
    assert hours_open(found, "2026-11-16", "2026-11-17") == 1
    assert hours_open(calendar(open={"2026-11-16": ["10:00-11:00"]}), "2026-11-16", "2026-11-17") == 1


def test_c1_empty_hours_for_a_date_close_it() -> None:
    assert hours_open(calendar(open={"2026-11-16": []}), "2026-11-16", "2026-11-17") == 0


def test_c1_public_holidays_are_those_of_the_country_and_its_part() -> None:
    england = calendar(holidays={"country": "GB", "subdivision": "ENG"})
    scotland = calendar(holidays={"country": "GB", "subdivision": "SCT"})
    assert hours_open(england, "2026-12-25", "2026-12-29") == 0  # Christmas, a weekend, Boxing Day observed
    assert hours_open(england, "2026-11-30", "2026-12-01") == 8.5
    assert hours_open(scotland, "2026-11-30", "2026-12-01") == 0  # Saint Andrew's Day
    assert "holiday" in england.closed_because(us("2026-12-25 12:00"))


def test_c1_a_calendar_without_hours_is_refused() -> None:
    for hours in ({}, {"mon": []}):
        with pytest.raises(ValueError, match="never open"):
            CalendarSpec.model_validate({"time_zone": "UTC", "hours": hours})


@pytest.mark.parametrize("length_us", [0, 1, 3600 * SECOND_US])
def test_c1_a_calendar_that_never_opens_is_refused_and_never_treated_as_24x7(length_us: int) -> None:
    shut = calendar(closed=["1970-01-01..2230-12-31"])
    for ask in (shut.due, shut.due_before):
        with pytest.raises(NeverOpens):
            ask(us("2026-11-16"), length_us)
    with pytest.raises(NeverOpens):
        shut.working_days_due(us("2026-11-16"), 1)
    assert hours_open(shut, "2026-01-01", "2027-01-01") == 0
    assert not shut.is_open(us("2026-11-16 12:00"))


def test_c1_a_horizon_that_is_exceeded_is_refused_whatever_was_asked_before() -> None:
    rare = calendar({"mon": ["09:00-09:01"]})
    minutes_in_15_years = 15 * 52 * 60 * SECOND_US
    for _ in range(2):
        with pytest.raises(NeverOpens):
            rare.due(us("2026-01-01"), minutes_in_15_years)
        assert rare.elapsed(us("2010-01-01"), us("2050-01-01")) > 0  # years far ahead are known from now on


def test_c1_always_open_is_every_second() -> None:
    always = Calendar("always", CalendarSpec(always_open=True))
    assert hours_open(always, "2026-03-28", "2026-03-30") == 48
    assert due(always, "2026-12-25 12:00", 1) == "2026-12-25 13:00"
    assert from_us(always.working_days_due(us("2026-11-14 11:00"), 2)) == datetime(2026, 11, 17, tzinfo=UTC)


def test_c1_always_open_is_one_stretch_and_never_closed() -> None:
    always = Calendar("always", CalendarSpec(always_open=True))
    assert always.open_spans(us("2026-12-24"), us("2026-12-27")) == [(us("2026-12-24"), us("2026-12-27"))]
    assert always.open_spans(us("2026-12-24"), us("2026-12-24")) == []
    assert always.is_open(us("2026-12-25 03:00"))


@pytest.mark.parametrize(
    ("instant", "why"),
    [
        pytest.param("2026-11-16 08:59", "outside hours", id="before opening"),
        pytest.param("2026-11-21 12:00", "outside hours", id="a weekend"),
        pytest.param("2026-11-17 12:00", "holiday: 2026-11-17", id="a holiday"),
        pytest.param("2026-11-18 12:00", "closed", id="a closure"),
        pytest.param("2026-11-19 12:00", "dated hours", id="shorter hours that day"),
        pytest.param("2026-11-17 23:00", "holiday: 2026-11-17", id="the night after a holiday"),
        pytest.param("2026-11-20 12:00", "dated hours", id="hours for a holiday go before it"),
    ],
)
def test_c1_it_is_told_why_the_service_is_closed(instant: str, why: str) -> None:
    short = {"2026-11-19": ["10:00-11:00"], "2026-11-20": ["10:00-11:00"]}
    found = calendar(holidays=["2026-11-17", "2026-11-20"], closed=["2026-11-18"], open=short)
    assert not found.is_open(us(instant))
    assert found.closed_because(us(instant)) == why


def test_c1_a_night_that_a_holiday_takes_away_is_closed_for_it_until_the_night_would_have_ended() -> None:
    nights = calendar({"mon-sun": ["22:00-06:00"]}, holidays=["2026-11-17"])
    assert nights.closed_until(us("2026-11-18 05:59")) == ("holiday: 2026-11-17", us("2026-11-18 06:00"))
    assert nights.closed_until(us("2026-11-18 06:00")) == ("outside hours", us("2026-11-19"))
    assert nights.closed_until(us("2026-11-17 12:00")) == ("holiday: 2026-11-17", us("2026-11-18"))


def test_c2_nothing_to_use_up_is_due_at_the_next_opening_or_now() -> None:
    assert due(calendar(), "2026-11-14 11:00", 0) == "2026-11-16 09:00"
    assert due(calendar(), "2026-11-16 11:00", 0) == "2026-11-16 11:00"
    assert due(calendar(), "2026-11-16 17:30", 0) == "2026-11-17 09:00"


def test_c2_working_days_skip_holidays_and_count_dates_that_open_at_all() -> None:
    found = calendar(holidays=["2026-11-17"], open={"2026-11-21": ["10:00-11:00"]})
    closings = [f"{from_us(found.working_days_due(us('2026-11-16 08:00'), n)):%a %H:%M}" for n in (1, 2, 3, 4)]
    assert closings == ["Wed 17:30", "Thu 17:30", "Fri 17:30", "Sat 11:00"]


def test_c2_the_starts_date_is_the_local_one() -> None:
    auckland = calendar(zone="Pacific/Auckland")
    assert auckland.open_day(us("2026-11-15 12:00"), 1)[0] == date(2026, 11, 17)  # Monday there already


def test_c2_an_overnight_working_day_ends_when_its_night_ends() -> None:
    night = calendar({"mon-fri": ["22:00-06:00"]})
    assert from_us(night.working_days_due(us("2026-11-16 12:00"), 1)) == datetime(2026, 11, 18, 6, tzinfo=UTC)


def test_open_days_go_back_too_and_none_is_the_date_itself_or_the_next() -> None:
    assert calendar().open_day(us("2026-11-16 12:00"), -1)[0] == date(2026, 11, 13)
    assert calendar().open_day(us("2026-11-16 12:00"), 0)[0] == date(2026, 11, 16)
    assert calendar().open_day(us("2026-11-14 12:00"), 0)[0] == date(2026, 11, 16)


@pytest.mark.parametrize("count", [1, -1])
def test_c1_there_is_no_open_day_beside_the_only_one(count: int) -> None:
    once = Calendar("c", CalendarSpec.model_validate({"time_zone": "UTC", "open": {"2026-11-16": ["09:00-17:00"]}}))
    assert once.open_day(us("2026-11-16 12:00"), 0)[0] == date(2026, 11, 16)
    with pytest.raises(NeverOpens):
        once.open_day(us("2026-11-16 12:00"), count)


def test_due_before_goes_back_over_the_weekend() -> None:
    assert from_us(calendar().due_before(us("2026-11-16 10:00"), 2 * 3600 * SECOND_US)) == datetime(
        2026, 11, 13, 16, 30, tzinfo=UTC
    )


def test_the_same_hours_have_the_same_version_however_written() -> None:
    written = calendar({"mon,tue,wed,thu": ["09:00-17:30"], "fri": ["09:00-17:30"]})
    assert written.version == calendar().version
    assert calendar(closed=["2026-12-24"]).version != calendar().version


def test_instants_are_exact_to_the_microsecond() -> None:
    instant = datetime(2199, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert from_us(to_us(instant)) == instant
    assert from_us(-1) < datetime(1970, 1, 1, tzinfo=UTC)


def test_c2_a_date_that_the_zone_skipped_is_no_working_day_of_a_calendar_that_is_always_open() -> None:
    for hours in ({"always_open": True}, {"hours": {"mon-sun": ["00:00-24:00"]}}):
        found = Calendar("c", CalendarSpec.model_validate({"time_zone": "Pacific/Fakaofo", **hours}))  # no 2011-12-30
        closings = [from_us(found.working_days_due(us("2011-12-29 19:30"), n)) for n in (1, 2)]
        assert closings == [datetime(2011, 12, 31, 11, tzinfo=UTC), datetime(2012, 1, 1, 11, tzinfo=UTC)]
        assert found.open_day(us("2011-12-31 19:30"), -1)[0] == date(2011, 12, 31)
        assert found.open_day(us("2011-12-31 19:30"), -2)[0] == date(2011, 12, 29)
