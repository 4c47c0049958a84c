"""A worker on both brokers: what it is handed, what it commits, how its tables come back, how it ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

import pytest
from faust.types import TP

from streams.transport import (
    Batch,
    BrokerUnreachable,
    Fenced,
    LogClient,
    Record,
    Runtime,
    TopicMismatch,
    TopicSpec,
    TransportError,
    TransportSettings,
    by_partition,
    create_app,
)
from streams.transport.consumer import BatchConsumer
from tests.streams.transport.conftest import TOPICS, Broker, eventually

EVENTS = "contact-events"


class Collected:
    """A handler that keeps what it is handed."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    async def __call__(self, batch: Batch) -> None:
        self.batches.append(batch)

    @property
    def values(self) -> list[bytes]:
        return [value or b"" for batch in self.batches for value in batch.values]


def numbered(count: int, *, start: int = 0) -> list[Record]:
    return [Record(key=b"c-%d" % (n % 50), value=b"%d" % n) for n in range(start, start + count)]


async def feed(broker: Broker, log: LogClient, records: list[Record]) -> None:
    await log.append(broker.name(EVENTS), by_partition(records, 3))


async def started(runtime: Runtime) -> Runtime:
    await runtime.start()
    await runtime.wait_ready()
    return runtime


async def committed(broker: Broker, log: LogClient, app_id: str = "app") -> dict[int, int]:
    return dict(await log.committed(broker.name(app_id), broker.name(EVENTS)))


async def test_an_agent_is_handed_everything_in_the_order_of_each_partition(broker: Broker, log: LogClient) -> None:
    runtime, seen = broker.runtime(settings=replace(broker.settings, batch_records=100)), Collected()
    runtime.agent(EVENTS, seen)
    await started(runtime)
    await feed(broker, log, numbered(2_000))
    await eventually(lambda: len(seen.values) == 2_000)
    for partition in range(3):
        mine = [batch for batch in seen.batches if batch.partition == partition]
        offsets = [offset for batch in mine for offset in batch.offsets]
        assert offsets == list(range(len(offsets)))
        assert max(len(batch) for batch in mine) <= 100
        assert all(batch.topic == broker.name(EVENTS) for batch in mine)


async def test_what_was_appended_before_the_start_is_handed_out_too(broker: Broker, log: LogClient) -> None:
    runtime, seen = broker.runtime(), Collected()
    runtime.agent(EVENTS, seen)
    await log.ensure_topics([TopicSpec(name=broker.name(EVENTS), partitions=3)])
    await feed(broker, log, numbered(500))
    await started(runtime)
    await eventually(lambda: len(seen.values) == 500)


async def test_after_a_stop_the_committed_offsets_are_the_ends_of_the_log(broker: Broker, log: LogClient) -> None:
    runtime, seen = broker.runtime(), Collected()
    runtime.agent(EVENTS, seen)
    await started(runtime)
    await feed(broker, log, numbered(3_000))
    await eventually(lambda: len(seen.values) == 3_000)
    await runtime.stop()
    assert await committed(broker, log) == dict(await log.end_offsets(broker.name(EVENTS)))


async def test_a_restart_goes_on_where_the_last_one_stopped(broker: Broker, log: LogClient) -> None:
    first, seen = broker.runtime(), Collected()
    first.agent(EVENTS, seen)
    await started(first)
    await feed(broker, log, numbered(300))
    await eventually(lambda: len(seen.values) == 300)
    await first.stop()
    await feed(broker, log, numbered(200, start=300))
    second, more = broker.runtime(), Collected()
    second.agent(EVENTS, more)
    await started(second)
    await eventually(lambda: len(more.values) >= 200)
    assert sorted(map(int, more.values)) == list(range(300, 500))


async def test_a_partition_without_commit_begins_at_its_beginning_which_is_committed(
    broker: Broker, log: LogClient
) -> None:
    runtime = broker.runtime()
    runtime.agent(EVENTS, Collected())
    await started(runtime)
    assert await committed(broker, log) == {0: 0, 1: 0, 2: 0}


