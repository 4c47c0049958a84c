"""Workers that are killed: nothing acknowledged is lost, nothing is counted twice, nothing old covers new."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from streams.transport import LogClient, open_log
from tests.streams.transport.conftest import Broker, eventually
from tests.streams.transport.counting import APP_ID, PARTITIONS, count_of, counting, expected, records_for

KILLS = 4


class Worker:
    """One process of the counting job."""

    def __init__(self, broker: Broker, log: IO[str], *options: str, env: dict[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tests.streams.transport.counting", broker.url, broker.settings.topic_prefix]
        self.process = subprocess.Popen(
            [*command, *options], stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(env or {})}
        )
        self.acked: dict[int, int] = {}

    def wait_ready(self) -> None:
        for line in self._lines():
            if line == "ready":
                return
        raise AssertionError(f"the worker ended with {self.process.wait()} before it was ready")

    def kill(self) -> None:
        """SIGKILL; what it had acknowledged until then is in `acked`."""
        self.process.kill()
        for line in self._lines():
            if line.startswith("acked ") and len(words := line.split()) == 3:
                self.acked[int(words[1])] = int(words[2])
        self.process.wait()

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def _lines(self) -> Iterator[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield line.strip()


@contextmanager
def worker(broker: Broker, tmp_path: Path, *options: str, env: dict[str, str] | None = None) -> Iterator[Worker]:
    with (tmp_path / "workers.log").open("a", encoding="utf-8") as log:
        running = Worker(broker, log, *options, env=env)
        try:
            yield running
        finally:
            if running.process.poll() is None:
                running.process.send_signal(signal.SIGCONT)
                running.process.kill()
                running.process.wait()


async def counted(broker: Broker) -> dict[bytes, int]:
    """Counts once everything in the log was handled, by a last worker that is stopped in order."""
    runtime, table = counting(broker.url, broker.settings.topic_prefix)
    await runtime.start()
    await runtime.wait_ready()
    ends = await runtime.client.end_offsets(broker.name("contact-events"))
    await eventually(
        lambda: {row.partition: row.finished for row in runtime.progress()} == dict(ends), seconds=90, what="the end"
    )
    found = {key: count_of(state) for p in range(PARTITIONS) for key, state in table.partition(p).items()}
    await runtime.stop()
    await runtime.wait_closed()
    return found


async def check(broker: Broker, acked: dict[int, int]) -> None:
    """Counts, commits and the order of the changelog are what they would be without any accident."""
    found = await counted(broker)
    log = open_log(broker.url, broker.settings)
    await log.start()
    try:
        ends = dict(await log.end_offsets(broker.name("contact-events")))
        assert all(ends[partition] >= end for partition, end in acked.items()), "an acknowledged record is lost"
        assert found == {key: count for p, end in ends.items() for key, count in expected(p, end).items()}
        assert dict(await log.committed(broker.name(APP_ID), broker.name("contact-events"))) == ends
        await changelog_never_falls_back(broker, log)
    finally:
        await log.close()


async def changelog_never_falls_back(broker: Broker, log: LogClient) -> None:
    latest: dict[bytes, int] = {}
    async for batch in log.scan(f"{broker.name(APP_ID)}-counts-changelog"):
        for key, value in zip(batch.keys, batch.values, strict=True):
            assert key is not None
            assert value is not None
            assert count_of(value) >= latest.get(key, 0), f"old state of {key!r} was written over new"
            latest[key] = count_of(value)


@pytest.mark.parametrize("cython", ["", "1"], ids=["cython", "no-cython"])
async def test_kill_9_at_any_instant_loses_nothing_and_counts_nothing_twice(
    broker: Broker, tmp_path: Path, cython: str
) -> None:
    chance, acked = random.Random(cython), dict[int, int]()
    for _ in range(KILLS):
        with worker(broker, tmp_path, "--feed", env={"NO_CYTHON": cython}) as running:
            await asyncio.to_thread(running.wait_ready)
            await asyncio.sleep(chance.uniform(0.01, 0.8))
            await asyncio.to_thread(running.kill)
            acked |= running.acked
    assert sum(acked.values()) > 0
    await check(broker, acked)


@pytest.mark.kafka
@pytest.mark.parametrize("broker_url", ["kafka"], indirect=True)
async def test_partitions_of_a_killed_worker_go_to_the_other_and_a_stopped_worker_writes_nothing_old(
    broker: Broker, log: LogClient, tmp_path: Path
) -> None:
    events = broker.name("contact-events")
    pause = ("--pause", "0.05")
    with worker(broker, tmp_path, *pause) as first, worker(broker, tmp_path, *pause) as second:
        await asyncio.gather(asyncio.to_thread(first.wait_ready), asyncio.to_thread(second.wait_ready))
        feeding = asyncio.create_task(feed_slowly(log, events))
        await asyncio.sleep(2)
        first.kill()
        with worker(broker, tmp_path, *pause) as third:
            await asyncio.to_thread(third.wait_ready)
            await asyncio.sleep(1)
            second.signal(signal.SIGSTOP)
            await asyncio.sleep(broker.settings.session_timeout_seconds + 3)
            second.signal(signal.SIGCONT)
            await asyncio.sleep(2)
            feeding.cancel()
            # 1: it was stopped in the middle of a write that nobody acknowledged, and ends, as it should
            for running, statuses in ((second, (0, 1)), (third, (0,))):
                running.signal(signal.SIGTERM)
                assert await asyncio.to_thread(running.process.wait, 60) in statuses
    await check(broker, {})


async def feed_slowly(log: LogClient, topic: str) -> None:
    ends = dict(await log.end_offsets(topic))
    while True:
        for partition in range(PARTITIONS):
            await log.append(topic, {partition: records_for(partition, ends[partition], 40)})
            ends[partition] += 40
        await asyncio.sleep(0.02)
