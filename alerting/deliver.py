"""Telling receivers what they are owed: one lane for each, so that a dead one delays no other.

A lane holds what its receiver is owed of the partitions that are live, the last change of each alert only: a
page that was never sent and has ended meanwhile is not sent, nor is its end. Every try is written down (topic
`deliveries`) before it is made and again when it is answered, so that after a crash nothing is lost and
nobody is told of an end without having been told of the beginning. One alert is never told twice at once.

Who is owed what is decided in `notify`, what is true in `rules`; how a receiver is spoken to in `receivers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from alerting.metrics import Metrics
from alerting.notify import Account, Entry, Notice
from alerting.owed import Owed, Pace
from alerting.posting import Answer
from alerting.receivers import Receiver
from alerting.rules import Alert

logger = structlog.get_logger(__name__)

STOP_SECONDS: Final = 3.0
UNANSWERED: Final = Answer(result="unknown", detail="given up while stopping")
Delivery = dict[str, Any]
WriteDown = Callable[[int, Sequence[Delivery], bool], Awaitable[bool]]
"""`(partition, deliveries, before)`: writes steps down durably. False where the partition is no longer ours,
which is only asked before a try."""


_Key = tuple[int, str]


@dataclass(slots=True)
class Lane:
    """One receiver's. `now` is heardback's clock; waiting is done in real time."""

    name: str
    receiver: Receiver
    write_down: WriteDown
    now: Callable[[], datetime]
    metrics: Metrics
    pace: Pace
    gives_up_after_seconds: float | None = None
    fail: Callable[[BaseException], object] = str
    _alerts: dict[_Key, Owed] = field(default_factory=dict)
    _homes: dict[str, set[int]] = field(default_factory=dict)
    _due: dict[_Key, None] = field(default_factory=dict)
    _again: list[_Key] = field(default_factory=list)
    _again_at: float = 0.0
    _failures: int = 0
    _away_until: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _posting: asyncio.Task[Sequence[Answer]] | None = None
    _posting_for: frozenset[int] = frozenset()
    _running: asyncio.Task[None] | None = None
    _stopping: bool = False

    # -- what is owed

    def load(self, partition: int, alert_id: str, entry: Entry, account: Account) -> None:
        """Takes over what the outbox says, when a partition becomes live."""
        held = {number: entry.records[str(number)] for number in account.held if str(number) in entry.records}
        if account.held and not held:
            held = {entry.number: entry.record}
        owed = Owed(alert_id, partition, entry.number, entry.record, account.wanted, account.done, held)
        self._add(owed)
        self._again_at = 0.0

    def offer(self, partition: int, alert_id: str, number: int, record: Alert, *, wanted: bool) -> None:
        """The alert has changed; what was owed of it before is not owed any more."""
        owed = self._alerts.get((partition, alert_id))
        if owed is None:
            owed = Owed(alert_id, partition, number, record, wanted, 0, {})
        else:
            owed.number, owed.record, owed.wanted = number, record, wanted
            owed.attempts, owed.first_try, owed.not_before = 0, None, 0.0
        self._add(owed)

    async def drop(self, partition: int) -> None:
        """Forgets a partition that is another worker's now; what is being sent for it is broken off."""
        for key in [key for key in self._alerts if key[0] == partition]:
            self._forget(key)
        if self._posting is not None and partition in self._posting_for:
            self._posting.cancel()
            await asyncio.wait((self._posting,))

    @property
    def owed(self) -> int:
        """How many alerts this receiver has yet to be told of."""
        return len(self._due)

    def _add(self, owed: Owed) -> None:
        key = (owed.partition, owed.alert_id)
        self._alerts[key] = owed
        self._homes.setdefault(owed.alert_id, set()).add(owed.partition)
        if owed.number > owed.done:
            self._due[key] = None
            self._changed.set()

    def _forget(self, key: _Key) -> None:
        self._due.pop(key, None)
        if self._alerts.pop(key, None) is not None:
            homes = self._homes[key[1]]
            homes.discard(key[0])
            if not homes:
                del self._homes[key[1]]

    # -- life

    def start(self) -> None:
        """Begins to tell."""
        self._running = asyncio.create_task(self._run(), name=f"lane {self.name}")

    async def stop(self) -> None:
        """Ends what is being sent, for a few seconds at most."""
        self._stopping = True
        self._changed.set()
        if self._running is None:
            return
        await asyncio.wait((self._running,), timeout=STOP_SECONDS)
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        try:
            while not self._stopping:
                self._changed.clear()
                await self._step()
        except Exception as error:  # noqa: BLE001  # what could not be written down must stop the process
            self.fail(error)

    async def _step(self) -> None:
        clock = asyncio.get_running_loop().time()
        if clock < self._away_until:
            await self._wait(self._away_until - clock)
        elif wave := self._wave(clock):
            await self._tell(wave)
        elif self.receiver.resends and self._round(clock):
            await self._say_again()
        else:
            times = [self._alerts[key].not_before for key in self._due]
            if self.receiver.resends and self._alerts:
                times.append(self._again_at)
            await self._wait(min(times) - clock if times else None)

    async def _wait(self, seconds: float | None) -> None:
        """Until something changes, or for so long. While the receiver is away nothing new is tried."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._changed.wait()
                    if self._stopping or asyncio.get_running_loop().time() >= self._away_until:
                        return
                    self._changed.clear()
        except TimeoutError:
            return

    # -- telling

    def _wave(self, clock: float) -> list[Owed]:
        """What is told next: one alone while the receiver is failing, each alert once."""
        limit = 1 if self._failures else self.receiver.batch
        wave: dict[str, Owed] = {}
        for key in self._due:
            owed = self._alerts[key]
            if owed.not_before <= clock and owed.alert_id not in wave:
                wave[owed.alert_id] = owed
                if len(wave) >= limit:
                    break
        return list(wave.values())

    async def _tell(self, wave: Sequence[Owed]) -> None:
        notices: list[tuple[Owed, Notice]] = []
        steps: list[tuple[Owed, Delivery]] = []
        for owed in wave:
            notice = None if self._goes_on_elsewhere(owed) else owed.notice()
            if notice is None:
                steps.append((owed, self._delivery(owed, owed.record, owed.number, "not_needed")))
                self.metrics.deliveries.labels(self.name, "not_needed").inc()
                self._done(owed, owed.number)
            else:
                notices.append((owed, notice))
        await self._write(steps)
        notices = await self._announce(notices)
        if notices:
            answers = await self._deliver([owed.partition for owed, _ in notices], [notice for _, notice in notices])
            await self._learn(notices, answers)

    def _goes_on_elsewhere(self, owed: Owed) -> bool:
        """A contact that moved to another customer: the end of the old alert must not end the new one, for a
        receiver that knows an alert by its id alone (DESIGN section 2, point 10)."""
        if self.receiver.by_labels or owed.firing:
            return False
        others = (self._alerts[home, owed.alert_id] for home in self._homes[owed.alert_id] - {owed.partition})
        return any(other.firing for other in others)

    async def _announce(self, notices: list[tuple[Owed, Notice]]) -> list[tuple[Owed, Notice]]:
        """Writes down that these are tried; those of partitions that are no longer ours fall away."""
        by_partition: dict[int, list[Delivery]] = {}
        for owed, notice in notices:
            owed.attempts += 1
            owed.first_try = owed.first_try or asyncio.get_running_loop().time()
            step = self._delivery(owed, notice.record, notice.number, "trying")
            by_partition.setdefault(owed.partition, []).append(step)
        for partition, steps in by_partition.items():
            if not await self.write_down(partition, steps, True):
                for key in [key for key in self._alerts if key[0] == partition]:
                    self._forget(key)
        return [(owed, notice) for owed, notice in notices if self._alerts.get((owed.partition, owed.alert_id)) is owed]

    async def _deliver(self, partitions: Sequence[int], notices: Sequence[Notice]) -> Sequence[Answer]:
        self._posting_for = frozenset(partitions)
        posting = self._posting = asyncio.ensure_future(self.receiver.deliver(notices))
        try:
            await asyncio.wait((posting,))
        finally:
            posting.cancel()
            self._posting = None
        if posting.cancelled():
            return [UNANSWERED] * len(notices)
        if error := posting.exception():
            logger.error("receiver failed", receiver=self.name, error=type(error).__name__)
            return [Answer(result="unknown", detail=type(error).__name__, away=True)] * len(notices)
        return posting.result()

    async def _learn(self, notices: Sequence[tuple[Owed, Notice]], answers: Sequence[Answer]) -> None:
        steps = []
        for (owed, notice), answer in zip(notices, answers, strict=True):
            result = self._result(owed, notice, answer)
            steps.append((owed, self._delivery(owed, notice.record, notice.number, result, answer.detail)))
            self.metrics.deliveries.labels(self.name, result).inc()
            if result == "delivered":
                since = datetime.fromisoformat(notice.record["at"])
                self.metrics.delay.observe(max(0.0, (self.now() - since).total_seconds()))
        self._judge(answers)
        await self._write(steps)

    def _result(self, owed: Owed, notice: Notice, answer: Answer) -> str:
        """Brings what is owed up to date with an answer, and says what it came to."""
        firing = notice.record["state"] == "firing"
        log = logger.bind(alert_id=notice.alert_id, kind=notice.record["kind"], state=notice.record["state"],
                          receiver=self.name)  # fmt: skip
        if answer.result == "delivered":
            owed.held = {notice.number: notice.record} if firing else {}
            self._done(owed, notice.number)
            log.info("alert delivered", attempt=owed.attempts)
            return "delivered"
        # What an earlier try may have brought there is not taken back by a later refusal.
        certain = notice.number in owed.held or answer.result == "unknown"
        if firing and answer.result == "unknown":
            owed.held[notice.number] = notice.record
        if answer.result == "rejected":
            self._done(owed, notice.number)
            log.error("alert rejected", detail=answer.detail)
            return "rejected"
        if self._too_long(owed):
            self._done(owed, notice.number)
            log.error("alert given up", detail=answer.detail, attempt=owed.attempts)
            return "gave_up"
        wait = max(self.pace.after(owed.attempts), answer.retry_after_seconds or 0.0)
        owed.not_before = 0.0 if answer.away else asyncio.get_running_loop().time() + wait
        log.warning("alert not delivered", detail=answer.detail, attempt=owed.attempts)
        return "unknown" if certain and firing else answer.result

    def _too_long(self, owed: Owed) -> bool:
        limit = self.gives_up_after_seconds
        waited = asyncio.get_running_loop().time() - (owed.first_try or 0.0)
        return limit is not None and waited > limit

    def _done(self, owed: Owed, number: int) -> None:
        owed.done = max(owed.done, number)
        if owed.number > owed.done:
            return  # it has changed meanwhile, and stays due
        key = (owed.partition, owed.alert_id)
        if self._alerts.get(key) is owed:
            self._due.pop(key, None)
            if owed.record["state"] == "resolved":
                self._forget(key)

    def _judge(self, answers: Sequence[Answer]) -> None:
        """Whether the receiver is away: then it is left alone for a while, as long as it asks for or longer
        each time."""
        if any(answer.result in ("delivered", "rejected") for answer in answers):
            self._failures = 0
            return
        away = [answer for answer in answers if answer.away]
        if away:
            self._failures += 1
            asked = max(answer.retry_after_seconds or 0.0 for answer in away)
            self._away_until = asyncio.get_running_loop().time() + max(self.pace.after(self._failures), asked)

    # -- saying it again

    def _round(self, clock: float) -> bool:
        """Whether something that fires is to be said again now."""
        if not self._again and clock >= self._again_at:
            self._again = [key for key, owed in self._alerts.items() if owed.stands]
            self._again_at = clock + self.pace.resend_seconds
        return bool(self._again)

    async def _say_again(self) -> None:
        some, self._again = self._again[: self.receiver.batch], self._again[self.receiver.batch :]
        standing = [self._alerts[key] for key in some if key in self._alerts and self._alerts[key].stands]
        notices = [owed.notice() for owed in standing]
        said = [notice for notice in notices if notice is not None]
        if not said:
            return
        answers = await self._deliver([owed.partition for owed in standing], said)
        for answer in answers:
            result = "repeated" if answer.result == "delivered" else answer.result
            self.metrics.deliveries.labels(self.name, result).inc()
        self._judge(answers)
        if self._failures:
            logger.warning("alerts not repeated", receiver=self.name, detail=answers[0].detail, count=len(said))

    # -- writing down

    async def _write(self, steps: Sequence[tuple[Owed, Delivery]]) -> None:
        by_partition: dict[int, list[Delivery]] = {}
        for owed, step in steps:
            by_partition.setdefault(owed.partition, []).append(step)
        for partition, some in by_partition.items():
            await self.write_down(partition, some, False)

    def _delivery(self, owed: Owed, record: Mapping[str, Any], number: int, result: str, detail: str = "") -> Delivery:
        return {
            "alert_id": owed.alert_id, "number": number, "receiver": self.name, "result": result,
            "kind": record["kind"], "state": record["state"], "at": self.now().isoformat(),
            "attempt": owed.attempts, "detail": detail,
        }  # fmt: skip
