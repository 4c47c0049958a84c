"""What fires, as topic `alerts` says it: for whoever acknowledges a page by the id that they were told. Pure.

Reading the topic belongs to whoever composes; what an acknowledgement does is decided in `rules`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from alerting.waits import episode, without_number

ENDED_KEPT: Final = 10_000
EPISODES_KEPT: Final = 50_000


class Fired(NamedTuple):
    """An alert that fires: the partition that it is told in, and its last record."""

    partition: int
    record: Mapping[str, Any]


class Firing:
    """Everything that fires now, what ended of late, and the incidents that `receivers` may have opened for
    customers, by the names that they were given (`alerting.waits`)."""

    def __init__(self, receivers: Sequence[str] = ()) -> None:
        self._receivers = receivers
        self._fired: dict[str, Fired] = {}
        self._of_customer: dict[str, set[str]] = {}
        self._ended: dict[str, None] = {}
        self._episodes: dict[str, str] = {}

    def take(self, partition: int, record: Mapping[str, Any]) -> None:
        """Folds one record of the topic. Raises KeyError where it is none."""
        name, customer = record["alert_id"], record["customer_id"]
        known = self._fired.get(name)
        if record["state"] != "firing":
            if known is None or known.record["customer_id"] == customer:  # else it goes on as another customer's
                self._end(name)
            return
        if known is not None and known.record["customer_id"] != customer:
            self._end(name)
        self._ended.pop(name, None)
        self._fired[name] = Fired(partition, record)
        if customer is not None:
            self._of_customer.setdefault(customer, set()).add(name)
            for receiver in self._receivers:
                self._episodes[episode(receiver, record)] = customer
            while len(self._episodes) > EPISODES_KEPT:
                del self._episodes[next(iter(self._episodes))]

    def alert(self, alert_id: str) -> Fired | None:
        """The alert, where it fires."""
        return self._fired.get(alert_id)

    def ended(self, alert_id: str) -> bool:
        """Whether it has fired and ended, not very long ago."""
        return alert_id in self._ended

    def incident(self, name: str) -> list[Fired]:
        """What fires for the customer for whom an incident of that name was opened."""
        names = self._of_customer.get(self._episodes.get(without_number(name), ""), ())
        return [self._fired[one] for one in sorted(names)]

    def _end(self, name: str) -> None:
        known = self._fired.pop(name, None)
        if known is not None and (customer := known.record["customer_id"]) is not None:
            others = self._of_customer[customer]
            others.discard(name)
            if not others:
                del self._of_customer[customer]
        self._ended[name] = None
        while len(self._ended) > ENDED_KEPT:
            del self._ended[next(iter(self._ended))]
