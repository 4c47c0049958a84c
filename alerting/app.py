"""The alerting worker put together: outcomes and journeys in, alerts out, receivers told.

    alerting = build(Transport(runtime=runtime, record=Record, fenced=Fenced), spec, now=now, registry=registry)
    await alerting.start()        # before or after the runtime's own start
    await alerting.stop()         # before the runtime's own stop

One batch: gather what is known of each record's clock or customer, decide by the rules, apply: the topic
`alerts`, then the table (the outbox first), then the lanes. Nothing is delivered for a partition before
everything that was in its topics at the start has been folded: what ended meanwhile pages nobody.
The rules are in `rules`, what is owed in `notify`, telling in `deliver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import structlog
from prometheus_client import CollectorRegistry

from alerting import message, outbox, receivers
from alerting.deliver import Delivery, Lane
from alerting.fold import Alert, Change, Folded, Known
from alerting.health import on_health
from alerting.metrics import Metrics
from alerting.notify import OwnerOf, Routes
from alerting.outbox import Outbox
from alerting.owed import Pace
from alerting.partition import SOURCE, TAKEN, Home, Work, key_of_alert, key_of_clock, key_of_customer, key_of_health
from alerting.posting import Rim, Sessions, wall
from alerting.rules import Rules, ended_at, forgotten
from alerting.sight import Look, Sight
from alerting.silence import Silence, on_silence
from alerting.transport import Batch, Table, Transport
from alerting.watch import Watch
from schemas.configuration import AlertsSpec
from schemas.topics import ACKNOWLEDGEMENTS, ALERTS, DELIVERIES, HEALTH, JOURNEYS, OUTCOMES

logger = structlog.get_logger(__name__)

TABLE: Final = "alerts"
SOURCES: Final = (OUTCOMES.name, JOURNEYS.name, HEALTH.name, DELIVERIES.name)
WRITTEN: Final = ALERTS.name
BLINDNESS: Final = b"blind"
LOOK_SECONDS: Final = 0.05
Fold = Callable[[Work, Any, Known | None], Folded]


def faults(spec: AlertsSpec) -> list[str]:
    """What is wrong with the receivers of a configuration, in words without secrets (`heardback check`)."""
    return [fault for receiver in spec.receivers for fault in receivers.faults(receiver, spec.outbound_hosts)]


def build(
    transport: Transport,
    spec: AlertsSpec,
    *,
    now: Callable[[], datetime],
    registry: CollectorRegistry,
    first_start: datetime | None = None,
    late_after: timedelta = timedelta(days=30),
    owner_of: OwnerOf | None = None,
    sessions: Sessions | None = None,
    pace: Pace | None = None,
    look: Callable[[], Awaitable[Look]] | None = None,
) -> Alerting:
    """Puts agents and the table on the runtime; nothing runs yet. `now` is heardback's clock, which receivers
    do not share. `first_start` is when heardback first ran on its data, kept durably by the caller. Raises
    ValueError where `faults` finds any. `look` looks whether heardback sees (`alerting.watch`); None: nobody does."""
    sessions = sessions or Sessions()
    pace = pace or Pace(resend_seconds=spec.resend_every.seconds)
    rim = Rim(
        session=sessions, wall=wall, resend_seconds=pace.resend_seconds, outbound_hosts=spec.outbound_hosts
    )  # fmt: skip
    made = {receiver.name: (receiver, receivers.make(receiver, rim)) for receiver in spec.receivers}
    by_customer = {name: told.by_customer for name, (_, told) in made.items()}
    routes = Routes(spec, owner_of)
    owing = Outbox(routes, by_customer, fallback=spec.fallback)
    alerting = Alerting(transport, Rules(spec, first_start=first_start), owing, Metrics(registry), now, late_after)
    alerting.closing = sessions.close
    for name, (receiver, told) in made.items():
        alerting.metrics.receiver(name)
        alerting.lanes[name] = Lane(
            name, told, alerting.write_down, now, alerting.metrics, pace,
            gives_up_after_seconds=receiver.retry_for.seconds if receiver.retry_for else None,
            late_after_seconds=None if spec.fallback in (None, name) else spec.fallback_after.seconds,
            digest_seconds=receivers.digest_seconds(receiver), fail=transport.runtime.fail,
        )  # fmt: skip
    if look is not None:
        alerting.watch = Watch(
            look, alerting.write_blindness, alerting.tells_of_us, (transport.fenced, TimeoutError, *transport.away),
            alerting.lanes, routes, message.Links(board_url=spec.board_url, runbook_url=spec.runbooks), now, pace,
            Sight(float(spec.blind_after.seconds)),
        )  # fmt: skip
    return alerting


class Alerting:
    """See the module's docstring."""

    def __init__(
        self, transport: Transport, rules: Rules, owing: Outbox, metrics: Metrics,
        now: Callable[[], datetime], late_after: timedelta,
    ) -> None:  # fmt: skip
        self.lanes: dict[str, Lane] = {}
        self.metrics = metrics
        self.closing: Callable[[], Any] | None = None
        self.watch: Watch | None = None
        self._runtime = transport.runtime
        self._record = transport.record
        self._fenced = transport.fenced
        self._rules = rules
        self._outbox = owing
        self._now = now
        self._late_after = late_after
        self._homes: dict[int, Home] = {}
        self._told_of_us = False
        self._arrived = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._table: Table = self._runtime.table(TABLE)
        self._runtime.agent(OUTCOMES.name, self._on_outcomes)
        self._runtime.agent(JOURNEYS.name, self._on_journeys)
        self._runtime.agent(DELIVERIES.name, self._on_deliveries)
        self._runtime.agent(ACKNOWLEDGEMENTS.name, self._on_acknowledgements)
        self._runtime.agent(HEALTH.name, self._on_health)
        self._runtime.on_partition_ready(self._on_ready)
        self._runtime.on_partition_revoked(self._on_revoked)

    # -- life

    async def start(self) -> None:
        """Begins to watch for partitions that have caught up, and to tell."""
        self._watching = asyncio.create_task(self._watch(), name="alerting")
        for lane in self.lanes.values():
            lane.start()
        if self.watch is not None:
            self.watch.start(self._runtime.fail)

    async def stop(self) -> None:
        """Ends what is being sent, within seconds; what is owed stays owed, durably."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self.watch is not None:
            await self.watch.stop()
        await asyncio.gather(*(lane.stop() for lane in self.lanes.values()))
        if self.closing is not None:
            await self.closing()

    async def outlast(self) -> None:
        """To be awaited before `stop` where the broker's absence ended the runtime: who was to tell that heardback
        cannot see would end with it, and no other could begin. Returns once the broker answers again."""
        if self.watch is not None and self._told_of_us:
            await self.watch.outlast()

    @property
    def live(self) -> frozenset[int]:
        """Partitions for which alerts are delivered: all that was in their topics at the start is folded."""
        return frozenset(number for number, home in self._homes.items() if home.live)

    # -- partitions

    async def _on_ready(self, partition: int) -> None:
        names = [self._runtime.topic_name(topic) for topic in SOURCES]
        ends = {name: (await self._runtime.client.end_offsets(name))[partition] for name in names}
        self._homes[partition] = Home(ends)
        self._told_of_us = self.tells_of_us()
        self._arrived.set()

    async def _on_revoked(self, partition: int) -> None:
        self._homes.pop(partition, None)
        await asyncio.gather(*(lane.drop(partition) for lane in self.lanes.values()))

    async def _watch(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                for partition in self._caught_up():
                    await self._go_live(partition)
                if all(home.live for home in self._homes.values()):
                    self._arrived.clear()
                else:
                    await asyncio.sleep(LOOK_SECONDS)
        except Exception as error:  # noqa: BLE001  # nothing would be delivered any more
            self._runtime.fail(error)

    def _caught_up(self) -> list[int]:
        finished = {(progress.topic, progress.partition): progress.finished for progress in self._runtime.progress()}
        return [
            number
            for number, home in self._homes.items()
            if not home.live and all((finished.get((name, number)) or 0) >= end for name, end in home.ends.items())
        ]

    async def _go_live(self, partition: int) -> None:
        """Hands what is owed to the lanes. Receivers that are new hear of all that fires."""
        home = self._homes.get(partition)
        if home is None:
            return
        async with home.lock:
            try:
                view = self._table.partition(partition)
                changed = await self._reroute(home, view)
                await self._table.write(partition, changed, fence=self._runtime.fence(partition))
                await self._take_waiting(partition, home, view)
            except self._fenced:
                return
            if self.watch is not None and (said := view.get(BLINDNESS)) is not None:
                self.watch.take_over(orjson.loads(said))
            for key, value in view.items():
                if (unit := outbox.unit_at(key, value)) is not None:
                    for name, account in unit.accounts.items():
                        self.lanes[name].load(partition, unit, account)
            home.live = True
        logger.info("alerts are delivered", partition=partition)

    async def _reroute(self, home: Home, view: Mapping[bytes, bytes]) -> dict[bytes, bytes | None]:
        work, firing = Work(view), []
        for count, (key, value) in enumerate(list(view.items())):
            if count % 500 == 0:
                await asyncio.sleep(0)
            if key.startswith((outbox.ALERT, outbox.WAIT, TAKEN, BLINDNESS)):
                continue
            known = Known.from_bytes(value)
            home.remember(key, known)
            firing += [Change(said.number, said.record) for said in known.alerts.values() if said.firing]
        self._outbox.rerouted(work, firing)
        return work.written()

    # -- agents

    async def _on_outcomes(self, batch: Batch) -> None:
        def fold(work: Work, outcome: Any, known: Known | None) -> Folded:
            return self._rules.on_outcome(outcome, known, work.tried)

        await self._fold(batch, key_of_clock, fold)

    async def _on_journeys(self, batch: Batch) -> None:
        await self._fold(batch, key_of_customer, lambda _, *one: self._rules.on_journey(*one))

    async def _on_health(self, batch: Batch) -> None:
        def fold(_: Work, health: Any, known: Known | None) -> Folded:
            return on_health(health, known, self._rules.links.runbook_url)

        await self._fold(batch, key_of_health, fold)

    async def _on_acknowledgements(self, batch: Batch) -> None:
        """Before all alerts are known again, one that is acknowledged may not be: that waits, durably."""
        home = self._homes[batch.partition]
        async with home.lock:
            live = home.live
            if not live:
                await self._table.write(batch.partition, _waiting(batch), fence=batch.fence)
        if live:
            await self._fold(batch, key_of_alert, lambda _, *one: self._rules.on_acknowledgement(*one))

    async def _take_waiting(self, partition: int, home: Home, view: Mapping[bytes, bytes]) -> None:
        """Acknowledgements that waited until all alerts were known again."""
        work = Work(view)
        for key, value in [item for item in view.items() if item[0].startswith(TAKEN)]:
            acknowledgement = orjson.loads(value)
            changes, known = self._rules.on_acknowledgement(
                acknowledgement, work.known(name := key_of_alert(acknowledgement))
            )
            work.keep(name, known)
            work.changes += changes
            work.taken[key] = None
        if work.taken:
            await self._apply(partition, home, work, self._runtime.fence(partition))

    async def _fold(self, batch: Batch, key_of: Callable[[Any], bytes], fold: Fold) -> None:
        home = self._homes[batch.partition]
        async with home.lock:
            work = Work(self._table.partition(batch.partition))
            for index, (offset, value) in enumerate(zip(batch.offsets, batch.values, strict=True)):
                if index % 200 == 199:
                    await asyncio.sleep(0)  # the loop has others to serve
                try:
                    record = orjson.loads(value or b"")
                    key = key_of(record)
                    changes, known = fold(work, record, work.known(key))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    logger.error("record not understood", topic=batch.topic, partition=batch.partition, offset=offset,
                                 error=type(error).__name__)  # fmt: skip
                    continue
                work.keep(key, known)
                work.changes += changes
            self._forget(home, work)
            await self._apply(batch.partition, home, work, batch.fence)

    async def _on_deliveries(self, batch: Batch) -> None:
        home = self._homes[batch.partition]
        async with home.lock:
            work = Work(self._table.partition(batch.partition))
            for value in batch.values:
                try:
                    self._outbox.settle(work, orjson.loads(value or b""))
                except (ValueError, KeyError, TypeError, AttributeError) as error:
                    logger.error("delivery not understood", partition=batch.partition, error=type(error).__name__)
            await self._table.write(batch.partition, work.written(), fence=batch.fence)
            if home.live:
                self._offer(batch.partition, self._outbox.passed_on(work))

    def _forget(self, home: Home, work: Work) -> None:
        """Lets go of what nobody can change any more: `late_after` after the last word."""
        limit = (self._now() - self._late_after).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
        for key in home.old(limit):
            known = work.known(key)
            if known is None or (ended := ended_at(known)) is None or ended >= limit:
                continue
            work.changes += forgotten(known, f"{limit}Z")
            work.keep(key, None)

    async def _apply(self, partition: int, home: Home, work: Work, fence: Any) -> None:
        if work.changes:
            records = [
                self._record(key=_key_of(change.record), value=orjson.dumps(change.record)) for change in work.changes
            ]
            await self._runtime.send(WRITTEN, {partition: records}, fence=fence)
        for change in work.changes:
            self._outbox.fold(work, change)
        await self._table.write(partition, work.written(), fence=fence)
        for key, known in work.knowns.items():
            if known is not None:
                home.remember(key, known)
        for change in work.changes:
            self.metrics.alerts.labels(change.record["kind"], change.record["state"]).inc()
        if home.live:
            self._offer(partition, outbox.owed(work.units))

    def _offer(self, partition: int, owed: Iterable[outbox.Owing]) -> None:
        for name, unit, account in owed:
            self.lanes[name].offer(partition, unit, account)

    # -- heardback itself

    def tells_of_us(self) -> bool:
        """Whether this worker tells that heardback cannot see: it has partition 0."""
        return 0 in self._homes

    async def write_blindness(self, record: Alert) -> None:
        """Into topic `alerts`, and kept in the table of partition 0 until it is over."""
        home = self._homes.get(0)
        if home is None:
            raise self._fenced("partition 0 is another worker's")
        async with home.lock:
            fence = self._runtime.fence(0)
            value = orjson.dumps(record)
            await self._runtime.send(WRITTEN, {0: [self._record(key=BLINDNESS, value=value)]}, fence=fence)
            kept = value if record["state"] == "firing" else None
            await self._table.write(0, {BLINDNESS: kept}, fence=fence)
        self.metrics.alerts.labels(record["kind"], record["state"]).inc()

    async def say_silence(self, name: str, silent: Silence | None, *, speaks: bool) -> None:
        """Whether a source is silent now, said by the worker that has partition 0, and only by it. Raises `Fenced`
        where that is another one by now."""
        home = self._homes.get(0)
        if home is None or not home.live:
            return
        async with home.lock:
            work = Work(self._table.partition(0))
            key, at = SOURCE + name.encode(), self._now().isoformat().replace("+00:00", "Z")
            changes, known = on_silence(
                name, silent, work.known(key), at, speaks=speaks, runbook_url=self._rules.links.runbook_url
            )
            if changes:
                work.keep(key, known)
                work.changes += changes
                await self._apply(0, home, work, self._runtime.fence(0))

    # -- what lanes write down

    async def write_down(self, partition: int, deliveries: Sequence[Delivery], before: bool) -> bool:
        """Appends steps of deliveries to their topic; before a try only while the partition is ours."""
        records = [
            self._record(key=delivery["alert_id"].encode(), value=orjson.dumps(delivery)) for delivery in deliveries
        ]
        try:
            fence = self._runtime.fence(partition) if before else None
            await self._runtime.send(DELIVERIES.name, {partition: records}, fence=fence)
        except self._fenced:
            return False
        return True


def _key_of(alert: Mapping[str, Any]) -> bytes:
    """The customer that an alert is about; one of nobody stands for itself."""
    return str(alert["customer_id"] or alert["alert_id"]).encode()


def _waiting(batch: Batch) -> dict[bytes, bytes | None]:
    """Acknowledgements as they wait in a table; what is none is dropped, with a word."""
    found: dict[bytes, bytes | None] = {}
    for value in batch.values:
        try:
            acknowledgement = orjson.loads(value or b"")
            key_of_alert(acknowledgement)
            found[TAKEN + acknowledgement["alert_id"].encode()] = value
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            logger.error("record not understood", topic=batch.topic, partition=batch.partition,
                         error=type(error).__name__)  # fmt: skip
    return found
