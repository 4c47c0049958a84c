"""An explanation for the terminal: local time of the calendar beside UTC, at most about 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from textwrap import wrap
from typing import Final

from schemas.policies import duration_text
from streams.engine.calendar import SECOND_US, Calendar, from_us
from streams.engine.explain.explanation import Absence, ExplainedClock, ExplainedFact, Explanation, Mark, Stretch
from streams.engine.journey import Journey

WIDTH: Final = 100
STRETCHES_SHOWN: Final = 60  # of a longer run the first and the last ones; to_json has all
_CAUSES: Final = {
    "outside_hours": "closed, outside hours",
    "closure": "closed, a closure",
    "dated_hours": "closed, by this date's own hours",
}


def to_text(explanation: Explanation, *, summary: bool = False) -> str:
    """Lines without a last line end. The customer's words only where `summary` asks for them."""
    calendar = explanation.calendar
    parts = (
        _head(explanation, summary),
        _section("What happened", chain.from_iterable(_fact(one, calendar) for one in explanation.facts)),
        *(_clock(one) for one in explanation.clocks),
        _section("No clock", _absences(explanation.absences)),
        *(_journey(one, explanation.contact_id, calendar) for one in explanation.journeys),
    )
    return "\n".join(chain.from_iterable(parts)).rstrip()


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield from (title, *found, "")


def _head(explanation: Explanation, summary: bool) -> Iterator[str]:
    calendar = explanation.calendar
    zone = calendar.spec.time_zone if calendar else "UTC"
    yield f"Contact {explanation.contact_id} of customer {explanation.customer_id}"
    yield f"  as known at {when(explanation.now_us, calendar)}; local time is {zone}"
    named = [f"{key} {value}" for key, value in explanation.attributes._asdict().items() if value is not None]
    yield f"  {', '.join(named)}"
    if explanation.url:
        yield f"  {explanation.url}"
    if summary and explanation.summary:
        yield from wrap(explanation.summary, WIDTH, initial_indent="  ", subsequent_indent="  ")
    if explanation.merged_into:
        yield f"  lives on in {explanation.merged_into} (C17)"
    yield ""


def when(instant_us: int, calendar: Calendar | None, beside: int | None = None) -> str:
    """`Mon 2026-07-06 09:00 (08:00Z)`, seconds only where there are some, `(23:00Z -1d)` where it is another date
    in UTC, `09:00Z` alone where local time is UTC; without the date where that of `beside` is the same."""
    utc = from_us(instant_us)
    local = calendar.local(instant_us) if calendar else utc
    clock = "%H:%M:%S" if instant_us % (60 * SECOND_US) else "%H:%M"
    same = beside is not None and (calendar.local(beside) if calendar else from_us(beside)).date() == local.date()
    day = "" if same else f"{local:%a %Y-%m-%d} "
    if local.tzinfo is utc.tzinfo or calendar is None or calendar.spec.time_zone == "UTC":
        return f"{day}{utc.strftime(clock)}Z"
    days = (utc.date() - local.date()).days
    return f"{day}{local.strftime(clock)} ({utc.strftime(clock)}Z{f' {days:+}d' if days else ''})"


