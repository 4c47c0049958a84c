"""Every public metric of `streams` (CONTRACT.md section 7): names, labels, and a method for what happened.

Labels are bounded whatever customers, tiers and policies there are: the first values of a label keep their
name, the rest is `other`. Only `responsiveness_worst_wait_seconds` names customers, the worst few. Counters whose
labels are known are 0 before the first time, so that the first time is an increase too. Metrics of alerts and their
delivery belong to `alerting.metrics`; truth by customer belongs to the facts store; what to look at and when to be
woken is in `deploy/grafana` and `deploy/prometheus`.
"""

from __future__ import annotations

import heapq
import platform
import time
from collections import Counter as Counted
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from typing import Any, Final, Literal, NamedTuple, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from schemas.events import EVENT_TYPES, Channel
from schemas.refusals import Reason

LABEL_VALUES_MAX: Final = 50
WAITING_CACHED_SECONDS: Final = 5.0
DUE_SOON_SECONDS: Final = 3_600.0
NONE: Final = "none"
OTHER: Final = "other"
UNKNOWN_TYPE: Final = "unknown"

_MINUTE: Final = 60.0
_HOUR: Final = 3_600.0
_DAY: Final = 86_400.0
# Open time: what service desks promise, from a chat's minute to two weeks round the clock.
RESPONSE_BUCKETS: Final = (
    _MINUTE, 5 * _MINUTE, 15 * _MINUTE, 30 * _MINUTE, _HOUR, 2 * _HOUR, 4 * _HOUR, 8 * _HOUR, 16 * _HOUR,
    _DAY, 40 * _HOUR, 80 * _HOUR, 7 * _DAY, 14 * _DAY,
)  # fmt: skip
DELAY_BUCKETS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3_600.0)

# While these clocks run the customer waits to hear from us; resolution and update run on after an answer.
OWED_AN_ANSWER: Final = frozenset({"acknowledgement", "first_response", "next_response"})
# A clock that ended for one of these reasons ended by what was promised, in time or not.
_RESPONDED: Final = frozenset(
    {"answered_in_time", "answered_late", "resolved_in_time", "resolved_late", "answer_bounced"}
)

EventResult = Literal["taken", "duplicate", "refused", "forwarded", "woken", "stale"]
State = Literal["ok", "at_risk", "overdue"]


_Key = tuple[str, State, str | None, str]
_BADNESS: Final[dict[State, int]] = {"ok": 0, "at_risk": 1, "overdue": 2}
_NEVER_US: Final = 1 << 63


class Waiting(NamedTuple):
    """One running clock. `since_us`: microseconds since 1970 at which the customer began to wait; `due_us`: until
    when they were promised not to, None while paused."""

    target: str
    state: State
    tier: str | None
    customer_id: str
    since_us: int
    channel: str = Channel.OTHER
    due_us: int | None = None


class Lag(Protocol):
    """What a transport says of one partition; `PartitionProgress` is one."""

    @property
    def partition(self) -> int: ...

    @property
    def lag_seconds(self) -> float: ...


