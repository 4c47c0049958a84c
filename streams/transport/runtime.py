"""A worker put together: one Faust app, its broker, its tables, and a start and stop that a program can call.

`create_app` is the only way in. What agents do with batches belongs to the application.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from schemas.topics import Topic
from streams.transport.batching import FOREIGN_BYTES_MAX, KEPT_BYTES_MAX, Batch, Fence, RecordsByPartition
from streams.transport.client import LogClient, TopicSpec
from streams.transport.consumer import BatchConsumer, Handler
from streams.transport.driver import BatchSchema, BulkApp
from streams.transport.errors import BrokerUnreachable, Fenced, StopTimedOut, TransportError
from streams.transport.opening import open_log, transport_for
from streams.transport.progress import PartitionProgress, Progress
from streams.transport.settings import TransportSettings
from streams.transport.table import BulkTable, Hook

logger = logging.getLogger(__name__)

DAY_MS = 24 * 3600 * 1000


def topic_specs(topics: Sequence[Topic], settings: TransportSettings) -> list[TopicSpec]:
    """Rows of `schemas.topics` as the broker must have them: prefix, partition count, retention."""
    return [
        TopicSpec(
            name=settings.topic_prefix + topic.name,
            partitions=settings.partitions if topic.partitioned else 1,
            compacted=topic.compacted,
            retention_ms=None if topic.compacted else (topic.retention_days or settings.retention_days) * DAY_MS,
            message_bytes=KEPT_BYTES_MAX if topic.keeps_foreign else FOREIGN_BYTES_MAX,
        )
        for topic in topics
    ]


def create_app(
    app_id: str, broker_url: str, *, topics: Sequence[Topic], settings: TransportSettings | None = None
) -> Runtime:
    """A worker of the group `app_id` on `kafka://host:port[,host:port]` or `sqlite:///path`.

    `topics` are all that it reads or writes (table changelogs are added). Nothing is opened yet. Raises
    `TransportError` for a URL of another kind.
    """
    return Runtime(app_id, broker_url, topics, settings or TransportSettings())


class Runtime:
    """See the package's docstring for how it is used."""

    def __init__(self, app_id: str, broker_url: str, topics: Sequence[Topic], settings: TransportSettings) -> None:
        self.app_id = settings.topic_prefix + app_id
        self.broker_url = broker_url
        self.settings = settings
        self.client: LogClient = open_log(broker_url, settings)
        self.partition_counts: Mapping[str, int] = {}
        self.progress_of = Progress()
        self.progress_of.on_check = self._check_stall
        self._specs = topic_specs(topics, settings)
        self._tables: list[BulkTable] = []
        self._on_ready: list[Hook] = []
        self._on_revoked: list[Hook] = []
        self._sources: set[str] = set()
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._closed = asyncio.Event()
        self._client_open = False
        self._running: asyncio.Task[None] | None = None
        self._expecting: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self.app = BulkApp(self, transport_for(broker_url), broker=f"{broker_url.partition('://')[0]}://")

    # -- before start

    def table(self, name: str) -> BulkTable:
        """Adds a table, with the changelog `<app id>-<name>-changelog`."""
        table = cast(BulkTable, self.app.Table(name))
        self._tables.append(table)
        self._specs.append(TopicSpec(name=table.changelog, partitions=self.settings.partitions, compacted=True))
        return table

    def agent(self, topic: str, handler: Handler) -> None:
        """Has every batch of a topic (named without prefix) awaited by `handler`, one at a time, in the
        order of each partition."""
        name = self.topic_name(topic)
        self._sources.add(name)

        async def agent(stream: Any) -> None:
            async for event in stream.noack().events():
                await self._handle(event.value, handler)
                event.ack()
                await asyncio.sleep(0)

        self.app.agent(self.app.topic(name, schema=BatchSchema()), name=f"{name}.agent")(agent)

    def timer(self, every_seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Calls `work` again and again once all partitions are ready. `Fenced` is no failure, anything
        else stops the process. A timer writes to topics, never to a table."""

        async def timer() -> None:
            try:
                await work()
            except Fenced as fenced:
                logger.info("timer fenced", extra={"why": str(fenced)})

        self.app.timer(every_seconds, name=getattr(work, "__qualname__", "timer"))(timer)

    def on_partition_ready(self, hook: Hook) -> None:
        """`hook(partition)` is called (awaited, if it is a coroutine) once every table of a partition is
        recovered, before its first batch."""
        self._on_ready.append(hook)

    def on_partition_revoked(self, hook: Hook) -> None:
        """`hook(partition)` is called after a partition's last batch, when its tables have been dropped."""
        self._on_revoked.append(hook)

    def topic_name(self, topic: str) -> str:
        """A topic's full name: with the prefix of the settings."""
        return self.settings.topic_prefix + topic

    # -- life

    async def start(self) -> None:
        """Connects, creates and checks topics, starts the app. Tables recover in the background
        (`wait_ready`). Raises `TransportError` within `start_timeout_seconds`."""
        try:
            async with asyncio.timeout(self.settings.start_timeout_seconds):
                await self.client.start()
                self._client_open = True
                await self.client.ensure_topics(self._specs, self.settings.replication_factor)
                self.partition_counts = {spec.name: spec.partitions for spec in self._specs}
        except TimeoutError:
            await self._close_client()
            raise BrokerUnreachable(
                f"{self.broker_url}: no answer within {self.settings.start_timeout_seconds:g} s"
            ) from None
        except BaseException:
            await self._close_client()
            raise
        self._running = asyncio.create_task(self._run())
        self._expecting = asyncio.create_task(self._expect_partitions())

    async def wait_ready(self) -> None:
        """Returns when every partition assigned so far is ready. Raises what crashed the app."""
        failed = asyncio.create_task(self._failed.wait())
        closed = asyncio.create_task(self._closed.wait())
        ready = asyncio.create_task(self._ready())
        try:
            await asyncio.wait((ready, failed, closed), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ready, failed, closed):
                task.cancel()
        self._raise_failure()

    @property
    def ready(self) -> bool:
        """Whether every partition that we were given is ready."""
        return self.app._consumer is not None and self._group.ready.is_set() and self._failure is None

    async def wait_closed(self) -> None:
        """Returns after `stop`; raises what crashed the app, once it is stopped."""
        await self._closed.wait()
        self._raise_failure()

    async def stop(self) -> None:
        """Ends the batch in hand, commits, leaves the group, within `stop_timeout_seconds`. Called again
        while stopping, it gives up at once: what was in hand is handed out again after a restart."""
        if self._stopping is not None and not self._stopping.done():
            self._stopping.cancel()
            await asyncio.wait((self._stopping,))
            return
        if self._closed.is_set():
            return
        self._stopping = asyncio.create_task(self._stop())
        await asyncio.wait((self._stopping,))

    def fail(self, reason: BaseException) -> None:
        """The end of this worker: nothing further is handed out, and the app stops by itself."""
        if self._failure is not None or self._closed.is_set():
            return
        self._failure = reason
        self._failed.set()
        # a broker's error says it all; where it was met tells of errors that are ours
        ours = None if isinstance(reason, TransportError) else reason
        logger.error("stopping for a failure: %s", reason, exc_info=ours)
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())

    # -- while running

    async def send(self, topic: str, records: RecordsByPartition, *, fence: Fence | None) -> None:
        """Writes records, each partition's in order; returns when all are durable. `topic` without
        prefix, or a table's changelog. With a fence, raises `Fenced` if the partition is not ours any
        more. Other errors as `LogClient.append`; let them stop the process."""
        name = topic if topic in self.partition_counts else self.topic_name(topic)
        if fence is not None:
            await self._group.confirm(fence)
        await self.client.append(name, records)

    def fence(self, partition: int) -> Fence:
        """The right to write for a partition outside a batch (timers). Raises `Fenced`."""
        return self._group.fence(partition)

    def partitions(self) -> frozenset[int]:
        """Numbers of the partitions that are ours and ready."""
        return self._group.partitions() if self.app._consumer else frozenset()

    def progress(self) -> list[PartitionProgress]:
        """Finished, committed and end offsets, and lag, of every source partition that is ours."""
        return self.progress_of.partitions()

    def stalled_seconds(self) -> float:
        """How long there has been something to do and nothing has moved."""
        return self.progress_of.stalled_seconds()

    # -- called by the consumer

    async def bring_up(self, partition: int) -> None:
        """Recovers a partition's tables, then calls the ready hooks."""
        stall_seconds = self.settings.recovery_stall_seconds
        for table in self._tables:
            await table.recover(self.client, partition, stall_seconds, self.progress_of.moved)
        await _call(self._on_ready, partition)

    async def take_down(self, partition: int) -> None:
        """Drops a partition's tables, then calls the revoked hooks."""
        for table in self._tables:
            table.drop(partition)
        await _call(self._on_revoked, partition)

    async def _handle(self, batch: Batch, handler: Handler) -> None:
        if self._failure is None:
            try:
                await self._group.handle(batch, handler)
                return
            except asyncio.CancelledError:
                if self._stopping is not None:
                    raise
                self.fail(TransportError(f"{batch.topic}: the handler was cancelled, its batch is not finished"))
            except Exception as error:  # noqa: BLE001  # whatever it is, the batch must not be acknowledged
                self.fail(error)
        await asyncio.Event().wait()  # until cancelled: an agent that ends or raises would lose the batch

    @property
    def _group(self) -> BatchConsumer:
        return cast(BatchConsumer, self.app.consumer)

    async def _run(self) -> None:
        try:
            await self.app.start()
        except Exception as error:  # noqa: BLE001  # told to whoever waits for us
            self.fail(error)

    async def _expect_partitions(self) -> None:
        """A group that never says which partitions are ours, if any, would keep this worker waiting without a word. It
        may first have to give up on members that died."""
        limit = self.settings.start_timeout_seconds + 3 * self.settings.session_timeout_seconds
        try:
            async with asyncio.timeout(limit):
                await self._group.assigned.wait()
        except TimeoutError:
            self.fail(BrokerUnreachable(f"{self.broker_url}: group {self.app_id} assigned nothing within {limit:g} s"))

    async def _ready(self) -> None:
        await self._group.ready.wait()

    async def _stop(self) -> None:
        finished = False
        try:
            async with asyncio.timeout(self.settings.stop_timeout_seconds):
                await self.app.stop()
            finished = True
        except TimeoutError:
            limit = self.settings.stop_timeout_seconds
            self._failure = self._failure or StopTimedOut(f"{self.app_id}: not stopped within {limit:g} s")
        except Exception as error:  # noqa: BLE001  # told to whoever waits for us
            self._failure = self._failure or error
        finally:
            for task in (self._running, self._expecting):
                if task is not None:
                    task.cancel()
            try:
                if not finished:
                    await self.app.abandon()
                await self._close_client()
            finally:
                self._closed.set()

    async def _close_client(self) -> None:
        if self._client_open:
            self._client_open = False
            await self.client.close()

    def _check_stall(self, stalled_seconds: float) -> None:
        limit = self.settings.stall_exit_seconds
        if limit is not None and stalled_seconds > limit:
            found = f"{self.app_id}: nothing finished for {stalled_seconds:.0f} s, though there is work"
            self.fail(TransportError(found))

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure


async def _call(hooks: Sequence[Hook], partition: int) -> None:
    for hook in hooks:
        result = hook(partition)
        if inspect.isawaitable(result):
            await result
