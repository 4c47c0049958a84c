"""Receivers, one small module each, and the registry that says which there are.

A new receiver is a module with `make`, `faults` and `TAKES`, and one line in `KINDS`. When and what to send is decided
in `alerting.deliver`; a receiver only says it and reports what it was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from alerting.notify import Notice
from alerting.posting import Answer, Rim
from alerting.receivers import alertmanager, apprise, console, email, pagerduty, slack, webhook
from schemas.configuration import ReceiverSpec

Hosts = Sequence[str] | None


class Receiver(Protocol):
    """Somebody who can be told. `batch` notices at most are handed over at once, `resends`: what fires is
    said again and again; `by_labels`: an alert's labels name it, so that another customer's is another;
    `by_customer`: a notice is of a customer and has a line per contact (`alerting.waits`), not of one alert."""

    batch: int
    resends: bool
    by_labels: bool
    by_customer: bool

    async def deliver(self, notices: Sequence[Notice]) -> Sequence[Answer]:
        """Tells all of them and returns an answer for each. Bounded in time; raises nothing."""


class Kind(NamedTuple):
    """What a receiver's module offers: `make`; what is `faults` in a configuration, without secrets; the
    settings that it `takes` beside those that all have; and the seconds in which it gets one message at most,
    where it gets digests."""

    make: Callable[[ReceiverSpec, Rim], Receiver]
    faults: Callable[[ReceiverSpec, Hosts], list[str]]
    takes: frozenset[str]
    digest_seconds: float | None = None


def _kind(module: Any) -> Kind:
    return Kind(module.make, module.faults, module.TAKES, getattr(module, "DIGEST_SECONDS", None))


KINDS: Final[Mapping[str, Kind]] = {
    "alertmanager": _kind(alertmanager),
    "apprise": _kind(apprise),
    "console": _kind(console),
    "email": _kind(email),
    "pagerduty": _kind(pagerduty),
    "slack": _kind(slack),
    "webhook": _kind(webhook),
}
_ALL_HAVE: Final = frozenset({"type", "name", "timeout_seconds", "retry_for"})


def faults(spec: ReceiverSpec, hosts: Hosts = None) -> list[str]:
    """What is wrong with the configuration of one receiver, which may only be at these `hosts` (None: any);
    empty when nothing is."""
    kind = KINDS.get(spec.type)
    if kind is None:
        return [f"found receiver type {spec.type!r}, wanted one of {', '.join(KINDS)}"]
    takes = kind.takes | _ALL_HAVE | ({"digest_every"} if kind.digest_seconds else set())
    useless = sorted(spec.model_fields_set - takes)
    found = [f"found {name}, of which {spec.type} has no use" for name in useless]
    return [f"receiver {spec.name}: {fault}" for fault in found + kind.faults(spec, hosts)]


def digest_seconds(spec: ReceiverSpec) -> float:
    """A receiver gets one message in so many seconds at most; 0: each notice at once."""
    usual = KINDS[spec.type].digest_seconds or 0.0
    return usual if spec.digest_every is None else spec.digest_every.seconds


def make(spec: ReceiverSpec, rim: Rim) -> Receiver:
    """The receiver that a configuration describes. Raises ValueError where `faults` finds any."""
    if found := faults(spec, rim.outbound_hosts):
        raise ValueError("; ".join(found))
    return KINDS[spec.type].make(spec, rim)
