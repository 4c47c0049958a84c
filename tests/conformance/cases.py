"""One case of each kind: what it asks of the engine, and whether the answer is the expected one.

An unknown kind, day mode, direction or expected key is a failure that says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from streams.engine import timeline as told
from streams.engine.calendar import HORIZON_US, SECOND_US, Calendar, NeverOpens, from_us, to_us
from streams.engine.clocks import Clock
from streams.engine.timeline import Fact
from tests.conformance.calendars import translated
from tests.conformance.figures import INSTANTS, Figures, Unknown
from tests.conformance.story import SOURCE, instant_us, judged, paused_between

Case = Mapping[str, Any]
REFUSED: Final = "the calendar is refused"
STRICT: Final = "strict_expected"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a case expected and got, as written in the file: instants in ISO 8601, durations in seconds."""

    case_id: str
    expected: object
    got: object

    @property
    def passed(self) -> bool:
        """Equal; a truth value is no number."""
        return self.expected == self.got and isinstance(self.expected, bool) == isinstance(self.got, bool)


def run_file(content: Mapping[str, Any]) -> list[Result]:
    """The results of all cases, in the file's order."""
    return [run_case(case, content["calendars"]) for case in content["cases"]]


def run_case(case: Case, calendars: Mapping[str, Any]) -> Result:
    """The result of one case; what cannot be run is a failure with the reason as the answer."""
    kind = str(case.get("kind"))
    expected: object = case.get("expected")
    try:
        if kind not in KINDS:
            raise Unknown(f"unknown kind {kind!r}")
        key, answer = KINDS[kind]
        expected = _expected(case, key)
        got = answer(case, _calendar(case["calendar"], calendars))
    except NeverOpens as refusal:
        got = REFUSED if kind == "due_no_hours" else f"{REFUSED}: {refusal}"
    except KeyError as missing:
        got = f"the case has no {missing}"
    except Exception as error:  # noqa: BLE001 - one case that cannot be run must not hide the others
        got = f"{type(error).__name__}: {error}"
    return Result(case_id=str(case.get("id")), expected=expected, got=got)


def _calendar(name: object, calendars: Mapping[str, Any]) -> Calendar:
    """Raises NeverOpens, Unknown, and ValueError where it says what we do not know."""
    if not isinstance(name, str) or not isinstance(calendars.get(name), dict):
        raise Unknown(f"unknown calendar {name!r}")
    return translated(name, calendars[name])


def _expected(case: Case, key: str) -> object:
    """What the case expects: `strict_expected` wins over the peer's figure."""
    if unknown := [name for name in case if name.startswith("expected") and name != key]:
        raise Unknown(f"unknown expectation {unknown}")
    expected = case[key]
    if STRICT in case:
        strict = case[STRICT]
        expected = {**expected, **strict} if isinstance(strict, dict) else strict
    if case["kind"] == "due_no_hours":
        return REFUSED
    return _as_written(expected) if case["kind"] != "scenario" else _known_figures(expected)


def _known_figures(expected: Mapping[str, Any]) -> dict[str, object]:
    """Without the figures that the case itself calls the peer's."""
    return {key: _as_written(value) for key, value in expected.items() if not key.startswith("peer_")}


def _as_written(value: object) -> object:
    """Instants in one spelling, whatever the file's."""
    if isinstance(value, list):
        return [_as_written(item) for item in value]
    if isinstance(value, str) and value[:4].isdigit() and "T" in value:
        return written(instant_us(value))
    return value


def written(instant: int | None) -> str | None:
    """An instant as the file writes it."""
    return None if instant is None else from_us(instant).isoformat().replace("+00:00", "Z")


# -- due, before, elapsed ----------------------------------------------------------------------------


def _due(case: Case, calendar: Calendar) -> object:
    """Through the clocks: a contact that is paused as the case says. Response clocks are never paused (C9)."""
    start_us, length = instant_us(case["start"]), case["target_seconds"]
    pauses = [] if "not_pausable" in case.get("flags", ()) else case.get("pauses", [])
    return written(_resolution(calendar, length, _paused(start_us, pauses), now_us=start_us).due_us)


def _elapsed(case: Case, calendar: Calendar) -> object:
    start_us, end_us = instant_us(case["start"]), instant_us(case["end"])
    if end_us <= start_us:
        return calendar.elapsed(start_us, end_us) / SECOND_US
    known = [item for item in _paused(start_us, case.get("pauses", [])) if item.at_us <= end_us]
    return _resolution(calendar, 1, known, now_us=end_us).open_us / SECOND_US


def _paused(start_us: int, pauses: list[Any]) -> list[Fact]:
    opened = told.fact(start_us, SOURCE, "opened", told.OPENED, {"channel": "ticket"})
    return paused_between([opened], pauses, start_us)


def _resolution(calendar: Calendar, length: int, facts: list[Fact], now_us: int) -> Clock:
    (clock,) = judged(facts, calendar, {"resolution": length}, now_us).clocks
    return clock


