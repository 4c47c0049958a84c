"""The stream processors alone, in a process of its own, until everything in the log is done.

Its clock follows the log: `now` is the append time that every partition has come to, and the given end once the
log has been read. So wake-ups come about while it works, and nothing is left to do at the end.
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import math
import pstats
import resource
import sys
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry

from schemas.topics import CONTACT_EVENTS
from streams import settings
from streams.app import Streams
from streams.engine.calendar import to_us
from streams.metrics import Metrics
from tests.bench import workload
from tests.bench.child import say, told

LOOK_SECONDS: Final = 0.1
Steps = Mapping[int, Sequence[tuple[int, float]]]


class LogClock:
    """`steps` has, by partition, some offsets and when they were appended (seconds since 1970)."""

    def __init__(self, steps: Steps, start: datetime, until: datetime) -> None:
        self._steps = steps
        self._until = until
        self._now = start
        self.streams: Streams | None = None

    def __call__(self) -> datetime:
        finished = {}
        for progress in self.streams.runtime.progress() if self.streams else ():
            if progress.topic.endswith(CONTACT_EVENTS.name):
                finished[progress.partition] = progress.finished or 0
        if finished.keys() >= self._steps.keys():
            reached = min(self._reached(self._steps[number], finished[number]) for number in self._steps)
            self._now = max(self._now, reached)
        return self._now

    def _reached(self, steps: Sequence[tuple[int, float]], offset: int) -> datetime:
        passed = bisect_right(steps, (offset, math.inf))
        if passed == len(steps):
            return self._until
        return datetime.fromtimestamp(steps[passed - 1][1], UTC) if passed else self._now


def steps(records: Mapping[int, Sequence[Any]], each: int = 500) -> dict[int, list[tuple[int, float]]]:
    """Every so many offsets of what will be appended to an empty topic, and the last ones."""
    found = {}
    for number, own in records.items():
        offsets = sorted({*range(each, len(own), each), len(own)})
        found[number] = [(offset, own[offset - 1].timestamp_ms / 1_000) for offset in offsets]
    return found


async def work(orders: dict[str, Any]) -> dict[str, Any]:
    """CPU seconds from the start to the last wake-up handled, and what it came to."""
    start, until = datetime.fromisoformat(orders["start"]), datetime.fromisoformat(orders["until"])
    clock = LogClock({int(number): [tuple(step) for step in own] for number, own in orders["steps"].items()},
                     start, until)  # fmt: skip
    streams = Streams(
        orders["url"],
        settings.parse(orders["configuration"].encode(), file="bench"),
        now=clock,
        metrics=Metrics(CollectorRegistry(), worst_customers=5, now=clock),
        transport=workload.transport(orders["prefix"], orders.get("share", 1)),
    )
    clock.streams = streams
    gc.collect()
    before_bytes, began = resident_bytes(), time.process_time()
    started = time.monotonic()
    await streams.start()
    await streams.runtime.wait_ready()
    ready_seconds = time.monotonic() - started
    ready_bytes = resident_bytes()
    await _all_done(streams, to_us(until))
    spent = time.process_time() - began
    table_bytes, contacts = _table_bytes(streams)
    await streams.stop()
    return {"cpu_seconds": spent, "wall_seconds": time.monotonic() - started, "contacts": contacts,
            "ready_seconds": ready_seconds, "ready_bytes": ready_bytes - before_bytes,
            "table_bytes": table_bytes}  # fmt: skip


async def _all_done(streams: Streams, until_us: int) -> None:
    topic = streams.runtime.topic_name(CONTACT_EVENTS.name)
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        ends = await streams.runtime.client.end_offsets(topic)
        found = {p.partition: p.finished for p in streams.runtime.progress() if p.topic == topic}
        due = (wake_us for home in streams.track.homes.values() for _, wake_us in home.due)
        if found == dict(ends) and not any(wake_us < until_us for wake_us in due):
            return


def _table_bytes(streams: Streams) -> tuple[int, int]:
    size = count = 0
    for number in streams.track.homes:
        for table in (streams.track.desk.contacts, streams.track.desk.journeys):
            size += sum(len(key) + len(value) for key, value in table.partition(number).items())
        count += len(streams.track.desk.contacts.partition(number))
    return size, count


def resident_bytes() -> int:
    """Memory of this process that is in RAM (Linux)."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def main() -> None:
    """One order, one answer; with `profile`, where the time went is on standard error."""
    orders = told()
    if not orders.get("profile"):
        say(**asyncio.run(work(orders)))
        return
    profile = cProfile.Profile()
    say(**profile.runcall(asyncio.run, work(orders)))
    pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)


if __name__ == "__main__":
    main()
