"""The broker that the tests start: it serves, dies, comes back with its data, and never outlives the tests."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from tests.servers.kafka import GAVE_UP, START_SECONDS, Kafka
from tests.servers.process import ServerError, wait_until

pytestmark = pytest.mark.kafka


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that these tests may harm."""
    with Kafka(tmp_path_factory.mktemp("own-kafka")) as broker:
        yield broker


async def create_topic(broker: Kafka, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def send(broker: Kafka, topic: str, *values: bytes) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, request_timeout_ms=3_000) as producer:
        for value in values:
            await producer.send_and_wait(topic, value)


async def read(broker: Kafka, topic: str, count: int, *, group: str) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=broker.bootstrap, group_id=group, auto_offset_reset="earliest")
    async with consumer, asyncio.timeout(15):
        values = [(await consumer.getone()).value for _ in range(count)]
        await consumer.commit()
    return values


class Unlucky(Kafka):
    """The first time its groups cannot be used, and it says so."""

    starts = 0

    def prepare(self) -> None:
        super().prepare()
        self.starts += 1
        self._start_seconds = 1 if self.starts == 1 else START_SECONDS
        if self.starts == 1:
            self.log.write_bytes(GAVE_UP + b"-0 with epoch 0\n")

    def answers(self) -> bool:
        return self.starts > 1 and super().answers()


async def test_a_broker_whose_groups_cannot_be_used_is_started_once_more(tmp_path: Path) -> None:
    with Unlucky(tmp_path) as broker:
        assert broker.starts == 2
        await create_topic(broker, "again")
        await send(broker, "again", b"a")
        assert await read(broker, "again", 1, group="again") == [b"a"]


async def test_what_is_sent_is_read_by_a_consumer_group(kafka: Kafka) -> None:
    await create_topic(kafka, "servers-roundtrip")
    await send(kafka, "servers-roundtrip", b"a", b"b")
    assert await read(kafka, "servers-roundtrip", 2, group="servers-roundtrip") == [b"a", b"b"]


async def test_a_topic_is_not_created_by_asking_for_it(kafka: Kafka) -> None:
    with pytest.raises(KafkaError):
        await send(kafka, "servers-never-created", b"a")


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_broker_comes_back_on_its_address_with_its_data_and_committed_offsets(own: Kafka, end: str) -> None:
    topic, address = f"kept-{end}", own.bootstrap
    await create_topic(own, topic)
    await send(own, topic, b"before")
    assert await read(own, topic, 1, group=topic) == [b"before"]
    await asyncio.to_thread(getattr(own, end))
    assert not own.alive
    await asyncio.to_thread(own.restart)
    await send(own, topic, b"after")
    assert own.bootstrap == address
    assert await read(own, topic, 1, group=topic) == [b"after"]
    assert await read(own, topic, 2, group=f"{topic}-anew") == [b"before", b"after"]


async def test_a_paused_broker_answers_nobody_until_it_is_resumed(own: Kafka) -> None:
    await create_topic(own, "paused")
    own.pause()
    with pytest.raises((KafkaError, TimeoutError)):
        async with asyncio.timeout(3):
            await send(own, "paused", b"lost")
    await asyncio.to_thread(own.resume)
    await send(own, "paused", b"heard")


def test_a_broker_with_impossible_settings_fails_with_its_log(tmp_path: Path) -> None:
    broker = Kafka(tmp_path, settings={"num.network.threads": "0"})
    with pytest.raises(ServerError, match=r"num\.network\.threads"):
        broker.start()
    assert not broker.alive


def test_a_broker_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib; from tests.servers.kafka import Kafka\n"
        "broker = Kafka(pathlib.Path(sys.argv[1])); broker.start()\n"
        "print(broker.pid, flush=True); os.kill(os.getpid(), 9)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    broker_pid = int(run.stdout)
    wait_until(lambda: not exists(broker_pid), seconds=60, what="the broker is gone")


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b"kafka" in Path(f"/proc/{pid}/cmdline").read_bytes()


def test_stopping_a_paused_broker_does_not_wait_for_ever(own: Kafka) -> None:
    own.restart()
    own.pause()
    began = time.monotonic()
    own.stop()
    assert time.monotonic() - began < 30
    assert not own.alive
