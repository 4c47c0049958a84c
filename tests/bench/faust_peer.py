"""A stock Faust table recovered from its changelog: how long from the start of the app until it is ready.

A process of its own. Its keys and values are those of our table, as bytes.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from typing import Any

import faust
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from streams.transport import LogClient, open_log
from tests.bench import workload
from tests.bench.child import say, told

APP, TABLE, SOURCE = "bench-faust", "contacts", "bench-faust-source"
CHANGELOG = f"{APP}-{TABLE}-changelog"


async def copy(orders: dict[str, Any], partitions: int) -> int:
    """The first so many records of our changelog, once each key, into the changelog of the stock table."""
    client = open_log(orders["url"], workload.transport())
    await client.start()
    admin = AIOKafkaAdminClient(bootstrap_servers=orders["bootstrap"])
    await admin.start()
    await admin.create_topics([NewTopic(name, partitions, 1) for name in (SOURCE, CHANGELOG)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=orders["bootstrap"], max_batch_size=256 * 1024)
    await producer.start()
    found = await _some(client, orders["changelog"], orders["count"])
    for key, (value, partition) in found.items():
        await producer.send(CHANGELOG, key=key, value=value, partition=partition)
    await producer.stop()
    await client.close()
    return len(found)


async def _some(client: LogClient, changelog: str, count: int) -> dict[bytes, tuple[bytes, int]]:
    found: dict[bytes, tuple[bytes, int]] = {}
    async for batch in client.scan(changelog):
        for key, value in zip(batch.keys, batch.values, strict=True):
            if key is not None and value is not None and len(found) < count:
                found[key] = value, batch.partition
    return found


async def recover(orders: dict[str, Any], partitions: int) -> tuple[float, int]:
    """Seconds from start to recovered, and how many keys there were."""
    with tempfile.TemporaryDirectory() as folder:
        app = faust.App(
            APP, broker=f"kafka://{orders['bootstrap']}", store="memory://", datadir=folder, web_enabled=False,
            topic_partitions=partitions, topic_replication_factor=1, topic_allow_declare=False,
        )  # fmt: skip
        table = app.Table(TABLE, key_type=bytes, value_type=bytes, partitions=partitions)
        recovered = asyncio.Event()

        @app.agent(app.topic(SOURCE, value_type=bytes))
        async def agent(stream: Any) -> None:
            async for _ in stream:
                pass

        @app.on_rebalance_complete.connect
        async def complete(*_: Any, **__: Any) -> None:
            recovered.set()

        began = time.monotonic()
        await app.start()
        await recovered.wait()
        spent, keys = time.monotonic() - began, len(table)
        await app.stop()
        return spent, keys


async def main() -> None:
    """One order, one answer."""
    orders, partitions = told(), workload.transport().partitions
    copied = await copy(orders, partitions)
    seconds, keys = await recover(orders, partitions)
    say(seconds=seconds, keys=keys, copied=copied)


if __name__ == "__main__":
    asyncio.run(main())
