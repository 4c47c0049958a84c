"""A random history as a life: when each event and each customer becomes known, and what the agent makes of it.

Histories and configurations are those of `tests.oracle.contacts`; every promise is judged by a replay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from random import Random
from typing import Any, Final

import orjson
import yaml
from prometheus_client import CollectorRegistry

from schemas.customers import Customer
from schemas.topics import CONTACT_EVENTS, JOURNEYS, OUTCOMES
from streams import settings
from streams.customers import Customers
from streams.engine.calendar import to_us
from streams.engine.identity import directory
from streams.metrics import Metrics
from streams.replay import Line, Replayed, replay
from streams.track.agent import Track
from streams.transport import Record, by_partition, partition_for
from tests.acceptance.memory import CrashError, Memory
from tests.oracle.compare import case_of
from tests.oracle.contacts import Case
from tests.scenarios.expected import Came
from tests.scenarios.pipeline import A_MOMENT, EPOCH, Clock, Pipeline

# A content that is reused, or a contact opened by two sources: what is seen first holds live (C24).
ORDER_MATTERS: Final = frozenset({"reuse", "bad", "other_sources"})
DELAYS_MINUTES: Final = (0, 0, 0, 1, 30, 180, 24 * 60, 3 * 24 * 60)
PARTITIONS: Final = 3
DOWN_FOR: Final = (0, 1, 3)  # arrivals
WRONG_SHARE: Final = 0.2
DRAINED_SHARE: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What becomes known at one instant."""

    at: datetime
    event: dict[str, Any] | None = None
    customer: Customer | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A case with its replay, and everything in the order in which it becomes known."""

    case: Case
    until: datetime
    arrivals: tuple[Arrival, ...]
    replayed: Replayed


def life(seed: int, *, late: bool = True, late_customers: bool = False, without: frozenset[str] = frozenset()) -> Life:
    """The life of a seed: with `late`, events come late and in any order, some of them doubled."""
    made, random = case_of(seed, ORDER_MATTERS | without), Random(seed)
    until = made.until or max(datetime.fromisoformat(event["time"]) for event in made.events)
    events = [event for event in made.events if datetime.fromisoformat(event["time"]) <= until]
    customers = [Customer.model_validate(one) for one in made.customers]
    start = min([until, *(datetime.fromisoformat(event["time"]) for event in events)]) - timedelta(minutes=1)
    arrivals = [Arrival(at=_arrives(event, until, late, random), event=event) for event in events]
    if late:
        arrivals += [Arrival(at=until, event=event) for event in random.sample(events, len(events) // 4)]
    for customer in customers:
        at = random.choice([start, until, *(arrival.at for arrival in arrivals)]) if late_customers else start
        arrivals.append(Arrival(at=min(at, until - timedelta(minutes=1)), customer=customer))  # time for a wake-up
    random.shuffle(arrivals)
    arrivals.sort(key=lambda arrival: (arrival.at, arrival.customer is None))
    return Life(case=made, until=until, arrivals=tuple(arrivals), replayed=_replayed(made, customers, until))


def _arrives(event: dict[str, Any], until: datetime, late: bool, random: Random) -> datetime:
    at = datetime.fromisoformat(event["time"])
    return min(until, at + timedelta(minutes=random.choice(DELAYS_MINUTES))) if late else at


def _replayed(made: Case, customers: list[Customer], until: datetime) -> Replayed:
    known, _ = directory(customers)
    lines = [Line("", orjson.dumps(event)) for event in made.events]
    configuration = settings.parse(yaml.safe_dump(made.config).encode(), file="case")
    return replay(lines, settings.policies_of(configuration), known, until=until)


def replayed_as(life: Life) -> Came:
    """What a replay says of the life."""
    result = life.replayed
    return Came(how="replay", outcomes=result.outcomes, journeys=result.journeys, alerts=(), refused=())


class Agent:
    """The agent alone, over `Memory`. `after_step` may raise `CrashError`: then the next process begins."""

    def __init__(self, life: Life, random: Random, after_step: Callable[[str], None] = lambda _: None) -> None:
        self.life = life
        self.memory = Memory(PARTITIONS, random)
        self.customers = Customers()
        self.configuration = settings.parse(yaml.safe_dump(life.case.config).encode(), file="case")
        self.clock = Clock(life.arrivals[0].at if life.arrivals else life.until)
        self.customer_of = {name: contact.customer_id for name, contact in life.replayed.contacts.items()}
        self.crashes = 0
        self._down = 0
        self._left = 0
        self._after_step = after_step
        self._random = random

    async def _begin(self) -> None:
        self.track = Track(
            self.memory,  # type: ignore[arg-type]
            settings.policies_of(self.configuration),
            self.customers,
            self.configuration.limits,
            Metrics(CollectorRegistry(), worst_customers=5, now=self.clock),
            self.clock,
            self._after_step,
        )
        await self.memory.recover()

    async def live(self) -> Came:
        """The whole life; returns what was published last of each outcome and journey."""
        await self._begin()
        for number, arrival in enumerate(self.life.arrivals, start=1):
            self._left = len(self.life.arrivals) - number
            if self._down:
                self._down -= 1
                self.clock.at = max(self.clock.at, arrival.at)
            elif arrival.at > self.clock.at:
                await self._pass_time(arrival.at)
            if arrival.customer is not None:
                await self._meet(arrival.customer)
            if arrival.event is not None:
                record = placed(arrival.event, self.customer_of, self.clock.at, PARTITIONS, self._random)
                self.memory.append(CONTACT_EVENTS.name, by_partition([record], PARTITIONS))
            if self._random.random() < DRAINED_SHARE:
                await self._drain()
        self._down = 0
        await self._pass_time(self.life.until)
        return Came(
            how="live",
            outcomes=self._latest(OUTCOMES.name, "outcome_id"),
            journeys=self._latest(JOURNEYS.name, "journey_id"),
            alerts=(),
            refused=(),
        )

    async def _meet(self, customer: Customer) -> None:
        self.customers.put(customer, to_us(self.clock.at))
        await self.track.customers_changed({customer.customer_id, *customer.identities})
        await self._drain()

    async def _pass_time(self, until: datetime) -> None:
        await self._drain()
        while (due := self._next_wake()) is not None and due < until:
            self.clock.at = max(self.clock.at, min(due + A_MOMENT, until))
            await self.track.send_wake_ups()
            await self._drain()
        self.clock.at = max(self.clock.at, until)

    def _next_wake(self) -> datetime | None:
        due = [wake_us for home in self.track.homes.values() for _, wake_us in home.due]
        return EPOCH + timedelta(microseconds=min(due)) if due else None

    async def _drain(self) -> None:
        """Handle what is in the log. After a crash the next process may begin only when more has arrived."""
        while not self._down:
            try:
                await self.memory.drain()
                return
            except CrashError:
                self.crashes += 1
                await self._begin()
                self._down = min(self._left, self._random.choice(DOWN_FOR))

    def standing_twice(self) -> list[str]:
        """Outcomes that stand in several partitions: alerting reads each by itself, and would page for ever."""
        standing = Counter(
            f"outcome {one['contact_id']} {one['target']} {one['cycle']}: stands in several partitions"
            for records in self.memory.log[OUTCOMES.name].values()
            for one in _last(records, "outcome_id")
            if one["reason"] != "superseded"
        )
        return [line for line, count in standing.items() if count > 1]

    def _latest(self, topic: str, key: str) -> list[dict[str, Any]]:
        return _last([record for records in self.memory.log[topic].values() for record in records], key)


def _last(records: Iterable[Record], key: str) -> list[dict[str, Any]]:
    """What holds of each id. As alerting reads it: of one revision the first holds, so a second must say the same."""
    last: dict[str, dict[str, Any]] = {}
    for record in records:
        content = orjson.loads(record.value or b"")
        if content[key] not in last or content["revision"] > last[content[key]]["revision"]:
            last[content[key]] = content
    return list(last.values())


async def lived(life: Life, url: str, random: Random) -> Came:
    """The life on a real broker, with everything that `streams` is made of."""
    customer_of = {name: contact.customer_id for name, contact in life.replayed.contacts.items()}
    configuration = settings.parse(yaml.safe_dump(life.case.config).encode(), file="case")
    start = life.arrivals[0].at if life.arrivals else life.until
    async with Pipeline(url, configuration, start=start, alerting=False) as pipeline:
        for at, together in groupby(life.arrivals, key=lambda arrival: arrival.at):
            arrivals = list(together)
            if customers := [arrival.customer for arrival in arrivals if arrival.customer]:
                await pipeline.put_customers(at, customers)
            await pipeline.pass_time(at)
            records = [
                placed(arrival.event, customer_of, at, pipeline.settings.partitions, random)
                for arrival in arrivals
                if arrival.event
            ]
            await pipeline.put_records(records)
        await pipeline.pass_time(life.until)
        outcomes = list((await pipeline.latest(OUTCOMES.name, "outcome_id")).values())
        journeys = list((await pipeline.latest(JOURNEYS.name, "journey_id")).values())
        return Came(how="live", outcomes=outcomes, journeys=journeys, alerts=(), refused=())


def placed(
    event: dict[str, Any], customer_of: Mapping[str, str], at: datetime, partitions: int, random: Random
) -> Record:
    """A record where its sender believes that it belongs; not every sender knows."""
    key = customer_of[event["subject"]].encode()
    wrong = event["data"].get("customer_id") is not None and random.random() < WRONG_SHARE
    partition = random.randrange(partitions) if wrong else partition_for(key, partitions)
    return Record(key=key, value=orjson.dumps(event), timestamp_ms=to_us(at) // 1_000, partition=partition)
