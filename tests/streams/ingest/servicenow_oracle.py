"""What a replay of the ServiceNow log must come to, computed a second time with nothing but csv, datetime and lists.

It knows neither the engine nor the adapter: it reads the log's rows by its own, lists every minute of the years in
question as open or closed, and follows rules C1 to C24 of the design as far as this log can touch them: no
customer writes twice, no answer bounces, nothing is merged. Times are whole seconds since 1970. Run it to see totals:

    python -m tests.streams.ingest.servicenow_oracle LOG CONFIG [ZONE]
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import sys
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import yaml

FIRST_DAY, LAST_DAY = date(2016, 2, 1), date(2017, 5, 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Public holidays of Portugal on weekdays and weekends, from the law of 2016 (Lei n.º 8/2016), written out by hand.
PORTUGAL = {
    date(year, month, day)
    for year in (2016, 2017)
    for month, day in [(1, 1), (4, 25), (5, 1), (6, 10), (8, 15), (10, 5), (11, 1), (12, 1), (12, 8), (12, 25)]
} | {date(2016, 3, 25), date(2016, 3, 27), date(2016, 5, 26), date(2017, 4, 14), date(2017, 4, 16), date(2017, 6, 15)}
WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
MESSAGE, ATTRIBUTE, TOUCH, PAUSE, ANSWER, END, REOPEN = 0, 1, 2, 3, 4, 6, 7  # C21


# -- open time


class OpenMinutes:
    """Open seconds before each minute of the years in question, counted one minute after the other."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        zone = ZoneInfo(spec.get("time_zone", "UTC"))
        minute = datetime.combine(FIRST_DAY, datetime.min.time(), UTC)
        self.first = _seconds(minute)
        self.days: list[int] = []  # the last open instant of each local date that opens
        self.dates: list[date] = []
        self.before = [0]
        last = datetime.combine(LAST_DAY, datetime.min.time(), UTC)
        opens, holidays = _weekly(spec), PORTUGAL if spec.get("holidays") else set()
        while minute < last:
            local = minute.astimezone(zone)
            hours = () if local.date() in holidays else opens[local.weekday()]
            is_open = any(start <= local.hour * 60 + local.minute < end for start, end in hours)
            self.before.append(self.before[-1] + 60 * is_open)
            minute += timedelta(minutes=1)
            if is_open:
                if not self.dates or self.dates[-1] != local.date():
                    self.dates.append(local.date())
                    self.days.append(0)
                self.days[-1] = _seconds(minute)
        self.zone = zone

    def until(self, at: int) -> int:
        """Open seconds from the first day to `at`."""
        minute, second = divmod(at - self.first, 60)
        open_minute = self.before[minute + 1] - self.before[minute]
        return self.before[minute] + (second if open_minute else 0)

    def reached(self, total: int) -> int:
        """The first instant with `total` open seconds before it."""
        minute = bisect_left(self.before, total)
        return self.first + 60 * (minute - 1) + total - self.before[minute - 1]

    def worth(self, start: int, target: str) -> int:
        """Open seconds that `target` is worth for a clock started at `start` (C2)."""
        if days := re.fullmatch(r"(\d+)wd", target):
            local = (EPOCH + timedelta(seconds=start)).astimezone(self.zone).date()
            later = bisect_left(self.dates, local + timedelta(days=1))
            return self.until(self.days[later + int(days[1]) - 1]) - self.until(start)
        parts = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?", target)
        assert parts, target
        return int(parts[1] or 0) * 3600 + int(parts[2] or 0) * 60


def _weekly(spec: Mapping[str, Any]) -> list[list[tuple[int, int]]]:
    if spec.get("always_open"):
        return [[(0, 1440)]] * 7
    week: list[list[tuple[int, int]]] = [[] for _ in WEEKDAYS]
    for days, stretches in spec["hours"].items():
        first, _, last = days.partition("-")
        for day in range(WEEKDAYS.index(first), WEEKDAYS.index(last or first) + 1):
            for stretch in stretches:
                opens, closes = (60 * int(part[:2]) + int(part[3:]) for part in stretch.split("-"))
                week[day].append((opens, closes))
    return week


def _seconds(at: datetime) -> int:
    return int((at - EPOCH).total_seconds())


# -- the log


@dataclass(order=True)
class Fact:
    """One thing that happened to an incident, in the order of C21 and then of the log."""

    at: int
    rank: int
    order: int
    what: str = field(compare=False)
    value: str = field(compare=False, default="")


