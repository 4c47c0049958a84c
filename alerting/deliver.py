"""Telling receivers what they are owed: one lane for each, so that a dead one delays no other.

A lane holds what its receiver is owed of the partitions that are live, the last change of each alert only: a
page that was never sent and has ended meanwhile is not sent, nor is its end. Every try is written down (topic
`deliveries`) before it is made and again when it is answered, so that after a crash nothing is lost and
nobody is told of an end without having been told of the beginning. One alert is never told twice at once.

A lane is also its receiver's circuit: once it does not answer it is left alone for as long as it asks for, or
longer each time, and then asked with one notice before it is told the rest. What it has not taken within
`late_after_seconds` is written down as `late`, once, for the fallback to be told, and tried on; after
`gives_up_after_seconds` it is given up. A receiver that gathers gets one message in `digest_seconds` at most.

Who is owed what is decided in `outbox`, what is true in `rules`; how a receiver is spoken to in `receivers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import structlog

from alerting.metrics import Metrics
from alerting.notify import Account, Notice
from alerting.outbox import Unit
from alerting.owed import Owed, Pace
from alerting.posting import Answer
from alerting.receivers import Receiver

logger = structlog.get_logger(__name__)

STOP_SECONDS: Final = 3.0
GATHER_SECONDS: Final = 1.0
"""How long the first of several changes waits for the others, where a receiver gets digests."""

REFUSALS_IN_A_ROW: Final = 5
"""After so many tries of which nothing was taken it is the receiver, whatever it answers."""

OVERDUE_SECONDS_MAX: Final = 1.0
"""What is owed for too long is looked for so often at most: there may be very much of it."""

IDS_WRITTEN: Final = 200
"""So many alerts of a customer are named in a delivery."""

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
    late_after_seconds: float | None = None
    digest_seconds: float = 0.0
    blind: bool = False
    fail: Callable[[BaseException], object] = str
    _alerts: dict[_Key, Owed] = field(default_factory=dict)
    _homes: dict[str, set[int]] = field(default_factory=dict)
    _due: dict[_Key, None] = field(default_factory=dict)
    _again: list[_Key] = field(default_factory=list)
    _again_at: float = 0.0
    _failures: int = 0
    _refusals: int = 0
    _away_until: float = 0.0
    _gather_until: float = 0.0
    _told_at: float = float("-inf")
    _overdue_at: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _posting: asyncio.Task[Sequence[Answer]] | None = None
    _posting_for: frozenset[int] = frozenset()
    _running: asyncio.Task[None] | None = None
    _stopping: bool = False

    # -- what is owed

    def load(self, partition: int, unit: Unit, account: Account) -> None:
        """Takes over what the outbox says, when a partition becomes live."""
        owed = self._owed(partition, unit, account)
        owed.held = {number: unit.records[str(number)] for number in account.held if str(number) in unit.records}
        if account.held and not owed.held:
            owed.held = {unit.number: owed.record}
        owed.done = account.done
        self._add(owed)
        self._again_at = 0.0

    def offer(self, partition: int, unit: Unit, account: Account) -> None:
        """The alert, or the customer's wait, has changed; what was owed of it before is not owed any more."""
        owed = self._alerts.get((partition, unit.alert_id))
        if owed is None:
            self._add(self._owed(partition, unit, account))
        elif owed.changed(unit.number, unit.record, account, self._clock()):
            self._add(owed)

    def _owed(self, partition: int, unit: Unit, account: Account) -> Owed:
        return Owed(
            unit.alert_id, partition, unit.number, unit.record, account.wanted, 0, {}, account.instead, self._clock()
        )

    async def drop(self, partition: int) -> None:
        """Forgets a partition that is another worker's now; what is being sent for it is broken off."""
        for key in [key for key in self._alerts if key[0] == partition]:
            self._forget(key)
        if self._posting is not None and partition in self._posting_for:
            self._posting.cancel()
            await asyncio.wait((self._posting,))

    def see(self, *, blind: bool) -> None:
        """Whether heardback can see: while it is blind nothing new is told that fires, for it may be stale."""
        if blind != self.blind:
            self.blind = blind
            self._changed.set()

    @property
    def owed(self) -> int:
        """How many alerts this receiver has yet to be told of."""
        return len(self._due)

    def _add(self, owed: Owed) -> None:
        key = (owed.partition, owed.alert_id)
        self._alerts[key] = owed
        self._homes.setdefault(owed.alert_id, set()).add(owed.partition)
        if owed.number > owed.done:
            if not self._due and self.digest_seconds:
                gathered = self._clock() + min(GATHER_SECONDS, self.digest_seconds)
                self._gather_until = max(gathered, self._told_at + self.digest_seconds)
            self._due[key] = None
            self.metrics.owed.labels(self.name).set(len(self._due))
            self._changed.set()

    def _forget(self, key: _Key) -> None:
        self._due.pop(key, None)
        self.metrics.owed.labels(self.name).set(len(self._due))
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
        clock = self._clock()
        if clock < self._away_until:
            await self._wait(self._away_until - clock, through=True)
        elif self._due and clock < self._gather_until:
            await self._wait(self._gather_until - clock, through=True)
        elif wave := self._wave(clock):
            await self._tell(wave)
        elif self.receiver.resends and self._round(clock):
            await self._say_again()
        else:
            due = (self._alerts[key] for key in self._due)
            times = [owed.not_before for owed in due if not self._held_back(owed)]
            if self.receiver.resends and self._alerts:
                times.append(self._again_at)
            await self._wait(min(times) - clock if times else None)

    async def _wait(self, seconds: float | None, *, through: bool = False) -> None:
        """For so long, or until something changes; `through`: nothing new is tried before. Stopping ends it."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self._changed.wait()
                    if self._stopping or not through:
                        return
                    self._changed.clear()
        except TimeoutError:
            return

    @staticmethod
    def _clock() -> float:
        return asyncio.get_running_loop().time()

    # -- telling

    def _wave(self, clock: float) -> list[Owed]:
        """What is told next, each alert once: one alone while the receiver is failing, unless all is one
        message."""
        limit = 1 if self._failures and not self.digest_seconds else self.receiver.batch
        wave: dict[str, Owed] = {}
        for key in self._due:
            owed = self._alerts[key]
            if owed.not_before <= clock and owed.alert_id not in wave and not self._held_back(owed):
                wave[owed.alert_id] = owed
                if len(wave) >= limit:
                    break
        return list(wave.values())

    def _held_back(self, owed: Owed) -> bool:
        return self.blind and owed.firing and owed.record["customer_id"] is not None

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
            self._told_at = self._clock()
            self._gather_until = self._told_at + self.digest_seconds
            answers = await self._deliver([owed.partition for owed, _ in notices], [notice for _, notice in notices])
            await self._learn(notices, answers)
            if not any(answer.result == "delivered" for answer in answers):
                self._told_at, self._gather_until = float("-inf"), 0.0  # nothing was said: it is tried at its pace
            await self._mark_overdue([owed for owed, _ in notices], answers)

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
        wait = max(self.pace.after(owed.attempts), answer.retry_after_seconds or 0.0)
        owed.not_before = 0.0 if answer.away else self._clock() + wait
        log.warning("alert not delivered", detail=answer.detail, attempt=owed.attempts)
        return "unknown" if certain and firing else answer.result

    async def _mark_overdue(self, tried: Sequence[Owed], answers: Sequence[Answer]) -> None:
        """After a try that was not taken: what is owed for too long is late, or given up. Those that were not
        tried wait behind it, and are as late."""
        details = {
            id(owed): answer.detail for owed, answer in zip(tried, answers, strict=True) if answer.result != "delivered"
        }
        clock = self._clock()
        limits = [limit for limit in (self.gives_up_after_seconds, self.late_after_seconds) if limit is not None]
        if not details or not limits or clock < self._overdue_at:
            return
        self._overdue_at = clock + min(OVERDUE_SECONDS_MAX, *(limit / 4 for limit in limits))
        last, steps = next(reversed(details.values())), []
        for owed in [self._alerts[key] for key in self._due]:
            waited = clock - owed.since
            if self.gives_up_after_seconds is not None and waited > self.gives_up_after_seconds:
                result = "gave_up"
                self._done(owed, owed.number)
            elif self.late_after_seconds is not None and waited > self.late_after_seconds and not owed.late:
                result = "late"
                owed.late = True
            else:
                continue
            detail = details.get(id(owed), last)
            steps.append((owed, self._delivery(owed, owed.record, owed.number, result, detail)))
            self.metrics.deliveries.labels(self.name, result).inc()
            logger.error("alert not deliverable", alert_id=owed.alert_id, receiver=self.name, result=result,
                         detail=detail, attempt=owed.attempts)  # fmt: skip
        await self._write(steps)

    def _done(self, owed: Owed, number: int) -> None:
        owed.done = max(owed.done, number)
        if owed.number > owed.done:
            return  # it has changed meanwhile, and stays due
        key = (owed.partition, owed.alert_id)
        if self._alerts.get(key) is owed:
            self._due.pop(key, None)
            self.metrics.owed.labels(self.name).set(len(self._due))
            if owed.record["state"] == "resolved":
                self._forget(key)

    def _judge(self, answers: Sequence[Answer]) -> None:
        """Whether the receiver is away: then it is left alone for a while, as long as it asks for or longer
        each time. One that takes some and asks to be spared the others (429) is left alone too."""
        heard = any(answer.result in ("delivered", "rejected") for answer in answers)
        self._refusals = 0 if heard else self._refusals + 1
        away = any(answer.away for answer in answers) or self._refusals >= REFUSALS_IN_A_ROW
        self._failures = 0 if heard else self._failures + int(away)
        self.metrics.away.labels(self.name).set(int(self._failures > 0))
        if away:
            asked = max(answer.retry_after_seconds or 0.0 for answer in answers)
            self._away_until = self._clock() + max(self.pace.after(max(1, self._failures)), asked)

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
        delivery = {
            "alert_id": owed.alert_id, "number": number, "receiver": self.name, "result": result,
            "kind": record["kind"], "state": record["state"], "at": self.now().isoformat(),
            "attempt": owed.attempts, "detail": detail,
        }  # fmt: skip
        if self.receiver.by_customer:
            told = [line["alert_id"] for line in (*record["lines"], *record["ended"])]
            delivery |= {"customer_id": record["customer_id"], "alert_ids": told[:IDS_WRITTEN]}
        return delivery
