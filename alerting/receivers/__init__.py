"""Receivers, one small module each, and the registry that says which there are.

A new receiver is a module with a `make` and a `faults`, and one line below. When and what to send is decided
in `alerting.deliver`; a receiver only says it and reports what it was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from alerting.notify import Notice
from alerting.posting import Answer, Rim
from alerting.receivers import alertmanager, console, webhook
from schemas.configuration import ReceiverSpec


class Receiver(Protocol):
    """Somebody who can be told. `batch` notices at most are handed over at once, `resends`: what fires is
    said again and again; `by_labels`: an alert's labels name it, so that another customer's is another."""

    batch: int
    resends: bool
    by_labels: bool

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """Tells all of them and returns an answer for each. Bounded in time; raises nothing."""


class Kind(NamedTuple):
    """What a receiver's module offers: `make`, and what is `faults` in a configuration, without secrets."""

    make: Callable[[ReceiverSpec, Rim], Receiver]
    faults: Callable[[ReceiverSpec], list[str]]


KINDS: Final[Mapping[str, Kind]] = {
    "alertmanager": Kind(alertmanager.make, alertmanager.faults),
    "console": Kind(console.make, console.faults),
    "webhook": Kind(webhook.make, webhook.faults),
}


def faults(spec: ReceiverSpec) -> list[str]:
    """What is wrong with the configuration of one receiver; empty when nothing is."""
    kind = KINDS.get(spec.type)
    if kind is None:
        return [f"found receiver type {spec.type!r}, wanted one of {', '.join(KINDS)}"]
    return [f"receiver {spec.name}: {fault}" for fault in kind.faults(spec)]


def make(spec: ReceiverSpec, rim: Rim) -> Receiver:
    """The receiver that a configuration describes. Raises ValueError where `faults` finds any."""
    if found := faults(spec):
        raise ValueError("; ".join(found))
    return KINDS[spec.type].make(spec, rim)
