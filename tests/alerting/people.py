"""What receivers for people are told of customers, short to write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alerting.notify import Notice, notice_key
from alerting.waits import told


def customer_notice(alerts: Sequence[Mapping[str, Any]], receiver: str = "people") -> Notice:
    """What a receiver for people is told of one customer after these changes of its alerts."""
    wait = None
    for alert in alerts:
        wait = told(wait, receiver, dict(alert), wanted=True)
    assert wait is not None
    return Notice(wait.episode, wait.number, wait.record, notice_key(wait.record, wait.number))
