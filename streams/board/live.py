"""The board of one process: the topics read from their beginning and followed, by readers outside every group.

So it stands in any process and over all partitions, on both brokers. What a record means is decided in `waiting`,
how customers are ranked in `standing`; `now` is handed in. A broker that is away stops nothing: what is shown
says how old it is, and reading goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import time
import traceback
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
import structlog
from pydantic import ValidationError

from schemas.customers import Customer
from schemas.policies import PolicyRecord
from schemas.topics import ALERTS, JOURNEYS, OUTCOMES, POLICIES
from streams.board.calendars import Calendars
from streams.board.standing import Facts, Ranked, Row, Standing, facts_of, in_order, ranked_of
from streams.board.waiting import Entry, Waiting
from streams.customers import Customers
from streams.engine.calendar import to_us
from streams.transport import Batch, LogClient, Pace, TransportError

STANDING_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 2.0
PROBE_SECONDS: Final = 10.0
FORGET_SECONDS: Final = 60.0
RECALL_SECONDS: Final = 15.0
LongAgo = Callable[[int, Callable[[str], bool]], Iterable[tuple[int, Mapping[str, Any]]]]
"""Explanations of contacts, each with its partition, in which somebody has waited since before an instant (in
microseconds), but for those of which the predicate says that they are known."""
log = structlog.get_logger(__name__)


class Board:
    """Who waits now. `client` is connected already when `start` is called, and its topics exist; `topic` gives
    a topic's full name. `customers` is the directory of this process. What was due before `alerts_from` is never
    paged (None: before the first start). `late_after` is how long contacts are kept after their end, `remembered` how
    long the topics keep a record: whoever has waited longer is known by `long_ago` alone (None: by nobody here)."""

    def __init__(
        self,
        client: Callable[[], LogClient],
        topic: Callable[[str], str],
        customers: Callable[[], Customers],
        *,
        now: Callable[[], datetime],
        alerts_from: datetime | None = None,
        late_after: timedelta = timedelta(days=30),
        remembered: timedelta = timedelta(days=30),
        long_ago: LongAgo | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        retry_seconds: float = RETRY_SECONDS,
        probe_seconds: float = PROBE_SECONDS,
        recall_seconds: float = RECALL_SECONDS,
    ) -> None:
        self.waiting = Waiting()
        self.calendars = Calendars()
        self.unreadable = 0
        self._client, self._topic, self._customers = client, topic, customers
        self._now, self._monotonic = now, monotonic
        self._retry_seconds, self._probe_seconds, self._recall_seconds = retry_seconds, probe_seconds, recall_seconds
        self._alerts_from_us = None if alerts_from is None else to_us(alerts_from)
        self._late_after_us = late_after // timedelta(microseconds=1)
        self._remembered_us, self._long_ago = remembered // timedelta(microseconds=1), long_ago
        self._positions: dict[str, dict[int, int]] = {}
        self._caught_up = asyncio.Event()
        self._away_since: datetime | None = None
        self._failed = False
        self._work: asyncio.Task[None] | None = None
        self._facts: dict[str, tuple[tuple[int, int, int], Facts]] = {}
        self._standing: Standing | None = None
        self._stood_at, self._stood_version = 0.0, (-1, -1, -1)
        self._making = asyncio.Lock()
        self._takes: Mapping[str, Callable[[int, bytes], None]] = {
            POLICIES.name: self._take_policy,
            JOURNEYS.name: self._taker(self.waiting.on_journey),
            OUTCOMES.name: self._taker(self.waiting.on_outcome),
            ALERTS.name: self._taker(self.waiting.on_alert),
        }

    def start(self) -> None:
        """Begin to read; returns at once."""
        self._work = asyncio.create_task(self._read())
        self._work.add_done_callback(self._ended)

    async def stop(self) -> None:
        """Stop reading; called again, or before `start`, nothing."""
        work, self._work = self._work, None
        if work is not None:
            work.cancel()
            await asyncio.wait((work,))

    @property
    def caught_up(self) -> bool:
        """Whether everything that was in the topics at the start has been read."""
        return self._caught_up.is_set()

    @property
    def away_since(self) -> datetime | None:
        """Since when the broker has not answered, or None."""
        return self._away_since

    @property
    def failed(self) -> bool:
        """Whether reading ended by a mistake of ours, which is in the log: pages about customers go on without it."""
        return self._failed

    @property
    def version(self) -> tuple[int, int, int]:
        """Another one whenever something that is shown may have changed, but for the time."""
        return self.waiting.version, self._customers().version, self.calendars.version

    def known(self, customer_id: str) -> Customer | None:
        """The customer's record, where there is one."""
        return self._customers().directory.customers.get(customer_id)

    def customer_of(self, contact_id: str) -> str | None:
        """Whose a contact is, where somebody waits in it."""
        for entry in self.waiting.entries.values():
            if any(clock.contact_id == contact_id for clock in entry.clocks.values()):
                return entry.customer_id
        return None

    async def wait_caught_up(self) -> None:
        """Returns once the topics have been read to where they ended at the start."""
        await self._caught_up.wait()

    async def standing(self) -> Standing:
        """How everybody stands now: made at most once a second, for all who ask."""
        async with self._making:
            age = self._monotonic() - self._stood_at
            if self._standing is None or age >= STANDING_SECONDS:
                version = self.version
                self._standing = await self._made()
                self._stood_at, self._stood_version = self._monotonic(), version
            return self._standing

    async def _made(self) -> Standing:
        now_us, pace = to_us(self._now()), Pace()
        ranked = []
        for entry in list(self.waiting.entries.values()):
            if entry.waits:
                ranked.append(ranked_of(entry, self._facts_of(entry), self.calendars, now_us))
            await pace()
        if len(self._facts) > 2 * len(ranked) + 1_000:
            self._facts = {one.customer_id: self._facts[one.customer_id] for one in ranked}
        return self._stand(ranked, now_us)

    def standing_of(self, customer_id: str) -> Row | None:
        """How one customer stands now; None: nobody owes them anything."""
        entry = self.waiting.entries.get(customer_id)
        if entry is None or not entry.waits:
            return None
        now_us = to_us(self._now())
        ranked = ranked_of(entry, self._facts_of(entry), self.calendars, now_us)
        return self._stand([ranked], now_us).row(ranked)

    def _stand(self, ranked: Iterable[Ranked], now_us: int) -> Standing:
        alerts_from_us = self.calendars.first_start_us if self._alerts_from_us is None else self._alerts_from_us
        return Standing(
            in_order(ranked),
            self.calendars,
            self.known,
            now_us=now_us,
            alerts_from_us=alerts_from_us,
            remembered_us=self._remembered_us,
        )

    def _facts_of(self, entry: Entry) -> Facts:
        version = (entry.version, self._customers().version, self.calendars.version)
        kept = self._facts.get(entry.customer_id)
        if kept is None or kept[0] != version:
            kept = version, facts_of(entry, self.calendars, self.known(entry.customer_id))
            self._facts[entry.customer_id] = kept
        return kept[1]

    # -- reading -------------------------------------------------------------------------------------

    async def _read(self) -> None:
        for name in self._takes:  # policies first: they say on which calendar the rest is measured
            await self._again(self._scan, name)
        self._caught_up.set()
        waiting = sum(entry.waits for entry in self.waiting.entries.values())
        log.info("board_caught_up", customers_waiting=waiting, unreadable=self.unreadable)
        async with asyncio.TaskGroup() as together:
            for name in self._takes:
                together.create_task(self._again(self._follow, name))
            together.create_task(self._probe())
            together.create_task(self._forget())
            if self._long_ago is not None:
                together.create_task(self._recall(self._long_ago))

    def _ended(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self._failed = True
            at = [f"{frame.name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-4:]]
            log.error("board_failed", error=type(error).__name__, at=" > ".join(at))  # its words may be a customer's

    async def _again(self, read: Callable[[str], Awaitable[None]], name: str) -> None:
        """Reads until that is done, again and again while the broker fails."""
        while True:
            try:
                await read(name)
            except TransportError as error:
                self._heard_nothing(error)
                await asyncio.sleep(self._retry_seconds)
            else:
                self._away_since = None
                return

    async def _scan(self, name: str) -> None:
        topic = self._topic(name)
        position = self._positions.get(name) or dict(await self._client().begin_offsets(topic))
        self._positions[name] = position
        async for batch in self._client().scan(topic, position):
            await self._take(name, batch)

    async def _follow(self, name: str) -> None:
        async for batch in self._client().follow(self._topic(name), self._positions[name]):
            self._away_since = None
            await self._take(name, batch)

    async def _take(self, name: str, batch: Batch) -> None:
        take, pace = self._takes[name], Pace()
        for value in batch.values:
            if value is not None:
                try:
                    take(batch.partition, value)
                except (ValidationError, ValueError, KeyError, TypeError, AttributeError):
                    self.unreadable += 1  # nobody but us writes here: somebody did
            await pace()
        self._positions[name][batch.partition] = batch.next_offset

    def _take_policy(self, _partition: int, value: bytes) -> None:
        self.calendars.take(PolicyRecord.model_validate_json(value))

    @staticmethod
    def _taker(on: Callable[[int, Any], None]) -> Callable[[int, bytes], None]:
        return lambda partition, value: on(partition, orjson.loads(value))

    async def _probe(self) -> None:
        """Asks the broker from time to time: a reader that hears nothing cannot tell whether there is nothing."""
        while True:
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    await self._client().end_offsets(self._topic(OUTCOMES.name))
                self._away_since = None
            except (TransportError, TimeoutError) as error:
                self._heard_nothing(error)
            await asyncio.sleep(self._probe_seconds)

    async def _recall(self, long_ago: LongAgo) -> None:
        """Brings back who has waited for so long that the topics no longer say so: they wait most of all."""
        while True:
            on_board = {clock.contact_id for entry in self.waiting.entries.values() for clock in entry.clocks.values()}
            pace = Pace()
            for partition, explained in long_ago(to_us(self._now()) - self._remembered_us, on_board.__contains__):
                for clock in explained["clocks"]:
                    if clock["ended_at"] is None:
                        self.waiting.on_outcome(partition, {"revision": 0, **clock})
                for journey in explained["journeys"]:
                    if journey["state"] == "waiting":
                        self.waiting.on_journey(partition, {"revision": 0, **journey})
                await pace()
            await asyncio.sleep(self._recall_seconds)

    async def _forget(self) -> None:
        while True:
            self.waiting.forget(to_us(self._now()) - self._late_after_us)
            await asyncio.sleep(FORGET_SECONDS)

    def _heard_nothing(self, error: Exception) -> None:
        if self._away_since is None:
            self._away_since = self._now()
            log.warning("board_hears_nothing", error=type(error).__name__)
