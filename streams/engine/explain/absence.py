"""Why a target has no clock (C4 to C7, C12, C14, C16 to C18)."""

from __future__ import annotations

from typing import Final

from schemas.policies import TARGETS, TargetName
from streams.engine import timeline as facts
from streams.engine.clocks import Clock, Running
from streams.engine.explain.explanation import Absence, AbsenceCause, Tried
from streams.engine.explain.marks import end_words
from streams.engine.explain.witness import Witness
from streams.engine.policy import Attributes, Policies, mismatch
from streams.engine.timeline import Timeline

_NO_MESSAGE: Final[dict[AbsenceCause, tuple[str, str]]] = {
    "inbound_bounce": ("the customer's mail was bounced by us: an attempt at a dead end, no message to answer", "C14"),
    "automated_message": ("only an automatic reply came from the customer; it starts nothing", "C18"),
    "opened_by_us": ("we opened the contact and the customer has not written", "C6"),
    "no_customer_message": ("the customer has not written in this contact", "C6"),
}


def absences(
    timeline: Timeline, clocks: tuple[Clock, ...], witness: Witness, policies: Policies
) -> tuple[Absence, ...]:
    """One for each target that has no clock, in the contract's order."""
    present = {clock.target for clock in clocks}
    return tuple(_absence(target, timeline, witness, policies) for target in TARGETS if target not in present)


def _absence(target: TargetName, timeline: Timeline, witness: Witness, policies: Policies) -> Absence:
    own = [running for running in witness.clocks.values() if running.target == target]
    if own:
        return _unpromised(target, own[-1], policies)
    if timeline.end is not None:
        cause: AbsenceCause = "merged" if timeline.end.reason == "merged" else "voided"
        words = f"{end_words(timeline)} before such a clock could start"
        return Absence(target=target, cause=cause, words=words, rule="C17")
    if not witness.clocks:
        cause = _why_no_message(timeline)
        words, rule = _NO_MESSAGE[cause]
        return Absence(target=target, cause=cause, words=words, rule=rule)
    latest = list(witness.clocks.values())[-1]
    if latest.policy is None or latest.policy.span(target, latest.attributes.priority) is None:
        return _unpromised(target, latest, policies)
    return _not_yet(target, witness)


def _unpromised(target: TargetName, running: Running, policies: Policies) -> Absence:
    """No policy covers the cycle, or the one that does promises no such thing (C16)."""
    attributes = running.attributes
    if running.policy is not None:
        words = f"policy {running.policy.name} covers the contact and promises no {target}"
        return Absence(target=target, cause="policy_has_no_such_target", words=words, rule="C16")
    tried = tuple(_tried(policies, attributes, running.start_us))
    later = [one.policy for one in tried if one.key == "effective_from"]
    shown = _shown(attributes)
    if later:
        words = f"policy {later[0]} would match {shown}, but was not in force yet"
        return Absence(target=target, cause="policy_not_in_force", words=words, rule="C16", tried=tried)
    words = f"no policy matches {shown}" if tried else "there are no policies"
    return Absence(target=target, cause="no_policy_matches", words=words, rule="C16", tried=tried)


def _tried(policies: Policies, attributes: Attributes, start_us: int) -> list[Tried]:
    tried = []
    for policy in policies.policies:
        failed = mismatch(policy.spec, attributes)
        if failed is not None:
            tried.append(Tried(policy=policy.name, key=failed.key, wanted=tuple(failed.wanted), found=failed.found))
        elif policy.effective_us > start_us:
            since, message = policy.calendar.local(policy.effective_us), policy.calendar.local(start_us)
            wanted, found = f"{since:%Y-%m-%d %H:%M}", f"{message:%Y-%m-%d %H:%M}"
            tried.append(Tried(policy=policy.name, key="effective_from", wanted=(wanted,), found=found))
    return tried


def _shown(attributes: Attributes) -> str:
    return ", ".join(f"{key} {value or 'none'}" for key, value in attributes._asdict().items())


def _why_no_message(timeline: Timeline) -> AbsenceCause:
    kinds = {item.type for item in timeline.facts}
    if any(facts.is_inbound_bounce(item) for item in timeline.facts):
        return "inbound_bounce"
    if facts.RECEIVED in kinds:
        return "automated_message"
    return "opened_by_us" if facts.OPENED in kinds else "no_customer_message"


def _not_yet(target: TargetName, witness: Witness) -> Absence:
    cause: AbsenceCause
    if witness.answered_us is None:
        cause = "never_answered"
        words = f"no human has answered yet, and {target} runs only after the first answer"
        return Absence(target=target, cause=cause, words=words, rule="C7" if target == "next_response" else "C12")
    if target == "update":
        cause, words = "answered_after_resolving", "the answer came after the contact was resolved"
        return Absence(target=target, cause=cause, words=words, rule="C12")
    words = "the customer has not written since the last answer"
    return Absence(target=target, cause="no_message_since_the_answer", words=words, rule="C7")
