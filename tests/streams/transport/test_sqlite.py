"""What only the embedded broker has: its lock, its disk, its own cleaning."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from streams.transport import BrokerBusy, BrokerFailed, Record, TopicSpec
from streams.transport.sqlite import SqliteLog, open_sqlite, path_of
from streams.transport.sqlite_cleanup import Cleanup
from streams.transport.sqlite_store import Store

TOPIC = TopicSpec(name="plain", partitions=2, retention_ms=60_000)
TABLE = TopicSpec(name="table", partitions=1, compacted=True)
DAY_MS = 24 * 3600 * 1000


class Clock:
    """A wall clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def log(tmp_path: Path, clock: Clock) -> AsyncIterator[SqliteLog]:
    opened = SqliteLog(tmp_path / "log.sqlite3", now=clock)
    await opened.start()
    await opened.ensure_topics([TOPIC, TABLE])
    yield opened
    await opened.close()


def cleanup_of(log: SqliteLog, clock: Clock, *, compact_after: int = 1) -> Cleanup:
    assert log._store is not None
    return Cleanup(log._store, now=clock, compact_after=compact_after)


async def everything(log: SqliteLog, topic: str) -> list[tuple[int, bytes | None]]:
    return [
        (offset, value)
        async for batch in log.scan(topic)
        for offset, value in zip(batch.offsets, batch.values, strict=True)
    ]


FILLING = [Record(key=None, value=b"x" * 1000)] * 20


async def filled(log: SqliteLog) -> tuple[int, BrokerFailed]:
    """Appends until the disk is full: how many were acknowledged, and the error."""
    acknowledged = 0
    while acknowledged < 100_000:
        try:
            await log.append("plain", {0: FILLING})
        except BrokerFailed as error:
            return acknowledged, error
        acknowledged += len(FILLING)
    raise AssertionError("the disk is never full")


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:////var/lib/x/log.db", "/var/lib/x/log.db"),
        ("sqlite:///data/log.db", "data/log.db"),
        ("sqlite:////var/lib/x/", "/var/lib/x/log.sqlite3"),
        ("sqlite:////with%20space/a", "/with space/a"),
    ],
)
def test_a_url_names_a_file_or_a_folder(url: str, path: str) -> None:
    assert path_of(url) == Path(path)


@pytest.mark.parametrize("url", ["sqlite://host/log.db", "kafka://x"])
def test_a_url_with_a_host_is_refused(url: str) -> None:
    with pytest.raises(BrokerFailed, match="wanted sqlite:///PATH"):
        path_of(url)


async def test_those_who_open_the_same_path_share_one_log_and_are_woken_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/log.sqlite3"
    writer, reader = open_sqlite(url), open_sqlite(url)
    await writer.start()
    await reader.start()
    await writer.ensure_topics([TOPIC])
    follower = reader.follow("plain")
    waiting = asyncio.ensure_future(anext(follower))
    await asyncio.sleep(0.2)
    before = time.monotonic()
    await writer.append("plain", {1: [Record(key=None, value=b"now")]})
    assert (await waiting).values[0] == b"now"
    assert time.monotonic() - before < 2
    await follower.aclose()
    await writer.close()
    assert await reader.read("plain", 1, 0) is not None
    await reader.close()