class Metrics:
    """The metrics of one process, in `registry`. Methods are named by what happened.

    `now` is the clock that waits are measured by. What is read only when somebody scrapes is handed in later,
    by `watch`. Everything is per process: events that are handed out again after a crash count again.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        worst_customers: int,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        version: str | None = None,
    ) -> None:
        # For the whole process: else each counter has a second series, of when it began, that nobody reads.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._tier, self._policy = _Bounded(), _Bounded()
        self._declare_counters(registry)
        self._declare_histograms(registry)
        built = {"version": version or metadata.version("heardback"), "python_version": platform.python_version()}
        Info("responsiveness_build", "Which heardback runs here.", registry=registry).info(built)
        self._waiting = _WaitingNow(worst_customers, self._tier, now, monotonic)
        self._lags = _LagNow()
        self._readiness = _ReadyNow()
        self._facts = _FactsNow(now)
        for collector in (self._waiting, self._lags, self._readiness, self._facts):
            registry.register(collector)

    def _declare_counters(self, registry: CollectorRegistry) -> None:
        def counter(name: str, about: str, *labels: str) -> Callable[..., Counter]:
            return cache(Counter(f"responsiveness_{name}", about, labels, registry=registry).labels)

        self._opened = counter("contacts_opened", "Contacts that customers opened.", "channel", "tier")
        self._outcomes = counter(
            "outcomes",
            "Verdicts of clocks; a verdict that turned into another (a bounced answer) counts in both.",
            *("policy", "target", "verdict", "channel", "tier"),
        )
        self._bounces = counter("bounces", "Messages that did not arrive.", "direction", "permanent")
        self._dead_ends = counter("dead_ends", "Attempts that landed where nobody will answer.", "channel")
        self._silent_closes = counter("silent_closes", "Contacts closed on a waiting customer.", "policy")
        self._uncovered = counter("uncovered", "Clocks that no policy covers: nothing is promised.", "channel", "tier")
        self._events = counter("events", "Records read, by what became of them.", "type", "result")
        self._refused = counter("refused", "Records refused, by reason.", "reason")
        for channel in Channel:
            for of_channel in (self._opened, self._uncovered):
                of_channel(channel, NONE)
            self._dead_ends(channel)
        for direction in ("inbound", "outbound"):
            for permanent in ("true", "false"):
                self._bounces(direction, permanent)
        for reason in Reason:
            self._refused(reason)

    def _declare_histograms(self, registry: CollectorRegistry) -> None:
        response = Histogram(
            "responsiveness_response_seconds",
            "Open time from the customer's message to what was promised, less pauses.",
            ("target", "channel", "tier"),
            buckets=RESPONSE_BUCKETS,
            registry=registry,
        )
        self._response: Callable[..., Histogram] = cache(response.labels)
        self._deadline_delay = Histogram(
            "responsiveness_deadline_delay_seconds",
            "From the instant of a wake-up to its handling.",
            buckets=DELAY_BUCKETS,
            registry=registry,
        )

    def watch(
        self,
        *,
        waiting: Callable[[], Iterable[Waiting]] | None = None,
        progress: Callable[[], Iterable[Lag]] | None = None,
        ready: Callable[[], bool] | None = None,
        facts_until: Callable[[], datetime] | None = None,
    ) -> None:
        """Has gauges computed from these at each scrape; those of waiting at most every 5 seconds."""
        if waiting is not None:
            self._waiting.watch(waiting)
        if progress is not None:
            self._lags.source = progress
        if ready is not None:
            self._readiness.source = ready
        if facts_until is not None:
            self._facts.source = facts_until

    def opened(self, channel: str, tier: str | None, count: int = 1) -> None:
        """A customer opened a contact."""
        self._opened(channel, self._tier(tier)).inc(count)

    def started(self, content: Mapping[str, Any]) -> None:
        """The first revision of an outcome was published: its verdict, response time and silent close will be
        counted from 0."""
        policy, target, channel, tier = (content[name] for name in ("policy", "target", "channel", "tier"))
        for verdict in ("kept", "broken"):
            self._outcomes(self._policy(policy), target, verdict, channel, self._tier(tier))
        self._response(target, channel, self._tier(tier))
        self._silent_closes(self._policy(policy))

    def outcome(self, content: Mapping[str, Any], *, last_verdict: str | None, had_ended: bool) -> None:
        """A revision of an outcome (CONTRACT.md section 5) was published. `last_verdict` and `had_ended` are
        of the revision before: None and False for the first. Counts each verdict reached once, and takes the
        response time when the clock ends by what was promised; a void or silently closed one has none."""
        verdict, tier = content["verdict"], self._tier(content["tier"])
        if verdict not in ("open", last_verdict):
            policy = self._policy(content["policy"])
            self._outcomes(policy, content["target"], verdict, content["channel"], tier).inc()
        if content["ended_at"] is not None and not had_ended and content["reason"] in _RESPONDED:
            self._response(content["target"], content["channel"], tier).observe(content["open_seconds"])

    def bounced(self, direction: str, permanent: bool, count: int = 1) -> None:
        """A message did not arrive."""
        self._bounces(direction, "true" if permanent else "false").inc(count)

    def dead_end(self, channel: str) -> None:
        """An attempt was found to be a dead end (C14)."""
        self._dead_ends(channel).inc()

    def silent_close(self, policy: str) -> None:
        """A contact was closed on an unanswered customer (C10)."""
        self._silent_closes(self._policy(policy)).inc()

    def uncovered(self, channel: str, tier: str | None, count: int = 1) -> None:
        """No policy matches: no record, but a count (C16)."""
        self._uncovered(channel, self._tier(tier)).inc(count)

    def event(self, event_type: str, result: EventResult, count: int = 1) -> None:
        """So many records of a type were read; count them by batch, it is cheaper."""
        self._events(event_type if event_type in EVENT_TYPES else UNKNOWN_TYPE, result).inc(count)

    def refused(self, reason: str, count: int = 1) -> None:
        """So many records were refused for a `schemas.refusals.Reason`."""
        self._refused(reason).inc(count)

    def deadline_delay(self, seconds: float) -> None:
        """A wake-up was handled so long after its instant."""
        self._deadline_delay.observe(max(0.0, seconds))


def render(registry: CollectorRegistry) -> tuple[bytes, str]:
    """The page that Prometheus scrapes, and its content type."""
    return generate_latest(registry), CONTENT_TYPE_PLAIN_0_0_4


@dataclass(slots=True)
class _Bounded:
    """The values of a label that keep their name: the first so many ever seen."""

    known: set[str] = field(default_factory=set)

    def __call__(self, value: str | None) -> str:
        if value is None:
            return NONE
        if value not in self.known:
            if len(self.known) >= LABEL_VALUES_MAX:
                return OTHER
            self.known.add(value)
        return value


class _Summary(NamedTuple):
    """By target, state, tier and channel: how many clocks run, how many of them are due soon, and since when the
    oldest waits. By state and tier: how many customers wait for an answer. Since when the worst of them do."""

    counts: dict[_Key, int]
    due_soon: dict[_Key, int]
    oldest_us: dict[_Key, int]
    customers: Counted[tuple[State, str | None]]
    worst_us: list[tuple[str, int]]


def _summary(waiting: Iterable[Waiting], worst_customers: int, soon_us: int) -> _Summary:
    """In one pass, without detours: there may be hundreds of thousands. `soon_us`: what is due by then is due soon."""
    counts: dict[_Key, int] = {}
    due_soon: dict[_Key, int] = {}
    oldest_us: dict[_Key, int] = {}
    customer_us: dict[str, int] = {}
    stands: dict[str, tuple[State, str | None]] = {}
    for target, state, tier, customer_id, since_us, channel, due_us in waiting:
        key = target, state, tier, channel
        counts[key] = counts.get(key, 0) + 1
        if due_us is not None and due_us <= soon_us and state != "overdue":
            due_soon[key] = due_soon.get(key, 0) + 1
        if target in OWED_AN_ANSWER:
            if since_us < oldest_us.get(key, _NEVER_US):
                oldest_us[key] = since_us
            if since_us < customer_us.get(customer_id, _NEVER_US):
                customer_us[customer_id] = since_us
            known = stands.get(customer_id)
            if known is None or (state != "ok" and _BADNESS[state] > _BADNESS[known[0]]):
                stands[customer_id] = state, tier
    worst = heapq.nsmallest(worst_customers, customer_us.items(), key=lambda item: (item[1], item[0]))
    return _Summary(counts, due_soon, oldest_us, Counted(stands.values()), worst)


class _WaitingNow(Collector):
    """Gauges of who waits now. A label set that was seen once stays, at 0, so that nobody reads a gap."""

    def __init__(
        self, worst_customers: int, tier: _Bounded, now: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._source: Callable[[], Iterable[Waiting]] = tuple
        self._worst_customers = worst_customers
        self._tier = tier
        self._now = now
        self._monotonic = monotonic
        self._cached: tuple[float, _Summary] | None = None
        self._seen: dict[str, set[tuple[str, ...]]] = {}

    def watch(self, source: Callable[[], Iterable[Waiting]]) -> None:
        """Who waits is asked here from now on."""
        self._source, self._cached = source, None

    def describe(self) -> list[GaugeMetricFamily]:
        """The families without samples: registering must not look at who waits."""
        return list(_waiting_families().values())

    def collect(self) -> list[GaugeMetricFamily]:
        """The families as of now."""
        now_us = round(self._now().timestamp() * 1e6)
        summary = self._summarised(now_us + round(DUE_SOON_SECONDS * 1e6))
        contacts: Counted[tuple[str, ...]] = Counted()
        by_channel: Counted[tuple[str, ...]] = Counted()
        due_soon: Counted[tuple[str, ...]] = Counted()
        customers: Counted[tuple[str, ...]] = Counted()
        oldest: dict[tuple[str, ...], float] = {}
        for (target, state, tier, channel), count in summary.counts.items():
            contacts[target, state, self._tier(tier)] += count
            by_channel[target, state, channel] += count
            due_soon[target, self._tier(tier)] += 0
        for (target, _, tier, _), count in summary.due_soon.items():
            due_soon[target, self._tier(tier)] += count
        for (state, tier), count in summary.customers.items():
            for each in _BADNESS:
                customers[each, self._tier(tier)] += count if each == state else 0
        for (_, _, tier, _), since_us in summary.oldest_us.items():
            label = (self._tier(tier),)
            oldest[label] = max(oldest.get(label, 0.0), _seconds(since_us, now_us))
        found: dict[str, Mapping[tuple[str, ...], float]] = {
            "contacts": contacts, "channel_contacts": by_channel, "due_soon": due_soon, "customers": customers,
            "oldest": oldest,
        }  # fmt: skip
        families = _waiting_families()
        for name, values in found.items():
            self._fill(families[name], name, values)
        for customer_id, since_us in summary.worst_us:
            families["worst"].add_metric((customer_id,), _seconds(since_us, now_us))
        return list(families.values())

    def _fill(self, family: GaugeMetricFamily, name: str, values: Mapping[tuple[str, ...], float]) -> None:
        seen = self._seen.setdefault(name, set())
        seen.update(values)
        for labels in sorted(seen):
            family.add_metric(labels, values.get(labels, 0))

    def _summarised(self, soon_us: int) -> _Summary:
        at = self._monotonic()
        if self._cached is None or at - self._cached[0] >= WAITING_CACHED_SECONDS:
            self._cached = at, _summary(self._source(), self._worst_customers, soon_us)
        return self._cached[1]


def _seconds(since_us: int, now_us: int) -> float:
    return max(0.0, (now_us - since_us) / 1e6)


def _waiting_families() -> dict[str, GaugeMetricFamily]:
    return {
        "contacts": GaugeMetricFamily(
            "responsiveness_waiting_contacts",
            "Running clocks of contacts, by how they stand.",
            labels=("target", "state", "tier"),
        ),
        "channel_contacts": GaugeMetricFamily(
            "responsiveness_waiting_channel_contacts",
            "Running clocks of contacts, by how they stand and the channel of the contact.",
            labels=("target", "state", "channel"),
        ),
        "due_soon": GaugeMetricFamily(
            "responsiveness_due_soon_contacts",
            "Running clocks whose promise ends within the next hour.",
            labels=("target", "tier"),
        ),
        "customers": GaugeMetricFamily(
            "responsiveness_waiting_customers",
            "Customers who wait for an answer, each once, by the worst of their clocks.",
            labels=("state", "tier"),
        ),
        "oldest": GaugeMetricFamily(
            "responsiveness_oldest_wait_seconds",
            "How long the customer of a tier has waited who has waited longest for an answer; 0 if nobody waits.",
            labels=("tier",),
        ),
        "worst": GaugeMetricFamily(
            "responsiveness_worst_wait_seconds",
            "The customers who have waited longest for an answer, the worst few alone.",
            labels=("customer_id",),
        ),
    }


class _ReadyNow(Collector):
    """Whether this process does its work now, or still starts or recovers. Nothing while nobody says."""

    def __init__(self) -> None:
        self.source: Callable[[], bool] | None = None

    def describe(self) -> list[GaugeMetricFamily]:
        """The family without samples."""
        return [_ready_family()]

    def collect(self) -> list[GaugeMetricFamily]:
        """1 or 0, as `/readyz` would answer."""
        family = _ready_family()
        if self.source is not None:
            family.add_metric((), float(self.source()))
        return [family]


def _ready_family() -> GaugeMetricFamily:
    return GaugeMetricFamily("responsiveness_ready", "Whether every partition of this process is ready: 1 or 0.")


class _FactsNow(Collector):
    """How old the facts of reports are. Nothing where another process writes them."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self.source: Callable[[], datetime] | None = None

    def describe(self) -> list[GaugeMetricFamily]:
        """The family without samples."""
        return [_facts_family()]

    def collect(self) -> list[GaugeMetricFamily]:
        """Seconds since everything that had been told was in the store."""
        family = _facts_family()
        if self.source is not None:
            family.add_metric((), max(0.0, (self._now() - self.source()).total_seconds()))
        return [family]


def _facts_family() -> GaugeMetricFamily:
    words = "How long ago the facts that reports are made from were last complete; grows while their database is away."
    return GaugeMetricFamily("responsiveness_facts_delay_seconds", words)


class _LagNow(Collector):
    """How far each partition of ours is behind the end of its log."""

    def __init__(self) -> None:
        self.source: Callable[[], Iterable[Lag]] = tuple

    def describe(self) -> list[GaugeMetricFamily]:
        """The family without samples."""
        return [_lag_family()]

    def collect(self) -> list[GaugeMetricFamily]:
        """The largest lag of each partition number, over all topics that are read."""
        largest: dict[int, float] = {}
        for lag in self.source():
            largest[lag.partition] = max(lag.lag_seconds, largest.get(lag.partition, 0.0))
        family = _lag_family()
        for partition, seconds in sorted(largest.items()):
            family.add_metric((str(partition),), seconds)
        return [family]


def _lag_family() -> GaugeMetricFamily:
    return GaugeMetricFamily(
        "responsiveness_lag_seconds", "Age of the oldest record that is not handled yet.", labels=("partition",)
    )
