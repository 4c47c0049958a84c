"""Laws of business time (C1), on zones whose clocks do odd things: half-hour changes, changes at midnight,
a change twice a year around a month, a missing day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from schemas.policies import DAYS, CalendarSpec
from streams.engine.calendar import SECOND_US, Calendar, NeverOpens, from_us, to_us
from tests.streams.engine.minutes import MINUTE, open_minutes

MINUTE_US = 60 * SECOND_US
ODD_DAYS = {
    "Australia/Lord_Howe": ["2026-04-04", "2026-10-03"],
    "America/Sao_Paulo": ["2018-11-03", "2018-02-17"],
    "Asia/Tehran": ["2022-03-21", "2022-09-21"],
    "Africa/Casablanca": ["2026-02-14", "2026-03-21"],
    "Pacific/Apia": ["2011-12-29", "2012-01-01"],
    "Europe/London": ["2026-03-28", "2026-10-24"],
    "America/New_York": ["2026-03-07", "2026-10-31"],
    "Asia/Kathmandu": ["2025-12-31"],
}
"""By zone: days near which something happens to its clock."""


@st.composite
def stretches(draw: st.DrawFn) -> list[str]:
    """Up to three stretches of a day, in order, with breaks between; the last one may be overnight or end at 24:00."""
    edges = sorted(draw(st.lists(st.integers(0, 95), min_size=0, max_size=6, unique=True)))
    times = [f"{edge // 4:02}:{edge % 4 * 15:02}" for edge in edges]
    hours = [f"{opens}-{closes}" for opens, closes in zip(times[::2], times[1::2], strict=False)]
    if len(times) % 2:  # one edge is left over: open until midnight, or into the small hours
        hours.append(f"{times[-1]}-{draw(st.sampled_from(['24:00', '00:00', '01:30', '02:15', '03:00']))}")
    return [stretch for stretch in hours if len(set(stretch.split("-"))) == 2]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[CalendarSpec, datetime]:
    """A calendar, and a full UTC minute near something odd."""
    zone = draw(st.sampled_from(sorted(ODD_DAYS)))
    near = datetime.fromisoformat(draw(st.sampled_from(ODD_DAYS[zone]))).replace(tzinfo=UTC)
    dates = st.integers(-3, 6).map(lambda n: (near + timedelta(days=n)).date().isoformat())
    spec: dict[str, Any] = {
        "time_zone": zone,
        "hours": draw(st.dictionaries(st.sampled_from(DAYS), stretches(), min_size=1)),
        "holidays": draw(st.lists(dates, max_size=2)),
        "closed": draw(st.lists(dates, max_size=1)),
        "open": draw(st.dictionaries(dates, stretches(), max_size=2)),
    }
    assume(any(spec["hours"].values()))
    return CalendarSpec.model_validate(spec), near + MINUTE * draw(st.integers(-1440, 3 * 1440))


instants = st.integers(to_us(datetime(2010, 1, 1, tzinfo=UTC)), to_us(datetime(2030, 1, 1, tzinfo=UTC)))
lengths = st.integers(1, 60 * 3600 * SECOND_US)


@given(scene=scenes(), minutes=st.integers(0, 2 * 1440))
@settings(max_examples=60)
def test_c1_elapsed_is_what_counting_open_minutes_gives(scene: tuple[CalendarSpec, datetime], minutes: int) -> None:
    spec, start = scene
    end = start + minutes * MINUTE
    elapsed_us = Calendar("c", spec).elapsed(to_us(start), to_us(end))
    assert elapsed_us == len(open_minutes(spec, start, end)) * MINUTE_US


@given(scene=scenes(), minutes=st.integers(1, 900))
@settings(max_examples=60)
def test_c2_due_is_the_end_of_the_last_open_minute_counted(scene: tuple[CalendarSpec, datetime], minutes: int) -> None:
    spec, start = scene
    counted = open_minutes(spec, start, start + timedelta(days=3))
    assume(len(counted) >= minutes)
    assert from_us(Calendar("c", spec).due(to_us(start), minutes * MINUTE_US)) == counted[minutes - 1] + MINUTE


@given(scene=scenes(), minutes=st.integers(1, 900))
@settings(max_examples=60)
def test_due_before_is_the_start_of_the_first_open_minute_counted_back(
    scene: tuple[CalendarSpec, datetime], minutes: int
) -> None:
    spec, end = scene
    counted = open_minutes(spec, end - timedelta(days=3), end)
    assume(len(counted) >= minutes)
    assert from_us(Calendar("c", spec).due_before(to_us(end), minutes * MINUTE_US)) == counted[-minutes]


@given(scene=scenes())
@settings(max_examples=60)
def test_c1_is_open_is_what_counting_one_minute_gives(scene: tuple[CalendarSpec, datetime]) -> None:
    spec, instant = scene
    assert Calendar("c", spec).is_open(to_us(instant)) == bool(open_minutes(spec, instant, instant + MINUTE))


@given(scene=scenes(), start_us=instants, length_us=lengths)
def test_due_and_elapsed_are_inverse(scene: tuple[CalendarSpec, datetime], start_us: int, length_us: int) -> None:
    calendar = Calendar("c", scene[0])
    try:
        due_us = calendar.due(start_us, length_us)
    except NeverOpens:
        return
    assert calendar.elapsed(start_us, due_us) == length_us
    assert calendar.elapsed(start_us, due_us - 1) == length_us - 1  # the first such instant


@given(scene=scenes(), end_us=instants, length_us=lengths)
def test_due_before_and_elapsed_are_inverse(scene: tuple[CalendarSpec, datetime], end_us: int, length_us: int) -> None:
    calendar = Calendar("c", scene[0])
    try:
        start_us = calendar.due_before(end_us, length_us)
    except NeverOpens:
        return
    assert calendar.elapsed(start_us, end_us) == length_us
    assert calendar.elapsed(start_us + 1, end_us) == length_us - 1  # the last such instant


@given(scene=scenes(), points=st.lists(instants, min_size=3, max_size=3).map(sorted))
def test_elapsed_is_additive(scene: tuple[CalendarSpec, datetime], points: list[int]) -> None:
    calendar, (first, middle, last) = Calendar("c", scene[0]), points
    assert calendar.elapsed(first, middle) + calendar.elapsed(middle, last) == calendar.elapsed(first, last)


@given(scene=scenes(), start_us=instants, first_us=lengths, then_us=lengths)
def test_using_up_one_length_and_then_another_is_using_up_both(
    scene: tuple[CalendarSpec, datetime], start_us: int, first_us: int, then_us: int
) -> None:
    calendar = Calendar("c", scene[0])
    assume(calendar.elapsed(start_us, start_us + 400 * 86_400 * SECOND_US) > first_us + then_us)
    assert calendar.due(calendar.due(start_us, first_us), then_us) == calendar.due(start_us, first_us + then_us)


@given(scene=scenes(), start_us=instants, later_us=lengths, length_us=lengths, longer_us=lengths)
def test_due_is_never_earlier_for_a_later_start_or_a_longer_target(
    scene: tuple[CalendarSpec, datetime], start_us: int, later_us: int, length_us: int, longer_us: int
) -> None:
    calendar = Calendar("c", scene[0])
    assume(calendar.elapsed(start_us + later_us, start_us + 400 * 86_400 * SECOND_US) > length_us + longer_us)
    due_us = calendar.due(start_us, length_us)
    assert calendar.due(start_us + later_us, length_us) >= due_us
    assert calendar.due(start_us, length_us + longer_us) > due_us


@given(scene=scenes(), asked_before=st.lists(instants, max_size=3), start_us=instants, length_us=lengths)
def test_an_answer_does_not_depend_on_what_was_asked_before(
    scene: tuple[CalendarSpec, datetime], asked_before: list[int], start_us: int, length_us: int
) -> None:
    fresh, used = Calendar("c", scene[0]), Calendar("c", scene[0])
    for instant_us in asked_before:
        used.is_open(instant_us)
    assert _due_or_refused(fresh, start_us, length_us) == _due_or_refused(used, start_us, length_us)


@given(scene=scenes(), count=st.integers(1, 20))
def test_c2_open_days_forward_and_back_meet(scene: tuple[CalendarSpec, datetime], count: int) -> None:
    calendar, start_us = Calendar("c", scene[0]), to_us(scene[1])
    day, _ = calendar.open_day(start_us, count)
    assume(calendar.midnight_us(day) < calendar.midnight_us(day + timedelta(days=1)))  # Apia skipped a date
    back, _ = calendar.open_day(calendar.midnight_us(day) + 12 * 60 * MINUTE_US, -1)
    assert back < day
    assert count == 1 or back == calendar.open_day(start_us, count - 1)[0]


def _due_or_refused(calendar: Calendar, start_us: int, length_us: int) -> int | None:
    try:
        return calendar.due(start_us, length_us)
    except NeverOpens:
        return None
