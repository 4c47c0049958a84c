"""What became of the page for one customer: whether somebody was told, and if not, why.

It follows from the alerts that fire now and from the promises that are broken; what fires is decided by `alerting`,
which is known here by topic `alerts` alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from streams.board.heard import Alert

State = Literal[
    "escalated", "paged", "acknowledged", "at_risk", "warned", "not_paged", "not_known", "in_time", "no_promise"
]

_WORDS: Final[dict[str, str]] = {
    "at_risk": "at risk",
    "breach": "the promise is broken",
    "escalation": "still nobody has helped",
    "reply_bounced": "our answer bounced",
    "dead_end": "a dead end: nobody will answer there",
    "chasing": "the customer asked again",
    "silent_close": "closed without an answer",
}
_GRAVITY: Final = {"warning": 0, "page": 1, "critical": 2}


class Paging(NamedTuple):
    """`words` say why, `since_us` since when (None: nothing has happened), `alert` which alert says so."""

    state: State
    words: str
    since_us: int | None
    alert: Alert | None


class Late(NamedTuple):
    """A promise that was broken and is still owed, since when, and whether it may alert (C8)."""

    since_us: int
    alerts: bool


def paging_of(
    alerts: Iterable[Alert], late: Sequence[Late], *, alerts_from_us: int | None, told_since_us: int, promised: bool
) -> Paging:
    """What was due before `alerts_from_us` is never paged; of what was paged before `told_since_us` nothing is known
    any more. `promised`: whether anything is promised at all."""
    firing = sorted(alerts, key=lambda alert: (-_GRAVITY.get(alert.severity, 0), alert.starts_us))
    pages = [alert for alert in firing if alert.severity != "warning"]
    untaken = [alert for alert in pages if alert.acknowledged_us is None]
    if untaken:
        gravest = untaken[0]
        return Paging("escalated" if gravest.kind == "escalation" else "paged", _words(gravest), gravest.at_us, gravest)
    if pages:
        last = max(pages, key=lambda alert: alert.acknowledged_us or 0)
        words = f"by {last.acknowledged_by}" if last.acknowledged_by else _words(last)
        return Paging("acknowledged", words, last.acknowledged_us, last)
    if late and not firing and all(one.since_us < told_since_us for one in late):
        return Paging("not_known", "what was paged is longer ago than the topics remember", None, None)
    if late:
        return Paging("not_paged", _why_not(late, alerts_from_us), None, firing[0] if firing else None)
    if firing:
        gravest = firing[0]
        state: State = "at_risk" if gravest.kind == "at_risk" else "warned"
        return Paging(state, _words(gravest), gravest.at_us, gravest)
    if not promised:
        return Paging("no_promise", "no clock runs: no policy covers it, or it was closed", None, None)
    return Paging("in_time", "within the promise", None, None)


def _words(alert: Alert) -> str:
    return _WORDS.get(alert.kind, alert.kind.replace("_", " "))


def _why_not(late: Sequence[Late], alerts_from_us: int | None) -> str:
    if alerts_from_us is not None and all(one.since_us < alerts_from_us for one in late):
        return "due before alerts began (alerts.from)"
    if not any(one.alerts for one in late):
        return "the first response comes first: nothing else alerts (C8)"
    return "no page has come yet"
