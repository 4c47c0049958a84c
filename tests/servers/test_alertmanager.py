"""The Alertmanager that the tests start: it takes alerts, notifies once, and says when they are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.servers.alertmanager import Alertmanager, check_config
from tests.servers.process import wait_until
from tests.servers.web_api import post

pytestmark = pytest.mark.alertmanager


def fire(server: Alertmanager, name: str, *, over: bool = False) -> None:
    now = datetime.now(UTC)
    ends = now if over else now + timedelta(minutes=5)
    alert = {"labels": {"alertname": name}, "startsAt": now - timedelta(minutes=1), "endsAt": ends}
    post(f"{server.url}/api/v2/alerts", [alert])


def notified(server: Alertmanager, name: str) -> list[str]:
    return [alert["status"] for alert in server.notifications() if alert["labels"]["alertname"] == name]


def test_an_alert_sent_twice_is_held_and_notified_once_and_its_end_once(alertmanager: Alertmanager) -> None:
    fire(alertmanager, "Waiting")
    fire(alertmanager, "Waiting")
    wait_until(lambda: notified(alertmanager, "Waiting") == ["firing"], seconds=60, what="notified")
    assert "Waiting" in [alert["labels"]["alertname"] for alert in alertmanager.alerts()]
    fire(alertmanager, "Waiting", over=True)
    wait_until(lambda: notified(alertmanager, "Waiting") == ["firing", "resolved"], seconds=60, what="end notified")
    assert "Waiting" not in [alert["labels"]["alertname"] for alert in alertmanager.alerts()]


def test_alerts_sent_together_are_notified_apart(alertmanager: Alertmanager) -> None:
    for name in ("First", "Second"):
        fire(alertmanager, name)
    wait_until(lambda: notified(alertmanager, "Second") == ["firing"], seconds=60, what="notified")
    assert {len(request.json()["alerts"]) for request in alertmanager.pages.accepted} == {1}


def test_amtool_sees_the_same_alerts(alertmanager: Alertmanager) -> None:
    fire(alertmanager, "SeenByAmtool")
    assert "SeenByAmtool" in alertmanager.amtool("alert", "query")


def test_amtool_accepts_a_right_configuration_and_names_what_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "alertmanager.yaml"
    config.write_text("route: {receiver: a}\nreceivers: [{name: a}]\n", encoding="utf-8")
    assert check_config(config) == []
    config.write_text("route: {receiver: b}\nreceivers: [{name: a}]\n", encoding="utf-8")
    assert "undefined receiver" in "\n".join(check_config(config))


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_an_alertmanager_that_was_away_comes_back_empty_on_its_address(tmp_path: Path, end: str) -> None:
    with Alertmanager(tmp_path) as own:
        fire(own, "Forgotten")
        wait_until(lambda: notified(own, "Forgotten") == ["firing"], seconds=60, what="notified")
        getattr(own, end)()
        with pytest.raises(OSError, match="refused"):
            own.alerts()
        own.start()
        assert own.alerts() == []
