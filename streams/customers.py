"""Customers as every worker knows them: the whole topic `customers`, read from its beginning and followed.

Each worker reads it by itself, outside its group, since a contact's home depends on all of it (DESIGN
section 2, point 10). Normalising and claiming identities belongs to `streams.engine.identity`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime

from pydantic import ValidationError

from schemas.customers import Customer
from schemas.topics import CUSTOMERS
from streams.engine.attributes import Tier
from streams.engine.identity import Directory, normalised
from streams.transport import Batch, LogClient, Record

Changed = Callable[[set[str]], Awaitable[None]]


class Customers:
    """The directory, with the instant at which each customer was last told of."""

    def __init__(self) -> None:
        self.directory = Directory()
        self.refused = 0
        self.version = 0  # another one whenever something was told
        self.followed: dict[int, int] = {}  # how far the topic was taken in, and acted on
        self._since_us: dict[str, int] = {}

    def tier(self, customer_id: str) -> Tier | None:
        """The customer's tier and kind, since when they were told so; None for an unknown customer."""
        known = self.directory.customers.get(customer_id)
        if known is None:
            return None
        return Tier(self._since_us.get(customer_id, 0), known.tier, known.kind)

    def tier_of(self, customer_id: str) -> str | None:
        """The customer's tier, or None."""
        known = self.directory.customers.get(customer_id)
        return known.tier if known else None

    def put(self, customer: Customer, since_us: int) -> None:
        """Add or replace a customer."""
        self.refused += len(self.directory.put(customer))
        self._since_us[customer.customer_id] = since_us

    def apply(self, batch: Batch) -> set[str]:
        """Take in a batch of the topic; returns the customers and identities that it speaks of, and the
        customers who held those identities until now."""
        changed: set[str] = set()
        self.version += 1
        for key, value, timestamp_ms in zip(batch.keys, batch.values, batch.timestamps_ms, strict=True):
            if value is None:
                if key is not None:
                    self.directory.remove(key.decode(errors="replace"))
                    changed.add(key.decode(errors="replace"))
                continue
            try:
                customer = Customer.model_validate_json(value)
            except ValidationError:
                self.refused += 1
                continue
            changed |= {customer.customer_id, *customer.identities}
            changed |= {self.directory.owner_of(identity) for identity in customer.identities}
            self.put(customer, timestamp_ms * 1_000)
        return changed

    async def load(self, client: LogClient, topic: str) -> dict[int, int]:
        """Read the topic to its end as it is now; returns where to go on."""
        position = dict(await client.begin_offsets(topic))
        async for batch in client.scan(topic):
            self.apply(batch)
            position[batch.partition] = batch.next_offset
        self.followed = dict(position)
        return position

    async def follow(self, client: LogClient, topic: str, position: dict[int, int], changed: Changed) -> None:
        """Take in whatever is appended from `position` on, for ever."""
        async for batch in client.follow(topic, position):
            await changed(self.apply(batch))
            self.followed[batch.partition] = batch.next_offset


def customer_records(customers: Iterable[Customer], at: datetime) -> list[Record]:
    """Records of topic `customers`, told at `at`."""
    timestamp_ms = int(at.timestamp() * 1_000)
    return [
        Record(
            key=customer.customer_id.encode(),
            value=customer.model_dump_json(exclude_none=True).encode(),
            timestamp_ms=timestamp_ms,
        )
        for customer in customers
    ]


def affected(directory: Directory, homes: Iterable[str], changed: set[str]) -> set[str]:
    """Customers among `homes` that were told of, or that are identities which somebody claims now."""

    def claimed(home: str) -> bool:
        return ":" in home and directory.owner_of(home) not in (home, normalised(home))

    return {home for home in homes if home in changed or claimed(home)}


__all__ = ["CUSTOMERS", "Customers", "affected", "customer_records"]
