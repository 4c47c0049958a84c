"""Watches a timeline being read, and notes what each fact did to the clocks.

It compares the reading before and after each fact, so that no rule is stated a second time here.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Final, NamedTuple

from schemas.policies import Span, TargetName
from streams.engine import timeline as facts
from streams.engine.clocks import RESPONSES, Running
from streams.engine.explain.explanation import Mark
from streams.engine.policy import Attributes, Policies, Policy
from streams.engine.reading import Reading
from streams.engine.timeline import Fact

Key = tuple[int, str, str]  # a fact's instant, source and id
Name = tuple[TargetName, int]  # a clock's target and cycle
CHANGES: Final = frozenset({facts.UPDATED, facts.CUSTOMER_CHANGED})


class Pause(NamedTuple):
    """A pause of the contact: since when, why, and who set it."""

    at_us: int
    reason: str | None
    agent_id: str | None


class _Seen(NamedTuple):
    """A clock between two facts."""

    attributes: Attributes
    policy: Policy | None
    span: Span | None
    paused_us: int | None
    taken_back: int
    ended_us: int | None
    settled_us: int | None


def key_of(item: Fact) -> Key:
    """What names a fact here; a queue's change by assignment goes by the assignment."""
    return item.at_us, item.source, item.id


class Witness:
    """Called by the reading after each fact. `effects` by fact, `marks` by clock, what it was `ended_by`, the contact's
    `pauses`, and `before_the_customer`: what came before the customer first wrote (C4)."""

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        self.effects: dict[Key, list[tuple[str, Name]]] = defaultdict(list)
        self.marks: dict[Name, list[Mark]] = defaultdict(list)
        self.pauses: list[Pause] = []
        self.before_the_customer: set[Key] = set()
        self.clocks: dict[Name, Running] = {}
        self.ended_by: dict[Name, Fact] = {}
        self.attributes: Attributes | None = None
        self.answered_us: int | None = None
        self.resolved = False
        self._before: dict[Name, _Seen] = {}
        self._paused_us: int | None = None
        self._changes: list[Fact] = []

    def __call__(self, item: Fact | None, reading: Reading) -> None:
        causes = self._changes if item is None else [item]
        if item is None:
            self._changes = []
        elif item.type in CHANGES:
            self._changes = [*self._changes, item]
        if self.attributes is None:
            self.attributes = reading.attributes
        started = self._compare(causes, reading)
        if item is not None:
            self._note_pause(item, reading)
            self._note_message(item, reading, started)
            if not reading.written:
                self.before_the_customer.add(key_of(item))
        elif reading.attributes != self.attributes:
            self._note_too_late(causes, reading)
            self.attributes = reading.attributes
        self.answered_us, self.resolved = reading.answered_us, reading.resolved

    def _compare(self, causes: list[Fact], reading: Reading) -> list[Name]:
        started = []
        for running in reading.clocks:
            name = (running.target, running.cycle)
            after, before = _seen(running), self._before.get(name)
            self._before[name] = after
            if before is None:
                started.append(name)
                self.clocks[name] = running
                self._effect(causes, "starts", name)
                self._mark_start(causes, running)
            elif before != after:
                self._note_difference(causes, running, before, after)
        return started

    def _note_difference(self, causes: list[Fact], running: Running, before: _Seen, after: _Seen) -> None:
        name = (running.target, running.cycle)
        if before.attributes != after.attributes:
            self._note_repick(causes, running, before)
        if after.taken_back > before.taken_back:
            self._effect(causes, "bounced, so it does not end", name)
            self._note_taken_back(running)
        if before.ended_us is None and after.ended_us is not None:
            self._effect(causes, "ends", name)
            self.ended_by[name] = causes[0]
        elif before.paused_us is None and after.paused_us is not None:
            self._effect(causes, "pauses", name)
        elif before.paused_us is not None and after.paused_us is None:
            self._effect(causes, "resumes", name)
        if before.settled_us is None and after.settled_us is not None:
            self._mark(name, after.settled_us, "settled", "the customer was answered, or asked again", "C10")

    def _mark_start(self, causes: list[Fact], running: Running) -> None:
        cause = causes[0] if causes else None
        what, rule = _STARTS[running.target]
        if cause is not None and cause.type == facts.REOPENED:
            anew = running.target == "resolution"
            what, rule = ("reopened", "C11") if anew else ("reopened, still unanswered", "C10")
        self._mark((running.target, running.cycle), running.start_us, "started", what, rule)

    def _note_taken_back(self, running: Running) -> None:
        answered_us, bounced_us = running.taken_back[-1]
        name = (running.target, running.cycle)
        self._mark(name, answered_us, "answer_bounced", "answered, but the answer bounced", "C13")
        self._mark(name, bounced_us, "taken_back", "the bounce took the answer back: the clock ran on", "C13")

    def _note_repick(self, causes: list[Fact], running: Running, before: _Seen) -> None:
        name, at_us = (running.target, running.cycle), _latest(causes, running)
        changed = _changed(before.attributes, running.attributes)
        if (running.policy, running.span) != (before.policy, before.span):
            self._effect(causes, "picks the promise anew for", name)
            words = f"{changed}: {_promise(before.policy, before.span)} -> {_promise(running.policy, running.span)}"
            self._mark(name, at_us, "repicked", words, "C16")
        elif running.policy is not None and self.policies.pick(running.attributes, running.start_us) is None:
            self._mark(name, at_us, "policy_kept", f"{changed}: no policy matches, the last one stays", "C16")

    def _note_too_late(self, causes: list[Fact], reading: Reading) -> None:
        assert self.attributes is not None
        changed = _changed(self.attributes, reading.attributes)
        for running in reading.running.values():
            if running.stuck and self._would_differ(running, reading.attributes):
                words = f"{changed}, after the due instant: changes nothing, a breach sticks"
                name = (running.target, running.cycle)
                self._mark(name, _latest(causes, running), "changed_too_late", words, "C16")
                self._effect(causes, "comes too late to change", name)

    def _would_differ(self, running: Running, attributes: Attributes) -> bool:
        """Whether the change would have made another promise, had it come in time."""
        policy = self.policies.pick(attributes, running.start_us)
        if policy is None:
            return False
        return (policy, policy.span(running.target, attributes.priority)) != (running.policy, running.span)

    def _note_pause(self, item: Fact, reading: Reading) -> None:
        if item.type == facts.PAUSED and self._paused_us is None and reading.paused_us is not None:
            self.pauses.append(Pause(item.at_us, item.data.get("reason"), item.data.get("agent_id")))
        self._paused_us = reading.paused_us

    def _note_message(self, item: Fact, reading: Reading, started: list[Name]) -> None:
        if not item.is_customer_message or any(target in RESPONSES for target, _ in started):
            return
        for running in reading.running.values():
            if running.target in RESPONSES:
                name = (running.target, running.cycle)
                rule = "C7" if running.target == "next_response" else "C6"
                self._effect([item], "does not move", name)
                self._mark(name, item.at_us, "not_moved", "the customer wrote again: the clock stays as it is", rule)

    def _effect(self, causes: list[Fact], verb: str, name: Name) -> None:
        for cause in causes:
            self.effects[key_of(cause)].append((verb, name))

    def _mark(self, name: Name, at_us: int, kind: str, words: str, rule: str) -> None:
        self.marks[name].append(Mark(at_us=at_us, kind=kind, words=words, rule=rule))  # type: ignore[arg-type]


_STARTS: Final[dict[TargetName, tuple[str, str]]] = {
    "acknowledgement": ("the customer's message", "C5"),
    "first_response": ("the customer's message", "C6"),
    "next_response": ("the oldest message since we answered", "C7"),
    "resolution": ("the customer's first message", "C11"),
    "update": ("our answer: the next one is promised", "C12"),
}


def _seen(running: Running) -> _Seen:
    return _Seen(
        running.attributes,
        running.policy,
        running.span,
        running.paused_us,
        len(running.taken_back),
        running.ended_us,
        running.settled_us,
    )


def _latest(causes: list[Fact], running: Running) -> int:
    return max((cause.at_us for cause in causes), default=running.start_us)


def _changed(before: Attributes, after: Attributes) -> str:
    pairs = zip(Attributes._fields, before, after, strict=True)
    return ", ".join(f"{key} {_named(old)} -> {_named(new)}" for key, old, new in pairs if old != new)


def _promise(policy: Policy | None, span: Span | None) -> str:
    if policy is None:
        return "no policy"
    return f"{policy.name} ({span if span is not None else 'no such target'})"


def _named(value: str | None) -> str:
    return "none" if value is None else value
