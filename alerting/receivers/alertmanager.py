"""Alerts to Alertmanager's API v2, every replica of it, again and again while they fire.

An alert's labels are its name there: `alertname` (`Heardback` and the kind in camel case: `HeardbackAtRisk`,
`HeardbackReplyBounced` ...), `alert_id`, `kind`, `severity`, `customer_id`, `contact_id`, `policy`, and those
of the record (tier, channel, queue, priority, target) as they were when this kind fired. When kind or severity
change, so does the set of labels: the old one is ended in the same request. Grouping is Alertmanager's.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

import orjson

from alerting import outbound
from alerting.notify import Notice
from alerting.posting import Answer, Rim, post
from schemas.configuration import ReceiverSpec

TAKES: Final = frozenset({"urls", "allow_private"})
PATH: Final = "/api/v2/alerts"
OUTLIVES_RESENDS: Final = 5
"""How many times the interval of saying it again an alert lives when nobody says it any more."""

OTHERS_SECONDS: Final = 2.0
"""How long the other replicas are waited for once one has the alerts."""

_INVALID: Final = re.compile(r"[^a-zA-Z0-9_]|^(?=[0-9])")
_NAMES: Final = ("alert_id", "kind", "severity", "customer_id", "contact_id", "policy")
_TRIED: Final = ("delivered", "unknown", "not_taken", "rejected")


class Alertmanager:
    """All replicas together: one that takes an alert is enough, the others hear it when it is said again."""

    batch = 128
    resends = True
    by_labels = True
    by_customer = False

    def __init__(self, spec: ReceiverSpec, rim: Rim) -> None:
        self._spec = spec
        self._rim = rim
        self._urls = [url.rstrip("/") + PATH for url in spec.urls]
        self._lives = timedelta(seconds=OUTLIVES_RESENDS * rim.resend_seconds)

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """One request to each replica; one a notice where a replica refuses one of them (it has stored the
        good ones and does not say which)."""
        posting = [asyncio.create_task(self._to_replica(url, notices)) for url in self._urls]
        try:
            return _best(await self._answers(posting, len(notices)))
        finally:
            for task in posting:
                task.cancel()

    async def _answers(self, posting: list[asyncio.Task[list[Answer]]], count: int) -> list[list[Answer]]:
        pending, limit = set(posting), None
        while pending:
            done, pending = await asyncio.wait(pending, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                break
            if any(answer.result == "delivered" for task in done for answer in task.result()):
                limit = OTHERS_SECONDS
        late = [Answer(result="unknown", detail="no answer in time", away=True)] * count
        return [task.result() if task.done() else late for task in posting]

    async def _to_replica(self, url: str, notices: Sequence[Notice]) -> list[Answer]:
        answer = await self._post(url, notices)
        if answer.result != "rejected" or len(notices) == 1:
            return [answer] * len(notices)
        return [await self._post(url, [notice]) for notice in notices]

    async def _post(self, url: str, notices: Sequence[Notice]) -> Answer:
        wall = self._rim.wall()
        body = orjson.dumps([alert for notice in notices for alert in self._alerts(notice, wall)])
        session = self._rim.session(self._spec.allow_private)
        return await post(session, url, body, {"Content-Type": "application/json"}, self._spec.timeout_seconds)

    def _alerts(self, notice: Notice, wall: datetime) -> list[dict[str, Any]]:
        """The notice, after the ends of what it replaces."""
        now = [_alert(notice.record, wall, self._lives)]
        before = [_alert(record, wall, None) for record in notice.replaces]
        return [alert for alert in before if alert["labels"] != now[0]["labels"]] + now


def _alert(record: Mapping[str, Any], wall: datetime, lives: timedelta | None) -> dict[str, Any]:
    """One alert as the API wants it; `lives` None ends it. heardback's clock may be ahead of theirs: nothing
    begins or ends later than now."""
    starts = min(datetime.fromisoformat(record["starts_at"]), wall)
    if record["ends_at"] is not None:
        ends = max(starts, min(datetime.fromisoformat(record["ends_at"]), wall))
    else:
        ends = wall if lives is None else wall + lives
    alert = {
        "labels": labels(record),
        "annotations": {"summary": record["summary"], **record["annotations"]},
        "startsAt": starts.isoformat(),
        "endsAt": ends.isoformat(),
    }
    if "board_url" in record["annotations"]:
        alert["generatorURL"] = record["annotations"]["board_url"]
    return alert


def labels(record: Mapping[str, Any]) -> dict[str, str]:
    """What names an alert there; only valid names, and nothing without a value."""
    camel = "".join(part.capitalize() for part in record["kind"].split("_"))
    named = {"alertname": f"Heardback{camel}", **{name: record[name] for name in _NAMES if record[name]}}
    return {**{_INVALID.sub("_", name): value for name, value in record["labels"].items() if value}, **named}


def _best(by_replica: Sequence[Sequence[Answer]]) -> list[Answer]:
    """For each notice the best answer of any replica; a refusal only where no replica may still take it."""
    return [min(answers, key=lambda answer: _TRIED.index(answer.result)) for answers in zip(*by_replica, strict=True)]


def faults(spec: ReceiverSpec, hosts: Sequence[str] | None) -> list[str]:
    """At least one address."""
    found = [] if spec.urls else ["found no urls, wanted those of every replica"]
    return found + outbound.faults(spec.urls, hosts, allow_private=spec.allow_private)


def make(spec: ReceiverSpec, rim: Rim) -> Alertmanager:
    """The Alertmanager of a configuration without `faults`."""
    return Alertmanager(spec, rim)
