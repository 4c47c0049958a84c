"""`heardback check`: routes that reach nobody are refused with their line, and a route is explained."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from streams.cli import app

CONFIGURATION = """
calendars: {always: {always_open: true}}
policies:
  - {name: all, calendar: always, targets: {first_response: 8h}}
alerts:
  escalations:
    - {after: 1h, severity: critical, receivers: [boss]}
  receivers:
    - {type: console, name: desk}
    - {type: console, name: boss}
  routes:
    - {match: {tier: gold}, receivers: [boss]}
    - {match: {channel: form}, receivers: [desk]}
    - {match: {tier: gold, queue: billing}, receivers: [desk]}
"""
GOOD = CONFIGURATION.replace("{tier: gold, queue: billing}", "{queue: billing}")


def checked(folder: Path, text: str, *arguments: str) -> tuple[int, str, str]:
    """Status, standard output and standard error."""
    (folder / "heardback.yaml").write_text(text)
    done = CliRunner().invoke(app, ["check", "--config", str(folder / "heardback.yaml"), *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_a_route_that_reaches_nobody_is_a_fault_with_its_line(tmp_path: Path) -> None:
    status, _, faults = checked(tmp_path, CONFIGURATION)
    assert status == 2
    assert "heardback.yaml:14: " in faults
    assert "hidden behind route 1" in faults


def test_who_is_told_of_an_example_is_said_route_by_route(tmp_path: Path) -> None:
    status, said, _ = checked(tmp_path, GOOD, "--alert", "tier=silver,channel=form,kind=breach")
    assert status == 0
    assert said.splitlines()[-4:] == [
        "  route 1: no, tier is silver, wanted gold",
        "  route 2: matches, and no later one is looked at",
        "  sent to: desk",
        "  1h of open time after the due instant also to: boss",
    ]


def test_what_reaches_nobody_at_all_is_noted(tmp_path: Path) -> None:
    status, said, _ = checked(tmp_path, GOOD, "--alert", "channel=chat", "--alert", "kind=dead_end")
    assert status == 0
    assert "note: no receiver is told of any alert of kind blind" in said
    assert said.endswith("sent to: nobody\n")


def test_that_reports_are_not_mailed_is_noted(tmp_path: Path) -> None:
    assert "report.to is set" not in checked(tmp_path, GOOD)[1]
    status, said, _ = checked(tmp_path, GOOD + "report: {to: [head@example.com]}\n")
    assert (status, "note: report.to is set, but no report is sent by mail" in said) == (0, True)


@pytest.mark.parametrize("example", ["tier", "tier=", "shoe=red", "kind=broken", "tier=gold,tier=silver"])
def test_an_example_that_cannot_be_is_refused(tmp_path: Path, example: str) -> None:
    status, _, faults = checked(tmp_path, GOOD, "--alert", example)
    assert status == 2
    assert "--alert" in faults


def test_a_tier_that_no_customer_has_is_a_fault_where_all_customers_are_given(tmp_path: Path) -> None:
    customers = tmp_path / "customers.yaml"
    customers.write_text("- {customer_id: c-1, tier: silver, owner: ann}\n")
    assert checked(tmp_path, GOOD)[0] == 0
    status, _, faults = checked(tmp_path, GOOD, "--customers", str(customers))
    assert status == 2
    assert "heardback.yaml:12: " in faults
    assert "found tier gold" in faults
