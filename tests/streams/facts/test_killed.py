"""A writer of facts that is killed at any moment loses nothing and doubles nothing."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest

from schemas.topics import ALERTS, JOURNEYS, OUTCOMES
from streams.facts import Store
from streams.transport import Record
from tests.streams.facts.stores import a_log, rows, taken_in, tell
from tests.streams.reports.replays import demo, told

REVISIONS = 60
KILLS = 4
LIFE_SECONDS = 60.0


def many() -> Mapping[str, list[Record]]:
    """The demo's records over and over, each time with a new revision, and other ids beside them."""
    result, promised = demo()
    found = {topic: list(records) for topic, records in told(result, promised).items()}
    for number in range(2, REVISIONS):
        for topic, name in ((OUTCOMES.name, "outcome_id"), (JOURNEYS.name, "journey_id")):
            for record in told(result, promised)[topic]:
                content = orjson.loads(record.value or b"")
                content |= {"revision": number} if number % 2 else {name: f"{content[name]} {number}"}
                found[topic].append(Record(key=record.key, value=orjson.dumps(content)))
        for record in told(result, promised)[ALERTS.name]:
            content = {**orjson.loads(record.value or b""), "alert_id": f"alert {number}"}
            found[ALERTS.name].append(Record(key=record.key, value=orjson.dumps(content)))
    return found


async def undisturbed(folder: Path) -> dict[str, list[Any]]:
    """Fills the log in `folder`; what a writer that nobody kills makes of it."""
    store = Store(f"sqlite:///{folder / 'undisturbed.sqlite3'}")
    async with a_log(folder) as client:
        await tell(client, many())
        await taken_in(client, store)
    found = await content(store)
    await store.close()
    assert len(found["outcomes"]) > 2_000
    return found


async def content(store: Store) -> dict[str, list[Any]]:
    """Every record that is kept, by its key."""
    keys = {"outcomes": "outcome_id", "journeys": "journey_id", "alerts": "digest"}
    found = {}
    for table, key in keys.items():
        listed = await rows(store, f"SELECT {key} AS name, record FROM {table}")
        found[table] = sorted((row["name"], row["record"]) for row in listed)
    found["positions"] = sorted(tuple(row.values()) for row in await rows(store, "SELECT * FROM positions"))
    return found


def life(log: Path, url: str, die: int | None = None) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-m", "tests.streams.facts.writing", str(log), url, *([str(die)] if die else [])]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3])


async def ended(child: subprocess.Popen[bytes]) -> int:
    status = await asyncio.to_thread(child.wait, LIFE_SECONDS)
    assert child.stdout is not None
    child.stdout.close()
    return status


@pytest.mark.slow
async def test_a_writer_killed_at_random_instants_keeps_every_record_once(url: str, tmp_path: Path) -> None:
    wanted, store, chosen = await undisturbed(tmp_path), Store(url), random.Random(5)
    killed = 0
    for _ in range(KILLS):
        child = await asyncio.to_thread(life, tmp_path / "log.sqlite3", url)
        assert child.stdout is not None
        assert await asyncio.to_thread(child.stdout.readline) == b"writing\n"
        await asyncio.sleep(chosen.uniform(0, 0.6))
        child.kill()
        killed += await ended(child) == -signal.SIGKILL
    assert killed, "a life that was killed while it wrote"
    assert await ended(await asyncio.to_thread(life, tmp_path / "log.sqlite3", url)) == 0
    assert await content(store) == wanted
    await store.close()


@pytest.mark.slow
async def test_a_writer_killed_between_two_statements_keeps_every_record_once(url: str, tmp_path: Path) -> None:
    wanted, store = await undisturbed(tmp_path), Store(url)
    await store.prepare()
    first = 12  # what comes before looks at tables that are there already
    for die in range(first, first + 2 * KILLS, 2):
        child = await asyncio.to_thread(life, tmp_path / "log.sqlite3", url, die)
        assert await ended(child) == -signal.SIGKILL
    assert await content(store) != wanted, "it was killed before everything was in"
    assert await ended(await asyncio.to_thread(life, tmp_path / "log.sqlite3", url)) == 0
    assert await content(store) == wanted
    await store.close()
