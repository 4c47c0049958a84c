"""Several workers on Kafka, under load: killed, added, stopped for longer than their session and continued."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from urllib.request import ProxyHandler, build_opener

import pytest

from schemas.topics import CONTACT_EVENTS
from streams.transport import LogClient, by_partition, open_log
from tests.acceptance.day import Day, day, record_of
from tests.acceptance.worker import GROUPS, PARTITIONS, behind, transport
from tests.acceptance.workers import Worker, check, worker
from tests.servers.kafka import Kafka

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

CHUNK = 10
SECONDS_BETWEEN = 0.15
STREAMS = {"heardback-streams": GROUPS["heardback-streams"]}
WAITING = re.compile(r"^responsiveness_waiting_contacts\{.*\} ([0-9.e+]+)$", re.MULTILINE)


async def feed(log: LogClient, prefix: str, told: Day) -> None:
    random = Random(3)
    for start in range(0, len(told.events), CHUNK):
        records = [record_of(event, PARTITIONS, random) for event in told.events[start : start + CHUNK]]
        await log.append(prefix + CONTACT_EVENTS.name, by_partition(records, PARTITIONS))
        await asyncio.sleep(SECONDS_BETWEEN)


async def until_all_is_handled(log: LogClient, prefix: str, seconds: float = 60.0) -> None:
    calm, ends_at = 0, time.monotonic() + seconds
    while calm < 5:
        late = await behind(log, prefix, STREAMS)
        calm = 0 if late else calm + 1
        assert time.monotonic() < ends_at, f"not handled: {late}"
        await asyncio.sleep(0.2)


def waiting(workers: Sequence[Worker]) -> int:
    """Clocks that run, as all gauges together count them."""
    opener, found = build_opener(ProxyHandler({})), 0.0
    for one in workers:
        with opener.open(f"{one.url}/metrics", timeout=10) as answer:
            found += sum(map(float, WAITING.findall(answer.read().decode())))
    return int(found)


async def test_workers_that_come_and_go_lose_nothing_and_count_nobody_twice(kafka: Kafka, tmp_path: Path) -> None:
    told, prefix = day(12, 500), f"scale-{tmp_path.name}-"
    told.write(tmp_path)
    log = open_log(kafka.url, transport(prefix))
    with worker(kafka.url, prefix, tmp_path) as first, worker(kafka.url, prefix, tmp_path) as second:
        for one in (first, second):
            assert await asyncio.to_thread(one.hears, "ready")
        await log.start()
        feeding = asyncio.create_task(feed(log, prefix, told))
        await asyncio.sleep(2)
        first.kill()
        with worker(kafka.url, prefix, tmp_path) as third:
            assert await asyncio.to_thread(third.hears, "ready")
            await asyncio.sleep(1)
            second.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(transport("").session_timeout_seconds + 3)
            second.process.send_signal(signal.SIGCONT)
            await feeding
            # One that was stopped while it wrote ends, as it should, and is started again by whoever runs it.
            with worker(kafka.url, prefix, tmp_path) as fourth:
                assert await asyncio.to_thread(fourth.hears, "ready")
                await until_all_is_handled(log, prefix)
                alive = [one for one in (second, third, fourth) if one.process.poll() is None]
                assert third in alive
                open_clocks = Counter(one["ended_at"] is None for one in told.replayed().outcomes)[True]
                assert open_clocks > 0
                assert waiting(alive) == open_clocks
                for one in alive:
                    assert await asyncio.to_thread(one.stop) == 0
    await log.close()
    await check(kafka.url, prefix, told, alerting=False)
