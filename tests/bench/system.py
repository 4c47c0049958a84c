"""The whole system, alerts and their delivery included, in a process of its own.

It answers once it is ready to page; told to catch up, it answers when everything in its topics is folded; told to
stop, it stops. On the real clock.
"""

from __future__ import annotations

import asyncio
import gc
import time
from datetime import UTC, datetime
from typing import Any, Final

from schemas.topics import CONTACT_EVENTS, DELIVERIES, JOURNEYS, OUTCOMES
from streams import settings
from streams.commands.running import ALERTING, STREAMS, Place, System
from tests.bench import workload
from tests.bench.child import say, told
from tests.bench.worker import resident_bytes

LOOK_SECONDS: Final = 0.05
READ: Final = (CONTACT_EVENTS.name, OUTCOMES.name, JOURNEYS.name, DELIVERIES.name)


async def work(orders: dict[str, Any]) -> None:
    """Runs until told to stop."""
    configuration = settings.parse(orders["configuration"].encode(), file="bench")
    transport = workload.transport()
    roles = orders.get("roles", [STREAMS, ALERTING])
    place = Place(broker_url=orders["url"], port=0, transport=transport)
    system = System(place, configuration, roles=roles, now=lambda: _now(orders))
    gc.collect()
    before_bytes, began, began_cpu = resident_bytes(), time.monotonic(), time.process_time()
    await system.start()
    await system.wait_ready()
    while system.alerting is not None and len(system.alerting.live) < transport.partitions:
        await asyncio.sleep(LOOK_SECONDS)
    gc.collect()
    say(ready_seconds=time.monotonic() - began, ready_cpu_seconds=time.process_time() - began_cpu,
        ready_bytes=resident_bytes() - before_bytes, url=system.url, **_tables(system))  # fmt: skip
    while (await asyncio.to_thread(told))["do"] == "catch up":
        await _caught_up(system)
        say(**_tables(system))
    await system.stop()
    say()


def _now(orders: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(orders["now"]) if "now" in orders else datetime.now(UTC)


async def _caught_up(system: System) -> None:
    runtimes = list(system._runtimes())
    client = await system.client()
    quiet = 0
    while quiet < 3:  # what one topic brings forth is a moment later in the next
        await asyncio.sleep(LOOK_SECONDS)
        ends = {name: dict(await client.end_offsets(name)) for name in READ}
        behind = [p for runtime in runtimes for p in runtime.progress()
                  if p.topic in ends and p.finished != ends[p.topic][p.partition]]  # fmt: skip
        quiet = 0 if behind else quiet + 1


def _tables(system: System) -> dict[str, Any]:
    assert system.streams is not None
    track = system.streams.track
    views = [table.partition(number) for number in track.homes for table in (track.desk.contacts, track.desk.journeys)]
    contacts = sum(len(track.desk.contacts.partition(number)) for number in track.homes)
    return {"table_bytes": sum(len(k) + len(v) for view in views for k, v in view.items()), "contacts": contacts}


if __name__ == "__main__":
    asyncio.run(work(told()))
