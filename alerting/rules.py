"""Which outcomes and journeys somebody must know of: the alerts that fire and resolve. Pure.

`on_outcome` and `on_journey` take one record and what was said before, and return what is to be said now. The same
functions serve the live worker and `heardback replay`. What an alert says is in `message`, who is told in `notify`;
grouping and silencing are Alertmanager's.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final, get_args

from alerting import message
from alerting.fold import Change, Fold, Folded, Known, Said, Tried, tried_no_other
from alerting.wish import (
    CHASING,
    DEAD_END,
    REPLY_BOUNCED,
    SILENT_CLOSE,
    Content,
    Wish,
    channels,
    chasing,
    dead_ends,
    key,
    latest,
    reply_bounced,
    says_nothing,
    silent_close,
)
from schemas.alerts import Severity
from schemas.configuration import AlertsSpec, EscalationSpec

SEVERITIES: Final = get_args(Severity)


def alert_id(*parts: str) -> str:
    """32 hex digits that name an alert: of contact, target and cycle, never of customer or partition."""
    return blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()


class Rules:
    """The rules under one configuration. `first_start` is when heardback first ran on its data; None: what
    was due before needs no sparing (a replay)."""

    def __init__(self, spec: AlertsSpec, *, first_start: datetime | None = None) -> None:
        limit = spec.from_ if isinstance(spec.from_, datetime) else first_start
        self._limit = "" if limit is None else key(limit.astimezone(UTC).isoformat().removesuffix("+00:00"))
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

    def on_outcome(self, outcome: Content, known: Known | None, tried: Tried = tried_no_other) -> Folded:
        """What one outcome says anew, given what is `known` under its `outcome_id`, and what is known then
        (None: nothing to remember). `tried` is what `Known.tried` says of its customer."""
        if known is None:
            if says_nothing(outcome):
                return [], None
        elif outcome["revision"] <= known.revisions.get(outcome["outcome_id"], 0):
            return [], known
        clock = (outcome["contact_id"], outcome["target"], str(outcome["cycle"]))
        fold = Fold(self._links, known, outcome["outcome_id"], outcome["revision"], self._limit, tried)
        episode = alert_id(*clock)
        fold.clock(episode, outcome, self._episode(outcome), keep=outcome["stage"] == "paused")
        others_known = len(fold.alerts) > (episode in fold.alerts)
        for kind, wish in ((REPLY_BOUNCED, reply_bounced(outcome)), (SILENT_CLOSE, silent_close(outcome))):
            if wish is not None or others_known:
                fold.clock(alert_id(*clock, kind), outcome, wish)
        return fold.result()

    def _episode(self, outcome: Content) -> Wish | None:
        """What a running clock wants to be said; nothing before it may alert (C8)."""
        if outcome["ended_at"] is not None or outcome["alerts_from"] is None:
            return None
        starts_at = latest(outcome["stage_at"], outcome["alerts_from"])
        at = latest(starts_at, outcome["bounced_at"])  # an answer taken back after the due instant: only now
        due = outcome["due_at"] or outcome["stage_at"]
        match outcome["verdict"], outcome["stage"]:
            case "open", "at_risk":
                return Wish("at_risk", "warning", outcome["stage_at"], starts_at, at)
            case "broken", "overdue":
                return Wish("breach", self._breach.severity, due, starts_at, at, _names(self._breach))
            case "broken", "escalated":
                if not self._steps:  # a step that is no longer configured
                    return Wish("breach", self._breach.severity, due, latest(due, outcome["alerts_from"]), at)
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

    def on_acknowledgement(self, acknowledgement: Content, known: Known | None) -> Folded:
        """What is said once somebody has an alert of those `known`: the first who says so has it. From then on
        escalation steps change nothing; a warning that is acknowledged still becomes a page."""
        name = acknowledgement["alert_id"]
        said = None if known is None else known.alerts.get(name)
        if known is None or said is None or not said.firing or said.record.get("acknowledged_at"):
            return [], known
        at = latest(acknowledgement["at"], said.record["at"])
        record = message.acknowledged(said.record, acknowledgement.get("by"), at)
        taken = Said(said.number + 1, said.of, record)
        return [Change(taken.number, record)], replace(known, alerts={**known.alerts, name: taken})

    # -- journeys

    def on_journey(self, journey: Content, known: Known | None) -> Folded:
        """What one journey says anew, given what is `known` of its customer's journeys. A journey without
        attempts no longer exists: its alerts are superseded."""
        journey_id = journey["journey_id"]
        waiting = journey["state"] == "waiting"
        lost = dead_ends(journey) if waiting else {}
        asking = chasing(journey) if waiting else None
        tried = channels(journey) if waiting else {}
        if known is None:
            if not lost and asking is None and not tried:
                return [], None
        elif journey["revision"] <= known.revisions.get(journey_id, 0):
            return [], known
        fold = Fold(self._links, known, journey_id, journey["revision"], self._limit)
        for contact_id, attempt in lost.items():
            fold.dead_end(alert_id(contact_id, DEAD_END), journey, attempt)
        wanted = {alert_id(contact_id, DEAD_END) for contact_id in lost}
        if asking is not None:
            wanted.add(name := _chasing_id(journey))
            fold.chasing(name, journey, asking)
        fold.journey_rest(journey, wanted, tried)
        return fold.result()


def forgotten(known: Known, at: str) -> list[Change]:
    """The last words on alerts of a contact that has left the state and can never be settled: void."""
    return [
        Change(said.number + 1, message.resolved(said.record, "void", latest(at, said.record["at"])))
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
        last = latest(last, said.record["at"])
    return last or None


def _chasing_id(journey: Content) -> str:
    """Of the first attempt, which makes the journey what it is wherever the customer lives."""
    first = journey["attempts"][0]
    return alert_id(first["contact_id"], first["at"], CHASING)


def _names(step: EscalationSpec) -> tuple[str, ...]:
    return tuple(step.receivers or ())