def length(length_us: int) -> str:
    """`118h20m`; parts of a second are dropped."""
    return duration_text(length_us // SECOND_US)


def _wrapped(text: str, indent: str) -> list[str]:
    hanging = " " * (len(indent) + 4)
    return wrap(text, WIDTH, initial_indent=indent, subsequent_indent=hanging, break_long_words=False)


def _fact(one: ExplainedFact, calendar: Calendar | None) -> Iterator[str]:
    counts = {"customer_message": "; a customer message", "answer": "; it counts", "neither": ""}[one.counts_as]
    yield from _wrapped(f"{when(one.fact.at_us, calendar)}  {one.words}{counts} ({one.rule})", "  ")
    for effect in one.effects:
        yield from _wrapped(effect, "      > ")


def _clock(one: ExplainedClock) -> Iterator[str]:
    clock, calendar = one.clock, one.clock.policy.calendar
    policy = clock.policy
    yield f"{clock.target} {clock.cycle}: {clock.verdict}, {clock.reason}"
    yield f"  promised {one.promised} by policy {policy.name} ({policy.version})"
    yield f"  on calendar {calendar.name} ({calendar.version}), {calendar.spec.time_zone}"
    yield f"  {_due(one)}"
    yield f"  {length(clock.open_us)} counted of {length(clock.wall_us)}, {length(clock.paused_us)} paused"
    if clock.alerts_from_us is None and clock.ended_us is None:
        yield "  cannot alert before the first response (C8)"
    yield from _run(one)
    yield ""


def _due(one: ExplainedClock) -> str:
    clock = one.clock
    if clock.due_us is None:
        return "no due instant while paused (C9)" if clock.ended_us is None else "no due instant"
    due = f"due {when(clock.due_us, clock.policy.calendar)}"
    return due if clock.ended_us is not None else f"{due}; {clock.stage}{f' {clock.step}' if clock.step else ''}"


def _run(one: ExplainedClock) -> Iterator[str]:
    """Stretches with the marks that fall into them; a mark on a border stands before the later stretch."""
    calendar = one.clock.policy.calendar
    marks = list(one.marks)
    shown, hidden = _shortened(one.stretches)
    for place, stretch in enumerate(shown):
        while marks and marks[0].at_us <= stretch.from_us:
            yield from _mark(marks.pop(0), calendar)
        if hidden and place == STRETCHES_SHOWN // 2:
            yield f"    … {len(hidden)} more stretches, {_counted(hidden)} counted; all of them with --json"
        yield from _stretch(stretch, calendar)
    for mark in marks:
        yield from _mark(mark, calendar)


def _shortened(stretches: Sequence[Stretch]) -> tuple[Sequence[Stretch], Sequence[Stretch]]:
    if len(stretches) <= STRETCHES_SHOWN:
        return stretches, ()
    half = STRETCHES_SHOWN // 2
    return [*stretches[:half], *stretches[-half:]], stretches[half:-half]


def _counted(stretches: Sequence[Stretch]) -> str:
    return length(sum(stretch.to_us - stretch.from_us for stretch in stretches if stretch.counted))


def _stretch(stretch: Stretch, calendar: Calendar) -> Iterator[str]:
    ends = f"{when(stretch.from_us, calendar)} - {when(stretch.to_us, calendar, stretch.from_us)}"
    counted = "+" if stretch.counted else " "
    said = f"{counted}{length(stretch.to_us - stretch.from_us):>8}  {_because(stretch)}"
    line = f"    {ends:<61} {said}"
    if len(line) <= WIDTH:
        yield line
    else:
        yield from (f"    {ends}", f"{'':<66}{said}")


def _because(stretch: Stretch) -> str:
    if stretch.counted:
        return "counted"
    if stretch.cause == "paused":
        return f"paused{f', {stretch.detail}' if stretch.detail else ''}{_by(stretch)}"
    if stretch.cause == "holiday":
        return f"closed, {stretch.detail}"
    return _CAUSES[stretch.cause]


def _by(stretch: Stretch) -> str:
    return f" by {stretch.agent_id}" if stretch.agent_id else ""


def _mark(mark: Mark, calendar: Calendar) -> list[str]:
    kind = {"at_risk": "at risk: ", "escalated": "escalation, ", "started": "starts: ", "ended": "ends: "}
    words = f"{kind.get(mark.kind, '')}{mark.words}"
    expected = "" if mark.reached else " [not reached]"
    rule = f" ({mark.rule})" if mark.rule else ""
    return _wrapped(f"{when(mark.at_us, calendar)}  {words}{expected}{rule}", "  * ")


def _absences(absences: Sequence[Absence]) -> Iterator[str]:
    """Targets that lack a clock for the same reason together."""
    for _, alike in groupby(absences, key=lambda one: (one.cause, one.words, one.tried)):
        found = list(alike)
        yield from _absence(", ".join(one.target for one in found), found[0])


def _absence(targets: str, one: Absence) -> Iterator[str]:
    yield from _wrapped(f"{targets}: {one.words} ({one.rule})", "  ")
    for tried in one.tried:
        found = tried.found or "none"
        wanted = f"{tried.key} {found}, wanted {'from ' if tried.key == 'effective_from' else ''}"
        yield from _wrapped(f"policy {tried.policy}: {wanted}{' or '.join(tried.wanted)}", "      ")


def _journey(journey: Journey, contact_id: str, calendar: Calendar | None) -> Iterator[str]:
    ended = journey.ended_us
    state = f"answered {when(ended, calendar)}" if ended is not None else "still waiting"
    by = f" by {journey.answered_by}" if journey.answered_by else ""
    yield f"Journey of {journey.customer_id}: {state}{by}"
    attempts = "1 attempt" if len(journey.attempts) == 1 else f"{len(journey.attempts)} attempts"
    yield f"  {attempts}, {length(journey.open_us)} of open time, {length(journey.wall_us)} in all"
    for attempt in journey.attempts:
        here = " (this contact)" if attempt.contact_id == contact_id else ""
        dead = f"; dead end: {attempt.dead_end}" if attempt.dead_end else ""
        found_us = attempt.dead_end_us
        found = f", found {when(found_us, calendar)}" if found_us is not None and found_us != attempt.at_us else ""
        line = f"{when(attempt.at_us, calendar)}  {attempt.channel} {attempt.contact_id}{here}{dead}{found}"
        yield from _wrapped(f"{line}{' (C14)' if dead else ''}", "  ")
    yield ""