async def test_a_slow_handler_is_given_at_most_two_batches_ahead(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime(settings=replace(broker.settings, batch_records=10))
    release = asyncio.Event()

    async def slow(batch: Batch) -> None:
        await release.wait()

    runtime.agent(EVENTS, slow)
    await started(runtime)
    await log.append(broker.name(EVENTS), {0: numbered(200)})
    state = cast(BatchConsumer, runtime.app.consumer)._states[TP(broker.name(EVENTS), 0)]
    await eventually(lambda: len(state.waiting) == 2)
    await asyncio.sleep(0.3)
    assert len(state.waiting) == 2
    release.set()
    await eventually(lambda: runtime.progress()[0].finished == 200)


async def test_a_table_comes_back_after_a_restart_with_deletions(broker: Broker) -> None:
    first = broker.runtime()
    table = first.table("contacts")
    first.agent(EVENTS, Collected())
    await started(first)
    await table.write(1, {b"a": b"1", b"b": b"2", b"c": b""}, fence=first.fence(1))
    await table.write(1, {b"a": b"3", b"b": None}, fence=first.fence(1))
    assert dict(table.partition(1)) == {b"a": b"3", b"c": b""}
    await first.stop()
    second = broker.runtime()
    again = second.table("contacts")
    second.agent(EVENTS, Collected())
    await started(second)
    assert dict(again.partition(1)) == {b"a": b"3", b"c": b""}
    assert dict(again.partition(0)) == {}


async def test_twenty_thousand_keys_come_back(broker: Broker) -> None:
    first = broker.runtime()
    table = first.table("contacts")
    first.agent(EVENTS, Collected())
    await started(first)
    wanted = {b"key-%d" % n: b"v" * (n % 300) for n in range(20_000)}
    await table.write(2, wanted, fence=first.fence(2))
    await first.stop()
    second = broker.runtime()
    again = second.table("contacts")
    second.agent(EVENTS, Collected())
    await started(second)
    assert dict(again.partition(2)) == wanted


async def test_hooks_see_a_recovered_partition_before_its_first_batch_and_learn_of_its_end(
    broker: Broker, log: LogClient
) -> None:
    told: list[tuple[str, int]] = []
    runtime = broker.runtime()
    table = runtime.table("contacts")

    async def ready(partition: int) -> None:
        told.append((f"ready {len(table.partition(partition))}", partition))

    def revoked(partition: int) -> None:
        told.append(("revoked", partition))

    async def handle(batch: Batch) -> None:
        told.append(("batch", batch.partition))

    runtime.on_partition_ready(ready)
    runtime.on_partition_revoked(revoked)
    runtime.agent(EVENTS, handle)
    await log.ensure_topics([TopicSpec(name=broker.name(EVENTS), partitions=3)])
    await log.append(broker.name(EVENTS), {1: numbered(5)})
    await started(runtime)
    await eventually(lambda: ("batch", 1) in told)
    await runtime.stop()
    assert [what for what, partition in told if partition == 1] == ["ready 0", "batch", "revoked"]
    assert ("revoked", 0) in told
    with pytest.raises(Fenced):
        table.partition(1)


async def test_an_exception_in_a_handler_stops_the_worker_and_the_batch_comes_again(
    broker: Broker, log: LogClient
) -> None:
    first, seen = broker.runtime(), Collected()

    async def fails(batch: Batch) -> None:
        if b"13" in batch.values:
            raise RuntimeError("thirteen")
        await seen(batch)

    first.agent(EVENTS, fails)
    await started(first)
    await feed(broker, log, numbered(300))
    with pytest.raises(RuntimeError, match="thirteen"):
        async with asyncio.timeout(20):
            await first.wait_closed()
    second, more = broker.runtime(), Collected()
    second.agent(EVENTS, more)
    await started(second)
    await eventually(lambda: {*seen.values, *more.values} == {b"%d" % n for n in range(300)})
    assert b"13" in more.values


async def test_a_cancellation_that_escapes_from_a_handler_is_a_failure_too(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime()

    async def cancelled(batch: Batch) -> None:
        raise asyncio.CancelledError

    runtime.agent(EVENTS, cancelled)
    await started(runtime)
    await log.append(broker.name(EVENTS), {0: numbered(5)})
    with pytest.raises(TransportError, match="the handler was cancelled"):
        async with asyncio.timeout(20):
            await runtime.wait_closed()
    assert (await committed(broker, log))[0] == 0


async def test_nothing_is_handed_out_after_a_failure(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime(settings=replace(broker.settings, batch_records=10))
    handed: list[int] = []

    async def fails(batch: Batch) -> None:
        handed.append(batch.partition)
        raise RuntimeError("always")

    runtime.agent(EVENTS, fails)
    await started(runtime)
    await feed(broker, log, numbered(500))
    with pytest.raises(RuntimeError, match="always"):
        async with asyncio.timeout(20):
            await runtime.wait_closed()
    assert len(handed) == 1
    assert set((await committed(broker, log)).values()) == {0}


@pytest.mark.parametrize(("failure", "traced"), [(TransportError("the disk is full"), False), (KeyError("k"), True)])
async def test_a_broker_that_fails_is_logged_in_a_sentence_and_a_fault_of_ours_with_its_trace(
    broker: Broker, log: LogClient, caplog: pytest.LogCaptureFixture, failure: Exception, *, traced: bool
) -> None:
    runtime = broker.runtime()

    async def fails(batch: Batch) -> None:
        raise failure

    runtime.agent(EVENTS, fails)
    await started(runtime)
    await feed(broker, log, numbered(1))
    with pytest.raises(type(failure)):
        async with asyncio.timeout(20):
            await runtime.wait_closed()
    (told,) = [record for record in caplog.records if record.msg.startswith("stopping for a failure")]
    assert str(failure) in told.getMessage()
    assert bool(told.exc_info) is traced


async def test_an_exception_in_a_hook_during_recovery_stops_the_worker_instead_of_hanging(broker: Broker) -> None:
    runtime = broker.runtime()
    runtime.agent(EVENTS, Collected())

    def broken(partition: int) -> None:
        raise ValueError("no index")

    runtime.on_partition_ready(broken)
    await runtime.start()
    with pytest.raises(ValueError, match="no index"):
        async with asyncio.timeout(20):
            await runtime.wait_ready()
    with pytest.raises(ValueError, match="no index"):
        async with asyncio.timeout(20):
            await runtime.wait_closed()


async def test_a_fenced_batch_is_dropped_and_nothing_after_it_is_finished(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime(settings=replace(broker.settings, batch_records=10))
    handed: list[int] = []

    async def fenced(batch: Batch) -> None:
        handed.append(batch.first_offset)
        raise Fenced("another worker has it")

    runtime.agent(EVENTS, fenced)
    await started(runtime)
    await log.append(broker.name(EVENTS), {0: numbered(50)})
    await eventually(lambda: handed == [0])
    await asyncio.sleep(0.3)
    await runtime.stop()
    assert handed == [0]
    assert (await committed(broker, log))[0] == 0


async def test_the_fence_of_a_former_assignment_writes_nothing(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime()
    table = runtime.table("contacts")
    runtime.agent(EVENTS, Collected())
    await started(runtime)
    fence = replace(runtime.fence(0), generation=runtime.fence(0).generation - 1)
    with pytest.raises(Fenced):
        await runtime.send("outcomes", {0: [Record(key=b"k", value=b"v")]}, fence=fence)
    with pytest.raises(Fenced):
        await table.write(0, {b"k": b"v"}, fence=fence)
    assert set((await log.end_offsets(broker.name("outcomes"))).values()) == {0}
    assert dict(table.partition(0)) == {}


async def test_a_worker_outlives_a_broker_that_does_not_say_in_time_where_its_logs_end(
    broker: Broker, log: LogClient
) -> None:
    runtime, seen = broker.runtime(), Collected()
    runtime.agent(EVENTS, seen)
    await started(runtime)
    member, asked = runtime._group.member, list[object]()

    async def silent(partitions: Iterable[TP]) -> Mapping[TP, int]:
        asked.append(partitions)
        raise BrokerUnreachable("no answer in time")

    member.end_offsets = silent  # type: ignore[method-assign]
    await eventually(lambda: len(asked) > 1, seconds=20)
    await log.append(broker.name(EVENTS), {0: numbered(1)})
    await eventually(lambda: seen.values == [b"0"])
    await runtime.stop()
    await runtime.wait_closed()


async def test_a_group_that_never_assigns_anything_is_an_error_and_no_silence(broker: Broker) -> None:
    soon = replace(broker.settings, start_timeout_seconds=3.0, session_timeout_seconds=0.2, request_timeout_seconds=0.1)
    runtime = broker.runtime(settings=soon)
    runtime.agent(EVENTS, Collected())

    async def never(*_: object) -> None:
        """The group does not answer."""

    runtime._group.member.join = never  # type: ignore[method-assign]
    async with asyncio.timeout(30):
        await runtime.start()
        with pytest.raises(BrokerUnreachable, match=r"assigned nothing within 3\.6 s"):
            await runtime.wait_ready()


async def test_a_stop_ends_the_batch_in_hand_and_commits_it(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime()
    begun, ended = asyncio.Event(), asyncio.Event()

    async def slow(batch: Batch) -> None:
        begun.set()
        await asyncio.sleep(0.5)
        ended.set()

    runtime.agent(EVENTS, slow)
    await started(runtime)
    await log.append(broker.name(EVENTS), {0: numbered(7)})
    await begun.wait()
    await runtime.stop()
    assert ended.is_set()
    assert (await committed(broker, log))[0] == 7
    await runtime.wait_closed()


async def test_a_second_stop_gives_up_at_once(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime()
    begun = asyncio.Event()

    async def stuck(batch: Batch) -> None:
        begun.set()
        await asyncio.sleep(60)

    runtime.agent(EVENTS, stuck)
    await started(runtime)
    await log.append(broker.name(EVENTS), {0: numbered(7)})
    await begun.wait()
    first = asyncio.create_task(runtime.stop())
    await asyncio.sleep(0.2)
    assert not first.done()
    before = time.monotonic()
    await runtime.stop()
    assert time.monotonic() - before < 2
    await first
    assert (await committed(broker, log))[0] == 0


async def test_a_stop_has_a_limit(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime(settings=replace(broker.settings, stop_timeout_seconds=0.5))
    begun = asyncio.Event()

    async def stuck(batch: Batch) -> None:
        begun.set()
        await asyncio.sleep(60)

    runtime.agent(EVENTS, stuck)
    await started(runtime)
    await log.append(broker.name(EVENTS), {0: numbered(1)})
    await begun.wait()
    async with asyncio.timeout(5):
        await runtime.stop()


async def test_two_apps_in_one_process_have_groups_of_their_own(broker: Broker, log: LogClient) -> None:
    streams, alerting, events, outcomes = (
        broker.runtime("streams"),
        broker.runtime("alerting"),
        Collected(),
        Collected(),
    )

    async def pass_on(batch: Batch) -> None:
        await events(batch)
        out = [Record(key=key, value=value) for key, value in zip(batch.keys, batch.values, strict=True)]
        await streams.send("outcomes", {batch.partition: out}, fence=batch.fence)

    streams.agent(EVENTS, pass_on)
    alerting.agent("outcomes", outcomes)
    await asyncio.gather(started(streams), started(alerting))
    await feed(broker, log, numbered(400))
    await eventually(lambda: len(outcomes.values) == 400)
    assert sorted(outcomes.values) == sorted(events.values)


async def test_one_app_with_two_agents_has_both_topics_of_a_partition_ready_together(
    broker: Broker, log: LogClient
) -> None:
    runtime, events, outcomes = broker.runtime(), Collected(), Collected()
    runtime.agent(EVENTS, events)
    runtime.agent("outcomes", outcomes)
    await started(runtime)
    await feed(broker, log, numbered(30))
    await log.append(broker.name("outcomes"), {0: numbered(5)})
    await eventually(lambda: len(events.values) == 30 and len(outcomes.values) == 5)
    assert {(row.topic, row.partition) for row in runtime.progress()} == {
        (broker.name(topic), number) for topic in (EVENTS, "outcomes") for number in range(3)
    }


async def test_a_timer_runs_and_its_exception_stops_the_worker(broker: Broker) -> None:
    runtime, turns = broker.runtime(), iter(range(3))

    async def tick() -> None:
        if next(turns) == 2:
            raise RuntimeError("third turn")

    runtime.agent(EVENTS, Collected())
    runtime.timer(0.05, tick)
    await runtime.start()
    with pytest.raises(RuntimeError, match="third turn"):
        async with asyncio.timeout(20):
            await runtime.wait_closed()


async def test_a_fenced_timer_goes_on(broker: Broker) -> None:
    runtime, turns = broker.runtime(), []

    async def tick() -> None:
        turns.append(1)
        runtime.fence(99)

    runtime.agent(EVENTS, Collected())
    runtime.timer(0.05, tick)
    await started(runtime)
    await eventually(lambda: len(turns) > 2)


async def test_a_topic_with_another_partition_count_is_refused_at_start(broker: Broker, log: LogClient) -> None:
    changelog = f"{broker.name('app')}-contacts-changelog"
    await log.ensure_topics([TopicSpec(name=changelog, partitions=2, compacted=True)])
    runtime = broker.runtime()
    runtime.table("contacts")
    runtime.agent(EVENTS, Collected())
    with pytest.raises(TopicMismatch, match=f"{changelog}: wanted 3 partitions, found 2"):
        await runtime.start()


async def test_progress_tells_ends_lag_and_a_stall(broker: Broker, log: LogClient) -> None:
    runtime, release = broker.runtime(), asyncio.Event()

    async def waits(batch: Batch) -> None:
        await release.wait()

    runtime.agent(EVENTS, waits)
    await started(runtime)
    assert runtime.stalled_seconds() == 0
    await log.append(broker.name(EVENTS), {0: numbered(10)})

    def first() -> object:
        return runtime.progress()[0]

    await eventually(lambda: runtime.progress()[0].end == 10, what="the end of the log")
    await asyncio.sleep(0.2)
    row = runtime.progress()[0]
    assert (row.finished, row.committed, row.lag_records) == (0, 0, 10)
    assert 0.1 < row.lag_seconds < 20
    assert runtime.stalled_seconds() > 0.1
    release.set()
    await eventually(lambda: runtime.progress()[0].committed == 10)
    assert runtime.progress()[0].lag_records == 0
    assert runtime.progress()[0].lag_seconds == 0
    assert runtime.stalled_seconds() == 0


async def test_a_worker_that_makes_no_progress_stops_itself(broker: Broker, log: LogClient) -> None:
    runtime = broker.runtime(settings=replace(broker.settings, stall_exit_seconds=0.5, stop_timeout_seconds=1))

    async def stuck(batch: Batch) -> None:
        await asyncio.sleep(60)

    runtime.agent(EVENTS, stuck)
    await started(runtime)
    await log.append(broker.name(EVENTS), {0: numbered(10)})
    with pytest.raises(TransportError, match="nothing finished"):
        async with asyncio.timeout(20):
            await runtime.wait_closed()


UNREACHABLE = ("kafka://127.0.0.1:1", "sqlite:////proc/nowhere/log.sqlite3")


@pytest.mark.parametrize("url", UNREACHABLE)
async def test_a_missing_broker_is_a_clear_error_within_the_time_allowed(url: str) -> None:
    runtime = create_app("app", url, topics=TOPICS, settings=TransportSettings(start_timeout_seconds=1.5))
    runtime.agent(EVENTS, Collected())
    before = time.monotonic()
    with pytest.raises(TransportError, match=r"127\.0\.0\.1:1|/proc/nowhere") as caught:
        await runtime.start()
    assert time.monotonic() - before < 5
    if url.startswith("kafka"):
        assert isinstance(caught.value, BrokerUnreachable)


def test_another_kind_of_broker_is_refused_with_what_was_wanted() -> None:
    with pytest.raises(TransportError, match="redis://"):
        create_app("app", "redis://localhost", topics=TOPICS)


def test_a_request_may_not_outlive_a_session() -> None:
    with pytest.raises(ValueError, match="request_timeout_seconds must be below"):
        TransportSettings(request_timeout_seconds=10, session_timeout_seconds=10)
