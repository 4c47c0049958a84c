"""heardback that cannot see, on a real Kafka: somebody is told, also where the broker is what is away."""

from __future__ import annotations

import base64
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.acceptance.heardback import Heardback, ago, event, eventually
from tests.servers.kafka import Kafka
from tests.servers.receiver import Answer, Receiver, Request

SECRET = "whsec_" + base64.b64encode(b"the secret of the tests").decode()
BUSY = """\
calendars:
  always: {{always_open: true}}
policies:
  - {{name: all, calendar: always, targets: {{first_response: 1s}}}}
alerts:
  blind_after: 10s
  receivers:
    - {{type: webhook, name: hook, urls: ['{url}/'], secret: {secret}}}
    - {{type: webhook, name: failing, urls: ['{failing}/'], secret: {secret}}}
broker: {{partitions: 2, start_timeout_seconds: 60, session_timeout_seconds: 4}}
"""
CONFIGURATION = """\
calendars:
  always: {{always_open: true}}
policies:
  - {{name: all, calendar: always, targets: {{first_response: 1s}}}}
alerts:
  blind_after: 5s
  receivers: [{{type: webhook, name: hook, urls: ['{url}/'], secret: {secret}}}]
broker: {{partitions: 2, start_timeout_seconds: 60, session_timeout_seconds: 60}}
"""


@pytest.fixture
def own_kafka(kafka: Kafka, tmp_path: Path) -> Iterator[Kafka]:
    """A broker that a test may stop: not the one of the others, which is here only where there can be one."""
    assert kafka.url
    with Kafka(tmp_path / "kafka") as found:
        yield found


def told(receiver: Receiver) -> list[tuple[str, str, str | None]]:
    """Kind, state and reason, each once, in their order."""
    bodies = [orjson.loads(request.body) for request in receiver.accepted]
    return list(dict.fromkeys((body["kind"], body["state"], body["labels"].get("cause")) for body in bodies))


@pytest.mark.slow
def test_somebody_is_told_when_nobody_reads_and_when_the_broker_is_away(own_kafka: Kafka, tmp_path: Path) -> None:
    def heard(kind: str, state: str, reason: str | None = None) -> None:
        def found(_: list[Request]) -> bool:
            return (kind, state, reason) in told(receiver)

        receiver.wait(found, seconds=60)

    with Receiver() as receiver:
        configuration = CONFIGURATION.format(url=receiver.url, secret=SECRET)
        streams, alerting, gateway = (
            Heardback(tmp_path / role, broker=own_kafka.url, role=role, configuration=configuration)
            for role in ("streams", "alerting", "gateway")
        )
        with streams, alerting, gateway:
            os.kill(streams.pid, signal.SIGSTOP)
            assert gateway.post(event("contact.opened", "T-1", customer_id="c-1"))[0] == 202
            heard("blind", "firing", "lag")
            answer = {**event("message.sent", "T-1", customer_id="c-1", agent_id="a-1"), "id": "a", "time": ago()}
            assert gateway.post(answer)[0] == 202
            os.kill(streams.pid, signal.SIGCONT)
            heard("blind", "resolved", "lag")
            assert not [one for one in told(receiver) if one[0] == "breach"], "answered while nobody looked"
            os.kill(own_kafka.pid, signal.SIGSTOP)
            try:
                heard("blind", "firing", "broker_away")
            finally:
                os.kill(own_kafka.pid, signal.SIGCONT)
            heard("blind", "resolved", "broker_away")

            def written() -> bool:
                said = [record.json for record in alerting.records("alerts")]
                found = {(one["labels"]["cause"], one["state"]) for one in said if one["kind"] == "blind"}
                return {(cause, state) for cause in ("lag", "broker_away") for state in ("firing", "resolved")} <= found

            eventually(written, what="blindness written down once the broker was there")


@pytest.mark.slow
def test_a_worker_that_the_broker_ends_while_it_is_away_stays_until_that_is_told(
    own_kafka: Kafka, tmp_path: Path
) -> None:
    with Receiver() as receiver, Receiver() as failing:

        def heard(state: str) -> None:
            receiver.wait(lambda _: ("blind", state, "broker_away") in told(receiver), seconds=60)

        failing.always(Answer(status=500))
        configuration = BUSY.format(url=receiver.url, failing=failing.url, secret=SECRET)
        streams, alerting, gateway = (
            Heardback(tmp_path / role, broker=own_kafka.url, role=role, configuration=configuration)
            for role in ("streams", "alerting", "gateway")
        )
        with streams, alerting, gateway:
            assert gateway.post(event("contact.opened", "T-1", customer_id="c-1"))[0] == 202
            failing.wait(lambda requests: len(requests) > 1)
            own_kafka.pause()
            try:
                heard("firing")
                assert "stopping for a failure" in alerting.log.read_text(), "a try is written down before it is made"
                assert alerting.get("/readyz") == (503, b"the broker does not answer\n")
                assert alerting.get("/livez")[0] == 200
            finally:
                os.kill(own_kafka.pid, signal.SIGCONT)
            heard("resolved")
            assert alerting.ended(60) == 1, "to be started again"
