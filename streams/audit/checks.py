"""What must agree: the clocks and journeys that a replay knows, and everything that was made of them live. Pure.

Each group of contacts that belong together is judged anew, and held against the outcomes, the journeys, the table with
its instants to look again, the alerts and their deliveries. A contact that cannot be judged fairly now is counted with
the reason. Nothing of `alerting` is used: which clock wants an alert follows from the rules (C8, C10, C13, C14).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from schemas.configuration import Limits
from streams.audit.finding import Audited, Excuse, Finding, Kind, Unjudged
from streams.audit.truth import tied
from streams.audit.view import TRIED, Firing, Published, View
from streams.engine.attributes import Tier
from streams.engine.calendar import NeverOpens
from streams.engine.clocks import Clock
from streams.engine.identity import Directory
from streams.engine.journey import Journey, by_customer, journeys
from streams.engine.outcome import instant_text, journey_content, record_id
from streams.engine.policy import Policies
from streams.engine.reading import Reading, reading_of
from streams.engine.timeline import Contact, Timeline, timelines

AWAY_US: Final = 5 * 60 * 1_000_000
"""A receiver that was tried in vain so recently is away: that is said elsewhere, once."""
OVERDUE_KINDS: Final = frozenset({"breach", "escalation"})
OF_CLOCKS: Final = frozenset({"at_risk", "breach", "escalation", "reply_bounced", "silent_close"})

ReceiversOf = Callable[[Mapping[str, Any], str | None], Sequence[str]]
"""The names of those who are to be told of an alert of a customer with that relationship manager."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an audit judges by. Instants and durations in microseconds. `promised_us`: when the promises in force were
    published; what was last looked at before may have been judged by others. `alerts_from_us`: what was due before is
    never said. What changed less than `tolerance_us` ago may not have been said yet; a receiver in `gathering_us` gets
    one message in so long at most."""

    policies: Policies
    limits: Limits
    receivers_of: ReceiversOf
    now_us: int
    tolerance_us: int
    promised_us: int = 0
    alerts_from_us: int = 0
    gathering_us: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Judged:
    """A contact judged anew."""

    timeline: Timeline
    reading: Reading
    clocks: tuple[Clock, ...]
    wake_us: int | None


@dataclass(slots=True)
class Checks:
    """Holds groups of contacts against a view. `suspects`: the contacts of every group in which something was found."""

    view: View
    terms: Terms
    directory: Directory
    found: Audited = field(default_factory=Audited)
    suspects: set[str] = field(default_factory=set)
    _firing: dict[str, list[tuple[str, str, Firing]]] = field(default_factory=lambda: defaultdict(list))
    _chasing: dict[str, list[tuple[str, Firing]]] = field(default_factory=lambda: defaultdict(list))
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for alert_id, of_customers in self.view.firing.items():
            for customer_id, firing in of_customers.items():
                self.found.alerts += 1
                contact_id = firing.record["contact_id"]
                if firing.record["kind"] == "chasing":
                    self._chasing[customer_id].append((alert_id, firing))
                elif contact_id is not None:
                    self._firing[contact_id].append((alert_id, customer_id, firing))

    # -- a group

    def group(self, group: Mapping[str, Contact]) -> None:
        """Judge contacts that belong together, and hold them against what was made of them."""
        before = len(self.found.findings)
        self._seen.update(group)
        try:
            judged = {timeline.contact_id: self._judge(timeline) for timeline in timelines(group).values()}
            self._seen.update(judged)  # also those that are known only by a merge
            self._hold(group, judged)
        except NeverOpens:
            self._unjudged("calendar_never_opens", len(group))
        if len(self.found.findings) > before:
            self.suspects.update(group)

    def _judge(self, timeline: Timeline) -> _Judged:
        reading = reading_of(timeline, self.terms.policies, self._tiers_of(timeline))
        assessed = reading.assessment(self.terms.now_us)
        return _Judged(timeline, reading, assessed.clocks, assessed.wake_us)

    def _tiers_of(self, timeline: Timeline) -> Sequence[Tier]:
        """The tiers that the table noted with their instants: topic `customers` keeps the last one only."""
        kept = self.view.kept.get(timeline.contact_id)
        return kept.tiers if kept and kept.tiers else self._tier_now(timeline.customer_id)

    def _tier_now(self, customer_id: str) -> Sequence[Tier]:
        known = self.directory.customers.get(customer_id)
        return (Tier(0, known.tier, known.kind),) if known else ()

    def _hold(self, group: Mapping[str, Contact], judged: Mapping[str, _Judged]) -> None:
        why = {contact_id: self._why_not(contact_id) for contact_id in judged}
        if tied(group.values()) and any(why.values()):
            first = next(reason for reason in why.values() if reason)
            why = dict.fromkeys(judged, first)
        for contact_id, one in judged.items():
            self._wake_up(contact_id)
            if (reason := why[contact_id]) is not None:
                self._unjudged(reason)
                continue
            self.found.contacts += 1
            self.found.clocks += len(one.clocks)
            self._outcomes(one)
            self._table(one)
        for customer_id, timelines_of in by_customer({name: one.timeline for name, one in judged.items()}).items():
            own = [timeline.contact_id for timeline in timelines_of]
            whole = not any(why[name] for name in own) and customer_id not in self.view.customers_in_flight
            waiting = self._waiting(customer_id, timelines_of)
            if whole:
                self._journeys(customer_id, timelines_of, waiting)
            for name in own:
                if why[name] is None:
                    self._alerts(judged[name], waiting if whole else None)
            if whole and all(self._settled(name) for name in own):
                self._chased(customer_id, waiting)

    def _why_not(self, contact_id: str) -> Unjudged | None:
        heard, kept = self.view.contacts.get(contact_id), self.view.kept.get(contact_id)
        if heard is not None and heard.in_flight:
            return "in_flight"
        if (heard is not None and heard.first_us < self.view.whole_since_us) or (kept is not None and kept.knows_more):
            return "beyond_the_log"
        looked_us = max(kept.written_us if kept else 0, heard.touched_us if heard else 0)
        if kept is not None and looked_us < self.terms.promised_us:
            return "earlier_promises"
        return None

    # -- outcomes

    def _outcomes(self, one: _Judged) -> None:
        """The last outcome of each clock says what a replay says now, or said at an instant within the tolerance."""
        wrong = list(self._unlike(one, one.clocks))
        at_us = self.terms.now_us - self.terms.tolerance_us
        while wrong and at_us < self.terms.now_us:
            earlier = one.reading.assessment(at_us)
            if not any(self._unlike(one, earlier.clocks)):
                return
            at_us = self.terms.now_us if earlier.wake_us is None else earlier.wake_us + 1
        for finding in wrong:
            self.found.found(finding)

    def _unlike(self, one: _Judged, clocks: Sequence[Clock]) -> Iterator[Finding]:
        contact_id, customer_id = one.timeline.contact_id, one.timeline.customer_id
        published = dict(self.view.outcomes.get(contact_id, {}))
        for clock in clocks:
            last = published.pop(_outcome_id(clock), None)
            expected = _says(clock, customer_id)
            if last is None:
                yield Finding("outcome_missing", contact_id, _name(clock), _text(expected), "none")
            elif expected != (said := _said(last)):
                different = {name for name in expected if expected[name] != said[name]}
                want, got = ({name: text[name] for name in expected if name in different} for text in (expected, said))
                yield Finding("outcome_differs", contact_id, _name(clock), _text(want), _text(got))
        for last in published.values():
            if last.reason != "superseded":
                name = f"{last.target}:{last.cycle}"
                yield Finding("outcome_without_clock", contact_id, name, "no such clock", _text(_said(last)))

    # -- the table and its instants to look again

    def _table(self, one: _Judged) -> None:
        """Whatever runs will be looked at by the time at which it changes."""
        contact_id, kept = one.timeline.contact_id, self.view.kept.get(one.timeline.contact_id)
        if one.wake_us is None:
            return
        expected = f"to be looked at by {instant_text(one.wake_us)}"
        if kept is None:
            self._find("contact_lost", contact_id, "table", expected, "the table does not have it")
        elif kept.wake_us is None or kept.wake_us > one.wake_us:
            when = "never" if kept.wake_us is None else instant_text(kept.wake_us)
            self._find("due_lost", contact_id, "due", expected, when)

    def _wake_up(self, contact_id: str) -> None:
        """When the instant to look again has passed, a wake-up is in the log, handled or not."""
        heard, kept = self.view.contacts.get(contact_id), self.view.kept.get(contact_id)
        woken_us = heard.woken_us if heard else 0
        if kept is not None and not (heard and heard.in_flight):
            self._missed(contact_id, "due", kept.wake_us, woken_us)

    def _missed(self, name: str, what: str, wake_us: int | None, woken_us: int) -> None:
        if wake_us is not None and woken_us <= wake_us < self.terms.now_us - self.terms.tolerance_us:
            last = f"the last at {instant_text(woken_us)}" if woken_us else "none"
            self._find("wake_up_missed", name, what, f"a wake-up after {instant_text(wake_us)}", last)

    # -- journeys

    def _waiting(self, customer_id: str, own: Sequence[Timeline], at_us: int | None = None) -> list[Journey]:
        """The journeys in which the customer waits."""
        tiers = self._tier_now(customer_id)
        found = journeys(customer_id, own, self.terms.policies, tiers, at_us or self.terms.now_us)
        return [journey for journey in found if journey.ended_us is None]

    def _journeys(self, customer_id: str, own: Sequence[Timeline], waiting: Sequence[Journey]) -> None:
        published = self.view.journeys.get(customer_id, {})
        said = {name: one.dead_ends for name, one in published.items() if one.state == "waiting"}
        earlier_us = self.terms.now_us - self.terms.tolerance_us
        woken_us = self.view.journeys_woken_us.get(customer_id, 0)
        self._missed(customer_id, "journey", self.view.kept_journeys.get(customer_id), woken_us)
        expected = _dead_ends_of(waiting)
        if said not in (expected, _dead_ends_of(self._waiting(customer_id, own, earlier_us))):
            self._find("journey_differs", customer_id, "journey", _waits(expected), _waits(said))

    # -- alerts

    def _settled(self, contact_id: str) -> bool:
        heard = self.view.contacts.get(contact_id)
        return heard is None or heard.touched_us <= self.terms.now_us - self.terms.tolerance_us

    def _alerts(self, one: _Judged, waiting: Sequence[Journey] | None) -> None:
        """Whoever is overdue is paged, and whatever fires has a reason. `waiting` None: their journeys are unknown."""
        contact_id = one.timeline.contact_id
        if not self._settled(contact_id):
            self._unjudged("settling")
            return
        for clock in one.clocks:
            self._paged(clock)
        allowed = _allowed(one.clocks)
        for journey in waiting or ():
            for attempt in journey.attempts:
                if attempt.contact_id == contact_id and attempt.dead_end_us is not None:
                    allowed[record_id(contact_id, "dead_end")] = {"dead_end"}
                    self._dead_end(contact_id, attempt.dead_end_us)
        for alert_id, customer_id, firing in self._firing.get(contact_id, ()):
            kind = firing.record["kind"]
            if kind not in OF_CLOCKS and (kind != "dead_end" or waiting is None):
                continue
            if kind not in allowed.get(alert_id, ()):
                self._baseless(contact_id, alert_id, firing, "a clock or journey that runs")
            elif customer_id != one.timeline.customer_id:
                self._baseless(contact_id, alert_id, firing, f"customer {one.timeline.customer_id}")

    def _paged(self, clock: Clock) -> None:
        """An overdue clock has an alert, and the alert was delivered, or there is a reason."""
        if clock.ended_us is not None or clock.verdict != "broken" or clock.alerts_from_us is None:
            return
        due_us = clock.due_us or clock.stage_at_us
        said_us = max(due_us, clock.alerts_from_us, clock.bounced_us or 0)
        if said_us >= self.terms.now_us - self.terms.tolerance_us:
            return
        found = self._wanted(clock.contact_id, _outcome_id(clock), OVERDUE_KINDS, due_us, _name(clock))
        if found is not None:
            expected = f"a page, overdue since {instant_text(due_us)}"
            self._find("overdue_without_alert", clock.contact_id, _name(clock), expected, found)

    def _dead_end(self, contact_id: str, since_us: int) -> None:
        if since_us >= self.terms.now_us - self.terms.tolerance_us:
            return
        found = self._wanted(contact_id, record_id(contact_id, "dead_end"), {"dead_end"}, since_us, "dead_end")
        if found is not None:
            expected = f"a page, a dead end since {instant_text(since_us)}"
            self._find("dead_end_without_alert", contact_id, "dead_end", expected, found)

    def _wanted(
        self, contact_id: str, alert_id: str, kinds: frozenset[str] | set[str], due_us: int, clock: str
    ) -> str | None:
        """What was found in place of an alert that ought to fire; None: it fires, or there is a reason."""
        firing = [one for name, _, one in self._firing.get(contact_id, ()) if name == alert_id]
        right = [one for one in firing if one.record["kind"] in kinds]
        for one in right:
            self._delivered(contact_id, clock, alert_id, one)
        if right:
            return None
        if due_us < self.terms.alerts_from_us:
            self._excuse("before_alerts_from")
            return None
        return f"alert {alert_id} of kind {firing[0].record['kind']}" if firing else f"alert {alert_id} does not fire"

    def _delivered(self, contact_id: str, clock: str, alert_id: str, firing: Firing) -> None:
        deliveries, kind = self.view.deliveries, firing.record["kind"]
        customer = self.directory.customers.get(firing.record["customer_id"])
        receivers = self.terms.receivers_of(firing.record, customer.owner if customer else None)
        if not receivers:
            self._excuse("nobody_to_tell")
        for receiver in receivers:
            if deliveries.has(firing.record, receiver, firing.at_us):
                continue
            last, of_receiver = deliveries.last.get((alert_id, receiver)), deliveries.receivers.get(receiver)
            if last is not None and last.result == "rejected" and last.at_us >= firing.at_us:
                self._excuse("rejected")
            elif last is not None and last.result == "gave_up" and last.at_us >= firing.at_us:
                self._excuse("gave_up")
            elif of_receiver and of_receiver.result in TRIED and of_receiver.at_us >= self.terms.now_us - AWAY_US:
                self._excuse("receiver_away")
            elif self._changed_us(contact_id, firing) > self.terms.now_us - self._patience_us(receiver):
                self._excuse("receiver_gathers")
            else:
                step = f"last step {last.result} at {instant_text(last.at_us)}" if last else "no step at all"
                self._find("undelivered", contact_id, clock, f"alert {alert_id} ({kind}) with {receiver}", step)

    def _changed_us(self, contact_id: str, firing: Firing) -> int:
        heard = self.view.contacts.get(contact_id)
        return max(firing.at_us, heard.touched_us if heard else 0)

    def _patience_us(self, receiver: str) -> int:
        gathers_us = self.terms.gathering_us.get(receiver, 0)
        return gathers_us + self.terms.tolerance_us if gathers_us else 0

    def _chased(self, customer_id: str, waiting: Sequence[Journey]) -> None:
        """Somebody who asks again and again waits."""
        for alert_id, firing in self._chasing.get(customer_id, ()):
            if not waiting:
                self._baseless(customer_id, alert_id, firing, "a journey that waits")

    def of_nobody(self) -> None:
        """Outcomes and alerts of contacts of which the log knows no fact. After all groups."""
        for contact_id in sorted((self._firing.keys() | self.view.outcomes.keys()) - self._seen):
            heard, kept = self.view.contacts.get(contact_id), self.view.kept.get(contact_id)
            if heard is not None and heard.in_flight:
                self._unjudged("in_flight")
            elif kept is not None and kept.knows_more:
                self._unjudged("beyond_the_log")
            else:
                self._made_up(contact_id)

    def _made_up(self, contact_id: str) -> None:
        """What an event that the log has dropped since may have brought about is let be."""
        before = len(self.found.findings)
        for last in self.view.outcomes.get(contact_id, {}).values():
            if not self.view.whole_since_us and last.reason != "superseded":
                said = f"{last.target}:{last.cycle}"
                self._find("outcome_without_clock", contact_id, said, "a contact with events", _text(_said(last)))
        for alert_id, _, firing in self._firing.get(contact_id, ()):
            of_contact = firing.record["kind"] in OF_CLOCKS or firing.record["kind"] == "dead_end"
            if of_contact and firing.at_us >= self.view.whole_since_us:
                self._baseless(contact_id, alert_id, firing, "a contact with events")
        if len(self.found.findings) > before:
            self.suspects.add(contact_id)

    # -- what comes of it

    def _baseless(self, name: str, alert_id: str, firing: Firing, expected: str) -> None:
        kind, since = firing.record["kind"], instant_text(firing.at_us)
        self._find("alert_without_clock", name, kind, expected, f"alert {alert_id} ({kind}) fires since {since}")

    def _find(self, kind: Kind, contact: str, clock: str, expected: str, found: str) -> None:
        self.found.found(Finding(kind, contact, clock, expected, found))

    def _unjudged(self, why: Unjudged, count: int = 1) -> None:
        self.found.unjudged[why] += count

    def _excuse(self, why: Excuse) -> None:
        self.found.excused[why] += 1


def _outcome_id(clock: Clock) -> str:
    return record_id(clock.contact_id, clock.target, str(clock.cycle))


def _name(clock: Clock) -> str:
    return f"{clock.target}:{clock.cycle}"


def _says(clock: Clock, customer_id: str) -> dict[str, Any]:
    return {
        "customer_id": customer_id,
        "verdict": clock.verdict,
        "reason": clock.reason,
        "stage": clock.stage,
        "step": clock.step,
        "started_at": instant_text(clock.started_us),
        "due_at": None if clock.due_us is None else instant_text(clock.due_us),
        "ended_at": None if clock.ended_us is None else instant_text(clock.ended_us),
        "policy_version": clock.policy.version,
        "calendar_version": clock.policy.calendar.version,
    }


def _said(last: Published) -> dict[str, Any]:
    return {
        "customer_id": last.customer_id,
        "verdict": last.verdict,
        "reason": last.reason,
        "stage": last.stage,
        "step": last.step,
        "started_at": last.started_at,
        "due_at": last.due_at,
        "ended_at": last.ended_at,
        "policy_version": last.policy_version,
        "calendar_version": last.calendar_version,
    }


def _text(said: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value if value is not None else 'none'}" for name, value in said.items())


def _allowed(clocks: Sequence[Clock]) -> dict[str, set[str]]:
    """Kinds of alerts that may fire, by their ids."""
    allowed: dict[str, set[str]] = {}
    for clock in clocks:
        of_clock = clock.contact_id, clock.target, str(clock.cycle)
        if clock.ended_us is None:
            allowed[record_id(*of_clock)] = {"at_risk", *(OVERDUE_KINDS if clock.verdict == "broken" else ())}
            if clock.bounced_us is not None:
                allowed[record_id(*of_clock, "reply_bounced")] = {"reply_bounced"}
        elif clock.silently_closed and clock.settled_us is None:
            allowed[record_id(*of_clock, "silent_close")] = {"silent_close"}
    return allowed


def _dead_ends_of(waiting: Sequence[Journey]) -> dict[str, frozenset[str]]:
    return {
        journey_content(journey)["journey_id"]: frozenset(
            attempt.contact_id for attempt in journey.attempts if attempt.dead_end is not None
        )
        for journey in waiting
    }


def _waits(waiting: Mapping[str, frozenset[str]]) -> str:
    said = [f"{name} waiting, dead ends {sorted(ends) or 'none'}" for name, ends in sorted(waiting.items())]
    return "; ".join(said) or "nobody waiting"
