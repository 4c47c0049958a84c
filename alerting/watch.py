"""Looking whether heardback can see, and telling when it cannot: kind `blind`.

While it cannot, lanes begin no page about a customer: what it knows may be stale. The alert itself goes to its
receivers without the log, for that may be what is away; it is written to topic `alerts`, and kept, as soon as the
log takes it, so that a process that is killed meanwhile ends it later. Where several workers run, the one that has
partition 0 tells. A worker that the broker's absence ends stays for this until the broker answers. The rule is in
`sight`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog

from alerting import message, waits
from alerting.deliver import Lane
from alerting.fold import Alert
from alerting.notify import Notice, Routes, notice_key
from alerting.owed import Pace
from alerting.rules import alert_id
from alerting.sight import Blind, Look, Sight

logger = structlog.get_logger(__name__)

LOOKS: Final = 10
LOOK_SECONDS_MOST: Final = 10.0
ANSWER_SECONDS_MOST: Final = 30.0
TELLS: Final = 20
Write = Callable[[Alert], Awaitable[None]]


@dataclass(slots=True)
class Watch:
    """`look` looks once, and raises one of `away` (TimeoutError among them) where the broker is not there; so does
    `write`, which makes a record durable. `ours`: whether this worker tells."""

    look: Callable[[], Awaitable[Look]]
    write: Write
    ours: Callable[[], bool]
    away: tuple[type[Exception], ...]
    lanes: Mapping[str, Lane]
    routes: Routes
    links: message.Links
    now: Callable[[], datetime]
    pace: Pace
    sight: Sight
    monotonic: Callable[[], float] = time.monotonic
    _said: Alert | None = None
    _unwritten: list[Alert] = field(default_factory=list)
    _telling: asyncio.Task[None] | None = None
    _running: asyncio.Task[None] | None = None

    def start(self, fail: Callable[[BaseException], object]) -> None:
        """Begins to look; `fail` hears of a mistake of ours."""
        self._running = asyncio.create_task(self._run(fail), name="watch")

    async def outlast(self) -> None:
        """Of a worker that ends because the broker is away, and that told of us: returns once the broker answers again
        and whoever heard that we are blind has heard that we see, or for long not answered. Where the broker answers
        already, at once."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
        self.ours = lambda: True
        await self._look()
        while not self.sight.log_answers:
            await asyncio.sleep(self._every)
            await self._look()
        if self._telling is not None:
            await asyncio.wait((self._telling,), timeout=ANSWER_SECONDS_MOST)

    async def stop(self) -> None:
        """Ends it; what was not told yet is not."""
        tasks = [task for task in (self._running, self._telling) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def take_over(self, record: Alert) -> None:
        """What was said by a process before this one, and not ended: it is over unless found so again."""
        if self._said is None and record["state"] == "firing":
            self._said = record

    @property
    def blind(self) -> bool:
        """Whether nothing about a customer is told now."""
        return self.sight.blind(self.monotonic()) is not None

    @property
    def _every(self) -> float:
        return min(LOOK_SECONDS_MOST, self.sight.limit_seconds / LOOKS)

    async def _run(self, fail: Callable[[BaseException], object]) -> None:
        try:
            while True:
                await self._look()
                await asyncio.sleep(self._every)
        except Exception as error:  # noqa: BLE001  # nobody would know any more whether we see
            fail(error)

    async def _look(self) -> None:
        began = self.monotonic()
        try:
            async with asyncio.timeout(min(ANSWER_SECONDS_MOST, self.sight.limit_seconds)):
                found = await self.look()
            self.sight.looked(found, self.monotonic())
        except self.away as error:
            if self.sight.log_answers:
                logger.warning("log not seen", error=type(error).__name__)
            self.sight.failed(began)
        blind = self.sight.blind(self.monotonic())
        for lane in self.lanes.values():
            lane.see(blind=blind is not None)
        if not self.ours():
            return
        firing = self._said is not None and self._said["state"] == "firing"
        if blind is not None and (self._said is None or not firing):
            self._say(of_blindness(blind, self.now(), self.links))
        elif blind is None and self._said is not None and firing:
            self._say(message.resolved(self._said, "withdrawn", _text(self.now())))
        if self.sight.log_answers:
            await self._write_down()

    def _say(self, record: Alert) -> None:
        log = logger.error if record["state"] == "firing" else logger.info
        log("heardback is blind" if record["state"] == "firing" else "heardback sees", cause=record["labels"]["cause"])
        before, self._said = self._said, record
        self._unwritten.append(record)
        if self._telling is not None:
            self._telling.cancel()
        self._telling = asyncio.create_task(self._tell(record, before), name="blind")

    async def _write_down(self) -> None:
        try:
            while self._unwritten:
                await self.write(self._unwritten[0])
                del self._unwritten[0]
        except self.away as error:
            logger.warning("blindness not written down", error=type(error).__name__)

    async def _tell(self, record: Alert, before: Alert | None) -> None:
        """Every receiver that the route names, each by itself, until it has it."""
        names = self.routes.receivers(record)
        await asyncio.gather(*(self._tell_one(self.lanes[name], record, before) for name in names))

    async def _tell_one(self, lane: Lane, record: Alert, before: Alert | None) -> None:
        notice = notice_of(lane.name, record, before, people=lane.receiver.by_customer)
        for attempt in range(1, TELLS + 1):
            [answer] = await lane.receiver.deliver([notice])
            lane.metrics.deliveries.labels(lane.name, answer.result).inc()
            if answer.result in ("delivered", "rejected"):
                break
            await asyncio.sleep(max(self.pace.after(attempt), answer.retry_after_seconds or 0.0))
        logger.info("blindness told", receiver=lane.name, result=answer.result, attempt=attempt)


def of_blindness(blind: Blind, now: datetime, links: message.Links) -> Alert:
    """The record of an alert that heardback itself cannot see."""
    return message.of_nobody(
        alert_id("blind", blind.reason),
        "blind",
        "page",
        _text(now),
        f"heardback cannot see: {blind.words}, for {message.length(int(blind.seconds))}. "
        "No page about a customer begins until it can.",
        labels={"cause": blind.reason},
        runbook_url=links.runbook_url,
    )


def notice_of(receiver: str, record: Alert, before: Alert | None, *, people: bool) -> Notice:
    """What one receiver is told; for people in the shape in which they hear of customers."""
    firing = record if record["state"] == "firing" else before
    if people and firing is not None:
        wait = waits.told(None, receiver, firing, wanted=True)
        if record is not firing:
            wait = waits.told(wait, receiver, record, wanted=True)
        assert wait is not None
        return Notice(wait.alert_id, wait.number, wait.record, notice_key(wait.record, wait.number))
    # Counted by its instant: a process that knows nothing of the one before tells another episode.
    number = int(datetime.fromisoformat(record["at"]).timestamp() * 1_000)
    return Notice(record["alert_id"], number, record, notice_key(record, number))


def _text(now: datetime) -> str:
    return now.isoformat().replace("+00:00", "Z")