def _before(case: Case, calendar: Calendar) -> object:
    """Backwards: each pause that ended after the instant reached moves it by its own open time."""
    end_us = instant_us(case["start"])
    start_us = calendar.due_before(end_us, int(case["target_seconds"] * SECOND_US))
    for begin, end in sorted(case.get("pauses", []), key=lambda pause: instant_us(pause[1]), reverse=True):
        if instant_us(end) <= start_us:
            break
        held_us = calendar.elapsed(instant_us(begin), min(instant_us(end), end_us))
        if held_us:
            start_us = calendar.due_before(start_us, held_us)
        end_us = min(end_us, instant_us(begin))
    return written(start_us)


def _refused(case: Case, calendar: Calendar) -> object:
    return f"opened: due at {_due(case, calendar)}"


# -- openings ----------------------------------------------------------------------------------------


def _is_open(case: Case, calendar: Calendar) -> object:
    return calendar.is_open(instant_us(case["at"]))


def _working_days(case: Case, calendar: Calendar) -> object:
    """The `working_days`-th open day from the start's date on, or back; then the instant on it."""
    start_us, count, mode = instant_us(case["start"]), case["working_days"], case.get("day_mode", "same_time")
    if case.get("direction", "forward") == "backward":
        count = -abs(count)
    if mode not in ("same_time", "snap", "end_of_working_day"):
        raise Unknown(f"unknown day mode {mode!r}")
    if mode == "end_of_working_day" or case.get("end_of_working_day"):
        return written(calendar.open_day(start_us, count)[1])
    zone = ZoneInfo(calendar.spec.time_zone)
    local = from_us(start_us).astimezone(zone)
    day = calendar.open_day(start_us, count)[0] if count else local.date()
    same_us = to_us(datetime.combine(day, local.time(), tzinfo=zone).astimezone(UTC))
    if mode == "same_time":
        return written(same_us)
    return written(calendar.due(same_us, 0) if count >= 0 else calendar.due_before(same_us, 0))


def _open_intervals(case: Case, calendar: Calendar) -> object:
    """The first open spans from the origin, cut at it. Peers list a day that ends at 24:00 and the next one apart."""
    origin_us, direction, expected = (
        instant_us(case["start"]),
        case["direction"].rstrip("s"),
        case["expected_intervals"],
    )
    if direction not in ("forward", "backward"):
        raise Unknown(f"unknown direction {direction!r}")
    count = case.get("count", len(expected))
    daily = _by_day(calendar, any(after[0] == before[1] for before, after in pairwise(sorted(expected))))
    reach_us = SECOND_US * 86_400 * 8
    while True:
        bounds = (origin_us, origin_us + reach_us) if direction == "forward" else (origin_us - reach_us, origin_us)
        spans = daily(calendar.open_spans(*bounds))
        # A span that the reach cuts short may go on: it counts only when it ends within.
        inner = spans[:-1] if direction == "forward" else spans[1:]
        if len(inner) >= count or reach_us > HORIZON_US:
            break
        reach_us *= 4
    nearest = inner[:count] if direction == "forward" else inner[::-1][:count]
    as_listed = sorted(nearest) if expected == sorted(expected) else nearest
    return [[written(opens), written(closes)] for opens, closes in as_listed]


def _by_day(calendar: Calendar, apart: bool) -> Callable[[list[tuple[int, int]]], list[tuple[int, int]]]:
    def cut(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
        pieces = []
        for opens, closes in spans:
            while (midnight_us := calendar.day_end_us(opens)) < closes:
                pieces.append((opens, midnight_us))
                opens = midnight_us
            pieces.append((opens, closes))
        return pieces

    return cut if apart or _full_days(calendar) else lambda spans: spans


def _full_days(calendar: Calendar) -> bool:
    hours = [*calendar.spec.hours.values(), *calendar.spec.open.values()]
    return any(stretch.closes == 24 * 60 for stretches in hours for stretch in stretches)


# -- scenarios ---------------------------------------------------------------------------------------


def _scenario(case: Case, calendar: Calendar) -> object:
    figures = Figures(calendar, case)
    wanted = _known_figures({**case["expected"], **case.get(STRICT, {})})
    return {key: _figure(key, figures, value) for key, value in wanted.items()}


def _figure(key: str, figures: Figures, expected: object) -> object:
    try:
        got = figures.named(key, listed=isinstance(expected, list), of_none=expected is None)
    except Unknown as unknown:
        return str(unknown)
    return [_unit(key, item) for item in got] if isinstance(got, list) else _unit(key, got)


def _unit(key: str, value: Any) -> object:
    if isinstance(value, bool | str) or value is None:
        return value
    return written(value) if key.endswith(INSTANTS) else value / SECOND_US


KINDS: Final[Mapping[str, tuple[str, Callable[[Case, Calendar], object]]]] = {
    "due": ("expected_due", _due),
    "due_no_hours": ("expected_due", _refused),
    "before": ("expected_before", _before),
    "elapsed": ("expected_seconds", _elapsed),
    "is_open": ("expected_open", _is_open),
    "working_days": ("expected_due", _working_days),
    "open_intervals": ("expected_intervals", _open_intervals),
    "scenario": ("expected", _scenario),
}
