"""The example for Alertmanager: right by its own tool, and the real one groups, inhibits and mutes as it says."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from alerting.notify import Notice
from alerting.posting import Rim, Sessions, wall
from alerting.receivers.alertmanager import make
from schemas.configuration import ReceiverSpec
from tests.alerting.records import alerts_of, at_risk, escalated, overdue
from tests.deploy.test_prometheus import RULE_FILES
from tests.deploy.test_prometheus import alerts as rules
from tests.servers.alertmanager import Alertmanager, check_config
from tests.servers.process import wait_until
from tests.servers.prometheus import Prometheus

pytestmark = pytest.mark.alertmanager

FILE = Path(__file__).parents[2] / "deploy/alertmanager/alertmanager.yml"
SHIPPED = yaml.safe_load(FILE.read_text(encoding="utf-8"))
NEVER: Mapping[str, Any] = {"years": ["1999"]}
ALWAYS: Mapping[str, Any] = {"years": ["2000:2100"]}


def configuration(pages: str, quiet: Mapping[str, Any]) -> dict[str, Any]:
    """The shipped one, in a hurry, with every receiver a path of the test's; `quiet` is when it is quiet."""
    found: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    found["route"] |= {"group_wait": "3s", "group_interval": "1s"}
    found["receivers"] = [
        {"name": one["name"], "webhook_configs": [{"url": f"{pages}/{one['name']}"}]} for one in found["receivers"]
    ]
    found["time_intervals"] = [
        {"name": one["name"], "time_intervals": [quiet if one["name"] == "quiet-hours" else NEVER]}
        for one in found["time_intervals"]
    ]
    return found


@pytest.fixture(params=[NEVER, ALWAYS], ids=["by day", "in quiet hours"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Alertmanager]:
    with Alertmanager(tmp_path, configuration=lambda pages: configuration(pages, request.param)) as found:
        yield found


async def told(server: Alertmanager, *outcomes: Mapping[str, Any]) -> None:
    """heardback's own receiver tells the server what its rules make of these outcomes."""
    notices = [Notice(record["alert_id"], 1, record, "key") for one in outcomes for record in alerts_of(one)]
    sessions = Sessions()
    spec = ReceiverSpec.model_validate({"type": "alertmanager", "urls": [server.url]})
    answers = await make(spec, Rim(session=sessions, wall=wall)).deliver(notices)
    await sessions.close()
    assert {answer.result for answer in answers} == {"delivered"}


def notified(server: Alertmanager) -> dict[str, list[tuple[str, list[str]]]]:
    """By receiver: the customer and the contacts of each notification, in order."""
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for request in server.pages.accepted:
        said = request.json()
        contacts = sorted(alert["labels"]["contact_id"] for alert in said["alerts"])
        found.setdefault(request.path.strip("/"), []).append((said["groupLabels"]["customer_id"], contacts))
    return found


def status(server: Alertmanager, contact_id: str) -> dict[str, Any]:
    """What the server says of the one alert about a contact."""
    [found] = [alert for alert in server.alerts() if alert["labels"]["contact_id"] == contact_id]
    return dict(found["status"])


async def test_a_customer_is_one_notification_and_a_page_makes_the_warnings_of_the_same_customer_needless(
    server: Alertmanager, request: pytest.FixtureRequest
) -> None:
    quiet = "quiet" in request.node.name
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")  # what began longer ago than group_wait is told at once
    await told(
        server,
        overdue(contact_id="T-1", stage_at=now),
        escalated(contact_id="T-2", stage_at=now),
        at_risk(contact_id="T-3", stage_at=now),
        at_risk(contact_id="T-4", stage_at=now, customer_id="c-23"),
    )
    wait_until(lambda: status(server, "T-3")["inhibitedBy"], seconds=30, what="the warning is inhibited")
    assert status(server, "T-4")["inhibitedBy"] == []
    assert status(server, "T-1")["inhibitedBy"] == []
    wanted = {"on-call", "managers"} if quiet else {"on-call", "managers", "service-desk"}
    wait_until(lambda: notified(server).keys() >= wanted, seconds=30, what="everybody was told")
    found = notified(server)
    assert found["on-call"] == [("c-17", ["T-1", "T-2"])]
    assert found["managers"] == [("c-17", ["T-2"])]
    # In quiet hours the pages went out all the same, and no warning did.
    assert found.get("service-desk") == (None if quiet else [("c-23", ["T-4"])])


@pytest.mark.slow
@pytest.mark.prometheus
def test_the_dead_mans_switch_hears_from_a_prometheus_with_the_shipped_rules(tmp_path: Path) -> None:
    with (
        Alertmanager(tmp_path / "manager", configuration=lambda pages: configuration(pages, NEVER)) as server,
        Prometheus(tmp_path / "prometheus", rule_files=RULE_FILES, alertmanagers=[server.url.removeprefix("http://")]),
    ):
        server.pages.wait(lambda requests: requests, seconds=120)
        [request, *_] = server.pages.accepted
        assert request.path == "/dead-mans-switch"
        [alert] = request.json()["alerts"]
        assert (alert["status"], alert["labels"]["alertname"]) == ("firing", "Watchdog")
        assert alert["annotations"]["runbook_url"].endswith("/runbooks/Watchdog")


def test_amtool_finds_nothing_wrong() -> None:
    assert check_config(FILE) == []


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("severity=page customer_id=c-17 kind=breach", "on-call"),
        ("severity=critical customer_id=c-17 kind=escalation", "managers,on-call"),
        ("severity=warning customer_id=c-17 kind=at_risk", "service-desk"),
        ("severity=page kind=blind cause=audit", "platform"),
        ("severity=warning kind=silent_source channel=form", "platform"),
        ("severity=page service=heardback alertname=HeardbackDown", "platform"),
        ("severity=warning service=heardback alertname=SilentCloses", "service-desk"),
        ("severity=page service=heardback customer_id=c-17 alertname=CustomerWaitsForDays", "on-call"),
        ("severity=none service=heardback alertname=Watchdog", "dead-mans-switch"),
    ],
)
def test_an_alert_reaches_whom_it_is_for(labels: str, receivers: str) -> None:
    run = subprocess.run(
        ["amtool", "config", "routes", "test", f"--config.file={FILE}", *labels.split()],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert run.stdout.strip() == receivers


def test_every_rule_that_it_names_exists() -> None:
    matchers = [m for rule in SHIPPED["inhibit_rules"] for m in rule["source_matchers"] + rule["target_matchers"]]
    matchers += [matcher for route in SHIPPED["route"]["routes"] for matcher in route["matchers"]]
    named = {name for m in matchers if m.startswith("alertname") for name in m.split('"')[1].split("|")}
    assert len(named) >= 10
    assert named <= set(rules())
