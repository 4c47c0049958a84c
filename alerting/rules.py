"""Which outcomes and journeys somebody must know of: the alerts that fire and resolve. Pure.

`on_outcome` and `on_journey` fold one record into what was said before and return what is to be said now.
The same functions serve the live worker and `heardback replay`. What an alert says is in `message`, who is
told in `notify`; grouping and silencing are Alertmanager's.

The later revision holds: an older or equal one changes nothing, so records may come twice (DESIGN: at least
once and idempotent). Instants are text as the engine writes them, always UTC with a `Z`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final, NamedTuple, get_args

import orjson

from alerting import message
from schemas.alerts import Severity
from schemas.configuration import AlertsSpec, EscalationSpec

REPLY_BOUNCED: Final = "reply_bounced"
SILENT_CLOSE: Final = "silent_close"
DEAD_END: Final = "dead_end"
CHASING: Final = "chasing"
RESPONSES: Final = ("first_response", "next_response")
SEVERITIES: Final = get_args(Severity)
KEPT: Final = 256
"""How many past journeys and ended alerts are remembered of one customer."""

Content = Mapping[str, Any]
Alert = dict[str, Any]
Tried = Callable[[str], Mapping[str, str]]
"""Of a customer who waits: the channels that they have tried, each with since when. Empty: no more than one."""


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
        alerts = {key: Said(**said) for key, said in content["alerts"].items()}
        return cls(content["revisions"], alerts, content.get("tried", {}), content.get("waiting", ""))


class Change(NamedTuple):
    """One alert fires, changes or resolves: a record of topic `alerts`. `also` names receivers that an
    escalation step adds to those of the route."""

    number: int
    record: Alert
    also: tuple[str, ...] = ()


class Wish(NamedTuple):
    """What ought to be firing. `due` decides whether it was before `alerts.from`."""

    kind: str
    severity: str
    due: str
    starts_at: str
    at: str
    also: tuple[str, ...] = ()


_Said = tuple[list[Change], Known | None]


def alert_id(*parts: str) -> str:
    """32 hex digits that name an alert: of contact, target and cycle, never of customer or partition."""
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


class Rules:
    """The rules under one configuration. `first_start` is when heardback first ran on its data; None: what
    was due before needs no sparing (a replay)."""

    def __init__(self, spec: AlertsSpec, *, first_start: datetime | None = None) -> None:
        limit = spec.from_ if isinstance(spec.from_, datetime) else first_start
        self._limit = "" if limit is None else _key(limit.astimezone(UTC).isoformat().removesuffix("+00:00"))
        self._breach = next((step for step in spec.escalations if not step.after.seconds), EscalationSpec(after="0m"))
        # In the order in which the engine numbers them.
        later = [step for step in spec.escalations if step.after.seconds]
        self._steps = sorted(later, key=lambda step: (step.clock == "wall", step.after.seconds))
        self._links = message.Links(board_url=spec.board_url, runbook_url=spec.runbooks)

    @property
    def links(self) -> message.Links:
        """Where every alert leads to."""
        return self._links

    # -- clocks

    def on_outcome(self, outcome: Content, known: Known | None, tried: Tried = tried_no_other) -> _Said:
        """What one outcome says anew, given what is `known` under its `outcome_id`, and what is known then
        (None: nothing to remember). `tried` is what `Known.tried` says of its customer."""
        if known is None:
            if _says_nothing(outcome):
                return [], None
        elif outcome["revision"] <= known.revisions.get(outcome["outcome_id"], 0):
            return [], known
        clock = (outcome["contact_id"], outcome["target"], str(outcome["cycle"]))
        fold = _Fold(self._links, known, outcome["outcome_id"], outcome["revision"], self._limit, tried)
        episode = alert_id(*clock)
        fold.clock(episode, outcome, self._episode(outcome), keep=outcome["stage"] == "paused")
        others_known = len(fold.alerts) > (episode in fold.alerts)
        for kind, wish in ((REPLY_BOUNCED, _reply_bounced(outcome)), (SILENT_CLOSE, _silent_close(outcome))):
            if wish is not None or others_known:
                fold.clock(alert_id(*clock, kind), outcome, wish)
        return fold.result()

    def _episode(self, outcome: Content) -> Wish | None:
        """What a running clock wants to be said; nothing before it may alert (C8)."""
        if outcome["ended_at"] is not None or outcome["alerts_from"] is None:
            return None
        starts_at = _latest(outcome["stage_at"], outcome["alerts_from"])
        at = _latest(starts_at, outcome["bounced_at"])  # an answer taken back after the due instant: only now
        due = outcome["due_at"] or outcome["stage_at"]
        match outcome["verdict"], outcome["stage"]:
            case "open", "at_risk":
                return Wish("at_risk", "warning", outcome["stage_at"], starts_at, at)
            case "broken", "overdue":
                return Wish("breach", self._breach.severity, due, starts_at, at, _names(self._breach))
            case "broken", "escalated":
                if not self._steps:  # a step that is no longer configured
                    return Wish("breach", self._breach.severity, due, _latest(due, outcome["alerts_from"]), at)
                step = self._gravest(outcome)
                return Wish("escalation", step.severity, due, starts_at, at, _names(step))
        return None

    def _gravest(self, outcome: Content) -> EscalationSpec:
        """Of the steps that have passed the one of the highest severity, of several the last in order: a milder
        step that passes later takes nothing back."""
        numbers = outcome.get("steps") or range(1, outcome["step"] + 1)
        passed = [self._steps[min(number, len(self._steps)) - 1] for number in numbers]
        return max(reversed(passed), key=lambda step: SEVERITIES.index(step.severity))

    # -- acknowledgements

    def on_acknowledgement(self, acknowledgement: Content, known: Known | None) -> _Said:
        """What is said once somebody has an alert of those `known`: the first who says so has it. From then on
        escalation steps change nothing; a warning that is acknowledged still becomes a page."""
        name = acknowledgement["alert_id"]
        said = None if known is None else known.alerts.get(name)
        if known is None or said is None or not said.firing or said.record.get("acknowledged_at"):
            return [], known
        at = _latest(acknowledgement["at"], said.record["at"])
        record = message.acknowledged(said.record, acknowledgement.get("by"), at)
        taken = Said(said.number + 1, said.of, record)
        return [Change(taken.number, record)], replace(known, alerts={**known.alerts, name: taken})

    # -- journeys

    def on_journey(self, journey: Content, known: Known | None) -> _Said:
        """What one journey says anew, given what is `known` of its customer's journeys. A journey without
        attempts no longer exists: its alerts are superseded."""
        journey_id = journey["journey_id"]
        waiting = journey["state"] == "waiting"
        dead_ends = _dead_ends(journey) if waiting else {}
        chasing = _chasing(journey) if waiting else None
        channels = _channels(journey) if waiting else {}
        if known is None:
            if not dead_ends and chasing is None and not channels:
                return [], None
        elif journey["revision"] <= known.revisions.get(journey_id, 0):
            return [], known
        fold = _Fold(self._links, known, journey_id, journey["revision"], self._limit)
        for contact_id, attempt in dead_ends.items():
            fold.dead_end(alert_id(contact_id, DEAD_END), journey, attempt)
        wanted = {alert_id(contact_id, DEAD_END) for contact_id in dead_ends}
        if chasing is not None:
            wanted.add(name := _chasing_id(journey))
            fold.chasing(name, journey, chasing)
        fold.journey_rest(journey, wanted, channels)
        return fold.result()


def forgotten(known: Known, at: str) -> list[Change]:
    """The last words on alerts of a contact that has left the state and can never be settled: void."""
    return [
        Change(said.number + 1, message.resolved(said.record, "void", _latest(at, said.record["at"])))
        for said in known.alerts.values()
        if said.firing
    ]


def ended_at(known: Known) -> str | None:
    """Since when nothing more is expected of what is known: all its alerts have resolved or belong to a
    closed contact. None while something still runs."""
    if known.tried:
        return None
    last = ""
    for said in known.alerts.values():
        if said.firing and said.record["kind"] != SILENT_CLOSE:
            return None
        last = _latest(last, said.record["at"])
    return last or None


class _Fold:
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

    def result(self) -> _Said:
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
            resolution = _resolution(outcome, said.record["kind"])
            at = outcome["settled_at"] if said.record["kind"] == SILENT_CLOSE else None
            self._resolve(name, said, resolution, at or outcome["ended_at"] or outcome["stage_at"])

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
        if not firing and _key(wish.due) < self.limit:
            return  # due before `alerts.from`: recorded as an outcome, never said
        if said is not None and firing:
            record = said.record
            same = (record["kind"], record["severity"], record["customer_id"]) == (*wish[:2], customer_id)
            if same and not (wish.also and _key(wish.at) > _key(record["at"])):
                return  # unless a further step adds receivers
            if record["customer_id"] == customer_id and _taken(record) and wish.kind == "escalation":
                return  # somebody has it
            if record["customer_id"] != customer_id:
                self._resolve(name, said, "superseded", wish.at)
        alert = {"alert_id": name, **make()}
        if firing and said is not None:
            alert["starts_at"] = said.record["starts_at"]
            alert["at"] = _latest(alert["at"], said.record["at"])
        self._say(name, alert, wish.also)

    def _resolve(self, name: str, said: Said, resolution: str, at: str) -> None:
        # A late event may end an alert before it fired (C15); its end is never before its beginning.
        self._say(name, message.resolved(said.record, resolution, _latest(at, said.record["at"])))

    def _say(self, name: str, record: Alert, also: tuple[str, ...] = ()) -> None:
        said = self.alerts.get(name)
        number = said.number + 1 if said else 1
        self.alerts[name] = Said(number, self.of, record)
        self.changes.append(Change(number, record, also))


def _chasing(journey: Content) -> Wish | None:
    """The customer has asked as often as a policy lets pass (C40)."""
    at = journey.get("chasing_at")
    return None if at is None else Wish(CHASING, "page", at, at, at)


def _chasing_id(journey: Content) -> str:
    """Of the first attempt, which makes the journey what it is wherever the customer lives."""
    first = journey["attempts"][0]
    return alert_id(first["contact_id"], first["at"], CHASING)


def _channels(journey: Content) -> dict[str, str]:
    """Since when the customer has tried each channel; empty where it is one alone."""
    found: dict[str, str] = {}
    for attempt in journey["attempts"]:
        found.setdefault(attempt["channel"], attempt["at"])
    return found if len(found) > 1 else {}


def _taken(record: Content) -> bool:
    """Whether somebody has a page; to have a warning is not to have what may come of it."""
    return bool(record.get("acknowledged_at")) and record["kind"] != "at_risk"


def _says_nothing(outcome: Content) -> bool:
    if outcome["ended_at"] is None:
        return outcome["stage"] in ("running", "paused") and outcome["bounced_at"] is None
    return not outcome["silently_closed"]


def _reply_bounced(outcome: Content) -> Wish | None:
    """An answer was taken back and the customer still waits (C13)."""
    bounced_at, alerts_from = outcome["bounced_at"], outcome["alerts_from"]
    if bounced_at is None or outcome["ended_at"] is not None or alerts_from is None:
        return None
    if outcome["target"] not in RESPONSES:
        return None
    return Wish(REPLY_BOUNCED, "page", bounced_at, bounced_at, bounced_at)


def _silent_close(outcome: Content) -> Wish | None:
    """Closed with a message unanswered (C10). After a first answer it is often a closing thanks."""
    target, closed_at = outcome["target"], outcome["ended_at"]
    if not outcome["silently_closed"] or closed_at is None or outcome["settled_at"] is not None:
        return None
    if target not in RESPONSES or outcome["reason"] == "superseded":
        return None
    severity = "page" if target == "first_response" else "warning"
    return Wish(SILENT_CLOSE, severity, closed_at, closed_at, closed_at)


def _resolution(outcome: Content, kind: str) -> str:
    """How an alert of a clock ended. A promise kept although its breach fired was kept by an event that
    came late (C15)."""
    if outcome["reason"] == "superseded":
        return "superseded"
    if kind == SILENT_CLOSE:
        if outcome["settled_at"] is not None:
            return "answered"
        return "void" if outcome["verdict"] == "void" else "withdrawn"
    if outcome["ended_at"] is None:
        return "withdrawn"
    if outcome["verdict"] == "void" or outcome["silently_closed"]:
        return "void"
    if outcome["verdict"] == "kept" and kind in ("breach", "escalation"):
        return "withdrawn"
    return "answered"


def _dead_ends(journey: Content) -> dict[str, Content]:
    """The first dead end of each contact of a journey."""
    found: dict[str, Content] = {}
    for attempt in journey["attempts"]:
        if attempt["dead_end"] is not None:
            found.setdefault(attempt["contact_id"], attempt)
    return found


def _names(step: EscalationSpec) -> tuple[str, ...]:
    return tuple(step.receivers or ())


def _key(instant: str) -> str:
    """Instants as text in the order of time: without the `Z`, which sorts after a decimal point."""
    return instant.removesuffix("Z")


def _latest(first: str, *others: str | None) -> str:
    return max((first, *(other for other in others if other is not None)), key=_key)
