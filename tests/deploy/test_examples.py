"""The examples that are shipped: each configuration is valid, and the general one shows every setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from schemas.configuration import AlertsSpec, Configuration, EscalationSpec, FactsSpec, Limits, ReceiverSpec, ReportSpec
from schemas.customers import Customer
from schemas.policies import CalendarSpec, Match, PolicySpec
from streams.engine.identity import directory
from streams.engine.policy import compile_policies

EXAMPLES = Path(__file__).parents[2] / "deploy/examples"
NEVER_IN_A_FILE = {"secret", "url"}


def example(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["heardback.yaml", "minimal.yaml", "servicenow.yaml"])
def test_an_example_is_a_valid_configuration_whose_calendars_all_exist_and_open(name: str) -> None:
    configuration = Configuration.model_validate(example(name))
    policies = compile_policies(configuration.calendars, configuration.policies)
    assert [policy.name for policy in policies.policies] == [policy.name for policy in configuration.policies]
    for calendar in policies.calendars.values():
        assert calendar.due(0, 1) > 0


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ("calendars.*", CalendarSpec),
        ("policies.*", PolicySpec),
        ("policies.*.match", Match),
        ("alerts", AlertsSpec),
        ("alerts.escalations.*", EscalationSpec),
        ("alerts.receivers.*", ReceiverSpec),
        ("report", ReportSpec),
        ("facts", FactsSpec),
        ("limits", Limits),
    ],
)
def test_the_general_example_shows_every_setting(section: str, model: type[BaseModel]) -> None:
    shown = {key for found in under([example("heardback.yaml")], section.split(".")) for key in found}
    wanted = {field.alias or name for name, field in model.model_fields.items()} - NEVER_IN_A_FILE
    assert wanted - shown == set()


def under(nodes: Iterable[Any], path: list[str]) -> list[Mapping[str, Any]]:
    """The mappings at `path`; `*` is every item of a list or mapping."""
    found = list(nodes)
    for step in path:
        if step == "*":
            found = [item for node in found for item in (node.values() if isinstance(node, dict) else node)]
        else:
            found = [node[step] for node in found if step in node]
    return found


def test_the_customers_are_valid_and_claim_nothing_that_is_refused() -> None:
    customers = [Customer.model_validate(record) for record in example("customers.yaml")]
    known, refusals = directory(customers)
    assert refusals == []
    assert known.owner_of("ops@example.com") == "c-17"


def test_the_examples_name_a_caller_that_the_bundled_log_has() -> None:
    log = (EXAMPLES.parents[1] / "streams/demo/data/servicenow-slice.csv").read_text(encoding="utf-8")
    callers = [record["customer_id"] for record in example("customers.yaml") if "Caller" in record["customer_id"]]
    assert callers
    assert all(f",{caller}," in log for caller in callers)
