"""A source that has always spoken in this part of its week and now does not: kind `silent_source`. Pure.

The rule. Of each source (CloudEvents' `source`) the contacts opened and messages received are counted by the hour. What
came in the last 4, 8, 24, 72 and 168 full hours is held against the same hours of each of the four weeks before: the
*lowest* of those four is what is expected. The source is silent where less than a quarter of it came, and so few or
fewer would come by chance less than once in a million times (Poisson); in the two longest, in which good and bad days
even out, less than half, and once in 10,000. So a source with less than ten in its week is never judged, growth and a
single good week promise nothing, and what was quiet in a week before may be quiet again. Hours on a holiday are not
judged, nor sources that are not known for five weeks.

Measured by `python -m tests.alerting.silence_simulation --sources 300 --weeks 52` on sources of 1 to 1,000 a week whose
days differ by a fifth: 47 false alarms in 15,600 weeks, one in six years of a source. Of 200 forms with 30 a week on
working days that went to 5, 183 were found, half of them within 3.5 days; all of 200 that stopped on a Tuesday morning,
half of them within 2.3 days; with 150 a week the same day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import exp, lgamma, log
from typing import Final, NamedTuple

from alerting import message
from alerting.fold import Alert, Change, Known, Said
from alerting.rules import alert_id

SILENT: Final = "silent_source"
WEEK_HOURS: Final = 168
WEEKS: Final = 4
SHORT: Final = (1 / 4, 1e-6)
LONG: Final = (1 / 2, 1e-4)
WINDOWS: Final = ((4, *SHORT), (8, *SHORT), (24, *SHORT), (72, *LONG), (168, *LONG))
"""Hours, the share of what is expected below which it is few, and how seldom it may be chance."""

KEPT_HOURS: Final = (WEEKS + 1) * WEEK_HOURS + 1
SOURCES_MOST: Final = 10_000


class Silence(NamedTuple):
    """So few came in these hours, and never fewer than `expected` in the same ones of the weeks before."""

    hours: int
    found: int
    expected: int


@dataclass(slots=True)
class Source:
    """What came of one source, by full hours since 1970. `first` is the hour of the first that is known."""

    counts: dict[int, int] = field(default_factory=dict)
    first: int | None = None

    def heard(self, hour: int) -> None:
        """Something came."""
        self.counts[hour] = self.counts.get(hour, 0) + 1
        self.first = hour if self.first is None else min(self.first, hour)

    def forget(self, hour: int) -> None:
        """Lets go of what is too old to be looked at in that hour."""
        for old in [one for one in self.counts if one < hour - KEPT_HOURS]:
            del self.counts[old]

    def within(self, end: int, hours: int) -> int:
        """How many came in so many hours before the hour `end`."""
        counts = self.counts
        return sum(counts.get(hour, 0) for hour in range(end - hours, end))


def silence(source: Source, hour: int, holiday: Callable[[int], bool]) -> Silence | None:
    """Whether a source is silent at the beginning of an hour, by the shortest of its windows. `holiday` says whether
    an hour is on one."""
    if source.first is None or source.first > hour - (WEEKS + 1) * WEEK_HOURS:
        return None  # not known for long enough
    for hours, share, seldom in WINDOWS:
        found = source.within(hour, hours)
        expected = _lowest(source, hour, hours, found)
        few = found < share * expected and chance(found, expected) < seldom
        if few and not any(holiday(one) for one in range(hour - hours, hour)):
            return Silence(hours, found, expected)
    return None


def _lowest(source: Source, hour: int, hours: int, found: int) -> int:
    """The lowest count of the same hours in the weeks before; no more is looked at once it says nothing."""
    lowest = source.within(hour - WEEK_HOURS, hours)
    for week in range(2, WEEKS + 1):
        if lowest <= found:
            break
        lowest = min(lowest, source.within(hour - week * WEEK_HOURS, hours))
    return lowest


def chance(found: int, expected: int) -> float:
    """How likely `found` or fewer are where `expected` are the mean of a Poisson distribution."""
    if found >= expected:
        return 1.0
    term = exp(found * log(expected) - expected - lgamma(found + 1))  # of exactly `found`; then of ever fewer
    total = term
    for count in range(found, 0, -1):
        term *= count / expected
        total += term
    return total


def on_silence(
    name: str, silent: Silence | None, known: Known | None, at: str, *, speaks: bool, runbook_url: str
) -> tuple[list[Change], Known | None]:
    """What is said anew of a source at an instant, given what is `known` of it, and what is known then. It ends once
    the source `speaks` again and is not silent: a silence that lasts does not become normal by itself."""
    alert = alert_id(SILENT, name)
    said = known.alerts.get(alert) if known else None
    firing = said is not None and said.firing
    if (silent is not None) == firing or (firing and not speaks):
        return [], known
    number = said.number + 1 if said else 1
    if silent is not None:
        record = _record(alert, name, silent, at, runbook_url)
    else:
        assert said is not None
        record = message.resolved(said.record, "answered", max(at, said.record["at"]))
    return [Change(number, record)], Known(alerts={alert: Said(number, name, record)})


def _record(alert: str, name: str, silent: Silence, at: str, runbook_url: str) -> Alert:
    many = f"{silent.found} contacts and messages" if silent.found else "nothing"
    said = f"Source {name} has sent {many} in {message.length(silent.hours * 3_600)}"
    summary = f"{said}: in the same hours of the four weeks before it was never less than {silent.expected}."
    labels = {"source": name}
    return message.of_nobody(alert, SILENT, "warning", at, summary, labels=labels, runbook_url=runbook_url)
