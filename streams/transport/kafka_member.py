"""A member of a Kafka consumer group, and its Faust transport.

Runs on aiokafka's classic group protocol in the app's own event loop: heartbeats need the loop to be
yielded to, which bulk handlers do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any, Final, cast

from aiokafka import AIOKafkaConsumer, OffsetAndMetadata, TopicPartition
from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import CommitFailedError, IllegalStateError, InvalidSessionTimeoutError, KafkaError
from faust.types import TP

from streams.transport.batching import Batch
from streams.transport.driver import BulkTransport
from streams.transport.errors import BrokerFailed, BrokerUnreachable
from streams.transport.kafka import FETCH_BYTES, FETCH_WAIT_MS, KafkaLog, batch_of
from streams.transport.kafka_writer import connected, stopped, translated
from streams.transport.member import Assigned, Refused, Revoked

logger = logging.getLogger(__name__)

FETCH_TIMEOUT_MS: Final = 1000
ASK_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.1
NEVER_MS: Final = 24 * 3600 * 1000
"""aiokafka leaves a group that does not poll for so long; our liveness is progress, watched elsewhere."""


class KafkaMember:
    """One member of `group`."""

    def __init__(self, log: KafkaLog, group: str) -> None:
        self._log = log
        self._group = group
        self._consumer: AIOKafkaConsumer | None = None
        self._generation = -1
        self._heard_at = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connects; does not join yet."""
        self._consumer = await connected(self._new_consumer, self._log.url, self._log.settings)

    async def join(self, topics: Iterable[str], revoked: Revoked, assigned: Assigned, refused: Refused) -> None:
        """Joins in the background, for as long as the coordinator may still let us in."""
        listener = _Listener(self, revoked, assigned)
        self._joined().subscribe(topics=list(topics), listener=listener)
        self._asking = asyncio.create_task(self._ask(self._joined()._coordinator, refused))

    async def _ask(self, coordinator: Any, refused: Refused) -> None:
        """aiokafka keeps to itself what the coordinator refuses until somebody fetches, and nobody does before there
        are partitions."""
        while True:
            await asyncio.sleep(ASK_SECONDS)
            try:
                coordinator.check_errors()
            except KafkaError as error:
                if getattr(error, "retriable", False):
                    logger.warning("not in the group yet", extra={"group": self._group, "why": repr(error)})
                else:
                    refused(self._refusal(error))
                    return

    def _refusal(self, error: KafkaError) -> BrokerFailed:
        why = f"{self._log.url}: group {self._group} refuses this worker: {type(error).__name__} {error}"
        if isinstance(error, InvalidSessionTimeoutError):
            seconds = self._log.settings.session_timeout_seconds
            why += (
                f"; broker.session_timeout_seconds is {seconds:g}, and the broker's group.min.session.timeout.ms or "
                "group.max.session.timeout.ms does not allow it"
            )
        return BrokerFailed(why)

    async def committed(self, partitions: Iterable[TP]) -> Mapping[TP, int | None]:
        """Committed offsets."""
        consumer = self._joined()
        with translated(self._log.url):
            async with asyncio.timeout(self._log.settings.start_timeout_seconds):
                return {tp: await consumer.committed(TopicPartition(*tp)) for tp in partitions}

    async def begin_offsets(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """First offsets."""
        with translated(self._log.url):
            found = await self._joined().beginning_offsets([TopicPartition(*tp) for tp in partitions])
        return {TP(*tp): offset for tp, offset in found.items()}

    async def end_offsets(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """Ends of the logs."""
        with translated(self._log.url):
            found = await self._joined().end_offsets([TopicPartition(*tp) for tp in partitions])
        return {TP(*tp): offset for tp, offset in found.items()}

    def seek(self, partition: TP, offset: int) -> None:
        """Where `fetch` goes on."""
        self._joined().seek(TopicPartition(*partition), offset)

    async def fetch(self, partition: TP, max_records: int, max_bytes: int) -> Batch | None:  # noqa: ARG002
        """The next batch, at most one fetch (`FETCH_BYTES`) large; None after a second."""
        tp = TopicPartition(*partition)
        with translated(f"{self._log.url}: {partition.topic}"):
            found = await self._joined().getmany(tp, timeout_ms=FETCH_TIMEOUT_MS, max_records=max_records)
        records = found.get(tp)
        return batch_of(records) if records else None

    async def commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commits in the generation that we were assigned in."""
        wanted = {TopicPartition(*tp): OffsetAndMetadata(offset, "") for tp, offset in offsets.items()}
        try:
            with translated(self._log.url):
                async with asyncio.timeout(self._log.settings.request_timeout_seconds):
                    await self._joined().commit(wanted)
        except BrokerUnreachable as error:
            logger.warning("not committed", extra={"why": str(error)})
            return False
        except Exception as error:
            if isinstance(error.__cause__, CommitFailedError | IllegalStateError):
                logger.info("not committed: the group has moved on")
                return False
            raise
        return True

    async def confirm(self) -> bool:
        """Trusts a heartbeat answered within half a session, else sends one, again and again for as long as a request
        may take. Raises `BrokerUnreachable` when nobody answers."""
        coordinator = self._joined()._coordinator
        if self._generation < 0 or coordinator.generation != self._generation:
            return False
        if monotonic() - self._heard_at < self._log.settings.session_timeout_seconds / 2:
            return True
        answered = False
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._log.settings.request_timeout_seconds):
                while not (answered := await coordinator._do_heartbeat()):
                    if coordinator.generation != self._generation:
                        return False
                    await asyncio.sleep(AGAIN_SECONDS)  # a broker that is back answers before its coordinator is found
        if coordinator.generation != self._generation:
            return False
        if not answered:
            raise BrokerUnreachable(f"{self._log.url}: the coordinator of group {self._group} does not answer")
        return True

    async def leave(self) -> None:
        """Leaves the group and disconnects."""
        self._generation = -1
        if self._asking is not None:
            self._asking.cancel()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await stopped(consumer, self._log.settings.request_timeout_seconds)

    def heard(self) -> None:
        """The coordinator has just confirmed us."""
        self._heard_at = monotonic()

    def joined_in(self, generation: int | None) -> None:
        """Remembers the generation of the assignment; None: there is none at the moment."""
        self._generation = -1 if generation is None else generation
        self.heard()

    @property
    def generation(self) -> int:
        """Generation as the coordinator client has it."""
        return cast(int, self._joined()._coordinator.generation)

    def _joined(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise BrokerUnreachable(f"{self._log.url}: group {self._group} was left")
        return self._consumer

    def _new_consumer(self) -> AIOKafkaConsumer:
        settings = self._log.settings
        session_ms = int(settings.session_timeout_seconds * 1000)
        # joining is answered only when the group has given up on members that died: after a session
        connection = {**self._log.connection, "request_timeout_ms": session_ms + 5_000}
        consumer = AIOKafkaConsumer(
            group_id=self._group, enable_auto_commit=False, auto_offset_reset="earliest",
            partition_assignment_strategy=(CopartitionedAssignor(),),
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=session_ms,
            heartbeat_interval_ms=session_ms // 6,
            max_poll_interval_ms=NEVER_MS, fetch_max_wait_ms=FETCH_WAIT_MS,
            max_partition_fetch_bytes=FETCH_BYTES, **connection,
        )  # fmt: skip
        start = consumer.start

        async def start_and_listen() -> None:
            await start()
            self._listen(consumer._coordinator)

        consumer.start = start_and_listen
        return consumer

    def _listen(self, coordinator: Any) -> None:
        beat = coordinator._do_heartbeat

        async def heartbeat() -> bool:
            answered = await beat()
            if answered:
                self.heard()
            return cast(bool, answered)

        coordinator._do_heartbeat = heartbeat


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, member: KafkaMember, revoked: Revoked, assigned: Assigned) -> None:
        self._member = member
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, revoked: Any) -> None:
        await self._revoked({TP(*tp) for tp in revoked})
        self._member.joined_in(None)

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self._member.joined_in(self._member.generation)
        await self._assigned({TP(*tp) for tp in assigned}, self._member.generation)


class CopartitionedAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Gives a partition number of every topic to one member; members keep what they had, evenly."""

    name = "heardback-copartitioned"
    version = 1

    def __init__(self) -> None:
        self._owned: list[int] = []

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """What a member says when it joins: its topics and the numbers it had."""
        return ConsumerProtocolMemberMetadata(self.version, sorted(topics), json.dumps(self._owned).encode())

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remembers the numbers for next time."""
        self._owned = sorted({number for _, numbers in assignment.assignment for number in numbers})

    def assign(
        self, cluster: Any, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """What the group's leader decides for everybody."""
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        by_topic = {topic: sorted(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        numbers = sorted({number for some in by_topic.values() for number in some})
        owned = shares(numbers, {member: _claims(data.user_data) for member, data in members.items()})
        return {
            member: ConsumerProtocolMemberAssignment(
                self.version,
                [(topic, mine) for topic, some in by_topic.items() if (mine := sorted(set(some) & keep))],
                b"",
            )
            for member, keep in owned.items()
        }


def shares(numbers: list[int], claims: Mapping[str, list[int]]) -> dict[str, set[int]]:
    """Numbers dealt evenly (counts differ by one at most); claims are honoured as far as that allows."""
    members = sorted(claims, key=lambda member: (-len(claims[member]), member))
    floor, extra = divmod(len(numbers), len(members))
    quota = {member: floor + (index < extra) for index, member in enumerate(members)}
    free = set(numbers)
    dealt: dict[str, set[int]] = {}
    for member in members:
        keep = [number for number in claims[member] if number in free][: quota[member]]
        dealt[member] = set(keep)
        free -= dealt[member]
    left = sorted(free)
    for member in members:
        while len(dealt[member]) < quota[member]:
            dealt[member].add(left.pop(0))
    return dealt


def _claims(user_data: bytes) -> list[int]:
    try:
        found = json.loads(user_data or b"[]")
    except ValueError:
        return []
    return [number for number in found if isinstance(number, int)] if isinstance(found, list) else []


class Transport(BulkTransport):
    """Faust on Kafka, in bulk."""

    def new_member(self) -> KafkaMember:
        """A member of the app's group, not yet started."""
        return KafkaMember(cast(Any, self.app).owner.client, self.app.conf.id)


def monotonic() -> float:
    """Seconds that also pass while the process or the machine is suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
