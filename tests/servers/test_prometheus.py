"""The Prometheus that the tests start: it scrapes, evaluates, keeps its data; promtool names what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.process import ServerError, wait_until
from tests.servers.prometheus import Prometheus, check_metrics, check_rules, run_rule_tests
from tests.servers.receiver import Answer, Receiver

pytestmark = pytest.mark.prometheus

PAGE = b"""\
# HELP answers_total Answers that were sent.
# TYPE answers_total counter
answers_total{channel="chat"} 3
answers_total{channel="email"} 4
"""
RULES = """\
groups:
  - name: answers
    interval: 1s
    rules:
      - alert: TooFewAnswers
        expr: sum(answers_total) < 10
        labels: {severity: page}
"""
RULE_TEST = """\
rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series: [{series: answers_total, values: "%s"}]
    alert_rule_test:
      - eval_time: 1m
        alertname: TooFewAnswers
        exp_alerts: [{exp_labels: {severity: page}}]
"""


@pytest.fixture
def exporter() -> Iterator[Receiver]:
    """Something that serves a page of metrics."""
    with Receiver() as receiver:
        receiver.always(Answer(body=PAGE))
        yield receiver


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.yaml"
    path.write_text(RULES, encoding="utf-8")
    return path


def address(receiver: Receiver) -> str:
    return receiver.url.removeprefix("http://")


def test_what_is_scraped_can_be_asked_for(prometheus: Prometheus, exporter: Receiver) -> None:
    prometheus.scrape(address(exporter))
    mine = f'answers_total{{instance="{address(exporter)}"}}'
    by_channel = {row["metric"]["channel"]: float(row["value"][1]) for row in prometheus.query(mine)}
    assert by_channel == {"chat": 3, "email": 4}
    assert prometheus.value(f"sum({mine})") == 7
    assert prometheus.value("sum(no_such_metric)") is None


def test_a_query_that_is_not_promql_is_refused_with_its_words(prometheus: Prometheus) -> None:
    with pytest.raises(OSError, match="parse error"):
        prometheus.query("sum(")


def test_a_page_that_is_not_metrics_is_a_named_scrape_failure(prometheus: Prometheus, exporter: Receiver) -> None:
    exporter.always(Answer(body=b"<html>"))
    with pytest.raises(ServerError, match="scraped"):
        prometheus.scrape(address(exporter), seconds=8)
    assert list(prometheus.scrape_failures()) == [address(exporter)]


def test_a_rule_fires(prometheus: Prometheus, exporter: Receiver, rules: Path) -> None:
    prometheus.scrape(address(exporter))
    prometheus.evaluate(rules)
    wait_until(lambda: bool(prometheus.alerts()), seconds=60, what="the rule fires")
    [alert] = prometheus.alerts()
    assert alert["labels"] == {"alertname": "TooFewAnswers", "severity": "page"}


@pytest.mark.slow
@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_prometheus_comes_back_with_its_data(tmp_path: Path, exporter: Receiver, end: str) -> None:
    with Prometheus(tmp_path, targets=[address(exporter)]) as own:
        wait_until(lambda: bool(own.query("answers_total")), seconds=60, what="scraped")
        getattr(own, end)()
        exporter.stop()
        own.start()
        assert own.value("sum(last_over_time(answers_total[1m]))") == 7


def test_promtool_accepts_a_clean_page_and_names_each_fault() -> None:
    assert check_metrics(PAGE.decode()) == []
    [complaint] = check_metrics("# TYPE answers counter\n# HELP answers How many.\nanswers 3\n")
    assert complaint.startswith("answers counter metrics should have")
    assert check_metrics("answers{ 3\n")


def test_promtool_accepts_right_rules_and_names_what_is_wrong(rules: Path) -> None:
    assert check_rules(rules) == []
    rules.write_text(RULES.replace("sum(", "summ("), encoding="utf-8")
    assert "summ" in "\n".join(check_rules(rules))


def test_promtool_runs_the_tests_of_rules(rules: Path) -> None:
    rule_test = rules.with_name("rules_test.yaml")
    rule_test.write_text(RULE_TEST % "3 3", encoding="utf-8")
    assert run_rule_tests(rule_test) == []
    rule_test.write_text(RULE_TEST % "30 30", encoding="utf-8")
    assert "TooFewAnswers" in "\n".join(run_rule_tests(rule_test))
