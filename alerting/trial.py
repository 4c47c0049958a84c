"""A test message through a receiver, as a page would go: that it fires, and that it is over.

What is said is marked as a test; nothing is written to topics.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from alerting import message, receivers, waits
from alerting.fold import Alert
from alerting.notify import Notice, notice_key
from alerting.posting import Answer, Rim, Sessions, wall
from alerting.rules import alert_id
from schemas.configuration import AlertsSpec, ReceiverSpec

CUSTOMER: Final = "heardback-test"


async def tell(spec: ReceiverSpec, alerts: AlertsSpec, now: datetime) -> list[tuple[str, Answer]]:
    """What the receiver said to a firing alert, and, where it took that, to its end. Raises ValueError where it is
    not rightly configured."""
    sessions = Sessions()
    rim = Rim(session=sessions, wall=wall, outbound_hosts=alerts.outbound_hosts)
    receiver = receivers.make(spec, rim)
    firing = _test(spec, alerts, now)
    over = message.resolved(firing, "answered", firing["at"])
    told: list[tuple[str, Answer]] = []
    try:
        for record in (firing, over):
            [answer] = await receiver.deliver([_notice(spec.name, firing, record, people=receiver.by_customer)])
            told.append((record["state"], answer))
            if answer.result != "delivered":
                break
    finally:
        await sessions.close()
    return told


def _test(spec: ReceiverSpec, alerts: AlertsSpec, now: datetime) -> Alert:
    at = now.isoformat().replace("+00:00", "Z")
    return {
        "alert_id": alert_id("test", spec.name, at), "kind": "breach", "state": "firing", "severity": "warning",
        "customer_id": CUSTOMER, "contact_id": CUSTOMER, "target": None, "policy": None, "due_at": None,
        "starts_at": at, "ends_at": None, "at": at, "resolution": None,
        "summary": f"This is a test of receiver {spec.name} by heardback alerts test. Nobody waits.",
        "labels": {}, "annotations": {"runbook_url": alerts.runbooks},
    }  # fmt: skip


def _notice(receiver: str, firing: Alert, record: Alert, *, people: bool) -> Notice:
    number = 1 if record is firing else 2
    if not people:
        replaces = ()
        return Notice(record["alert_id"], number, record, notice_key(record, number), replaces)
    wait = waits.told(None, receiver, firing, wanted=True)
    wait = wait if record is firing else waits.told(wait, receiver, record, wanted=True)
    assert wait is not None
    return Notice(wait.alert_id, wait.number, wait.record, notice_key(wait.record, wait.number))
