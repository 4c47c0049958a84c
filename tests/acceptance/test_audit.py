"""The self-audit as its users have it: a command, and a process beside a running heardback."""

from __future__ import annotations

import re
import time
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson
import pytest

from schemas.topics import ALERTS, DELIVERIES
from tests.acceptance.heardback import Heardback, ago, command, event, eventually
from tests.servers.kafka import Kafka
from tests.streams.audit.tampering import Hands

CONFIGURATION: Final = """\
calendars:
  always: {always_open: true}
policies:
  - {name: all, calendar: always, targets: {first_response: 2s, resolution: 1h}}
alerts:
  receivers: [{type: console}]
audit: {every: 2s, tolerance: 1s}
broker: {partitions: 2}
"""
FINDINGS: Final = re.compile(r'responsiveness_audit_findings\{kind="([^"]*)"\} (\S+)')


def findings(heardback: Heardback) -> dict[str, float]:
    """By kind, those that are not nought."""
    found = {kind: float(count) for kind, count in FINDINGS.findall(heardback.metrics())}
    assert len(found) > 5
    return {kind: count for kind, count in found.items() if count}


def audits(heardback: Heardback) -> float:
    """When the last audit ended; 0: none has."""
    said = re.search(r"^responsiveness_audit_last_run_timestamp_seconds (\S+)", heardback.metrics(), re.MULTILINE)
    assert said is not None
    return float(said[1])


def later_audit(heardback: Heardback) -> None:
    """Waits until two audits more have ended, so that one of them began after now."""
    for _ in range(2):
        before = audits(heardback)
        eventually(lambda before=before: audits(heardback) > before, seconds=60, what="another audit ended")  # type: ignore[misc]


def pages(heardback: Heardback) -> list[str]:
    return [seen.json["contact_id"] for seen in heardback.records(ALERTS.name) if seen.json["kind"] == "breach"]


def told_of_blindness(heardback: Heardback) -> list[str]:
    """The states of the alert that says so, as far as its receiver took it."""
    taken = {seen.json["alert_id"] for seen in heardback.records(DELIVERIES.name) if seen.json["result"] == "delivered"}
    alerts = [seen.json for seen in heardback.records(ALERTS.name) if seen.json["kind"] == "blind"]
    assert all(alert["customer_id"] is None and alert["labels"] == {"cause": "audit"} for alert in alerts)
    return [alert["state"] for alert in alerts if alert["alert_id"] in taken]


@pytest.mark.slow
def test_a_running_heardback_audits_itself_in_another_process_and_names_a_page_that_was_lost(tmp_path: Path) -> None:
    with Heardback(tmp_path, configuration=CONFIGURATION) as heardback:
        assert heardback.post(event("contact.opened", "T-1"))[0] == 202
        assert heardback.post(event("contact.opened", "T-2", customer_id="c-2"))[0] == 202
        eventually(lambda: len(pages(heardback)) == 2, what="both were paged for")
        later_audit(heardback)
        assert findings(heardback) == {}
        clean = command("audit", "--data", heardback.data, "--config", heardback.configuration)
        assert (clean.returncode, clean.stderr) == (0, "")
        assert re.fullmatch(
            r"4 clocks of 2 contacts and 2 firing alerts against \d+ events in \S+ s: no findings\n", clean.stdout
        )

        lost = Hands(heardback.data / "log.sqlite3").drop(ALERTS.name, lambda alert: alert["contact_id"] == "T-1")
        assert lost == 1
        eventually(lambda: findings(heardback) == {"overdue_without_alert": 1.0}, seconds=60, what="it was found")
        eventually(lambda: '"event": "audit_finding"' in heardback.said(), what="its log says so")  # a thread writes it
        blind = eventually(lambda: told_of_blindness(heardback), seconds=60, what="somebody was told")
        assert blind == ["firing"]
        found = command("audit", "--data", heardback.data, "--config", heardback.configuration, "--format", "json")
        assert found.returncode == 1
        [finding] = orjson.loads(found.stdout)["findings"]
        assert (finding["kind"], finding["contact"], finding["clock"]) == (
            "overdue_without_alert", "T-1", "first_response:1",
        )  # fmt: skip
        # The answer ends the wait, and with it what was wrong.
        answer = event("message.sent", "T-1", agent_id="a-1")
        resolved = event("contact.resolved", "T-1", by="agent")
        assert heardback.post([answer, resolved])[0] == 202
        eventually(lambda: told_of_blindness(heardback) == ["firing", "resolved"], seconds=90, what="its end was told")


@pytest.mark.slow
def test_an_audit_that_fails_is_counted_and_takes_nothing_down(tmp_path: Path) -> None:
    with Heardback(tmp_path, configuration=CONFIGURATION) as heardback:
        heardback.configuration.write_text("nonsense: true\n", encoding="utf-8")
        counted = re.compile(r"^responsiveness_audit_failures_total ([1-9]\S*)", re.MULTILINE)
        eventually(lambda: counted.search(heardback.metrics()), seconds=60, what="a failed audit was counted")
        assert audits(heardback) == 0
        eventually(lambda: '"event": "audit_failed"' in heardback.said(), what="its log says so")  # a thread writes it
        assert heardback.post(event())[0] == 202
        assert heardback.told_to_end() == 0


