"""Faust's consumer, replaced: hands each agent one batch of one partition at a time.

A partition comes up in this order: tables recovered, ready hooks, position (committed, else the beginning,
which is committed first), fetching. It goes down in the reverse: no more batches, the one in hand ends,
commit, revoked hooks, state dropped. Commits are the ends of finished batches and nothing else: neither
Faust's acknowledgements nor gaps between offsets take part. Group protocols are in `kafka` and `sqlite`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from faust.transport import base
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage
from mode import Service

from streams.transport.batching import Batch, Fence
from streams.transport.errors import BrokerUnreachable, Fenced
from streams.transport.member import Member
from streams.transport.owner import Owner
from streams.transport.progress import PartitionState, Progress
from streams.transport.settings import TransportSettings

logger = logging.getLogger(__name__)

Handler = Callable[[Batch], Awaitable[None]]


class BatchConsumer(base.Consumer):
    """One per app; asks the app's owner for settings and hooks, and tells it of failures."""

    app: Any
    transport: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._owner: Owner = self.app.owner
        self.member: Member = self.transport.new_member()
        self.settings: TransportSettings = self._owner.settings
        self.progress: Progress = self._owner.progress_of
        self._states: dict[TP, PartitionState] = {}
        self._tasks_of: dict[int, list[asyncio.Task[None]]] = {}
        self._up: set[int] = set()
        self._in_hand = 0
        self._hand_empty = asyncio.Event()
        self._hand_empty.set()
        self._epoch = 0
        self._joined = False
        self.ready = asyncio.Event()
        self.assigned = asyncio.Event()  # by the group, for the first time, be it nothing

    # -- life

    async def on_start(self) -> None:
        """Connects before the agents start."""
        await self.member.start()

    async def on_stop(self) -> None:
        """Ends the batch in hand, commits, leaves."""
        await self.release()
        await self.member.leave()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Joins the group; called once, by the conductor."""
        if not self._joined:
            self._joined = True
            await self.member.join(sorted(topics), self._revoked, self._assigned, self._owner.fail)

    async def _revoked(self, revoked: set[TP]) -> None:  # noqa: ARG002  # always all of them
        self.app.on_rebalance_start()
        self.ready.clear()
        await self.release()

    async def _assigned(self, assigned: set[TP], generation: int) -> None:
        if self.should_stop or self.app.should_stop:
            return
        if not self.app.rebalancing:
            self.app.on_rebalance_start()
        self._epoch += 1
        self.assigned.set()
        self.app.consumer_generation_id = self._epoch
        logger.info("partitions assigned", extra={"partitions": len(assigned), "generation": generation})
        fences = {tp: Fence(partition=tp.partition, generation=self._epoch) for tp in sorted(assigned)}
        self._states = {tp: PartitionState(fence) for tp, fence in fences.items()}
        self.progress.assigned(self._states)
        await cast(Any, self._on_partitions_assigned)(set(assigned), self._epoch)
        self.app.on_rebalance_return()
        self.app.flow_control.resume()
        by_number: dict[int, list[TP]] = {}
        for tp in sorted(assigned):
            by_number.setdefault(tp.partition, []).append(tp)
        self._tasks_of = {number: [] for number in by_number}
        for number, tps in by_number.items():
            self._spawn(number, self._run_partition(number, tps))
        if not by_number:
            self._now_ready()

    async def _run_partition(self, number: int, tps: list[TP]) -> None:
        await self._owner.bring_up(number)
        await self._position(tps)
        self._up.add(number)
        logger.info("partition ready", extra={"partition": number})
        for tp in tps:
            self._spawn(number, self._pump(tp))
        if self._up >= set(self._tasks_of):
            self._now_ready()

    def _now_ready(self) -> None:
        self.app.on_rebalance_end()
        self.ready.set()

    async def release(self) -> None:
        """Everything assigned goes: batches not yet taken are forgotten, the one in hand ends, commit."""
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        tasks = [task for some in self._tasks_of.values() for task in some]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.wait_empty()
        up, self._up, self._tasks_of, self._states = self._up, set(), {}, {}
        self._epoch += 1  # no fence given out so far holds any more
        self.progress.assigned({})
        for number in sorted(up):
            await self._owner.take_down(number)

    async def abandon(self) -> None:
        """Leaves without finishing anything."""
        self._epoch += 1
        self._tasks_of, abandoned = {}, [task for some in self._tasks_of.values() for task in some]
        for task in abandoned:
            task.cancel()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(1.0):
                await self.member.leave()

    # -- batches

    async def _position(self, tps: list[TP]) -> None:
        committed = await self.member.committed(tps)
        begins = await self.member.begin_offsets(tps)
        fresh = {tp: begins[tp] for tp in tps if committed.get(tp) is None}
        if fresh:
            await self.member.commit(fresh)
        for tp in tps:
            offset = committed.get(tp)
            offset = begins[tp] if offset is None else max(offset, begins[tp])
            self._states[tp].start(offset)
            self.member.seek(tp, offset)

    async def _pump(self, tp: TP) -> None:
        state = self._states[tp]
        limits = self.settings.batch_records, self.settings.batch_bytes
        while True:
            await state.room(self.settings.batches_waiting)
            batch = await self.member.fetch(tp, *limits)
            if batch is None:
                continue
            state.handed_out(batch)
            await self.callback(self._message(tp, replace(batch, fence=state.fence)))

    def _message(self, tp: TP, batch: Batch) -> ConsumerMessage:
        return ConsumerMessage(
            tp.topic, tp.partition, batch.next_offset - 1, batch.timestamps_ms[-1] / 1000.0, 0, {}, None,
            cast(Any, batch), None, 0, 0, tp, generation_id=self.app.consumer_generation_id,
        )  # fmt: skip

    async def handle(self, batch: Batch, handler: Handler) -> None:
        """Has a batch handled; returning makes its end committable. `Fenced` drops the batch. Any other
        exception is the end of this process's work: nothing further is handed out."""
        state = self._states.get(TP(batch.topic, batch.partition))
        if state is None or state.fence != batch.fence or state.lost:
            return
        self._in_hand += 1
        self._hand_empty.clear()
        try:
            await handler(batch)
            if state.fence == batch.fence:
                state.finished(batch)
                self.progress.moved()
        except Fenced as fenced:
            state.lost = True  # what follows this batch must not be finished before it
            logger.warning("batch dropped", extra={"partition": batch.partition, "why": str(fenced)})
        except BaseException:
            state.lost = True
            raise
        finally:
            self._in_hand -= 1
            if not self._in_hand:
                self._hand_empty.set()

    # -- fences

    def fence(self, partition: int) -> Fence:
        """The right to write for a partition that is up. Raises `Fenced`."""
        if partition not in self._up:
            raise Fenced(f"partition {partition} is not ours, or not ready")
        return Fence(partition=partition, generation=self._epoch)

    def partitions(self) -> frozenset[int]:
        """Numbers of the partitions that are up."""
        return frozenset(self._up)

    async def confirm(self, fence: Fence) -> None:
        """Raises `Fenced` unless the group still has us as the owner."""
        if not self._holds(fence):
            raise Fenced(f"partition {fence.partition}: generation {fence.generation} is over")
        if not await self.member.confirm() or not self._holds(fence):
            raise Fenced(f"partition {fence.partition}: the group has gone on without us")

    def _holds(self, fence: Fence) -> bool:
        return fence.generation == self._epoch and fence.partition in self._tasks_of

    # -- commits

    @Service.task
    async def _commit_handler(self) -> None:
        while not self.should_stop:
            await self.sleep(self.settings.commit_interval_seconds)
            await self.commit()

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        while not self.should_stop:
            await self.sleep(1.0)
            states = self._states
            if states and not self.app.rebalancing:
                try:
                    self.progress.ends(await self.member.end_offsets(states))
                except BrokerUnreachable as away:  # whoever has something to read or to write notices by that
                    logger.warning("the ends of the logs are not known", extra={"why": str(away)})
                self.progress.check()

    async def commit(self, *args: Any, **kwargs: Any) -> bool:  # noqa: ARG002  # always all of them
        """Commits the ends of finished batches."""
        states = self._states
        done = {tp: state.done for tp, state in states.items() if state.done != state.saved}
        offsets = {tp: offset for tp, offset in done.items() if offset is not None}
        if not offsets:
            return False
        if not await self.member.commit(offsets):
            return False
        for tp, offset in offsets.items():
            states[tp].saved = offset
        return True

    async def wait_empty(self) -> None:
        """Waits for the batch in hand (as long as a session lasts: after that it is fenced), then commits."""
        try:
            async with asyncio.timeout(self.settings.session_timeout_seconds):
                await self._hand_empty.wait()
        except TimeoutError:
            logger.warning("the batch in hand takes too long; it will be handed out again")
        await self.commit()

    # -- what Faust asks of a consumer

    def _spawn(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended)
        self._tasks_of[number].append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._owner.fail(error)

    def ack(self, message: Message) -> bool:
        """Faust's acknowledgement of a message; commits do not depend on it."""
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def assignment(self) -> set[TP]:
        """Partitions that we have, ready or not."""
        return set(self._states)

    def highwater(self, tp: TP) -> int:
        """End of the log as last heard."""
        return self.progress.end(tp)

    async def position(self, tp: TP) -> int | None:
        """End of the last finished batch."""
        state = self._states.get(tp)
        return state.done if state else None

    def topic_partitions(self, topic: str) -> int | None:
        """Partition count of a topic that was checked at start."""
        return self._owner.partition_counts.get(topic)

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Where a key belongs."""
        return cast("int | None", self.app.producer.partition_of(topic, key, partition))

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Ends of the logs."""
        return await self.member.end_offsets(partitions)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Beginnings of the logs."""
        return await self.member.begin_offsets(partitions)

    def close(self) -> None:
        """Nothing is left to do when a rebalance meets a stopping app."""

    async def perform_seek(self) -> None:
        """Positions are set when a partition comes up."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Positions are set when a partition comes up."""
        return {}

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Tables are recovered outside the group."""

    async def _seek(self, partition: TP, offset: int) -> None:
        self.member.seek(partition, offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return await self.member.commit(offsets)

    async def create_topic(self, *args: Any, **kwargs: Any) -> None:
        """Topics are created explicitly, by the runtime."""

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109  # Faust's
        raise NotImplementedError("batches are pumped by partition")

    async def getmany(self, timeout: float) -> AsyncIterator[Any]:  # noqa: ASYNC109, ARG002  # Faust's signature
        """Batches are pumped by partition; Faust's fetcher never runs."""
        return
        yield

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        return self._message(tp, record)

    def on_buffer_full(self, tp: TP) -> None:
        """Pressure is bounded by `batches_waiting`."""

    def on_buffer_drop(self, tp: TP) -> None:
        """Pressure is bounded by `batches_waiting`."""
