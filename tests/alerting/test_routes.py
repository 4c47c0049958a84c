"""Which route an alert takes, why, and which routes nobody's alert can take."""

from __future__ import annotations

from typing import Any

import pytest

from alerting.routes import Known, example, faults, looks, unheard
from schemas.configuration import AlertsSpec
from schemas.policies import PolicySpec

POLICIES = [
    PolicySpec.model_validate({"name": name, "match": match, "calendar": "c", "targets": {"first_response": "1h"}})
    for name, match in (("gold", {"tier": ["gold"]}), ("silver", {"tier": ["silver"]}))
]
ALL = [*POLICIES, PolicySpec.model_validate({"name": "all", "calendar": "c", "targets": {"first_response": "8h"}})]


def spec(*matches: dict[str, Any], **more: Any) -> AlertsSpec:
    """Routes with these matches, each to a receiver of its own: r1, r2, ..."""
    receivers = [{"type": "console", "name": f"r{number}"} for number in range(1, len(matches) + 1)] or [
        {"type": "console"}
    ]
    routes = [{"match": match, "receivers": [f"r{number}"]} for number, match in enumerate(matches, start=1)]
    return AlertsSpec.model_validate({"receivers": receivers, "routes": routes, **more})


def unreachable(*matches: dict[str, Any], known: Known | None = None, **more: Any) -> list[int]:
    """Numbers of the routes that can reach nobody."""
    return [index + 1 for index, _ in faults(spec(*matches, **more), known or Known(policies=ALL))]


@pytest.mark.parametrize(
    ("matches", "hidden"),
    [
        pytest.param([{"tier": "gold"}, {}], [], id="the last takes the rest"),
        pytest.param([{}, {"tier": "gold"}], [2], id="behind a route for all"),
        pytest.param([{"tier": ["gold", "silver"]}, {"tier": "gold", "channel": "form"}], [2], id="behind a wider one"),
        pytest.param([{"tier": "gold"}, {"tier": ["gold", "silver"]}], [], id="wider than the one before"),
        pytest.param([{"channel": "form"}, {"tier": "gold"}], [], id="across each other"),
        pytest.param([{"severity": "warning"}, {"severity": ["page", "critical"]}, {}], [3], id="behind two together"),
        pytest.param([{"tier": "gold"}, {"channel": "form"}, {"tier": "gold", "channel": "form"}], [3], id="twice"),
        pytest.param([{"policy": ["gold", "silver", "all"], "kind": "breach"}, {"kind": "breach"}], [2],
                     id="behind all policies"),
        pytest.param([{"policy": ["gold", "silver", "all"]}, {}], [], id="alerts without a policy are left"),
        pytest.param([{"owner": "ann"}, {"owner": "bob"}, {"owner": ["ann", "bob"]}, {"owner": "c"}], [3], id="owners"),
    ],
)  # fmt: skip
def test_a_route_behind_others_reaches_nobody(matches: list[dict[str, Any]], hidden: list[int]) -> None:
    assert unreachable(*matches) == hidden


@pytest.mark.parametrize(
    "match",
    [
        {"policy": "bronze"},
        {"kind": "at_risk", "severity": "page"},
        {"kind": "breach", "severity": "warning"},
        {"kind": "blind", "tier": "gold"},
        {"kind": ["blind", "silent_source"], "owner": "ann"},
    ],
)
def test_a_route_for_what_no_alert_can_be_reaches_nobody(match: dict[str, Any]) -> None:
    assert unreachable(match, {}) == [1]


def test_a_severity_of_a_step_can_be() -> None:
    assert unreachable({"kind": "breach", "severity": "warning"}, {},
                       escalations=[{"after": "0m", "severity": "warning"}]) == []  # fmt: skip


def test_a_tier_that_no_policy_covers_has_no_alerts_of_clocks() -> None:
    narrow = Known(policies=POLICIES)
    assert unreachable({"tier": "bronze", "kind": ["breach", "at_risk"]}, {}, known=narrow) == [1]
    assert unreachable({"tier": "bronze"}, {}, known=narrow) == []  # a mail of theirs may bounce
    assert unreachable({"tier": "bronze", "kind": "breach"}, {}) == []  # a policy covers everybody


def test_a_tier_or_an_owner_that_no_customer_has_reaches_nobody_where_all_are_known() -> None:
    known = Known(policies=ALL, tiers={"gold"}, owners={"ann"})
    assert unreachable({"tier": "silver"}, {"owner": "bob"}, {"owner": "ann"}, {}, known=known) == [1, 2]


def test_a_fault_says_why() -> None:
    found = dict(faults(spec({"tier": "gold"}, {"policy": "bronze"}, {"tier": "gold", "queue": "x"}),
                        Known(policies=ALL)))  # fmt: skip
    assert found[1] == "found policy bronze, but no alert has such a policy; there are ['all', 'gold', 'silver']"
    assert found[2] == "found tier gold, queue x, wholly hidden behind route 1"


def test_kinds_that_no_receiver_gets_are_named() -> None:
    known = Known(policies=ALL)
    assert unheard(spec(), known) == []
    assert unheard(spec({"tier": "gold"}), known) == ["silent_source", "blind"]
    assert unheard(spec({"kind": ["breach", "at_risk"]}, {"kind": "dead_end"}), known) == [
        "escalation", "reply_bounced", "chasing", "silent_close", "silent_source", "blind",
    ]  # fmt: skip
    assert unheard(spec({"severity": ["page", "critical"]}), known) == ["at_risk", "silent_source"]


def test_each_route_says_what_stands_against_it() -> None:
    routes = spec({"tier": "silver"}, {"owner": "ann", "kind": "breach"}, {"channel": "form"}, {})
    alert = example({"tier": "gold", "channel": "form"}, routes)
    assert [(look.number, look.against) for look in looks(routes, alert, "bob")] == [
        (1, "tier is gold, wanted silver"),
        (2, "owner is bob, wanted ann"),
        (3, None),
    ]
    assert looks(routes, alert, "ann")[-1].receivers == ["r2"]
    assert "owner is unknown" in str(looks(routes, alert, None)[1].against)


@pytest.mark.parametrize("said", [{"colour": "red"}, {"kind": "broken"}, {"severity": "high"}, {"channel": "pigeon"}])
def test_an_example_of_what_there_is_not_is_refused(said: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"colour|broken|high|pigeon"):
        example(said, spec())


def test_an_example_is_a_breach_of_the_severity_that_it_would_have() -> None:
    assert example({}, spec())["severity"] == "page"
    assert example({"kind": "at_risk"}, spec())["severity"] == "warning"
    steps = [{"after": "0m", "severity": "warning"}, {"after": "1h", "severity": "critical"}]
    assert example({}, spec(escalations=steps))["severity"] == "warning"
    assert example({"kind": "escalation"}, spec(escalations=steps))["severity"] == "critical"
