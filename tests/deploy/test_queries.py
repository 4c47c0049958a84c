"""Every query of the dashboards and every selector of the rules, on a real Prometheus that has scraped a running
heardback to which everything has happened: it returns data, or is listed here with the reason why it need not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from streams.transport import Record
from tests.acceptance.heardback import Heardback, ago, append, event, eventually
from tests.acceptance.test_running import SECRET
from tests.deploy.promql import selectors
from tests.deploy.test_grafana import DASHBOARDS, expressions, panels
from tests.deploy.test_prometheus import RULE_FILES, alerts, rules
from tests.servers.prometheus import Prometheus
from tests.servers.receiver import Answer, Receiver

pytestmark = [pytest.mark.prometheus, pytest.mark.slow]

CONFIGURATION = f"""\
calendars:
  always: {{always_open: true}}
policies:
  - name: gold
    match: {{tier: [gold]}}
    calendar: always
    targets: {{acknowledgement: 1s, first_response: 2s, next_response: 30m, resolution: 30m, update: 40m}}
    at_risk: [50%]
    dead_end_after: 1s
    chasing_after: 2
  - name: everybody
    match: {{channel: [ticket, form, email]}}
    calendar: always
    targets: {{first_response: 50m}}
    at_risk: [50%]
    dead_end_after: 1s
alerts:
  escalations: [{{after: 0m, severity: page}}]
  receivers:
    - {{type: webhook, urls: ["RECEIVER/"], secret: {SECRET}}}
    - {{type: webhook, name: refusing, urls: ["RECEIVER/refuses"], secret: {SECRET}}}
audit: {{every: 5s, tolerance: 1s}}
broker: {{partitions: 2, start_timeout_seconds: 20}}
"""
CUSTOMERS = """\
- {customer_id: c-gold, tier: gold}
- {customer_id: c-late, tier: gold}
"""
EMPTY: Mapping[str, str] = {}
"""Queries that return nothing here, with the reason."""


def _before() -> list[dict[str, object]]:
    """What has happened when Prometheus first looks: each counter has been seen before it moves."""
    return [event("contact.opened", "first", customer_id="c-gold", at=ago(1))]


def _everything() -> list[dict[str, object]]:
    to = "mailto:one@example.com"
    return [
        event("contact.opened", "kept", customer_id="c-kept"),
        event("message.sent", "kept", customer_id="c-kept", agent_id="a-1"),
        event("message.sent", "first", customer_id="c-gold", agent_id="a-1"),
        event("message.received", "first", customer_id="c-gold", message_id="<again@x>"),
        event("contact.opened", "bounced", customer_id="c-bounced", channel="email", sender=to, at=ago(1)),
        event("message.sent", "bounced", customer_id="c-bounced", recipient=to, message_id="<1@x>"),
        event("message.bounced", "bounced", customer_id="c-bounced", direction="outbound", message_id="<1@x>"),
        event("message.bounced", "ours", customer_id="c-inbound", direction="inbound", sender="mailto:two@example.com"),
        event("contact.opened", "form", customer_id="c-form", channel="form"),
        event("contact.opened", "closed", customer_id="c-closed"),
        event("contact.closed", "closed", customer_id="c-closed"),
        event("contact.opened", "late", customer_id="c-late"),
        event("contact.opened", "uncovered", customer_id="c-chat", channel="chat"),
    ]


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A Prometheus with the shipped rules that has scraped it all, for a while."""
    folder = tmp_path_factory.mktemp("queries")
    (folder / "customers.yaml").write_text(CUSTOMERS, encoding="utf-8")
    with Receiver() as receiver:
        receiver.next(Answer(status=503))
        heardback = Heardback(
            folder,
            configuration=CONFIGURATION.replace("RECEIVER", receiver.url),
            options=("--customers", str(folder / "customers.yaml")),
        )
        append(heardback.broker, "contact-events", [Record(key=b"c-1", value=b"broken")])
        target = f"127.0.0.1:{heardback.port}"
        with heardback, Prometheus(folder / "prometheus", targets=[target], rule_files=RULE_FILES) as prometheus:
            assert heardback.post(_before())[0] == 202
            started = 'responsiveness_outcomes_total{policy="gold", verdict="broken"} == 0'
            eventually(lambda: prometheus.query(started), seconds=60, what="a first look")
            assert heardback.post(_everything())[0] == 202
            assert heardback.post(event("contact.opened", "refused", at="2026-11-21T10:00:00"))[0] // 100 == 4
            for promql in (
                'sum(responsiveness_outcomes_total{verdict="broken"}) > 0',
                'sum(responsiveness_outcomes_total{verdict="kept"}) > 0',
                'sum(responsiveness_dead_ends_total{channel="form"}) > 0',
                'responsiveness_waiting_customers{state="overdue", tier="gold"} > 0',
                'sum(responsiveness_deliveries_total{result="delivered"}) > 1',
                "responsiveness_audit_last_run_timestamp_seconds > 0",
                "policy:responsiveness_budget_left:ratio30d",
            ):
                eventually(lambda promql=promql: prometheus.query(promql), seconds=150, what=promql)
            yield prometheus


@pytest.mark.parametrize("panel", list(panels()))
def test_every_query_of_a_panel_returns_data(scraped: Prometheus, panel: Mapping[str, Any]) -> None:
    for promql in expressions(panel):
        found = scraped.query(promql)
        assert bool(found) != (promql in EMPTY), promql
        assert not found or any(row["value"][1] != "NaN" for row in found), promql


@pytest.mark.parametrize("variable", ["tier", "policy"])
def test_a_filter_has_values_to_choose_from(scraped: Prometheus, variable: str) -> None:
    filters = [
        one["query"]["query"]
        for dashboard in DASHBOARDS.values()
        for one in dashboard["templating"]["list"]
        if one["name"] == variable
    ]
    assert filters
    for asked in filters:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", asked).groups()
        assert "gold" in {row["metric"].get(label) for row in scraped.query(f"group by ({label}) ({metric})")}


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule.get("alert") or rule["record"]) for rule in rules()])
def test_everything_that_a_rule_reads_is_there(scraped: Prometheus, rule: Mapping[str, Any]) -> None:
    scraped.query(rule["expr"])
    for selector in selectors(rule["expr"]):
        assert bool(scraped.query(selector)) != (selector in EMPTY), selector


@pytest.mark.parametrize("record", [rule["record"] for rule in rules() if "record" in rule])
def test_what_a_rule_records_is_recorded(scraped: Prometheus, record: str) -> None:
    eventually(lambda: scraped.query(record), seconds=150, what=record)


def test_what_is_wrong_here_is_said_and_nothing_else(scraped: Prometheus) -> None:
    """The refused record alone is not five, the broken promises are too few to page, but some have no promise."""
    eventually(
        lambda: {a["labels"]["alertname"] for a in scraped.alerts()} >= {"Watchdog", "NothingPromised"},
        seconds=60, what="the rules were evaluated",
    )  # fmt: skip
    firing = {a["labels"]["alertname"] for a in scraped.alerts() if a["state"] == "firing"}
    assert firing == {"Watchdog", "NothingPromised"}
    assert firing <= set(alerts())
