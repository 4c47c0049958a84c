"""The writer of facts: what it does while its database is away, beside another writer, and when the log is another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from schemas.topics import OUTCOMES
from streams.facts import Store, Writer
from streams.transport import LogClient
from tests.servers.postgresql import PostgreSQL
from tests.streams.facts.stores import NOW, a_log, all_in, dump, rows, taken_in, tell, until
from tests.streams.reports.replays import demo, told


@asynccontextmanager
async def writing(client: LogClient, store: Store) -> AsyncIterator[asyncio.Task[None]]:
    """A writer at work."""
    writer = Writer(client, lambda name: name, store, now=lambda: NOW, know_every_seconds=0.05)
    running = asyncio.create_task(writer.run())
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.wait((running,))


@pytest.mark.slow
@pytest.mark.postgresql
async def test_a_database_that_was_away_misses_nothing(tmp_path: Path) -> None:
    result, promised = demo()
    records = told(result, promised)
    with PostgreSQL(tmp_path) as server:
        store = Store(server.database())
        async with a_log(tmp_path) as client:
            await tell(client, {OUTCOMES.name: records[OUTCOMES.name][:50]})
            async with writing(client, store) as running:
                await until(lambda: all_in(client, store), running)
                await asyncio.to_thread(server.down)
                await tell(client, {**records, OUTCOMES.name: records[OUTCOMES.name][50:]})
                await asyncio.sleep(2)
                assert not running.done(), "it waits, and so does nobody else"
                await asyncio.to_thread(server.start)
                await until(lambda: all_in(client, store), running)
            found = await dump(store)
        assert len(found["outcomes"]) == len(result.outcomes)
        assert len(found["alerts"]) == len(result.alerts)
        await store.close()


async def test_two_writers_keep_every_record_once(url: str, tmp_path: Path) -> None:
    result, promised = demo()
    one, other, alone = Store(url), Store(url), Store(f"sqlite:///{tmp_path / 'alone.sqlite3'}")
    async with a_log(tmp_path) as client:
        await one.prepare()
        async with writing(client, one) as first, writing(client, other) as second:
            for topic, records in told(result, promised).items():
                for begin in range(0, len(records), 40):
                    await tell(client, {topic: records[begin : begin + 40]})
                    await asyncio.sleep(0.01)
            await until(lambda: all_in(client, one), first)
            assert not second.done()
        await taken_in(client, alone)
    wanted = await dump(alone)
    found = await dump(one)
    assert {table: len(listed) for table, listed in found.items()} == {k: len(v) for k, v in wanted.items()}
    assert found["positions"] == wanted["positions"]
    for store in (one, other, alone):
        await store.close()


async def test_a_log_that_ends_before_what_was_read_is_another_one_and_read_from_its_beginning(
    url: str, tmp_path: Path
) -> None:
    result, promised = demo()
    records = told(result, promised)
    store = Store(url)
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    async with a_log(tmp_path / "first") as client:
        await tell(client, {OUTCOMES.name: records[OUTCOMES.name]})
        await taken_in(client, store)
    before = await dump(store)
    async with a_log(tmp_path / "second") as client:
        await tell(client, {topic: some for topic, some in records.items() if topic != OUTCOMES.name})
        await tell(client, {OUTCOMES.name: records[OUTCOMES.name][:3]})
        await taken_in(client, store)
    after = await dump(store)
    assert after["outcomes"] == before["outcomes"]
    assert len(after["journeys"]) == len(result.journeys)
    await store.close()


async def test_facts_are_complete_until_an_instant_only_when_everything_before_it_is_in(
    url: str, tmp_path: Path
) -> None:
    result, promised = demo()
    store, now = Store(url), [NOW]
    async with a_log(tmp_path) as client:
        await tell(client, told(result, promised))
        writer = Writer(client, lambda name: name, store, now=lambda: now[0], know_every_seconds=0.05)
        running = asyncio.create_task(writer.run())
        await until(lambda: all_in(client, store), running)
        assert writer.complete_at == NOW
        now[0] = NOW + timedelta(hours=1)

        async def an_hour_later() -> bool:
            span = await store.span()
            return span is not None and span.known_until == now[0]

        await until(an_hour_later, running)
        running.cancel()
        await asyncio.wait((running,))
        await tell(client, told(result, promised))
        now[0] = NOW + timedelta(hours=2)
    span = await store.span()
    assert span is not None
    assert span.known_until == NOW + timedelta(hours=1), "nobody has looked since"
    assert (await rows(store, "SELECT count(*) AS n FROM facts"))[0]["n"] == 1
    await store.close()
