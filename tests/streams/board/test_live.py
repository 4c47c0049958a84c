"""The board over a real log: caught up in bulk, followed, on both brokers, with what others wrote in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
import structlog

from schemas.customers import Customer
from schemas.topics import ALERTS, JOURNEYS, OUTCOMES, POLICIES, TOPICS, Topic
from streams.board import Board, Filter
from streams.customers import Customers
from streams.engine.calendar import to_us
from streams.engine.explain import explain, to_json
from streams.promises import in_force_record, records_of
from streams.transport import (
    Batch,
    BrokerUnreachable,
    LogClient,
    Record,
    TransportSettings,
    by_partition,
    open_log,
    topic_specs,
)
from tests.servers.kafka import Kafka
from tests.streams.board.records import CONFIGURATION, MONDAY, alert, answered, attempt, journey, outcome, resolved
from tests.streams.engine.told import EVERYBODY, PROMISED, contacts

PARTITIONS = 2


class Topics:
    """The topics of one log, and a board that reads them at ten past ten on a Monday."""

    def __init__(self, log: LogClient, prefix: str = "") -> None:
        self.log, self.prefix = log, prefix
        self.customers = Customers()
        self.seconds = 1_000.0
        self.now = MONDAY + timedelta(hours=1, minutes=10)
        self.board = self.another()

    def another(self, log: LogClient | None = None, **changed: Any) -> Board:
        return Board(
            lambda: log or self.log,
            lambda name: self.prefix + name,
            lambda: self.customers,
            now=lambda: self.now,
            monotonic=lambda: self.seconds,
            retry_seconds=0.01,
            probe_seconds=0.05,
            **changed,
        )

    async def make(self) -> None:
        settings = TransportSettings(partitions=PARTITIONS, topic_prefix=self.prefix)
        await self.log.ensure_topics(topic_specs(TOPICS, settings))
        records = [*records_of(CONFIGURATION), in_force_record(CONFIGURATION)]
        await self.write(POLICIES, *(record.model_dump(mode="json") for record in records))

    async def write(self, topic: Topic, *contents: Mapping[str, Any] | bytes) -> None:
        some = []
        for content in contents:
            value = content if isinstance(content, bytes) else orjson.dumps(content)
            key = "" if isinstance(content, bytes) else content.get("customer_id", content.get("hash", ""))
            some.append(Record(key=key.encode(), value=value))
        await self.log.append(self.prefix + topic.name, by_partition(some, PARTITIONS if topic.partitioned else 1))

    async def order(self) -> list[str]:
        return [one.customer_id for one in (await self.board.standing()).ranked]

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not true():
                await asyncio.sleep(0.02)


@asynccontextmanager
async def opened(log: LogClient, prefix: str = "") -> AsyncIterator[Topics]:
    await log.start()
    topics = Topics(log, prefix)
    await topics.make()
    try:
        yield topics
    finally:
        await topics.board.stop()
        await log.close()


@pytest.fixture
async def topics(tmp_path: Path) -> AsyncIterator[Topics]:
    async with opened(open_log(f"sqlite:///{tmp_path}/log.sqlite3")) as found:
        yield found


async def test_what_was_told_before_and_what_is_told_later_stand_together(topics: Topics) -> None:
    await _told_before_and_later(topics)


@pytest.mark.slow
async def test_on_kafka_too_over_all_partitions(kafka: Kafka) -> None:
    settings = TransportSettings(partitions=PARTITIONS, topic_prefix="board-")
    async with opened(open_log(kafka.url, settings), "board-") as topics:
        await _told_before_and_later(topics)


async def _told_before_and_later(topics: Topics) -> None:
    over, gone = outcome("T-1", "c-1"), outcome("T-2", "c-2")
    await topics.write(OUTCOMES, over, gone, answered(gone), outcome("T-9", "c-9"))
    await topics.write(JOURNEYS, journey("c-1", attempt("T-1", "ticket", 0)))
    await topics.write(ALERTS, alert())
    assert not topics.board.caught_up
    topics.board.start()
    await asyncio.wait_for(topics.board.wait_caught_up(), 30)
    standing = await topics.board.standing()
    assert [one.customer_id for one in standing.ranked] == ["c-1", "c-9"]
    assert standing.row(standing.ranked[0]).paging.state == "paged"
    await topics.write(OUTCOMES, outcome("T-3", "c-3"))
    await topics.until(lambda: "c-3" in topics.board.waiting.entries)
    await topics.write(OUTCOMES, answered(over))
    await topics.write(JOURNEYS, journey("c-1", attempt("T-1", "ticket", 0), revision=2, state="answered"))
    await topics.write(ALERTS, resolved(alert()))
    await topics.until(lambda: "c-1" not in topics.board.waiting.entries)
    assert topics.board.unreadable == 0


async def test_what_cannot_be_read_is_counted_and_costs_nothing_else(topics: Topics) -> None:
    await topics.write(
        OUTCOMES, b"{", b"[]", b"null", outcome("T-1", "c-1") | {"due_at": "soon"}, outcome("T-2", "c-2")
    )
    await topics.write(POLICIES, b"nonsense")
    topics.board.start()
    await asyncio.wait_for(topics.board.wait_caught_up(), 30)
    assert list(topics.board.waiting.entries) == ["c-2"]
    assert topics.board.unreadable == 5
    assert not topics.board.failed


async def test_a_standing_is_made_for_all_who_ask_within_a_second(topics: Topics) -> None:
    topics.board.start()
    await asyncio.wait_for(topics.board.wait_caught_up(), 30)
    first, second = await asyncio.gather(topics.board.standing(), topics.board.standing())
    assert first is second
    topics.seconds += 1
    assert await topics.board.standing() is not first


async def test_a_customer_who_becomes_known_is_shown_by_name_and_owner(topics: Topics) -> None:
    await topics.write(OUTCOMES, outcome("T-1", "c-1"))
    topics.board.start()
    await asyncio.wait_for(topics.board.wait_caught_up(), 30)
    assert not (await topics.board.standing()).asked(Filter(owner="anna@example.com"))
    before = topics.board.version
    topics.customers.put(Customer(customer_id="c-1", name="Alba", owner="anna@example.com"), 0)
    topics.customers.version += 1
    assert topics.board.version != before
    topics.seconds += 1
    standing = await topics.board.standing()
    [found] = standing.asked(Filter(owner="anna@example.com"))
    assert standing.row(found).name == "Alba"


class Away:
    """A log whose broker goes away in the middle of reading, and comes back."""

    def __init__(self, log: LogClient) -> None:
        self._log = log
        self.away = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    async def scan(self, topic: str, start: Mapping[int, int] | None = None) -> AsyncIterator[Batch]:
        async for batch in self._log.scan(topic, start):
            yield batch
            if self.away and topic.endswith(OUTCOMES.name):
                raise BrokerUnreachable("away")

    async def end_offsets(self, topic: str) -> Mapping[int, int]:
        if self.away:
            raise BrokerUnreachable("away")
        return await self._log.end_offsets(topic)


async def test_a_broker_that_goes_away_is_said_and_reading_goes_on_where_it_stopped(
    topics: Topics,
) -> None:
    await topics.write(OUTCOMES, *(outcome(f"T-{number}", f"c-{number}") for number in range(50)))
    log = Away(topics.log)
    topics.board = topics.another(log)  # type: ignore[arg-type]
    topics.board.start()
    await topics.until(lambda: topics.board.away_since is not None)
    assert not topics.board.caught_up
    log.away = False
    await asyncio.wait_for(topics.board.wait_caught_up(), 30)
    assert len(topics.board.waiting.entries) == 50
    assert topics.board.waiting.version == 50, "nothing was read twice"
    await topics.until(lambda: topics.board.away_since is None)
    log.away = True
    await topics.until(lambda: topics.board.away_since is not None)
    assert topics.board.caught_up, "what is known stays on the board"


async def test_who_has_waited_longer_than_the_topics_remember_is_brought_back(topics: Topics) -> None:
    story = "Mon 09:10 A opened channel=ticket\nMon 09:20 A answered by=anna\nMon 09:30 A wrote"
    explained = explain("A", contacts(story), PROMISED, lambda _: EVERYBODY, to_us(topics.now))
    assert explained is not None
    content, asked = to_json(explained), list[tuple[int, bool]]()

    def long_ago(before_us: int, known: Callable[[str], bool]) -> Iterator[tuple[int, Mapping[str, Any]]]:
        asked.append((before_us, known("A")))
        if not known("A"):
            yield 1, content

    topics.board = topics.another(long_ago=long_ago, remembered=timedelta(days=3), recall_seconds=0.02)
    topics.board.start()
    await topics.until(lambda: len(asked) > 2)
    assert asked[0] == (to_us(topics.now - timedelta(days=3)), False)
    assert asked[-1][1], "once is enough"
    [entry] = topics.board.waiting.entries.values()
    assert sorted(clock.target for clock in entry.waited_for) == ["next_response"]
    [ended] = [clock for clock in content["clocks"] if clock["ended_at"] is None and clock["target"] == "next_response"]
    over = {"revision": 7, "ended_at": "2026-11-16T10:00:00Z", "verdict": "kept", "reason": "answered_in_time"}
    topics.board.waiting.on_outcome(1, {**ended, **over, "stage": "ended"})
    assert not entry.waited_for, "what the topic says later holds"


class Mistaken(Away):
    """A log that holds a mistake of ours."""

    async def begin_offsets(self, topic: str) -> Mapping[int, int]:
        raise ZeroDivisionError("ops@example.com wrote: help")


async def test_a_mistake_of_ours_is_said_and_ends_nothing_else(topics: Topics) -> None:
    topics.board = topics.another(Mistaken(topics.log))  # type: ignore[arg-type]
    with structlog.testing.capture_logs() as logged:
        topics.board.start()
        await topics.until(lambda: topics.board.failed)
    await topics.board.stop()
    assert [(entry["event"], entry["error"]) for entry in logged] == [("board_failed", "ZeroDivisionError")]
    assert "example.com" not in str(logged), "no customer's words"