def facts_by_incident(lines: Iterable[str], zone: str) -> dict[str, list[Fact]]:
    """The facts of every incident of the log; `lines` are its text, header first."""
    place = ZoneInfo(zone)
    saves: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in csv.DictReader(lines):
        saves[row["number"]].append(row)
    moments: dict[str, int] = {}

    def moment(text: str) -> int:
        if text not in moments:
            day, month, year, hour, minute = map(int, re.split("[/ :]", text))
            moments[text] = _seconds(datetime(year, month, day, hour, minute, tzinfo=place))
        return moments[text]

    found = {}
    for number, rows in saves.items():
        rows.sort(key=lambda row: (moment(row["sys_updated_at"]), int(row["sys_mod_count"])))
        first = moment(rows[0]["sys_updated_at"])
        facts = [Fact(min(moment(rows[0]["opened_at"]), first), MESSAGE, 0, "opened", rows[0]["priority"])]
        facts += _later(rows, [moment(row["sys_updated_at"]) for row in rows])
        found[number] = sorted(facts)
    return found


def _later(rows: list[dict[str, str]], times: list[int]) -> list[Fact]:
    facts: list[Fact] = []
    state, priority, agent, earliest = "", rows[0]["priority"], "?", times[0]
    for order, (row, minute) in enumerate(zip(rows, times, strict=True)):
        at = max(minute, earliest)

        def add(rank: int, what: str, value: str = "") -> None:
            facts.append(Fact(at, rank, order, what, value))  # noqa: B023 - called in this turn only

        new = state if row["incident_state"] in ("-100", "?") else row["incident_state"]
        if state in ("Resolved", "Closed") and new not in ("Resolved", "Closed"):
            add(REOPEN, "reopened")
            at = earliest = at + 1
        if row["priority"] not in ("?", priority):
            priority = row["priority"]
            add(ATTRIBUTE, "priority_changed", priority)
        if row["assigned_to"] not in ("?", agent):
            agent = row["assigned_to"]
            add(TOUCH, "named")
        if new != state:
            if new == "Active" and state in ("", "New"):
                add(TOUCH, "acknowledged")
            if new.startswith("Awaiting"):
                add(PAUSE, "paused")
            elif new in ("New", "Active") and state.startswith("Awaiting"):
                add(PAUSE, "resumed")
            if new in ("Awaiting User Info", "Resolved"):
                add(ANSWER, "answered_by_us")
            if new in ("Resolved", "Closed"):
                add(END, "ended")
            state = new
    return facts


# -- the clocks


@dataclass
class Clock:
    """One target of one incident. `ended` is None while it runs; `verdict` is final once it has ended."""

    target: str
    cycle: int
    start: int
    policy: str = ""
    calendar: str = ""
    promise: str = ""
    pauses: list[list[int | None]] = field(default_factory=list)
    ended: int | None = None
    due: int | None = None
    verdict: str = "open"
    open_seconds: int = 0
    paused_seconds: int = 0


