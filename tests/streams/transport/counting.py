"""A small durable job in a process of its own, for tests that kill it: counts records per key.

`python -m tests.streams.transport.counting URL PREFIX [--feed] [--pause SECONDS]`. A record's value is its
partition and offset. State is the last offset seen for a key and how many were counted; a record at or
before the last offset was counted already. A lost record leaves a count too low, old state over new leaves
a changelog in which a count falls. Prints `ready` and, while feeding, `acked PARTITION END`.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys

from schemas.topics import CONTACT_EVENTS, OUTCOMES
from streams.transport import Batch, BulkTable, Record, Runtime, TransportSettings, create_app

KEYS = 20
CHUNK = 50
PARTITIONS = 3
APP_ID = "counting"


def settings_for(prefix: str) -> TransportSettings:
    return TransportSettings(
        topic_prefix=prefix, partitions=PARTITIONS, batch_records=200, commit_interval_seconds=0.05,
        session_timeout_seconds=6.0, request_timeout_seconds=5.0,
    )  # fmt: skip


def records_for(partition: int, start: int, count: int) -> list[Record]:
    return [
        Record(key=b"%d-%d" % (partition, offset % KEYS), value=b"%d:%d" % (partition, offset))
        for offset in range(start, start + count)
    ]


def expected(partition: int, end: int) -> dict[bytes, int]:
    """Counts by key, once every record of a partition was counted."""
    keys = min(end, KEYS)
    return {b"%d-%d" % (partition, key): (end - key + KEYS - 1) // KEYS for key in range(keys)}


def count_of(state: bytes) -> int:
    return int(state.split(b" ")[1])


def counting(url: str, prefix: str, *, pause_seconds: float = 0.0) -> tuple[Runtime, BulkTable]:
    """The job as a runtime, and its table."""
    runtime = create_app(APP_ID, url, topics=(CONTACT_EVENTS, OUTCOMES), settings=settings_for(prefix))
    table = runtime.table("counts")

    async def count(batch: Batch) -> None:
        states = dict(table.partition(batch.partition))
        changed: dict[bytes, bytes] = {}
        for offset, key, value in zip(batch.offsets, batch.keys, batch.values, strict=True):
            assert key is not None
            assert value == b"%d:%d" % (batch.partition, offset)
            last, counted = map(int, states.get(key, b"-1 0").split(b" "))
            if offset > last:
                states[key] = changed[key] = b"%d %d" % (offset, counted + 1)
        out = [Record(key=key, value=state) for key, state in changed.items()]
        await runtime.send("outcomes", {batch.partition: out}, fence=batch.fence)
        await asyncio.sleep(pause_seconds)
        await table.write(batch.partition, changed, fence=batch.fence)

    runtime.agent("contact-events", count)
    return runtime, table


async def feed(runtime: Runtime) -> None:
    topic = runtime.topic_name("contact-events")
    ends = dict(await runtime.client.end_offsets(topic))
    while True:
        for partition in range(PARTITIONS):
            await runtime.client.append(topic, {partition: records_for(partition, ends[partition], CHUNK)})
            ends[partition] += CHUNK
            print("acked", partition, ends[partition], flush=True)


async def work(url: str, prefix: str, feeding: bool, pause_seconds: float) -> None:
    runtime, _ = counting(url, prefix, pause_seconds=pause_seconds)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, lambda: asyncio.ensure_future(runtime.stop()))
    await runtime.start()
    await runtime.wait_ready()
    print("ready", flush=True)
    feeder = asyncio.create_task(feed(runtime)) if feeding else None
    await runtime.wait_closed()
    if feeder is not None:
        feeder.cancel()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("prefix")
    parser.add_argument("--feed", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(work(given.url, given.prefix, given.feed, given.pause))


if __name__ == "__main__":
    main()
