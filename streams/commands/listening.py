"""Listening to the sources: how much each sends by the hour, so that one that falls silent is noticed.

Composition only: the rule is `alerting.silence`'s, holidays are the calendars'. The topic of contact events is read
from its beginning, as far as it is kept, and followed; nothing is stored. Every hour of heardback's clock all sources
are judged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

import orjson
import structlog

from alerting.silence import SOURCES_MOST, Silence, Source, silence
from schemas.topics import CONTACT_EVENTS
from streams.engine.calendar import SECOND_US, Calendar
from streams.transport import Batch, Fenced, LogClient, Pace, TransportError

SPOKEN: Final = frozenset({"contact.opened", "message.received"})
HOUR_SECONDS: Final = 3_600
SPEAKS_HOURS: Final = 24
RETRY_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 1.0
log = structlog.get_logger(__name__)


class Say(Protocol):
    """Says of a source whether it is silent, and whether it speaks at all."""

    def __call__(self, name: str, silent: Silence | None, *, speaks: bool) -> Awaitable[None]: ...


class Listening:
    """`ours`: whether this process judges. `client` is connected when `start` is called."""

    def __init__(
        self,
        client: Callable[[], LogClient],
        topic: Callable[[str], str],
        calendars: Iterable[Calendar],
        say: Say,
        ours: Callable[[], bool],
        now: Callable[[], datetime],
    ) -> None:
        self._client, self._topic, self._say, self._ours, self._now = client, topic, say, ours, now
        self._calendars = [calendar for calendar in calendars if not calendar.spec.always_open]
        self._sources: dict[str, Source] = {}
        self._position: dict[int, int] = {}
        self._caught_up = False
        self._work: list[asyncio.Task[None]] = []

    def start(self, fail: Callable[[BaseException], object]) -> None:
        """Begin to listen and to judge; `fail` hears of a mistake of ours."""
        self._work = [
            asyncio.create_task(self._until_failed(self._listen, fail), name="listening"),
            asyncio.create_task(self._until_failed(self._judge, fail), name="judging silence"),
        ]

    async def stop(self) -> None:
        """Stop both."""
        work, self._work = self._work, []
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    @staticmethod
    async def _until_failed(work: Callable[[], Awaitable[None]], fail: Callable[[BaseException], object]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - nobody would notice a silent source any more
            fail(error)

    # -- listening

    async def _listen(self) -> None:
        topic = self._topic(CONTACT_EVENTS.name)
        while True:
            try:
                self._position = self._position or dict(await self._client().begin_offsets(topic))
                async for batch in self._client().scan(topic, self._position):
                    await self._take(batch)
                self._caught_up = True
                async for batch in self._client().follow(topic, self._position):
                    await self._take(batch)
            except TransportError as error:
                log.warning("sources_not_heard", error=type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)

    async def _take(self, batch: Batch) -> None:
        pace = Pace()
        for value, headers in zip(batch.values, batch.headers, strict=True):
            said = _said(value, headers)
            if said is not None:
                self.heard(*said)
            await pace()
        self._position[batch.partition] = batch.next_offset

    def heard(self, name: str, at: datetime) -> None:
        """A contact or a message came of a source. Beyond a bound further sources are not listened to."""
        source = self._sources.get(name)
        if source is None:
            if len(self._sources) >= SOURCES_MOST:
                return
            source = self._sources[name] = Source()
        source.heard(int(at.timestamp()) // HOUR_SECONDS)

    # -- judging

    async def _judge(self) -> None:
        judged = 0
        while True:
            hour = int(self._now().timestamp()) // HOUR_SECONDS
            if self._caught_up and hour != judged and self._ours():
                try:
                    await self.judge(hour)
                    judged = hour
                except (Fenced, TransportError) as error:
                    log.warning("silence_not_said", error=type(error).__name__)
            await asyncio.sleep(LOOK_SECONDS)

    async def judge(self, hour: int) -> None:
        """Say of every source whether it is silent at the beginning of an hour. Raises as `say`."""
        for name, source in list(self._sources.items()):
            source.forget(hour)
            found = silence(source, hour, self.holiday)
            await self._say(name, found, speaks=source.within(hour, SPEAKS_HOURS) > 0)
            await asyncio.sleep(0)

    def holiday(self, hour: int) -> bool:
        """Whether an hour is on a holiday or in a closure of any calendar."""
        instant_us = hour * HOUR_SECONDS * SECOND_US
        return any(
            not calendar.is_open(instant_us)
            and (calendar.closed_because(instant_us).startswith("holiday:")
                 or calendar.closed_because(instant_us) == "closed")
            for calendar in self._calendars
        )  # fmt: skip


def _said(value: bytes | None, headers: Sequence[tuple[str, bytes]]) -> tuple[str, datetime] | None:
    """Source and time of what a customer opened or wrote; None of everything else, also of what is refused."""
    try:
        content = orjson.loads(value or b"")
        named = {name: text.decode() for name, text in headers}
        event: dict[str, Any] = (
            {key: named[f"ce_{key}"] for key in ("type", "source", "time")} if "ce_type" in named else content
        )
        data = content if "ce_type" in named else content.get("data") or {}
        if event["type"] not in SPOKEN or data.get("automated") or data.get("opened_by") == "agent":
            return None
        at = datetime.fromisoformat(event["time"])
        return (str(event["source"]), at) if at.tzinfo is not None else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
