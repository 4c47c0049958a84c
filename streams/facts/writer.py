"""From the topics to the facts store: one reader of its own, outside every group, one writer.

Nothing waits for it. A database that is away is tried again for ever, while clocks and pages go on; the topics keep
what it has missed. Where several write the same facts, each record is still kept once; they only get in each other's
way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from hashlib import blake2b
from typing import Any, Final

import orjson
import structlog
from pydantic import BaseModel, ValidationError

from schemas.alerts import Alert
from schemas.outcomes import Journey, Outcome
from schemas.policies import PolicyRecord
from schemas.topics import ALERTS, JOURNEYS, OUTCOMES, POLICIES
from streams.facts import schema
from streams.facts.schema import FactsError
from streams.facts.store import UNREACHABLE, Overtaken, Position, Row, Store, Taken
from streams.transport import Batch, LogClient, Pace

TOLD: Final = (OUTCOMES.name, JOURNEYS.name, ALERTS.name, POLICIES.name)
"""The topics whose records are facts."""

KNOW_EVERY_SECONDS: Final = 5.0
BATCHES_WAITING: Final = 4
BATCHES_TOGETHER: Final = 8
BACKOFF_SECONDS_MAX: Final = 30.0

log = structlog.get_logger(__name__)


class Writer:
    """Follows the topics into a store. `topic_name` gives the full name of a topic, `now` is heardback's clock.
    `complete_at` is when everything that had been told was last in the store, at first when the writer was made."""

    def __init__(
        self,
        client: LogClient,
        topic_name: Callable[[str], str],
        store: Store,
        *,
        now: Callable[[], datetime],
        know_every_seconds: float = KNOW_EVERY_SECONDS,
        after_step: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._client = client
        self._kind = {topic_name(name): name for name in TOLD}
        self._store = store
        self._now = now
        self._know_every_seconds = know_every_seconds
        self._after_step = after_step
        self._positions: dict[Position, int] = {}
        self._reached: dict[Position, int] = {}
        self.complete_at = now()

    async def run(self) -> None:
        """For ever. Raises FactsError where the facts are another version's, TransportError where the log is away."""
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await self._store.prepare()
                await self._follow()
            except FactsError:
                raise
            except Overtaken as other:
                log.warning("facts_overtaken", by="another process that writes the same facts", at=str(other))
            except UNREACHABLE as away:
                log.error("facts_not_written", error=type(away).__name__, store=str(self._store))
            failures = 1 if time.monotonic() - began > BACKOFF_SECONDS_MAX else failures + 1
            await asyncio.sleep(min(BACKOFF_SECONDS_MAX, 0.5 * 2**failures))

    async def _follow(self) -> None:
        self._positions = await self._store.positions()
        start = {name: await self._start_of(name) for name in self._kind}
        self._reached = {(name, partition): at for name, own in start.items() for partition, at in own.items()}
        known = -self._know_every_seconds
        async with self._read(start) as arrived:
            while True:
                batches = await _some(arrived, self._know_every_seconds)
                if batches:
                    taken = await self._taken(batches)
                    await self._store.write(taken)
                    self._positions.update(taken.came)
                    self._reached.update(taken.came)
                    self._after_step("facts")
                if time.monotonic() - known >= self._know_every_seconds:
                    known = time.monotonic()
                    await self._know()

    async def _start_of(self, topic: str) -> dict[int, int]:
        """Where to read on. A log that ends before that is another one: read from its beginning."""
        begin, end = await self._client.begin_offsets(topic), await self._client.end_offsets(topic)
        start = {}
        for partition, first in begin.items():
            position = self._positions.get((topic, partition), first)
            if position > end[partition]:
                log.warning("facts_of_another_log", topic=topic, partition=partition, position=position)
                position = first
            start[partition] = position
        return start

    async def _know(self) -> None:
        """Whether everything that was in the topics a moment ago is in the store."""
        now, behind = self._now(), 0
        for topic in self._kind:
            begin, end = await self._client.begin_offsets(topic), await self._client.end_offsets(topic)
            for partition, last in end.items():
                behind += last - min(last, max(begin[partition], self._reached[topic, partition]))
        if not behind:
            await self._store.know_until(now)
            self.complete_at = now

    @asynccontextmanager
    async def _read(self, start: Mapping[str, Mapping[int, int]]) -> AsyncIterator[asyncio.Queue[Batch | Exception]]:
        """Batches of all topics as they come, or why one of them cannot be read."""
        arrived: asyncio.Queue[Batch | Exception] = asyncio.Queue(BATCHES_WAITING)

        async def follow(topic: str) -> None:
            try:
                async for batch in self._client.follow(topic, start[topic]):
                    await arrived.put(batch)
            except Exception as error:  # noqa: BLE001 - raised where the batches are waited for
                await arrived.put(error)

        tasks = [asyncio.create_task(follow(topic), name=f"facts of {topic}") for topic in start]
        try:
            yield arrived
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _taken(self, batches: list[Batch]) -> Taken:
        taken, pace = Taken(), Pace()
        for batch in batches:
            kind, position = self._kind[batch.topic], (batch.topic, batch.partition)
            for value in batch.values:
                if value is not None:
                    _take(taken, kind, value)
                await pace()
            taken.had.setdefault(position, self._positions.get(position))
            taken.came[position] = batch.next_offset
        return taken


async def _some(arrived: asyncio.Queue[Batch | Exception], seconds: float) -> list[Batch]:
    """What has arrived, after waiting for the first at most so long. Raises what ended the reading."""
    found: list[Batch] = []
    while len(found) < BATCHES_TOGETHER and (not found or not arrived.empty()):
        try:
            async with asyncio.timeout(seconds):
                item = await arrived.get()
        except TimeoutError:
            break
        if isinstance(item, Exception):
            raise item
        found.append(item)
    return found


def _take(taken: Taken, kind: str, value: bytes) -> None:
    """One record, into the rows that it belongs to. One that is not understood is said and left out."""
    try:
        if kind == OUTCOMES.name:
            _newest(taken.outcomes, "outcome_id", _row(Outcome, value, schema.OUTCOMES.c.keys()))
        elif kind == JOURNEYS.name:
            _newest(taken.journeys, "journey_id", _row(Journey, value, schema.JOURNEYS.c.keys()))
        elif kind == ALERTS.name:
            digest = blake2b(orjson.dumps(orjson.loads(value), option=orjson.OPT_SORT_KEYS), digest_size=16)
            row = _row(Alert, value, schema.ALERTS.c.keys())
            taken.alerts[digest.hexdigest()] = {**row, "digest": digest.hexdigest()}
        else:
            row = PolicyRecord.model_validate_json(value).model_dump()
            taken.policies[row["hash"]] = row
    except (ValidationError, ValueError) as error:
        log.error("fact_not_understood", topic=kind, error=type(error).__name__)


def _row(model: type[BaseModel], value: bytes, columns: Any) -> Row:
    told = model.model_validate_json(value).model_dump()
    row = {name: told[name] for name in columns if name in told}
    if "attempts" in row:
        row["attempts"] = orjson.loads(value)["attempts"]
    return {**row, "record": value.decode()}


def _newest(rows: dict[str, Row], key: str, row: Row) -> None:
    before = rows.get(row[key])
    if before is None or before["revision"] <= row["revision"]:
        rows[row[key]] = row