class Promises:
    """The policies of one configuration file: who is promised what, and when that is."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.policies = config["policies"]
        self.calendars = {name: OpenMinutes(spec) for name, spec in config["calendars"].items()}

    def pick(self, clock: Clock, priority: str) -> None:
        """Puts `clock` under the first policy that covers `priority` (C16)."""
        word = {"1": "urgent", "2": "high", "3": "normal", "4": "low"}[priority[0]]
        for policy in self.policies:
            if word in policy.get("match", {}).get("priority", [word]):
                targets = {**policy["targets"], **policy.get("priority_targets", {}).get(word, {})}
                clock.policy, clock.calendar = policy["name"], policy["calendar"]
                clock.promise = targets[clock.target]
                return
        raise AssertionError(f"no policy covers {word}")

    def due(self, clock: Clock) -> int | None:
        """When `clock` is due with the pauses that are known; None while it is paused."""
        minutes = self.calendars[clock.calendar]
        total = minutes.until(clock.start) + minutes.worth(clock.start, clock.promise)
        for paused, resumed in clock.pauses:
            assert paused is not None
            if minutes.reached(total) <= paused:
                break
            if resumed is None:
                return None
            total += minutes.until(resumed) - minutes.until(paused)
        return minutes.reached(total)

    def settle(self, clock: Clock, now: int, silent: bool = False) -> None:
        """Fixes due, verdict and lengths of `clock` as they stand at `now` or at its end."""
        minutes = self.calendars[clock.calendar]
        end = now if clock.ended is None else clock.ended
        clock.due = self.due(clock)
        late = clock.due is not None and end > clock.due
        on_time = "open" if clock.ended is None else "void" if silent else "kept"
        clock.verdict = "broken" if late else on_time
        clock.paused_seconds = sum(minutes.until(end if r is None else r) - minutes.until(p) for p, r in clock.pauses)
        clock.open_seconds = minutes.until(end) - minutes.until(clock.start) - clock.paused_seconds


class Incident:
    """The clocks of one incident, moved by its facts in order."""

    def __init__(self, promises: Promises) -> None:
        self.promises = promises
        self.clocks: list[Clock] = []
        self.priority = ""
        self.answered = False

    def run(self, facts: Iterable[Fact], now: int) -> list[Clock]:
        """All clocks as they stand at `now`, which knows nothing later."""
        for fact in facts:
            if fact.at <= now:
                getattr(self, fact.what)(fact.at, fact.value)
        for clock in self.clocks:
            if clock.ended is None:
                self.promises.settle(clock, now)
        return self.clocks

    def opened(self, at: int, priority: str) -> None:
        self.priority = priority
        for target in ("acknowledgement", "first_response", "resolution"):
            self._start(target, at)

    def priority_changed(self, at: int, priority: str) -> None:
        self.priority = priority
        for clock in self.clocks:
            due = self.promises.due(clock)
            if clock.ended is None and (due is None or at <= due):
                self.promises.pick(clock, priority)

    def named(self, at: int, _: str) -> None:
        self._end("acknowledgement", at)

    acknowledged = named

    def paused(self, at: int, _: str) -> None:
        for clock in self._running("resolution"):
            if not clock.pauses or clock.pauses[-1][1] is not None:
                clock.pauses.append([at, None])

    def resumed(self, at: int, _: str) -> None:
        for clock in self._running("resolution"):
            if clock.pauses and clock.pauses[-1][1] is None:
                clock.pauses[-1][1] = at

    def answered_by_us(self, at: int, _: str) -> None:
        self.answered = True
        self._end("acknowledgement", at)
        self._end("first_response", at)

    def ended(self, at: int, _: str) -> None:
        self.resumed(at, "")
        self._end("resolution", at)
        self._end("acknowledgement", at, silent=True)
        self._end("first_response", at, silent=True)

    def reopened(self, at: int, _: str) -> None:
        self._start("resolution", at)
        if not self.answered:
            self._start("acknowledgement", at)
            self._start("first_response", at)

    def _running(self, target: str) -> list[Clock]:
        return [clock for clock in self.clocks if clock.target == target and clock.ended is None]

    def _start(self, target: str, at: int) -> None:
        cycle = 1 + sum(clock.target == target for clock in self.clocks)
        clock = Clock(target, cycle, at)
        self.promises.pick(clock, self.priority)
        self.clocks.append(clock)

    def _end(self, target: str, at: int, silent: bool = False) -> None:
        for clock in self._running(target):
            clock.ended = at
            self.promises.settle(clock, at, silent)


def outcomes(lines: Iterable[str], promises: Promises, zone: str, until: int | None = None) -> dict[Any, Clock]:
    """Every clock of the log by (incident, target, cycle), at `until` or at the log's last fact."""
    incidents = facts_by_incident(lines, zone)
    now = max(fact.at for facts in incidents.values() for fact in facts) if until is None else until
    found = {}
    for number, facts in incidents.items():
        for clock in Incident(promises).run(facts, now):
            found[number, clock.target, clock.cycle] = clock
    return found


def totals(clocks: Iterable[Clock]) -> dict[str, dict[str, dict[str, int]]]:
    """How many clocks came to which verdict, per policy and target."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for clock in clocks:
        counts[clock.policy][clock.target][clock.verdict] += 1
    return {policy: {name: dict(verdicts) for name, verdicts in by.items()} for policy, by in counts.items()}


def main(log: str, config: str, zone: str = "UTC") -> None:
    opened = gzip.open if log.endswith(".gz") else open
    with opened(log, "rt", encoding="utf-8", newline="") as lines:
        found = outcomes(lines, Promises(yaml.safe_load(Path(config).read_text(encoding="utf-8"))), zone)
    print(json.dumps(totals(found.values()), indent=1, sort_keys=True))


if __name__ == "__main__":
    main(*sys.argv[1:])
