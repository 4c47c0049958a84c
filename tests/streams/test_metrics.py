"""The public metrics: names, labels and their bounds, what counts once, who waits now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from schemas.refusals import Reason
from streams.gateway import Listen, Server, create_http
from streams.metrics import LABEL_VALUES_MAX, Metrics, State, Waiting, render
from tests.servers.prometheus import Prometheus, check_metrics
from tests.streams.gateway.conftest import Pipeline

START = datetime(2026, 11, 17, 9, 0, tzinfo=UTC)
START_US = int(START.timestamp()) * 1_000_000
CONTRACT = {
    "responsiveness_contacts_opened_total": {"channel", "tier"},
    "responsiveness_outcomes_total": {"policy", "target", "verdict", "channel", "tier"},
    "responsiveness_response_seconds_count": {"target", "channel", "tier"},
    "responsiveness_waiting_contacts": {"target", "state", "tier"},
    "responsiveness_waiting_channel_contacts": {"target", "state", "channel"},
    "responsiveness_waiting_customers": {"state", "tier"},
    "responsiveness_due_soon_contacts": {"target", "tier"},
    "responsiveness_oldest_wait_seconds": {"tier"},
    "responsiveness_bounces_total": {"direction", "permanent"},
    "responsiveness_dead_ends_total": {"channel"},
    "responsiveness_silent_closes_total": {"policy"},
    "responsiveness_uncovered_total": {"channel", "tier"},
    "responsiveness_events_total": {"type", "result"},
    "responsiveness_refused_total": {"reason"},
    "responsiveness_lag_seconds": {"partition"},
    "responsiveness_deadline_delay_seconds_count": set(),
    "responsiveness_worst_wait_seconds": {"customer_id"},
    "responsiveness_ready": set(),
    "responsiveness_facts_delay_seconds": set(),
    "responsiveness_build_info": {"version", "python_version"},
}


@dataclass
class Partition:
    partition: int
    lag_seconds: float


@dataclass
class Desk:
    """Metrics with clocks that a test sets."""

    now: datetime = START
    monotonic: float = 0.0
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    metrics: Metrics = field(init=False)

    def __post_init__(self) -> None:
        self.metrics = Metrics(
            self.registry, worst_customers=3, now=lambda: self.now, monotonic=lambda: self.monotonic, version="1.2.3"
        )

    def page(self) -> str:
        body, content_type = render(self.registry)
        assert content_type.startswith("text/plain; version=0.0.4")
        return body.decode()

    def value(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"responsiveness_{name}", labels)

    def series(self, name: str) -> dict[tuple[str, ...], float]:
        """By the values of the labels, in the alphabetical order of their names."""
        families = text_string_to_metric_families(self.page())
        return {
            tuple(value for _, value in sorted(s.labels.items())): s.value
            for f in families
            for s in f.samples
            if s.name == name
        }


@pytest.fixture
def desk() -> Desk:
    return Desk()


def outcome(**changed: Any) -> dict[str, Any]:
    content = {
        "policy": "gold",
        "target": "first_response",
        "channel": "ticket",
        "tier": "gold",
        "verdict": "kept",
        "reason": "answered_in_time",
        "ended_at": "2026-11-17T10:00:00Z",
        "open_seconds": 1_800.0,
    }
    return content | changed


def everything_happens(metrics: Metrics) -> None:
    metrics.opened("ticket", "gold")
    metrics.outcome(outcome(), last_verdict=None, had_ended=False)
    metrics.bounced("outbound", True)
    metrics.dead_end("form")
    metrics.silent_close("gold")
    metrics.uncovered("chat", None)
    metrics.event("contact.opened", "taken")
    metrics.refused(Reason.BROKEN_JSON)
    metrics.deadline_delay(0.3)
    metrics.watch(
        waiting=lambda: [Waiting("first_response", "overdue", "gold", "c-17", START_US - 60_000_000)],
        progress=lambda: [Partition(0, 0.5)],
        ready=lambda: True,
        facts_until=lambda: START,
    )


def test_every_metric_of_the_contract_is_there_with_its_labels_and_no_other(desk: Desk) -> None:
    everything_happens(desk.metrics)
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(desk.page()):
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_sum")):
                found[sample.name] = set(sample.labels)
    assert found == CONTRACT


@pytest.mark.prometheus
def test_promtool_finds_nothing_to_complain_about(desk: Desk) -> None:
    everything_happens(desk.metrics)
    assert check_metrics(desk.page()) == []


def test_an_open_clock_is_no_verdict_and_a_verdict_counts_once(desk: Desk) -> None:
    labels = {"policy": "gold", "target": "first_response", "channel": "ticket", "tier": "gold"}
    running = outcome(verdict="open", reason="running", ended_at=None)
    overdue = outcome(verdict="broken", reason="unanswered", ended_at=None)
    answered = outcome(verdict="broken", reason="answered_late")
    desk.metrics.outcome(running, last_verdict=None, had_ended=False)
    desk.metrics.outcome(overdue, last_verdict="open", had_ended=False)
    desk.metrics.outcome(overdue, last_verdict="broken", had_ended=False)
    desk.metrics.outcome(answered, last_verdict="broken", had_ended=False)
    assert desk.value("outcomes_total", verdict="open", **labels) is None
    assert desk.value("outcomes_total", verdict="broken", **labels) == 1


def test_a_kept_verdict_that_a_bounce_takes_back_counts_in_both(desk: Desk) -> None:
    desk.metrics.outcome(outcome(), last_verdict="open", had_ended=False)
    bounced = outcome(verdict="broken", reason="answer_bounced", ended_at=None)
    desk.metrics.outcome(bounced, last_verdict="kept", had_ended=True)
    verdicts = {labels[4]: value for labels, value in desk.series("responsiveness_outcomes_total").items()}
    assert verdicts == {"kept": 1, "broken": 1}


def test_a_response_takes_open_time_once_when_its_clock_ends(desk: Desk) -> None:
    labels = {"target": "first_response", "channel": "ticket", "tier": "gold"}
    desk.metrics.outcome(outcome(ended_at=None, verdict="broken"), last_verdict="open", had_ended=False)
    assert desk.value("response_seconds_count", **labels) is None
    late = outcome(verdict="broken", reason="answered_late", open_seconds=7_000.0)
    desk.metrics.outcome(late, last_verdict="broken", had_ended=False)
    desk.metrics.outcome(late, last_verdict="broken", had_ended=True)
    assert desk.value("response_seconds_count", **labels) == 1
    assert desk.value("response_seconds_sum", **labels) == 7_000
    assert desk.value("response_seconds_bucket", le="3600.0", **labels) == 0
    assert desk.value("response_seconds_bucket", le="7200.0", **labels) == 1


@pytest.mark.parametrize("reason", ["closed_unanswered", "merged", "spam", "superseded"])
def test_a_clock_that_ended_without_what_was_promised_has_no_response_time(desk: Desk, reason: str) -> None:
    desk.metrics.outcome(outcome(verdict="void", reason=reason), last_verdict="open", had_ended=False)
    assert desk.series("responsiveness_response_seconds_count") == {}


def test_a_customer_without_a_tier_is_none(desk: Desk) -> None:
    desk.metrics.opened("email", None, count=3)
    assert desk.value("contacts_opened_total", channel="email", tier="none") == 3


def test_tiers_beyond_the_bound_are_other_wherever_they_appear(desk: Desk) -> None:
    for number in range(LABEL_VALUES_MAX + 30):
        desk.metrics.opened("email", f"tier-{number}")
    by_mail = [tier for channel, tier in desk.series("responsiveness_contacts_opened_total") if channel == "email"]
    assert len(by_mail) == LABEL_VALUES_MAX + 2  # and those of no tier
    assert desk.value("contacts_opened_total", channel="email", tier="other") == 30
    clocks = [Waiting("first_response", "ok", f"tier-{number}", "c", START_US) for number in range(200)]
    desk.metrics.watch(waiting=lambda: clocks)
    counts = desk.series("responsiveness_waiting_contacts")
    assert len(counts) == LABEL_VALUES_MAX + 1
    assert sum(counts.values()) == 200


def test_event_types_that_strangers_invent_are_one_series(desk: Desk) -> None:
    for number in range(100):
        desk.metrics.event(f"contact.invented-{number}", "refused")
    assert desk.series("responsiveness_events_total") == {("refused", "unknown"): 100}


def test_ten_thousand_customers_add_only_the_worst_few_series(desk: Desk) -> None:
    def customers(count: int) -> Callable[[], list[Waiting]]:
        waits = [Waiting("first_response", "ok", "gold", f"c-{n}", START_US - n * 1_000_000) for n in range(count)]
        return lambda: waits

    desk.metrics.watch(waiting=customers(10))
    before = len(desk.page().splitlines())
    desk.monotonic += 60
    desk.metrics.watch(waiting=customers(10_000))
    assert desk.series("responsiveness_waiting_contacts") == {("ok", "first_response", "gold"): 10_000}
    assert len(desk.page().splitlines()) == before
    worst = desk.series("responsiveness_worst_wait_seconds")
    assert worst == {("c-9999",): 9_999, ("c-9998",): 9_998, ("c-9997",): 9_997}


def test_the_oldest_wait_is_of_a_customer_owed_an_answer_and_grows_with_the_clock(desk: Desk) -> None:
    waits = [
        Waiting("resolution", "overdue", "gold", "c-1", START_US - 900_000_000),
        Waiting("first_response", "ok", "gold", "c-2", START_US - 60_000_000),
        Waiting("next_response", "at_risk", "gold", "c-2", START_US - 30_000_000),
        Waiting("acknowledgement", "ok", None, "c-3", START_US - 10_000_000),
    ]
    desk.metrics.watch(waiting=lambda: waits)
    assert desk.series("responsiveness_oldest_wait_seconds") == {("gold",): 60, ("none",): 10}
    assert desk.series("responsiveness_worst_wait_seconds") == {("c-2",): 60, ("c-3",): 10}
    desk.now += timedelta(seconds=5)
    assert desk.series("responsiveness_oldest_wait_seconds") == {("gold",): 65, ("none",): 15}


def test_when_nobody_waits_any_more_the_series_say_nought(desk: Desk) -> None:
    waits = [Waiting("first_response", "overdue", "gold", "c-1", START_US - 1_000_000)]
    desk.metrics.watch(waiting=lambda: waits)
    assert desk.series("responsiveness_oldest_wait_seconds") == {("gold",): 1}
    waits.clear()
    desk.monotonic += 60
    assert desk.series("responsiveness_oldest_wait_seconds") == {("gold",): 0}
    assert desk.series("responsiveness_waiting_contacts") == {("overdue", "first_response", "gold"): 0}
    assert desk.series("responsiveness_worst_wait_seconds") == {}


def test_who_waits_is_gathered_at_most_every_few_seconds_however_often_somebody_scrapes(desk: Desk) -> None:
    calls = []
    desk.metrics.watch(waiting=lambda: calls.append(1) or [])
    for _ in range(10):
        desk.page()
    assert len(calls) == 1
    desk.monotonic += 5
    desk.page()
    assert len(calls) == 2


def test_a_wait_that_begins_in_the_future_is_nought_never_negative(desk: Desk) -> None:
    desk.metrics.watch(waiting=lambda: [Waiting("first_response", "ok", "gold", "c-1", START_US + 9_000_000)])
    assert desk.series("responsiveness_oldest_wait_seconds") == {("gold",): 0}


def waits(target: str, state: State, customer_id: str, *, channel: str = "ticket", due: float | None = None) -> Waiting:
    """A clock of a gold customer that runs since the start; `due`: so many seconds after it."""
    due_us = None if due is None else START_US + round(due * 1e6)
    return Waiting(target, state, "gold", customer_id, START_US, channel, due_us)


def test_clocks_are_counted_by_the_channel_of_their_contact_too(desk: Desk) -> None:
    clocks = [
        waits("first_response", "ok", "c-1"),
        waits("first_response", "ok", "c-2", channel="chat"),
        waits("first_response", "ok", "c-3", channel="chat"),
        waits("resolution", "overdue", "c-3", channel="chat"),
    ]
    desk.metrics.watch(waiting=lambda: clocks)
    assert desk.series("responsiveness_waiting_channel_contacts") == {
        ("ticket", "ok", "first_response"): 1,
        ("chat", "ok", "first_response"): 2,
        ("chat", "overdue", "resolution"): 1,
    }
    assert sum(desk.series("responsiveness_waiting_contacts").values()) == 4


def test_a_customer_who_waits_on_three_clocks_is_one_customer_and_stands_as_the_worst_of_them(desk: Desk) -> None:
    clocks = [
        waits("acknowledgement", "overdue", "c-1"),
        waits("first_response", "at_risk", "c-1"),
        waits("first_response", "ok", "c-1", channel="chat"),
        waits("next_response", "ok", "c-2"),
        waits("resolution", "overdue", "c-3"),
    ]
    desk.metrics.watch(waiting=lambda: clocks)
    nobody = {(state, "gold"): 0.0 for state in ("ok", "at_risk", "overdue")}
    assert desk.series("responsiveness_waiting_customers") == nobody | {("overdue", "gold"): 1, ("ok", "gold"): 1}
    clocks.clear()
    desk.monotonic += 60
    assert desk.series("responsiveness_waiting_customers") == nobody


def test_what_is_due_within_the_hour_is_soon_and_what_is_overdue_or_paused_is_not(desk: Desk) -> None:
    clocks = [
        waits("first_response", "ok", "c-1", due=3_600),
        waits("first_response", "at_risk", "c-2", due=60),
        waits("first_response", "ok", "c-3", due=3_601),
        waits("first_response", "overdue", "c-4", due=-60),
        waits("resolution", "ok", "c-5"),
    ]
    desk.metrics.watch(waiting=lambda: clocks)
    assert desk.series("responsiveness_due_soon_contacts") == {("first_response", "gold"): 2, ("resolution", "gold"): 0}


def test_the_first_breach_of_a_promise_is_an_increase_as_its_counter_was_nought_before(desk: Desk) -> None:
    labels = {"policy": "gold", "target": "first_response", "channel": "ticket", "tier": "gold"}
    desk.metrics.started(outcome(verdict="open", reason="running", ended_at=None))
    assert desk.value("outcomes_total", verdict="broken", **labels) == 0
    assert desk.value("outcomes_total", verdict="kept", **labels) == 0
    assert desk.value("silent_closes_total", policy="gold") == 0
    assert desk.value("response_seconds_count", target="first_response", channel="ticket", tier="gold") == 0
    assert desk.value("contacts_opened_total", channel="form", tier="none") == 0
    assert desk.value("uncovered_total", channel="form", tier="none") == 0
    assert desk.value("bounces_total", direction="outbound", permanent="true") == 0
    assert desk.value("dead_ends_total", channel="form") == 0
    assert desk.value("refused_total", reason="broken_json") == 0


def test_facts_grow_old_until_everything_told_is_in_them_and_only_where_they_are_written(desk: Desk) -> None:
    assert desk.value("facts_delay_seconds") is None
    until = [START]
    desk.metrics.watch(facts_until=lambda: until[0])
    desk.now = START + timedelta(minutes=5)
    assert desk.value("facts_delay_seconds") == 300
    until[0] = desk.now
    assert desk.value("facts_delay_seconds") == 0


def test_ready_says_what_is_asked_at_each_scrape_and_nothing_before_anybody_knows(desk: Desk) -> None:
    assert desk.value("ready") is None
    ready = [False]
    desk.metrics.watch(ready=lambda: ready[0])
    assert desk.value("ready") == 0
    ready[0] = True
    assert desk.value("ready") == 1


def test_lag_is_the_worst_of_all_topics_with_that_partition_number(desk: Desk) -> None:
    desk.metrics.watch(progress=lambda: [Partition(0, 0.5), Partition(1, 0.0), Partition(0, 7.5), Partition(0, 0.2)])
    assert desk.series("responsiveness_lag_seconds") == {("0",): 7.5, ("1",): 0.0}


def test_labels_with_any_characters_stay_one_readable_line(desk: Desk) -> None:
    desk.metrics.opened("email", 'a"b\\c\nd')
    assert ("email", 'a"b\\c\nd') in desk.series("responsiveness_contacts_opened_total")


def test_two_apps_in_one_process_have_their_own_numbers() -> None:
    first, second = Desk(), Desk()
    first.metrics.dead_end("form")
    assert (first.value("dead_ends_total", channel="form"), second.value("dead_ends_total", channel="form")) == (1, 0)


async def test_a_real_prometheus_scrapes_them_through_the_door(desk: Desk, prometheus: Prometheus) -> None:
    everything_happens(desk.metrics)
    gateway = Pipeline().gateway(metrics=lambda: render(desk.registry))
    server = Server(create_http(gateway, Listen()))
    await server.start()
    address = f"127.0.0.1:{server.port}"
    await asyncio.to_thread(prometheus.scrape, address)
    query = f'responsiveness_worst_wait_seconds{{instance="{address}",customer_id="c-17"}}'
    assert await asyncio.to_thread(prometheus.value, query) == 60
    await server.stop()
