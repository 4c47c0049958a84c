"""The weekly report as its readers have it: over HTTP and by command, from a running heardback and from a replay."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from streams.reports import Week
from tests.acceptance.heardback import CONFIGURATION, Heardback, ago, command, event, eventually
from tests.servers.kafka import Kafka
from tests.servers.postgresql import PostgreSQL

DAY = 86_400.0


def week_of(seconds_ago: float) -> str:
    return Week.holding(datetime.now(UTC) - timedelta(seconds=seconds_ago)).name


def sometime() -> float:
    """About ten days ago, in the middle of a week that is over."""
    now = datetime.now(UTC)
    week = Week.holding(now).before()
    return (now - week.starts_at).total_seconds() - 2 * DAY


def told(begun: float) -> list[dict[str, Any]]:
    """A customer who was answered a day late, and one whom nobody has answered."""
    return [
        event("contact.opened", "T-1", at=ago(begun), customer_id="c-late"),
        event("message.sent", "T-1", at=ago(begun - DAY), customer_id="c-late", agent_id="a-1"),
        event("contact.opened", "T-2", at=ago(begun), customer_id="<b>c-never</b>", summary="secret words"),
    ]


def report(heardback: Heardback, week: str, to: str = "json") -> bytes | None:
    status, body = heardback.get(f"/reports/{week}?format={to}")
    return body if status == 200 else None


def both_are_let_down(heardback: Heardback, week: str) -> bool:
    body = report(heardback, week)
    return body is not None and len(json.loads(body)["let_down"]) == 2


@pytest.mark.slow
def test_a_running_heardback_answers_with_the_report_of_a_week(tmp_path: Path) -> None:
    begun = sometime()
    week = week_of(begun)
    with Heardback(tmp_path) as heardback:
        assert heardback.get(f"/reports/{week}")[0] == 404, "nothing is known yet"
        assert heardback.post(told(begun))[0] == 202
        eventually(lambda: both_are_let_down(heardback, week), seconds=60, what="the report")
        status, page = heardback.get(f"/reports/{week}")
        assert status == 200
        assert b"&lt;b&gt;c-never&lt;/b&gt;" in page
        assert b"secret words" not in page
        assert f'<a href="/reports/{week_of(0)}">'.encode() in page
        assert f"<strong>{week}</strong>".encode() in page
        for wrong in ("2020-W10", "2190-W10"):
            assert heardback.get(f"/reports/{wrong}")[0] == 404
        for wrong in ("nonsense", "2026-W60", "2026-46", "%2e%2e", f"{week}?format=pdf", f"{week}?format=x"):
            status, said = heardback.get(f"/reports/{wrong}")
            assert (status, b"anted" in said) == (400, True), wrong
        status, said = heardback.get("/reports/nonsense", {"Accept": "application/json"})
        assert "wanted one such as 2026-W46" in json.loads(said)["error"]
        # The same to the byte by command, beside the process and after it.
        asked = ["report", "--week", week, "--format", "md", "--config", heardback.configuration]
        beside = command(*asked, "--data", heardback.data)
        assert (beside.returncode, beside.stderr) == (0, "")
        assert beside.stdout == (report(heardback, week, "md") or b"").decode()
        assert heardback.told_to_end() == 0
    after = command(*asked, "--db", f"sqlite:///{heardback.data / 'facts.sqlite3'}")
    assert after.stdout == beside.stdout
    before = command("report", "--config", heardback.configuration, "--data", heardback.data, "--format", "md")
    assert before.stdout == beside.stdout, "the last whole week is the default"


@pytest.mark.slow
def test_facts_go_on_where_they_were_after_a_kill(tmp_path: Path) -> None:
    begun = sometime()
    week = week_of(begun)
    heardback = Heardback(tmp_path)
    with heardback:
        assert heardback.post(told(begun))[0] == 202
        eventually(lambda: both_are_let_down(heardback, week), seconds=60, what="the report")
        first = json.loads(report(heardback, week) or b"")
        heardback.kill()
    with heardback:
        more = event("message.sent", "T-2", at=ago(begun - DAY / 2), customer_id="<b>c-never</b>", agent_id="a-1")
        assert heardback.post(more)[0] == 202

        def answered() -> bool:
            found = json.loads(report(heardback, week) or b'{"waiting": [1]}')
            return not found["waiting"]

        eventually(answered, seconds=60, what="the answer in the report")
        second = json.loads(report(heardback, week) or b"")
    assert (first["answers"]["unanswered"], second["answers"]["unanswered"]) == (1, 0)
    assert (first["answers"]["n"], second["answers"]["n"]) == (2, 2), "each once"


@pytest.mark.slow
def test_facts_of_another_schema_version_end_the_process_and_say_why(tmp_path: Path) -> None:
    heardback = Heardback(tmp_path)
    with heardback:
        assert heardback.post(event())[0] == 202
        eventually(lambda: report(heardback, week_of(0)), seconds=60, what="facts")
        assert heardback.told_to_end() == 0
    facts = sqlite3.connect(heardback.data / "facts.sqlite3")
    with facts:
        assert facts.execute("UPDATE facts SET schema_version = 99").rowcount == 1
    facts.close()
    heardback.begin()
    assert heardback.ended() == 1
    assert "found facts of schema version 99, wanted 1" in heardback.said()
    done = command("report", "--data", heardback.data, "--config", heardback.configuration)
    assert done.returncode == 2
    assert "schema version 99" in done.stderr


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, a replay in `replayed`, and one in `broken` that cannot be read."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "heardback.yaml").write_text(CONFIGURATION)
    (folder / "events.jsonl").write_text("".join(json.dumps(one) + "\n" for one in told(20 * DAY)))
    assert command("replay", "events.jsonl", "--out", "replayed", folder=folder).returncode == 0
    (folder / "broken").mkdir()
    for name in ("outcomes", "journeys", "alerts"):
        (folder / "broken" / f"{name}.jsonl").write_text("{\n")
    return folder


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["--format", "pdf", "--from", "."], 2, "format pdf cannot be written yet, wanted one of html, md, json, csv"),
        (["--out", "week.xlsx", "--from", "."], 2, "format xlsx cannot be written yet"),
        (["--format", "doc", "--from", "."], 2, "found format 'doc'"),
        (["--from", ".", "--db", "sqlite:///x"], 2, "found --db and --from, wanted one of them"),
        (["--from", "nowhere"], 2, "nowhere/outcomes.jsonl: No such file or directory"),
        (["--db", "mysql://host/db"], 2, "found facts at mysql://"),
        (["--db", "postgresql://u:marked@127.0.0.1:1/db"], 1, "the facts cannot be read"),
        ([], 2, "there are no facts yet"),
        (["--week", "W46", "--from", "replayed"], 2, "found week 'W46', wanted one such as 2026-W46"),
        (
            ["--week", "2020-W10", "--from", "replayed"],
            2,
            "no facts of week 2020-W10; what is known lies between",
        ),
        (["--from", "broken"], 2, "broken/outcomes.jsonl:1: "),
        (["--config", "absent.yaml"], 2, "absent.yaml: cannot be read"),
    ],
)
def test_a_report_that_cannot_be_made_says_why(replayed: Path, arguments: list[str], status: int, said: str) -> None:
    done = command("report", *arguments, folder=replayed)
    assert done.returncode == status, done.stderr
    assert said in done.stderr
    assert "marked" not in done.stderr
    assert done.stdout == ""


def test_a_report_is_written_in_the_format_that_its_file_is_named_after(replayed: Path) -> None:
    week = week_of(20 * DAY)
    begins = {"md": "# Did every", "json": "{", "csv": "week,part", "html": "<!DOCTYPE html>"}
    for suffix, beginning in begins.items():
        done = command("report", "--from", "replayed", "--week", week, "--out", f"w.{suffix}", folder=replayed)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert (replayed / f"w.{suffix}").read_text(encoding="utf-8").startswith(beginning)
    done = command("report", "--from", "replayed", "--week", week, "--out", "nowhere/w.md", folder=replayed)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere/w.md: No such file or directory" in done.stderr
    zoned = command(
        "report", "--from", "replayed", "--week", week, "--format", "json", folder=replayed,
        settings={"HEARDBACK_REPORT__TIME_ZONE": "Pacific/Auckland", "HEARDBACK_REPORT__WEEK_STARTS": "sunday"},
    )  # fmt: skip
    assert json.loads(zoned.stdout)["time_zone"] == "Pacific/Auckland"


@pytest.mark.slow
def test_on_kafka_one_worker_keeps_the_facts_and_the_gateway_reports_from_them(
    kafka: Kafka, postgresql: PostgreSQL, tmp_path: Path
) -> None:
    begun = sometime()
    week = week_of(begun)
    configuration = CONFIGURATION.replace("partitions: 2", f"partitions: 2, topic_prefix: {tmp_path.name}-")
    address = tmp_path / "facts-url"
    address.write_text(postgresql.database() + "\n")
    kept = configuration + f"facts: {{url_file: {address}}}\n"
    streams = Heardback(tmp_path / "streams", broker=kafka.url, role="streams", configuration=configuration)
    facts = Heardback(tmp_path / "facts", broker=kafka.url, role="facts", configuration=kept)
    gateway = Heardback(tmp_path / "gateway", broker=kafka.url, role="gateway", configuration=kept)
    with streams, facts, gateway:
        assert gateway.post(told(begun))[0] == 202
        eventually(lambda: both_are_let_down(gateway, week), seconds=90, what="the report")
        assert streams.get(f"/reports/{week}")[0] == 404, "it knows no facts"
        for process in (gateway, facts, streams):
            assert process.told_to_end() == 0, process.said()
    homeless = command("worker", "facts", "--broker", kafka.url, "--config", streams.configuration)
    assert homeless.returncode == 2
    assert "needs facts.url" in homeless.stderr
