"""`heardback alerts`: what fires, the story of one alert, a test message, on both brokers."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from click.testing import Result
from typer.testing import CliRunner

from schemas.alerts import Alert
from schemas.deliveries import Delivery
from schemas.topics import ALERTS, DELIVERIES
from streams.cli import app
from streams.transport import Record, TransportSettings, by_partition, open_log, topic_specs
from tests.servers.receiver import Answer, Receiver

PARTITIONS = 3
SETTINGS = {"ALERTS__RECEIVERS": "[{type: alertmanager, urls: ['http://am.example:9093/']}]"}


@dataclass(frozen=True)
class Desk:
    """A broker with topics of this test's own."""

    url: str
    prefix: str

    def run(self, *arguments: object) -> Result:
        environment = {"HEARDBACK_BROKER": self.url, "HEARDBACK_BROKER__TOPIC_PREFIX": self.prefix}
        environment |= {f"HEARDBACK_{name}": value for name, value in SETTINGS.items()}
        return CliRunner().invoke(app, ["alerts", *map(str, arguments)], env=environment)

    def rows(self, *arguments: object) -> list[list[str]]:
        result = self.run("list", *arguments)
        assert result.exit_code == 0, result.output
        return [row.split("  ") for row in result.stdout.splitlines()[1:]]

    def json(self, *arguments: object) -> Any:
        result = self.run(*arguments, "--format", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def happened(self, *records: Mapping[str, Any]) -> None:
        asyncio.run(self._append(records))

    async def _append(self, records: tuple[Mapping[str, Any], ...]) -> None:
        settings = TransportSettings(partitions=PARTITIONS, topic_prefix=self.prefix)
        log = open_log(self.url, settings)
        await log.start()
        await log.ensure_topics(topic_specs([ALERTS, DELIVERIES], settings))
        for topic, field in ((ALERTS.name, "summary"), (DELIVERIES.name, "result")):
            some = [
                Record(key=record.get("customer_id", "c-17").encode(), value=orjson.dumps(record))
                for record in records
                if field in record
            ]
            if some:
                await log.append(self.prefix + topic, by_partition(some, PARTITIONS))
        await log.close()


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    if request.param == "kafka":
        return Desk(str(request.getfixturevalue("kafka").url), f"t{uuid.uuid4().hex[:8]}-")
    return Desk(f"sqlite:///{tmp_path}/log.sqlite3", "pre-")


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def alert(number: int = 1, at: str = "2026-11-10T10:00:00Z", **changed: Any) -> dict[str, Any]:
    content = {
        "alert_id": f"{number:032x}", "kind": "breach", "state": "firing", "severity": "page", "customer_id": "c-17",
        "contact_id": f"T-{number}", "target": "first_response", "policy": "gold", "due_at": at, "starts_at": at,
        "ends_at": None, "at": at, "summary": f"T-{number} waits.", "resolution": None, "labels": {},
        "annotations": {"runbook_url": "https://runbooks.example/breach"}, **changed,
    }  # fmt: skip
    Alert.model_validate(content)
    return content


def over(number: int = 1, at: str = "2026-11-10T12:00:00Z", **changed: Any) -> dict[str, Any]:
    return alert(number, **{"state": "resolved", "resolution": "answered", "ends_at": at, "at": at, **changed})


def step(
    number: int = 1, result: str = "delivered", at: str = "2026-11-10T10:00:01Z", **changed: Any
) -> dict[str, Any]:
    content = {
        "alert_id": f"{number:032x}", "number": 1, "receiver": "on-call", "result": result, "kind": "breach",
        "state": "firing", "at": "2026-11-10T10:00:01Z", "attempt": 1, "detail": "", **changed,
    }  # fmt: skip
    Delivery.model_validate(content)
    return content


def test_what_fires_is_listed_the_gravest_and_the_longest_waiting_first(desk: Desk) -> None:
    desk.happened(
        alert(1, "2026-11-10T11:00:00Z"), alert(2), alert(3, severity="critical", customer_id="c-2"),
        alert(4, severity="warning"), alert(5), over(5),
    )  # fmt: skip
    assert [row[0] for row in desk.rows()] == [f"{number:032x}"[:12] for number in (3, 2, 1, 4)]
    assert [record["contact_id"] for record in desk.json("list")] == ["T-3", "T-2", "T-1", "T-4"]
    assert [record["contact_id"] for record in desk.json("list", "--customer", "c-2")] == ["T-3"]
    assert [record["contact_id"] for record in desk.json("list", "--all")][-1] == "T-5"


def test_it_says_who_was_told(desk: Desk) -> None:
    told = step(1)
    people = step(9, "unknown", receiver="chat", customer_id="c-17", alert_ids=[f"{1:032x}", f"{2:032x}"])
    desk.happened(alert(1), alert(2), {**told, "result": "trying"}, told, people)
    first, second = desk.json("list")
    assert first["receivers"] == {"on-call": "delivered", "chat": "unknown"}
    assert second["receivers"] == {"chat": "unknown"}
    assert "on-call: delivered, chat: tried again" in desk.run("list").stdout


def test_nothing_fires_is_said(desk: Desk) -> None:
    desk.happened(alert(1), over(1))
    result = desk.run("list")
    assert (result.exit_code, result.stdout, result.stderr.splitlines()[0]) == (0, "", "nothing fires")
    assert desk.json("list") == []


def test_an_alert_that_has_moved_to_another_customer_fires_for_that_one(desk: Desk) -> None:
    moved = over(1, "2026-11-10T11:00:00Z", resolution="superseded")
    desk.happened(alert(1), alert(1, "2026-11-10T10:30:00Z", customer_id="c-9"), moved)
    assert [record["customer_id"] for record in desk.json("list")] == ["c-9"]


def test_the_story_of_an_alert_has_each_change_and_each_try_in_order(desk: Desk) -> None:
    desk.happened(
        alert(7),
        step(7, "trying", at="2026-11-10T10:00:01Z"),
        step(7, "not_taken", at="2026-11-10T10:00:02Z", detail="answered 503"),
        step(7, customer_id="c-17", alert_ids=[f"{7:032x}"], at="2026-11-10T10:00:03Z"),
        over(7), alert(8),
    )  # fmt: skip
    lines = desk.run("show", f"{7:032x}").stdout.splitlines()
    assert lines[0] == f"alert {7:032x}: breach of customer c-17, T-7"
    assert lines[1] == "  runbook_url: https://runbooks.example/breach"
    said = [line[22:] for line in lines[2:]]
    assert said == [
        "firing     breach, page: T-7 waits.",
        "  -> on-call: trying firing breach, try 1",
        "  -> on-call: not_taken firing breach, try 1: answered 503",
        "  -> on-call: delivered firing breach (customer c-17), try 1",
        "resolved   breach, page, answered: T-7 waits.",
    ]
    story = desk.json("show", f"{7:032x}")
    assert [change["state"] for change in story["changes"]] == ["firing", "resolved"]
    assert [delivery["result"] for delivery in story["deliveries"]] == ["trying", "not_taken", "delivered"]


def test_the_beginning_of_an_id_is_enough_where_it_is_one_alert(desk: Desk) -> None:
    desk.happened(alert(1, alert_id="aa11"), alert(2, alert_id="aa22"), alert(3, alert_id="aa2"))
    assert desk.json("show", "aa1")["alert_id"] == "aa11"
    assert desk.json("show", "aa2")["alert_id"] == "aa2"
    for name, words in (("aa", "found 3 alerts that begin with 'aa'"), ("bb", "found no alert 'bb' among 3")):
        result = desk.run("show", name)
        assert result.exit_code == 2
        assert words in result.stderr


def test_silencing_is_alertmanagers_and_its_address_is_printed(desk: Desk) -> None:
    desk.happened(alert(1, alert_id="aa11"))
    assert "silence in Alertmanager: http://am.example:9093/#/silences" in desk.run("list").stderr
    filtered = "http://am.example:9093/#/silences/new?filter=%7Balert_id%3D%22aa11%22%7D"
    assert filtered in desk.run("show", "aa11").stderr


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = Desk(f"sqlite:///{tmp_path}/log.sqlite3", "").run("list")
    assert result.exit_code == 2
    assert "found no log at" in result.stderr


def configured(tmp_path: Path, receiver: Mapping[str, Any]) -> Path:
    path = tmp_path / "heardback.yaml"
    path.write_text(json.dumps({"alerts": {"receivers": [receiver]}}), encoding="utf-8")
    return path


def trial(tmp_path: Path, receiver: Mapping[str, Any], *more: str) -> Result:
    arguments = ["alerts", "test", "mine", "--config", str(configured(tmp_path, receiver)), *more]
    return CliRunner().invoke(app, arguments, env={"HEARDBACK_CONFIG": ""})


@pytest.mark.parametrize("kind", ["pagerduty", "slack", "alertmanager", "webhook"])
def test_a_test_message_goes_the_way_of_a_page_and_ends(tmp_path: Path, hook: Receiver, kind: str) -> None:
    receiver = {"type": kind, "name": "mine", "urls": [hook.url]}
    receiver |= {"secret": "whsec_MDEyMzQ1Njc4OQ=="} if kind in ("webhook", "pagerduty") else {}
    result = trial(tmp_path, receiver)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["mine: firing: delivered", "mine: resolved: delivered"]
    first, second = hook.requests
    assert "This is a test of receiver mine" in first.body.decode()
    if kind == "pagerduty":
        assert [request.json()["event_action"] for request in (first, second)] == ["trigger", "resolve"]
        assert first.json()["dedup_key"] == second.json()["dedup_key"]


def test_a_test_message_that_is_refused_is_a_failure(tmp_path: Path, hook: Receiver) -> None:
    hook.always(Answer(status=403))
    result = trial(tmp_path, {"type": "slack", "name": "mine", "urls": [hook.url]}, "--format", "json")
    assert result.exit_code == 1
    wanted = [{"receiver": "mine", "state": "firing", "result": "rejected", "detail": "answered 403"}]
    assert json.loads(result.stdout) == wanted
    assert len(hook.requests) == 1


def test_a_receiver_that_is_not_there_or_not_right_is_said(tmp_path: Path) -> None:
    result = trial(tmp_path, {"type": "console", "name": "other"})
    assert (result.exit_code, "wanted one of: other" in result.stderr) == (2, True)
    result = trial(tmp_path, {"type": "slack", "name": "mine"})
    assert (result.exit_code, "found 0 addresses" in result.stderr) == (2, True)
