"""An explanation as JSON: the shapes of CONTRACT.md section 5, with stretches, marks and reasons beside them."""

from __future__ import annotations

from typing import Any

from streams.engine.calendar import SECOND_US
from streams.engine.explain.explanation import Absence, ExplainedClock, ExplainedFact, Explanation, Stretch
from streams.engine.outcome import instant_text, journey_content, outcome_content

Json = dict[str, Any]


def to_json(explanation: Explanation, *, summary: bool = False) -> Json:
    """Everything, instants as in outcomes. The customer's words only where `summary` asks for them."""
    end = explanation.end
    content: Json = {
        "contact_id": explanation.contact_id,
        "customer_id": explanation.customer_id,
        "at": instant_text(explanation.now_us),
        "time_zone": explanation.calendar.spec.time_zone if explanation.calendar else "UTC",
        **explanation.attributes._asdict(),
        "url": explanation.url,
        "ended": {"at": instant_text(end.at_us), "reason": end.reason} if end else None,
        "merged_into": explanation.merged_into,
        "clocks": [_clock(one, explanation) for one in explanation.clocks],
        "absent": [_absence(one) for one in explanation.absences],
        "events": [_fact(one) for one in explanation.facts],
        "journeys": [journey_content(one) for one in explanation.journeys],
    }
    return {**content, "summary": explanation.summary} if summary else content


def _clock(one: ExplainedClock, explanation: Explanation) -> Json:
    return {
        **outcome_content(one.clock, explanation.customer_id, explanation.url),
        "promised": one.promised,
        "stretches": [_stretch(stretch) for stretch in one.stretches],
        "marks": [
            {
                "at": instant_text(mark.at_us),
                "kind": mark.kind,
                "words": mark.words,
                "rule": mark.rule,
                "reached": mark.reached,
            }
            for mark in one.marks
        ],
    }


def _stretch(stretch: Stretch) -> Json:
    return {
        "from": instant_text(stretch.from_us),
        "to": instant_text(stretch.to_us),
        "length_seconds": (stretch.to_us - stretch.from_us) / SECOND_US,
        "counted": stretch.counted,
        "cause": stretch.cause,
        "detail": stretch.detail,
        "agent_id": stretch.agent_id,
    }


def _absence(one: Absence) -> Json:
    return {
        "target": one.target,
        "cause": one.cause,
        "words": one.words,
        "rule": one.rule,
        "tried": [
            {"policy": tried.policy, "key": tried.key, "wanted": list(tried.wanted), "found": tried.found}
            for tried in one.tried
        ],
    }


def _fact(one: ExplainedFact) -> Json:
    item = one.fact
    return {
        "at": instant_text(item.at_us),
        "type": item.type,
        "source": item.source,
        "id": item.id,
        "contact_id": one.contact_id,
        "counts_as": one.counts_as,
        "words": one.words,
        "rule": one.rule,
        "effects": "; ".join(one.effects) or None,
    }
