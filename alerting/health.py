"""The alert of kind `blind`: heardback itself cannot see, or its books disagree. Pure.

One alert for each cause, of no customer. Who finds the cause writes topic `health` (`schemas.health`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from alerting import message
from alerting.fold import Change, Known, Said
from alerting.rules import alert_id

BLIND: Final = "blind"
Content = Mapping[str, Any]


def on_health(health: Content, known: Known | None, runbook_url: str) -> tuple[list[Change], Known | None]:
    """What one record says anew, given what is `known` of its cause, and what is known then. An older record changes
    nothing, so that records may come twice."""
    name = alert_id(BLIND, health["cause"])
    said = known.alerts.get(name) if known else None
    if said is not None and _key(health["at"]) <= _key(said.record["at"]):
        return [], known
    firing = said is not None and said.firing
    if firing == (health["state"] == BLIND):
        return [], known
    record = _seeing(said.record, health) if firing and said is not None else _blind(name, health, runbook_url)
    said = Said(said.number + 1 if said else 1, health["cause"], record)
    return [Change(said.number, record)], Known(alerts={name: said})


def _blind(name: str, health: Content, runbook_url: str) -> dict[str, Any]:
    return message.of_nobody(
        name,
        BLIND,
        "page",
        health["at"],
        f"heardback cannot be relied on: {health['summary']}",
        labels={"cause": health["cause"]},
        runbook_url=runbook_url,
        explanation=health["summary"],
    )


def _seeing(record: Content, health: Content) -> dict[str, Any]:
    """What names the alert stays as it fired."""
    summary = f"heardback can be relied on again, at {message.clock_time(health['at'])}: {record['summary']}"
    return {**message.resolved(record, "answered", health["at"]), "summary": summary}


def _key(instant: str) -> str:
    """Instants as text in the order of time."""
    return instant.removesuffix("Z")
