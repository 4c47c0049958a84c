"""One record folded into what was said before: which alerts fire, change and resolve by it. Pure.

What is wished for is `alerting.wish`'s; what an alert says is `alerting.message`'s. The later revision holds: an older
or equal one changes nothing, so records may come twice (DESIGN: at least once and idempotent).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import orjson

from alerting import message
from alerting.wish import DEAD_END, SILENT_CLOSE, Content, Wish, key, latest, resolution

KEPT: Final = 256
"""How many past journeys and ended alerts are remembered of one customer."""

Alert = dict[str, Any]
Tried = Callable[[str], Mapping[str, str]]
"""Of a customer who waits: the channels that they have tried, each with since when. Empty: no more than one."""

Folded = tuple[list["Change"], "Known | None"]
"""What is said anew, and what is known then (None: nothing to remember)."""


def tried_no_other(_: str) -> Mapping[str, str]:
    """Nobody has tried more than one channel."""
    return {}


@dataclass(frozen=True, slots=True)
class Said:
    """The last record of one alert; `number` counts its changes, `of` is the outcome or journey behind it."""

    number: int
    of: str
    record: Alert

    @property
    def firing(self) -> bool:
        """Whether the alert is on."""
        return bool(self.record["state"] == "firing")


@dataclass(frozen=True, slots=True)
class Known:
    """What was said so far about one clock, or about one customer's journeys: the last revision of each
    record by its id, and the alerts by theirs. `tried`: since when on which channel, of a customer who waits in
    journey `waiting` and has tried several."""

    revisions: dict[str, int] = field(default_factory=dict)
    alerts: dict[str, Said] = field(default_factory=dict)
    tried: dict[str, str] = field(default_factory=dict)
    waiting: str = ""

    def to_bytes(self) -> bytes:
        """As a table keeps it."""
        return orjson.dumps(self)

    @classmethod
    def from_bytes(cls, value: bytes) -> Known:
        """The inverse of `to_bytes`."""
        content = orjson.loads(value)
        alerts = {name: Said(**said) for name, said in content["alerts"].items()}
        return cls(content["revisions"], alerts, content.get("tried", {}), content.get("waiting", ""))


class Change(NamedTuple):
    """One alert fires, changes or resolves: a record of topic `alerts`. `also` names receivers that an
    escalation step adds to those of the route."""

    number: int
    record: Alert
    also: tuple[str, ...] = ()


class Fold:
    """One record being folded into what is known."""

    def __init__(
        self,
        links: message.Links,
        known: Known | None,
        of: str,
        revision: int,
        limit: str,
        tried: Tried = tried_no_other,
    ) -> None:
        self.links = links
        self.of = of
        self.limit = limit
        self.tried_by = tried
        self.tried, self.waiting = (known.tried, known.waiting) if known else ({}, "")
        self.alerts = dict(known.alerts) if known else {}
        self.revisions = {**known.revisions, of: revision} if known else {of: revision}
        self.changes: list[Change] = []

    def result(self) -> Folded:
        """Nothing is remembered of what never fired, but the channels that somebody tries."""
        if not self.alerts and not self.tried:
            return self.changes, None
        return self.changes, Known(self._latest_revisions(), self._latest_alerts(), self.tried, self.waiting)

    def _latest_alerts(self) -> dict[str, Said]:
        if len(self.alerts) <= KEPT:
            return self.alerts
        over = [name for name, said in self.alerts.items() if not said.firing]
        for name in over[:-KEPT]:
            del self.alerts[name]
        return self.alerts

    def _latest_revisions(self) -> dict[str, int]:
        if len(self.revisions) <= KEPT:
            return self.revisions
        firing = {said.of for said in self.alerts.values() if said.firing} | {self.of}
        for of in [of for of in self.revisions if of not in firing][:-KEPT]:
            del self.revisions[of]
        return self.revisions

    def clock(self, name: str, outcome: Content, wish: Wish | None, *, keep: bool = False) -> None:
        """Says what the clock's alert `name` ought to be. `keep`: a warning stays as it is (a pause)."""
        said = self.alerts.get(name)
        if wish is not None:
            customer_id = outcome["customer_id"]

            def make() -> Alert:
                return message.of_clock(wish, outcome, self.links, self.tried_by(customer_id))

            self._fire(name, said, wish, customer_id, make)
        elif said is not None and said.firing and not (keep and said.record["kind"] == "at_risk"):
            why = resolution(outcome, said.record["kind"])
            at = outcome["settled_at"] if said.record["kind"] == SILENT_CLOSE else None
            self._resolve(name, said, why, at or outcome["ended_at"] or outcome["stage_at"])

    def dead_end(self, name: str, journey: Content, attempt: Content) -> None:
        """Says that nobody will answer this attempt where it was made (C14)."""
        found_at = attempt["dead_end_at"] or attempt["at"]
        wish = Wish(DEAD_END, "page", found_at, found_at, found_at)
        said = self.alerts.get(name)
        make = lambda: message.of_attempt(wish, journey, attempt, self.links)  # noqa: E731
        self._fire(name, said, wish, journey["customer_id"], make)
        self._is_of_this(name)

    def chasing(self, name: str, journey: Content, wish: Wish) -> None:
        """Says that the customer asks again and again (C40)."""
        make = lambda: message.of_chasing(wish, journey, self.links)  # noqa: E731
        self._fire(name, self.alerts.get(name), wish, journey["customer_id"], make)
        self._is_of_this(name)

    def _is_of_this(self, name: str) -> None:
        """An alert of an attempt that is now one of this journey."""
        if (said := self.alerts.get(name)) is not None and said.of != self.of:
            self.alerts[name] = Said(said.number, self.of, said.record)

    def journey_rest(self, journey: Content, wanted: set[str], channels: dict[str, str]) -> None:
        """Ends what fired for this journey and is not wanted any more, and notes the channels that it tried. The
        end of an old journey may be told after the beginning of the one that waits."""
        if journey["state"] == "waiting" or self.waiting == self.of:
            self.tried, self.waiting = channels, self.of if channels else ""
        resolution = "answered" if journey["state"] == "answered" else "withdrawn"
        if not journey["attempts"]:
            resolution = "superseded"
        for name, said in list(self.alerts.items()):
            if said.firing and said.of == self.of and name not in wanted:
                self._resolve(name, said, resolution, journey["ended_at"] or said.record["at"])

    def _fire(self, name: str, said: Said | None, wish: Wish, customer_id: str, make: Any) -> None:
        firing = said is not None and said.firing
        if not firing and key(wish.due) < self.limit:
            return  # due before `alerts.from`: recorded as an outcome, never said
        if said is not None and firing:
            record = said.record
            same = (record["kind"], record["severity"], record["customer_id"]) == (*wish[:2], customer_id)
            if same and not (wish.also and key(wish.at) > key(record["at"])):
                return  # unless a further step adds receivers
            if record["customer_id"] == customer_id and taken(record) and wish.kind == "escalation":
                return  # somebody has it
            if record["customer_id"] != customer_id:
                self._resolve(name, said, "superseded", wish.at)
        alert = {"alert_id": name, **make()}
        if firing and said is not None:
            alert["starts_at"] = said.record["starts_at"]
            alert["at"] = latest(alert["at"], said.record["at"])
        self._say(name, alert, wish.also)

    def _resolve(self, name: str, said: Said, resolution: str, at: str) -> None:
        # A late event may end an alert before it fired (C15); its end is never before its beginning.
        self._say(name, message.resolved(said.record, resolution, latest(at, said.record["at"])))

    def _say(self, name: str, record: Alert, also: tuple[str, ...] = ()) -> None:
        said = self.alerts.get(name)
        number = said.number + 1 if said else 1
        self.alerts[name] = Said(number, self.of, record)
        self.changes.append(Change(number, record, also))


def taken(record: Content) -> bool:
    """Whether somebody has a page; to have a warning is not to have what may come of it."""
    return bool(record.get("acknowledged_at")) and record["kind"] != "at_risk"
