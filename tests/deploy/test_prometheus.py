"""The rules that are shipped: right by Prometheus' own tool, tested in both directions, complete in what they say."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.promql import names, selectors
from tests.servers.prometheus import check_rules, run_rule_tests

PROMETHEUS = Path(__file__).parents[2] / "deploy/prometheus"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
LONG = [pytest.mark.slow]
SEVERITIES = {"warning", "page", "critical"}
ANNOTATIONS = {"summary", "description", "runbook_url", "board_url"}


def rules() -> Iterator[Mapping[str, Any]]:
    """Every rule that is shipped."""
    for file in RULE_FILES:
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def alerts() -> dict[str, Mapping[str, Any]]:
    """The alert rules, by their names."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> set[str]:
    """What the rules record."""
    return {rule["record"] for rule in rules() if "record" in rule}


@pytest.mark.prometheus
def test_promtool_finds_nothing_wrong_with_the_rules() -> None:
    assert RULE_FILES
    assert check_rules(*RULE_FILES) == []


@pytest.mark.prometheus
def test_promtool_finds_nothing_wrong_with_the_example_of_a_configuration() -> None:
    run = subprocess.run(
        ["promtool", "check", "config", str(PROMETHEUS / "prometheus.yml")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{len(RULE_FILES)} rule files found" in run.stdout


@pytest.mark.prometheus
@pytest.mark.parametrize(
    "file", [pytest.param(file, id=file.stem, marks=LONG if "over-days" in file.stem else ()) for file in TEST_FILES]
)
def test_the_rules_say_what_they_must_and_nothing_else(file: Path) -> None:
    assert run_rule_tests(file) == []


def test_every_alert_is_tested_in_both_directions() -> None:
    fires, stays_quiet = set(), set()
    for file in TEST_FILES:
        for test in yaml.safe_load(file.read_text(encoding="utf-8"))["tests"]:
            for case in test.get("alert_rule_test", ()):
                (fires if case["exp_alerts"] else stays_quiet).add(case["alertname"])
    assert fires == set(alerts())
    assert stays_quiet == set(alerts()) - {"Watchdog"}  # that one never is


def test_every_expression_is_promql_to_another_parser_too_and_reads_only_what_somebody_writes() -> None:
    for rule in rules():
        assert selectors(rule["expr"]) or rule["alert"] == "Watchdog", rule
        for name in names(rule["expr"]):
            assert name == "up" or name.startswith("responsiveness_") or name in recorded(), name


def test_an_alert_has_one_name_a_severity_and_all_its_annotations() -> None:
    assert len(alerts()) == sum("alert" in rule for rule in rules())
    for name, rule in alerts().items():
        severity = rule["labels"]["severity"]
        assert severity in SEVERITIES or (name, severity) == ("Watchdog", "none")
        assert set(rule["annotations"]) == ANNOTATIONS, name


def test_a_policy_without_a_line_of_its_own_has_the_objective_of_all_others() -> None:
    [objective] = [rule for rule in rules() if rule.get("record") == "policy:responsiveness_objective:ratio"]
    assert "responsiveness_outcomes_total" in names(objective["expr"])
    assert objective["expr"].strip().splitlines()[-1].endswith("* 0.95")
