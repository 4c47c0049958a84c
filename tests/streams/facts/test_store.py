"""The facts store, the same on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from schemas.topics import ALERTS, JOURNEYS, OUTCOMES
from streams.facts import FactsError, Store, load
from streams.facts.store import Overtaken, Taken
from streams.reports import FORMATS, Week, render, weekly
from streams.transport import Record
from tests.streams.facts.stores import a_log, dump, rows, tables, taken_in, tell
from tests.streams.reports.replays import demo, folder, told


def week(name: str) -> Week:
    return Week.parse(name, time_zone="Europe/London")


async def test_a_report_from_facts_is_to_the_byte_the_one_from_the_replay(url: str, tmp_path: Path) -> None:
    result, promised = demo()
    store = Store(url)
    async with a_log(tmp_path) as client:
        await tell(client, told(result, promised))
        await taken_in(client, store)
    from_folder = load(folder(result, promised, tmp_path / "out"))
    for name in ("2026-W46", "2026-W47"):
        asked = week(name)
        facts = await store.facts(asked.starts_at, asked.ends_at)
        same_end = type(facts)(
            **{field: getattr(facts, field) for field in facts.__slots__} | {"known_until": from_folder.known_until}
        )
        wanted, found = weekly(from_folder, asked), weekly(same_end, asked)
        assert len(wanted.let_down) >= 3
        for to in FORMATS:
            assert render(found, to) == render(wanted, to)
    await store.close()


async def test_what_is_read_twice_is_kept_once(url: str, tmp_path: Path) -> None:
    result, promised = demo()
    store = Store(url)
    async with a_log(tmp_path) as client:
        await tell(client, told(result, promised))
        await taken_in(client, store)
        once = await dump(store)
        assert len(once["outcomes"]) == len(result.outcomes)
        assert len(once["journeys"]) == len(result.journeys)
        assert len(once["alerts"]) == len(result.alerts)
        await tell(client, told(result, promised))  # as a worker does that was killed before it committed
        await taken_in(client, store)
    twice = await dump(store)
    assert {**twice, "positions": []} == {**once, "positions": []}
    assert sum(int(row[-1]) for row in twice["positions"]) == 2 * sum(int(row[-1]) for row in once["positions"])
    await store.close()


async def test_the_newest_revision_holds_in_whatever_order_revisions_come(url: str, tmp_path: Path) -> None:
    result, _ = demo()
    outcome, journey = result.outcomes[0], result.journeys[0]

    def revised(number: int) -> list[tuple[str, Record]]:
        first = {**outcome, "revision": number, "queue": f"queue {number}"}
        second = {**journey, "revision": number, "answered_by": f"agent {number}"}
        return [(OUTCOMES.name, record(first)), (JOURNEYS.name, record(second))]

    def record(content: dict[str, object]) -> Record:
        return Record(key=str(content["customer_id"]).encode(), value=orjson.dumps(content))

    store = Store(url)
    async with a_log(tmp_path) as client:
        for numbers in ([3, 2], [1], [5, 4]):
            for number in numbers:
                for topic, one in revised(number):
                    await tell(client, {topic: [one]})
            await taken_in(client, store)
            newest = 5 if 5 in numbers else 3
            assert await rows(store, "SELECT revision, queue FROM outcomes") == [
                {"revision": newest, "queue": f"queue {newest}"}
            ]
            assert await rows(store, "SELECT revision, answered_by FROM journeys") == [
                {"revision": newest, "answered_by": f"agent {newest}"}
            ]
    await store.close()


async def test_of_two_writers_the_second_writes_nothing_and_knows_it(url: str) -> None:
    store = Store(url)
    await store.prepare()
    await store.write(Taken(came={("outcomes", 0): 10}, had={("outcomes", 0): None}))
    alert = {name: name for name in ("digest", "alert_id", "kind", "state", "severity", "summary", "record")}
    row = {**alert, "starts_at": datetime(2026, 11, 1, tzinfo=UTC), "at": datetime(2026, 11, 1, tzinfo=UTC)}
    for had in (None, 9):
        taken = Taken(alerts={"digest": row}, came={("outcomes", 0): 20}, had={("outcomes", 0): had})
        with pytest.raises(Overtaken):
            await store.write(taken)
        assert await store.positions() == {("outcomes", 0): 10}
        assert await rows(store, "SELECT * FROM alerts") == []
    await store.write(Taken(alerts={"digest": row}, came={("outcomes", 0): 20}, had={("outcomes", 0): 10}))
    assert await store.positions() == {("outcomes", 0): 20}
    assert len(await rows(store, "SELECT * FROM alerts")) == 1
    await store.close()


async def test_facts_of_another_schema_version_are_refused_by_name(url: str, tmp_path: Path) -> None:
    store = Store(url)
    await store.prepare()
    async with store._engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE facts SET schema_version = 7")
    for asked in (store.prepare, store.check, store.span):
        with pytest.raises(FactsError, match=r"found facts of schema version 7, wanted 1"):
            await asked()
    async with a_log(tmp_path) as client:
        with pytest.raises(FactsError, match="schema version 7"):
            await taken_in(client, store)
    await store.close()


async def test_the_columns_say_what_the_contract_says_in_instants_that_sort(url: str, tmp_path: Path) -> None:
    result, promised = demo()
    store = Store(url)
    async with a_log(tmp_path) as client:
        await tell(client, told(result, promised))
        await taken_in(client, store)
    wanted = {one["outcome_id"]: one for one in result.outcomes}
    found = {one["outcome_id"]: one for one in await rows(store, "SELECT * FROM outcomes")}
    for name in ("customer_id", "target", "verdict", "reason", "policy", "channel", "tier", "queue", "open_seconds"):
        assert {key: row[name] for key, row in found.items()} == {key: one[name] for key, one in wanted.items()}
    ordered = await rows(store, "SELECT outcome_id FROM outcomes ORDER BY started_at, outcome_id")
    instants = {key: datetime.fromisoformat(one["started_at"]) for key, one in wanted.items()}
    assert [row["outcome_id"] for row in ordered] == sorted(wanted, key=lambda key: (instants[key], key))
    await store.close()


async def test_a_record_that_cannot_be_understood_costs_nothing_else(url: str, tmp_path: Path) -> None:
    result, promised = demo()
    broken = [
        Record(key=b"c", value=b"{"),
        Record(key=b"c", value=None),
        Record(key=b"c", value=b"\xff\xfe"),
        Record(key=b"c", value=orjson.dumps({**result.outcomes[0], "started_at": "2026-11-10T10:00:00"})),
        Record(key=b"c", value=b"[1, 2]"),
    ]
    hostile = {**result.alerts[0], "summary": "a\0b '; DROP TABLE alerts; --", "alert_id": "hostile"}
    store = Store(url)
    async with a_log(tmp_path) as client:
        for topic in (OUTCOMES.name, JOURNEYS.name, ALERTS.name):
            await tell(client, {topic: broken})
        await tell(client, told(result, promised))
        await tell(client, {ALERTS.name: [Record(key=b"c", value=orjson.dumps(hostile))]})
        await taken_in(client, store)
    assert len(await rows(store, "SELECT * FROM outcomes")) == len(result.outcomes)
    assert len(await rows(store, "SELECT * FROM journeys")) == len(result.journeys)
    assert len(await rows(store, "SELECT * FROM alerts")) == len(result.alerts) + 1
    [said] = await rows(store, "SELECT summary FROM alerts WHERE alert_id = 'hostile'")
    assert said["summary"] == "a\N{REPLACEMENT CHARACTER}b '; DROP TABLE alerts; --"
    await store.close()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("mysql://host/db", "mysql"),
        ("sqlite://", "without a path"),
        ("nonsense", "is none"),
        ("", "is none"),
        ("postgresql+psycopg://host/db", "psycopg"),
    ],
)
def test_a_url_of_another_kind_is_refused_and_says_what_was_wanted(wrong: str, said: str) -> None:
    with pytest.raises(FactsError, match=said):
        Store(wrong)


def test_a_store_never_shows_its_password() -> None:
    store = Store("postgresql://heardback:marked@127.0.0.1:1/heardback")
    assert "marked" not in str(store)
    assert "marked" not in repr(store)
    assert "127.0.0.1" in str(store)


async def test_asking_for_facts_makes_no_file_where_there_is_none(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'facts.sqlite3'}")
    assert not store.exists
    with pytest.raises(FileNotFoundError):
        (tmp_path / "facts.sqlite3").stat()
    await store.prepare()
    assert store.exists
    assert await tables(store)
    assert await store.span() is None
    await store.close()
