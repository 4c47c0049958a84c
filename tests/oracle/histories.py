"""One contact's history read from start to end: which clocks started and what ended them (C4 to C12).

Due instants, policies and verdicts do not belong here.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from tests.oracle.families import Key, customer_messages
from tests.oracle.open_time import Stretch
from tests.oracle.reading import Fact

PAUSE_ENDS = {"contact.resumed", "contact.resolved", "contact.closed", "contact.reopened"}


@dataclass
class End:
    """What ended a clock: `answered`, `silent`, `resolved`."""

    key: Key
    kind: str
    agent_id: str | None
    assignment: bool = False  # counts only where the policy says so (C5)


@dataclass
class Clock:
    """One target's run. `ends` are the candidates in order: the first that counts under the policy ends it."""

    target: str
    cycle: int
    start: Key
    ends: list[End] = field(default_factory=list)


@dataclass
class History:
    """All clocks of a contact, and its pauses as (start, end), the last perhaps without an end."""

    clocks: list[Clock] = field(default_factory=list)
    pauses: list[tuple[datetime, datetime | None]] = field(default_factory=list)


def history_of(family: list[Fact], answers: list[Fact], cut: Key | None) -> History:
    """Reads the facts up to `cut` in C21's order; `answers` are those that count, by links too."""
    wrote = [fact for fact in customer_messages(family) if cut is None or fact["key"] <= cut]
    written = {id(fact) for fact in wrote}
    steps = [fact for fact in family if fact["type"] != "message.sent" and (cut is None or fact["key"] <= cut)]
    steps += [fact for fact in answers if cut is None or fact["key"] <= cut]
    reader = _Reader()
    for fact in sorted(steps, key=lambda fact: fact["key"]):
        reader.read(fact, id(fact) in written)
    return reader.history


class _Reader:
    def __init__(self) -> None:
        self.history = History()
        self.count: Counter[str] = Counter()
        self.running: dict[str, Clock] = {}
        self.written_to_us = False  # the customer has written
        self.answered_ever = False
        self.unanswered = False  # a customer message waits, also after a silent close
        self.resolved = False

    def read(self, fact: Fact, is_message: bool) -> None:
        kind = fact["type"]
        if is_message or kind in PAUSE_ENDS:
            self._end_pause(fact["at"])
        if is_message:
            self._customer_wrote(fact)
        elif kind == "contact.paused":
            self._pause(fact)
        elif not self.written_to_us:
            return  # what we did before the customer first wrote answers nothing (C4)
        elif kind == "message.sent":
            self._answered(fact)
        elif kind == "contact.acknowledged" or (kind == "contact.assigned" and fact["data"].get("agent_id")):
            self._touched(fact, assignment=kind == "contact.assigned")
        elif kind in ("contact.resolved", "contact.closed"):
            self._resolved(fact)
        elif kind == "contact.reopened":
            self._reopened(fact)

    def _customer_wrote(self, fact: Fact) -> None:
        if not self.written_to_us:
            self._start("resolution", fact)
        self.written_to_us = self.unanswered = True
        self._start_response(fact)

    def _start_response(self, fact: Fact) -> None:
        if "next_response" in self.running or "first_response" in self.running:
            return
        if self.answered_ever:
            self._start("next_response", fact)
        else:
            self._start("first_response", fact)
            self._start("acknowledgement", fact)

    def _answered(self, fact: Fact) -> None:
        for target in ("acknowledgement", "first_response", "next_response", "update"):
            self._end(target, fact, "answered")
        self.answered_ever = True
        self.unanswered = False
        if not self.resolved:
            self._start("update", fact)

    def _touched(self, fact: Fact, *, assignment: bool) -> None:
        clock = self.running.get("acknowledgement")
        if clock:  # an assignment may not count, so the clock stays listed and collects candidates
            clock.ends.append(End(fact["key"], "answered", fact["data"].get("agent_id"), assignment))

    def _resolved(self, fact: Fact) -> None:
        for target in ("acknowledgement", "first_response", "next_response"):
            self._end(target, fact, "silent")
        self._end("resolution", fact, "resolved")
        self._end("update", fact, "resolved")
        self.resolved = True

    def _reopened(self, fact: Fact) -> None:
        self.resolved = False
        if "resolution" not in self.running:
            self._start("resolution", fact)
        if self.unanswered:
            self._start_response(fact)

    def _start(self, target: str, fact: Fact) -> None:
        self.count[target] += 1
        clock = Clock(target, self.count[target], fact["key"])
        self.running[target] = clock
        self.history.clocks.append(clock)

    def _end(self, target: str, fact: Fact, kind: str) -> None:
        clock = self.running.pop(target, None)
        if clock:
            clock.ends.append(End(fact["key"], kind, fact["data"].get("agent_id")))

    def _pause(self, fact: Fact) -> None:
        if not self.history.pauses or self.history.pauses[-1][1] is not None:
            self.history.pauses.append((fact["at"], None))

    def _end_pause(self, at: datetime) -> None:
        if self.history.pauses and self.history.pauses[-1][1] is None:
            self.history.pauses[-1] = (self.history.pauses[-1][0], at)


def pauses_within(history: History, start: datetime, end: datetime, never: datetime | None) -> list[Stretch]:
    """The pauses cut to [start, end]; one still running at `end` lasts until `never` where that is given."""
    found = []
    for opens, closes in history.pauses:
        running = closes is None or closes > end
        last = (never or end) if running else closes
        if opens <= end and last > max(opens, start):
            found.append((max(opens, start), last))
    return found


def is_paused(history: History, at: datetime) -> bool:
    """Is a pause running just after everything that happened at `at`?"""
    return any(opens <= at and (closes is None or closes > at) for opens, closes in history.pauses)
