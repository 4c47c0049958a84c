"""Who waits: the topics outcomes, journeys and alerts folded into one entry for each customer.

What has ended is dropped, but for the last few things of customers who were answered lately. A record is
known by its partition and id, since a contact that moves to another customer's partition keeps its ids, and
partitions are read in no order among each other. In what order customers are shown is decided in `standing`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Final, TypeVar

from streams.board.heard import NOT_A_CUSTOMER, Alert, Clock, Content, Journey, alert_of, clock_of, journey_of

LATELY_CUSTOMERS: Final = 1_000
LATELY_EACH: Final = 12

Ended = TypeVar("Ended", Clock, Journey, Alert)
Key = tuple[str, int, str]
"""Topic, partition and id of a record: an alert's id may be that of its outcome."""


@dataclass(slots=True)
class Entry:
    """What is open for one customer: clocks that run or were silently closed, journeys, firing alerts."""

    customer_id: str
    clocks: dict[Key, Clock] = field(default_factory=dict)
    journeys: dict[Key, Journey] = field(default_factory=dict)
    alerts: dict[Key, Alert] = field(default_factory=dict)
    version: int = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is open."""
        return not (self.clocks or self.journeys or self.alerts)

    @property
    def waited_for(self) -> list[Clock]:
        """Clocks that the customer waits for, the earliest first."""
        return sorted((c for c in self.clocks.values() if c.waited_for), key=lambda clock: clock.started_us)

    @property
    def waits(self) -> bool:
        """Whether the customer is to be shown: somebody owes them something, or an alert says so."""
        return bool(self.journeys or self.alerts) or any(clock.waited_for for clock in self.clocks.values())


@dataclass(slots=True)
class Lately:
    """What ended for one customer, the latest last."""

    clocks: deque[Clock] = field(default_factory=lambda: deque(maxlen=LATELY_EACH))
    journeys: deque[Journey] = field(default_factory=lambda: deque(maxlen=LATELY_EACH))
    alerts: deque[Alert] = field(default_factory=lambda: deque(maxlen=LATELY_EACH))


class Waiting:
    """The read model. `version` is another one after each change."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.lately: OrderedDict[str, Lately] = OrderedDict()
        self.about_heardback: dict[Key, Alert] = {}
        self.version = 0
        self._of: dict[Key, str] = {}

    def on_outcome(self, partition: int, content: Content) -> None:
        """A clock was told of. Raises KeyError, TypeError, ValueError for what is no outcome."""
        clock = clock_of(content)
        key, customer_id = ("outcomes", partition, clock.outcome_id), content["customer_id"]
        entry = self._entry(key, customer_id)
        if entry is not None and (before := entry.clocks.get(key)) is not None and before.revision > clock.revision:
            return
        if clock.running or clock.closed_on_the_customer:
            self._opened(key, customer_id).clocks[key] = clock
            return
        if entry is not None:
            self._drop(key, entry)
        if clock.reason != "superseded":
            _replaced(self._lately(customer_id).clocks, clock, clock.outcome_id)

    def on_journey(self, partition: int, content: Content) -> None:
        """A journey was told of; one without attempts no longer exists. Raises as `on_outcome`."""
        journey = journey_of(content)
        key, customer_id = ("journeys", partition, journey.journey_id), content["customer_id"]
        entry = self._entry(key, customer_id)
        if entry is not None and (before := entry.journeys.get(key)) is not None and before.revision > journey.revision:
            return
        if journey.waiting and journey.attempts:
            self._opened(key, customer_id).journeys[key] = journey
            return
        if entry is not None:
            self._drop(key, entry)
        if journey.attempts:
            _replaced(self._lately(customer_id).journeys, journey, journey.journey_id)

    def on_alert(self, partition: int, content: Content) -> None:
        """An alert fired, changed or resolved. Raises as `on_outcome`."""
        key = ("alerts", partition, content["alert_id"])
        owner = self.entries.get(self._of.get(key, ""))
        alert = alert_of(content, owner.alerts.get(key) if owner else None)
        if alert.kind in NOT_A_CUSTOMER:
            self.version += 1
            if alert.firing:
                self.about_heardback[key] = alert
            else:
                self.about_heardback.pop(key, None)
            return
        customer_id = content["customer_id"]
        entry = self._entry(key, customer_id)
        if alert.firing:
            self._opened(key, customer_id).alerts[key] = alert
            return
        if entry is not None:
            self._drop(key, entry)
        if alert.resolution != "superseded":
            _replaced(self._lately(customer_id).alerts, alert, alert.alert_id)

    def forget(self, before_us: int) -> None:
        """Drop what nobody will end any more: silent closes and journeys of before that instant where no clock
        runs and no alert fires; their contacts have left the state (setting `limits.late_after`)."""
        for entry in list(self.entries.values()):
            if entry.alerts or any(clock.running for clock in entry.clocks.values()):
                continue
            lasts_us = [clock.ended_us or 0 for clock in entry.clocks.values()]
            lasts_us += [attempt.at_us for journey in entry.journeys.values() for attempt in journey.attempts]
            if max(lasts_us) < before_us:
                for key in [*entry.clocks, *entry.journeys]:
                    self._drop(key, entry)

    def _entry(self, key: Key, customer_id: str) -> Entry | None:
        """Where a record is known; a customer who has it no longer loses it."""
        owner = self._of.get(key)
        if owner is not None and owner != customer_id:
            self._drop(key, self.entries[owner])
        return self.entries.get(customer_id)

    def _opened(self, key: Key, customer_id: str) -> Entry:
        entry = self.entries.get(customer_id)
        if entry is None:
            entry = self.entries[customer_id] = Entry(customer_id)
        self._of[key] = customer_id
        self.version += 1
        entry.version = self.version
        return entry

    def _drop(self, key: Key, entry: Entry) -> None:
        if self._of.pop(key, None) is None:
            return
        entry.clocks.pop(key, None)
        entry.journeys.pop(key, None)
        entry.alerts.pop(key, None)
        self.version += 1
        entry.version = self.version
        if entry.empty:
            del self.entries[entry.customer_id]

    def _lately(self, customer_id: str) -> Lately:
        found = self.lately.get(customer_id)
        if found is None:
            found = self.lately[customer_id] = Lately()
            if len(self.lately) > LATELY_CUSTOMERS:
                self.lately.popitem(last=False)
        else:
            self.lately.move_to_end(customer_id)
        return found


def _replaced(kept: deque[Ended], item: Ended, name: str) -> None:
    """A later revision stands in for the earlier one."""
    for index, earlier in enumerate(kept):
        if earlier[0] == name:
            del kept[index]
            break
    kept.append(item)
