"""What a batch had published when the process ended before the tables were written.

Outcomes and journeys leave before the tables (DESIGN section 2, point 5). After a crash in between, the same facts
are handled again, but perhaps in other batches: were it not known what was said, an outcome that is no more would
stand for ever, and two contents would share a revision. So each batch marks the first and the last record it publishes
with how far it and all before it reach in the log of events, and whoever gets the partition reads what reaches beyond
the acknowledged end: mostly the last record says that nothing does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from streams.engine.calendar import to_us
from streams.transport import LogClient, Record

REACH: Final = "heardback.reach"
BACK_AT_ONCE: Final = 1_000
Content = dict[str, Any]


@dataclass(slots=True)
class Told:
    """What was published of one contact or customer, by the id of each record, the last of it of `customer`. Until
    the log has been read again up to `reach`, less is known than when it was said, and nothing of it is to be taken
    back."""

    reach: int = 0
    customer: str = ""
    contents: dict[str, Content] = field(default_factory=dict)

    @property
    def started_us(self) -> int:
        """When the first of it began."""
        return min(to_us(datetime.fromisoformat(content["started_at"])) for content in self.contents.values())

    def add(self, reach: int, key: str, content: Content) -> None:
        """The last that was said holds."""
        self.reach = max(self.reach, reach)
        self.customer = content["customer_id"]
        self.contents[key] = content


@dataclass(slots=True)
class Unkept:
    """Of one partition: outcomes by contact, journeys by customer. `reach` is the end of the furthest batch that ever
    published something."""

    reach: int = 0
    outcomes: dict[str, Told] = field(default_factory=dict)
    journeys: dict[str, Told] = field(default_factory=dict)

    def marked(self, records: Sequence[Record], end: int) -> Sequence[Record]:
        """The records of a batch that ends at `end`, the first and the last of them marked."""
        self.reach = max(self.reach, end)
        headers = [(REACH, str(self.reach).encode())]
        last = [records[-1]._replace(headers=headers)] if len(records) > 1 else []
        return [records[0]._replace(headers=headers), *records[1:-1], *last]


class _Found(NamedTuple):
    reach: int | None
    value: bytes


async def unkept(client: LogClient, partition: int, acknowledged: int, outcomes: str, journeys: str) -> Unkept:
    """What was published in these topics by batches that reach beyond `acknowledged`."""
    found = Unkept(acknowledged)
    for reach, one in await _beyond(client, outcomes, partition, acknowledged):
        found.reach = max(found.reach, reach)
        found.outcomes.setdefault(one["contact_id"], Told()).add(reach, f"{one['target']}:{one['cycle']}", one)
    for reach, one in await _beyond(client, journeys, partition, acknowledged):
        found.reach = max(found.reach, reach)
        found.journeys.setdefault(one["customer_id"], Told()).add(reach, one["journey_id"], one)
    return found


async def _beyond(client: LogClient, topic: str, partition: int, acknowledged: int) -> list[tuple[int, Content]]:
    """From the end of the topic back to the last batch that reaches no further than that; each record with how far
    its batch reaches. Reaches never fall along a topic."""
    begin, end = (await client.begin_offsets(topic))[partition], (await client.end_offsets(topic))[partition]
    found: list[_Found] = []
    while end > begin:
        start = max(begin, end - BACK_AT_ONCE)
        found = await _between(client, topic, partition, start, end) + found
        if any(one.reach is not None and one.reach <= acknowledged for one in found):
            break
        end = start
    beyond, reach = [], 0
    for one in found:
        reach = one.reach or reach
        if reach > acknowledged:
            beyond.append((reach, orjson.loads(one.value)))
    return beyond


async def _between(client: LogClient, topic: str, partition: int, start: int, end: int) -> list[_Found]:
    found: list[_Found] = []
    while start < end and (batch := await client.read(topic, partition, start, end - start)) is not None:
        for offset, headers, value in zip(batch.offsets, batch.headers, batch.values, strict=True):
            if offset < end and value is not None:
                reach = next((content for name, content in headers if name == REACH), None)
                found.append(_Found(None if reach is None else int(reach), value))
        start = batch.next_offset
    return found
