"""A partition of the alerting worker, and one batch of it being folded. What is folded how is in `app`."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from alerting.fold import Change, Known
from alerting.notify import Entry
from alerting.rules import ended_at
from alerting.waits import Wait

CLOCK: Final = b"o:"
"""Under which a table has what is known of a clock."""

CUSTOMER: Final = b"j:"
"""Under which a table has what is known of a customer's journeys."""

HEALTH: Final = b"h:"
"""Under which a table has what is known of a cause of being blind."""

SOURCE: Final = b"s:"
"""Under which a table has what is known of a source that may be silent."""

TAKEN: Final = b"k:"
"""Under which a table has acknowledgements that came before all alerts were known again."""

FORGET_AT_ONCE: Final = 1000
Unit = TypeVar("Unit", Entry, Wait)


def key_of_clock(outcome: Mapping[str, Any]) -> bytes:
    """Under which a table has what is known of an outcome's clock."""
    return CLOCK + bytes(outcome["outcome_id"].encode())


def key_of_customer(journey: Mapping[str, Any]) -> bytes:
    """Under which a table has what is known of the journeys of a customer."""
    return CUSTOMER + bytes(journey["customer_id"].encode())


def key_of_health(health: Mapping[str, Any]) -> bytes:
    """Under which a table has what is known of a cause of being blind."""
    return HEALTH + bytes(health["cause"].encode())


def key_of_alert(acknowledgement: Mapping[str, Any]) -> bytes:
    """Under which a table knows the alert that somebody acknowledges."""
    return key_of_clock(acknowledgement) if acknowledgement.get("outcome_id") else key_of_customer(acknowledgement)


@dataclass(slots=True, eq=False)
class Home:
    """A partition that is ours. `ends`: what has to be folded before anything is delivered."""

    ends: Mapping[str, int]
    live: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ended: list[tuple[str, bytes]] = field(default_factory=list)

    def remember(self, key: bytes, known: Known) -> None:
        """Notes when something can be let go of."""
        if (instant := ended_at(known)) is not None:
            heapq.heappush(self._ended, (instant, key))

    def old(self, limit: str) -> list[bytes]:
        """What may be let go of before `limit`: some of it may have changed since."""
        found: list[bytes] = []
        while self._ended and self._ended[0][0] < limit and len(found) < FORGET_AT_ONCE:
            found.append(heapq.heappop(self._ended)[1])
        return found


@dataclass(slots=True, eq=False)
class Work:
    """One batch being folded: what it has touched, over what the table holds."""

    view: Mapping[bytes, bytes]
    changes: list[Change] = field(default_factory=list)
    knowns: dict[bytes, Known | None] = field(default_factory=dict)
    units: dict[bytes, Entry | Wait | None] = field(default_factory=dict)
    taken: dict[bytes, bytes | None] = field(default_factory=dict)

    def known(self, key: bytes) -> Known | None:
        """What is known under a key, as of now."""
        if key in self.knowns:
            return self.knowns[key]
        value = self.view.get(key)
        return None if value is None else Known.from_bytes(value)

    def tried(self, customer_id: str) -> Mapping[str, str]:
        """Since when a customer who waits has tried which channels (`rules.Tried`)."""
        known = self.known(CUSTOMER + customer_id.encode())
        return known.tried if known else {}

    def keep(self, key: bytes, known: Known | None) -> None:
        """What is known from now on; None where there was nothing needs no writing."""
        if known is not None or key in self.view or key in self.knowns:
            self.knowns[key] = known

    def unit(self, key: bytes, kind: type[Unit]) -> Unit | None:
        """An entry of the outbox, as of now."""
        if key in self.units:
            found = self.units[key]
            return found if isinstance(found, kind) else None
        value = self.view.get(key)
        return None if value is None else kind.from_bytes(value)

    def written(self) -> dict[bytes, bytes | None]:
        """The outbox first: were only a part of it durable, the rest would be folded again."""
        units = {
            key: None if unit is None or unit.finished else unit.to_bytes()
            for key, unit in self.units.items()
            if key in self.view or (unit is not None and not unit.finished)
        }
        knowns = {key: None if known is None else known.to_bytes() for key, known in self.knowns.items()}
        return {**units, **knowns, **self.taken}