async def test_another_process_is_told_who_has_the_file(log: SqliteLog) -> None:
    code = "import asyncio, sys; from streams.transport import open_log\nasyncio.run(open_log(sys.argv[1]).start())"
    command = [sys.executable, "-c", code, f"sqlite:///{log.path}"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"BrokerBusy: {log.path}: in use by process {os.getpid()}" in done.stderr


async def test_another_process_may_look_without_disturbing(log: SqliteLog) -> None:
    await log.append("plain", {0: [Record(key=None, value=b"seen")]})
    looking = SqliteLog(log.path, read_only=True)
    await looking.start()
    assert await everything(looking, "plain") == [(0, b"seen")]
    with pytest.raises(BrokerFailed, match="reading only"):
        await looking.append("plain", {0: [Record(key=None, value=b"")]})
    await looking.close()


async def test_a_second_member_of_a_group_is_refused(tmp_path: Path) -> None:
    from schemas.topics import CONTACT_EVENTS
    from streams.transport import create_app

    async def ignore(batch: object) -> None:
        return None

    first, second = (create_app("app", f"sqlite:///{tmp_path}/log", topics=[CONTACT_EVENTS]) for _ in range(2))
    for runtime in (first, second):
        runtime.agent("contact-events", ignore)
    await first.start()
    await first.wait_ready()
    await second.start()
    with pytest.raises(BrokerBusy, match="group app has a member already"):
        await second.wait_closed()
    await first.stop()


async def test_a_full_disk_is_a_clear_error_loses_nothing_acknowledged_and_heals(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    full = SqliteLog(path, page_limit=120)
    await full.start()
    await full.ensure_topics([TOPIC])
    acknowledged, error = await filled(full)
    assert "is full; nothing acknowledged is lost" in str(error)
    with pytest.raises(BrokerFailed, match="SQLITE_FULL"):
        await full.append("plain", {0: FILLING})
    assert dict(await full.end_offsets("plain")) == {0: acknowledged, 1: 0}
    await full.close()
    roomy = SqliteLog(path)
    await roomy.start()
    assert [offset for offset, _ in await everything(roomy, "plain")] == list(range(acknowledged))
    await roomy.append("plain", {0: [Record(key=None, value=b"again")]})
    assert (await everything(roomy, "plain"))[-1] == (acknowledged, b"again")
    await roomy.close()


async def test_a_really_full_disk_is_reported_too(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k", "none", str(mount)], check=False)  # noqa: ASYNC221
    if mounted.returncode:
        pytest.skip("mounting a tmpfs needs more rights")
    try:
        full = SqliteLog(mount / "log.sqlite3")
        await full.start()
        await full.ensure_topics([TOPIC])
        acknowledged, error = await filled(full)
        assert "disk" in str(error)
        await full.close()
        subprocess.run(["mount", "-o", "remount,size=4m", str(mount)], check=True)  # noqa: ASYNC221
        again = SqliteLog(mount / "log.sqlite3")
        await again.start()
        assert len(await everything(again, "plain")) == acknowledged > 0
        await again.append("plain", {0: [Record(key=None, value=b"again")]})
        await again.close()
    finally:
        subprocess.run(["umount", str(mount)], check=False)  # noqa: ASYNC221


async def test_a_read_only_folder_is_a_clear_error(sealed: Path) -> None:
    with pytest.raises(BrokerFailed, match=r"cannot be opened: (Permission denied|Read-only file system)"):
        await SqliteLog(sealed / "log.sqlite3").start()


async def test_a_file_of_something_else_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    path.write_bytes(b"not a database at all, " * 100)
    with pytest.raises(BrokerFailed, match="is not a log of this program"):
        await SqliteLog(path).start()


async def test_a_log_of_a_later_version_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite3"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(BrokerFailed, match="found format 99, wanted 1"):
        await SqliteLog(path).start()
    with pytest.raises(BrokerFailed, match="found format 99"):
        await SqliteLog(path).start()


async def test_compaction_keeps_the_latest_value_of_each_key_at_its_offset(log: SqliteLog, clock: Clock) -> None:
    for turn in range(3):
        await log.append("table", {0: [Record(key=b"k%d" % n, value=b"%d" % turn) for n in range(4)]})
    await log.append("table", {0: [Record(key=b"k0", value=None)]})
    await cleanup_of(log, clock).compact_all()
    assert await everything(log, "table") == [(9, b"2"), (10, b"2"), (11, b"2"), (12, None)]
    assert dict(await log.end_offsets("table")) == {0: 13}


async def test_a_deletion_is_forgotten_after_a_day_and_offsets_are_never_used_again(
    log: SqliteLog, clock: Clock
) -> None:
    await log.append("table", {0: [Record(key=b"k", value=b"1"), Record(key=b"k", value=None)]})
    clock.seconds += 2 * DAY_MS / 1000
    await cleanup_of(log, clock).compact_all()
    assert await everything(log, "table") == []
    await log.append("table", {0: [Record(key=b"k", value=b"2")]})
    assert await everything(log, "table") == [(2, b"2")]


async def test_compaction_waits_until_it_is_worth_it(log: SqliteLog, clock: Clock) -> None:
    cleanup = cleanup_of(log, clock, compact_after=10)
    await log.append("table", {0: [Record(key=b"k", value=b"")] * 9})
    await cleanup.compact_all()
    assert len(await everything(log, "table")) == 9
    await log.append("table", {0: [Record(key=b"k", value=b"")]})
    await cleanup.compact_all()
    assert len(await everything(log, "table")) == 1


async def test_a_table_that_is_rewritten_again_and_again_does_not_grow_the_file(log: SqliteLog, clock: Clock) -> None:
    cleanup = cleanup_of(log, clock, compact_after=500)
    assert log._store is not None
    pages = []
    for _ in range(12):
        await log.append("table", {0: [Record(key=b"k%d" % n, value=b"v" * 500) for n in range(500)]})
        await cleanup.compact_all()
        count = log._store.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
        pages.append(await asyncio.wrap_future(count))
    assert pages[-1] <= pages[3] * 1.2


async def test_retention_deletes_what_is_old_and_passed_by_every_group(log: SqliteLog, clock: Clock) -> None:
    cleanup = cleanup_of(log, clock)
    await log.append("plain", {0: [Record(key=None, value=b"old")] * 5})
    clock.seconds += 61
    await log.append("plain", {0: [Record(key=None, value=b"new")]})
    await log.commit("ahead", {("plain", 0): 6})
    await log.commit("behind", {("plain", 0): 2})
    await cleanup.retain_all()
    assert [offset for offset, _ in await everything(log, "plain")] == [2, 3, 4, 5]
    await log.commit("behind", {("plain", 0): 6})
    await cleanup.retain_all()
    assert await everything(log, "plain") == [(5, b"new")]
    assert dict(await log.begin_offsets("plain")) == {0: 5, 1: 0}


async def test_retention_never_touches_a_compacted_topic(log: SqliteLog, clock: Clock) -> None:
    await log.append("table", {0: [Record(key=b"k", value=b"v")]})
    clock.seconds += 400 * DAY_MS / 1000
    await cleanup_of(log, clock).retain_all()
    assert await everything(log, "table") == [(0, b"v")]


async def test_a_failing_write_fails_alone_with_those_of_its_transaction(log: SqliteLog) -> None:
    assert log._store is not None

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO no_such_table VALUES (1)")

    with pytest.raises(BrokerFailed, match="no_such_table"):
        await asyncio.wrap_future(log._store.write(broken))
    await log.append("plain", {0: [Record(key=None, value=b"works")]})
    assert await everything(log, "plain") == [(0, b"works")]


async def test_a_closed_log_says_so(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path / "log.sqlite3")
    await log.start()
    await log.ensure_topics([TOPIC])
    await log.close()
    with pytest.raises(BrokerFailed, match="is closed"):
        await log.append("plain", {0: [Record(key=None, value=b"")]})


def test_a_writer_outlives_those_who_no_longer_wait(tmp_path: Path) -> None:
    store = Store(tmp_path / "log.sqlite3")
    working, go_on = threading.Event(), threading.Event()

    def slow(_: sqlite3.Connection) -> str:
        working.set()
        assert go_on.wait(30)
        return "slow"

    under_way = store.write(slow)
    assert working.wait(30)
    queued = store.write(lambda _: pytest.fail("nobody waits for it"))
    assert not under_way.cancel()
    assert queued.cancel()
    go_on.set()
    assert under_way.result(30) == "slow"
    assert store.write(lambda _: "after").result(30) == "after"
    store.close()
