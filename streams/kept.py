"""Contacts as the changelog of table `contacts` keeps them, for a process that does not hold their partition.

A contact can be explained only beside all others of its customer (merges, links, journeys), so that a whole home is
read, from the one partition that it lives in where the customer is known, else from all. Whoever holds the partition
answers from the table (`streams.track.agent`); this reads for seconds and is for the few who look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from streams.customers import Customers
from streams.engine.attributes import Tier
from streams.engine.calendar import to_us
from streams.engine.explain import explain, to_json
from streams.engine.policy import Policies
from streams.engine.timeline import Contact
from streams.track.state import decode_contact, decode_header
from streams.transport import LogClient, Pace, partition_for


class Kept:
    """Explains contacts of any partition. `changelog` is the full name of the topic; `customer_of` whose a contact is,
    where that is known; `customers` the directory of this process. One is read at a time, for others wait."""

    def __init__(
        self,
        client: Callable[[], LogClient],
        changelog: str,
        policies: Policies,
        customers: Callable[[], Customers],
        customer_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._client, self._changelog, self._policies = client, changelog, policies
        self._customers, self._customer_of = customers, customer_of
        self._reading = asyncio.Lock()

    async def explain(self, contact_id: str, at: datetime) -> dict[str, Any] | None:
        """Why each clock of a contact says what it says, as JSON; None: it is not kept. Raises TransportError."""
        async with self._reading:
            group = await group_of(self._client(), self._changelog, contact_id, self._customer_of(contact_id))
        found = explain(contact_id, group, self._policies, self._tiers_of, to_us(at)) if group else None
        return to_json(found) if found else None

    def _tiers_of(self, customer_id: str) -> Sequence[Tier]:
        tier = self._customers().tier(customer_id)
        return [tier] if tier else []


async def group_of(client: LogClient, changelog: str, contact_id: str, customer_id: str | None) -> dict[str, Contact]:
    """A contact and all others of the home that it lives in, or nothing where it is not kept. `customer_id`: whose
    it is, where that is known. Raises TransportError."""
    begins = await client.begin_offsets(changelog)
    if not begins:
        return {}  # no worker has ever run here
    if customer_id is None:
        found = await _homes_of(client, changelog, begins, contact_id)
    else:
        number = partition_for(customer_id.encode(), len(begins))
        found = {number: customer_id} if number in begins else {}
    for partition, home in found.items():
        values = await _home(client, changelog, {partition: begins[partition]}, home)
        states = [decode_contact(value) for value in values.values()]
        living = {state.contact.contact_id: state.contact for state in states if state.moved_to is None}
        if contact_id in living:
            return living
    return await group_of(client, changelog, contact_id, None) if customer_id is not None else {}


async def _homes_of(client: LogClient, changelog: str, begins: Mapping[int, int], contact_id: str) -> dict[int, str]:
    """By partition the home that a contact lives in: a contact that moved is known in two."""
    key, homes, pace = contact_id.encode(), dict[int, str](), Pace()
    async for batch in client.scan(changelog, begins):
        for found, value in zip(batch.keys, batch.values, strict=True):
            if found == key and value is not None:
                homes[batch.partition] = decode_header(value).home
            elif found == key:
                homes.pop(batch.partition, None)
            await pace()
    return homes


async def _home(client: LogClient, changelog: str, start: Mapping[int, int], home: str) -> dict[bytes, bytes]:
    """The last value of each contact of one home."""
    values, pace = dict[bytes, bytes](), Pace()
    async for batch in client.scan(changelog, start):
        for key, value in zip(batch.keys, batch.values, strict=True):
            if key is None:
                continue
            if value is not None and decode_header(value).home == home:
                values[key] = value
            else:
                values.pop(key, None)  # gone, or lives elsewhere now
            await pace()
    return values