@pytest.mark.slow
def test_a_log_that_stands_is_audited_as_of_an_instant(tmp_path: Path) -> None:
    with Heardback(tmp_path, configuration=CONFIGURATION.replace("every: 2s", "every: 0m")) as heardback:
        heardback.post(event("contact.opened", "T-1"))
        eventually(lambda: pages(heardback) == ["T-1"], what="the page")
        assert heardback.told_to_end() == 0
    given = ("audit", "--data", heardback.data, "--config", heardback.configuration)
    assert command(*given).returncode == 0
    tomorrow = command(*given, "--at", "2199-01-01T00:00:00Z")
    assert tomorrow.returncode == 1
    missed = "wake_up_missed T-1 due: expected a wake-up after "
    assert any(line.startswith(missed) for line in tomorrow.stdout.splitlines())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--format", "xml"), "found format 'xml', wanted text or json"),
        (("--at", "noon"), "wanted an instant with a zone"),
        ((), "found no log at"),
        (("--broker", "file://x"), "wanted a broker as sqlite:///PATH or kafka://HOST:PORT"),
    ],
)
def test_what_cannot_be_audited_is_said(tmp_path: Path, given: tuple[str, ...], said: str) -> None:
    (tmp_path / "heardback.yaml").write_text(CONFIGURATION, encoding="utf-8")
    done = command("audit", *given, folder=tmp_path)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert said in done.stderr


@pytest.mark.kafka
@pytest.mark.slow
def test_on_kafka_a_worker_does_nothing_but_audit(kafka: Kafka, tmp_path: Path) -> None:
    prefix = f"{tmp_path.name}-"
    configuration = CONFIGURATION.replace("partitions: 2", f"partitions: 2, topic_prefix: {prefix}")
    with (
        Heardback(
            tmp_path / "run", configuration=configuration.replace("every: 2s", "every: 0m"), broker=kafka.url
        ) as run,
        Heardback(tmp_path / "audit", configuration=configuration, broker=kafka.url, role="audit") as auditor,
    ):
        run.prefix = prefix
        assert run.post(event("contact.opened", "T-1"))[0] == 202
        eventually(lambda: pages(run) == ["T-1"], what="the page")
        later_audit(auditor)
        assert findings(auditor) == {}
        judged = re.search(r'responsiveness_audit_contacts\{state="judged"\} (\S+)', auditor.metrics())
        assert judged is not None
        assert float(judged[1]) == 1.0


BUSY: Final = """\
calendars:
  always: {always_open: true}
policies:
  - {name: all, calendar: always, targets: {acknowledgement: 1s, first_response: 3s, next_response: 2s, resolution: 9s},
     at_risk: [50%], dead_end_after: 1s, chasing_after: 2}
alerts:
  receivers: [{type: console}]
audit: {every: 1s, tolerance: 5s}
broker: {partitions: 2}
"""


TIED_SHARE: Final = 0.1


def busy(number: int, random: Random) -> list[dict[str, Any]]:
    """What happens to one contact, some of it long ago, and some of it said twice."""
    contact, who = f"B-{number}", f"c-{number % 400}"
    channel = random.choice(["ticket", "form", "email"])
    happened = [event("contact.opened", contact, customer_id=who, channel=channel, at=ago(random.choice([0, 2, 600])))]
    more = {
        "message.sent": {"agent_id": "a-1", "message_id": f"<{number}@us>", "recipient": "mailto:x@example.com"},
        "message.bounced": {"direction": "outbound", "message_id": f"<{number}@us>"},
        "message.received": {},
        "contact.paused": {"reason": "on_hold"},
        "contact.resolved": {"by": "agent"},
        "contact.reopened": {"by": "customer"},
    }
    if random.random() < TIED_SHARE:
        more["contact.merged"] = {"into": f"B-{number - 400}"}
        more["contact.linked"] = {"contact_id": f"B-{number - 800}"}
    for kind in random.sample(sorted(more), random.randint(0, 4)):
        happened.append(event(kind, contact, customer_id=who, at=ago(random.choice([0, 0, 1, 300])), **more[kind]))
    return happened + random.sample(happened, 1)


@pytest.mark.slow
def test_under_load_with_what_comes_late_and_twice_nothing_is_found(tmp_path: Path) -> None:
    random = Random(20_261_122)
    with Heardback(tmp_path, configuration=BUSY) as heardback:
        began = time.monotonic()
        number, last = 0, audits(heardback)
        ended = 0
        while ended < 3 or time.monotonic() - began < 15:
            some = [one for number in range(number, number + 10) for one in busy(number, random)]
            number += 10
            assert heardback.post(some)[0] == 202
            now = audits(heardback)
            ended, last = ended + (now > last), now
            time.sleep(0.1)
            assert time.monotonic() - began < 240, "three audits end"
        said = heardback.said()
        assert '"event": "audit_finding"' not in said, said[said.index("audit_finding") - 300 :][:1_000]
        assert '"event": "audit_failed"' not in said
        assert number > 100
