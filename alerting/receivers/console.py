"""Alerts as lines on standard output: for the demo, and for who has nothing else yet.

It removes no repeats: after a crash a line may come twice.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from alerting.notify import Notice
from alerting.posting import DELIVERED, Answer, Rim
from schemas.configuration import ReceiverSpec

TAKES: Final = frozenset[str]()
_MARKS: Final = {"warning": "warning", "page": "PAGE", "critical": "CRITICAL"}


class Console:
    """One line a notice."""

    batch = 256
    resends = False
    by_labels = False
    by_customer = False

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """Writes and flushes; a closed pipe is somebody who may not have read it."""
        try:
            sys.stdout.write("".join(f"{line(notice)}\n" for notice in notices))
            sys.stdout.flush()
        except OSError as error:
            return [Answer(result="unknown", detail=type(error).__name__, away=True)] * len(notices)
        return [DELIVERED] * len(notices)


def line(notice: Notice) -> str:
    """`2026-11-10T10:00:00Z PAGE breach: Customer c-17 has waited ...`, without control characters."""
    record = notice.record
    mark = _MARKS[record["severity"]] if record["state"] == "firing" else record["resolution"]
    return _printable(f"{record['at']} {mark} {record['kind']}: {record['summary']}")


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)


def faults(spec: ReceiverSpec, hosts: Sequence[str] | None) -> list[str]:  # noqa: ARG001  # as the registry wants it
    """A console needs nothing."""
    return []


def make(spec: ReceiverSpec, rim: Rim) -> Console:  # noqa: ARG001  # as the registry wants it
    """The console."""
    return Console()
