"""A running heardback: when it answers, how it stops, what it goes on with, what its log holds."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from schemas.events import EVENT, ContactOpened
from streams.engine.timeline import Contact, fact_of
from streams.track.state import ContactState, encode_contact
from streams.transport import Record, open_log, partition_for
from tests.acceptance.heardback import CONFIGURATION, Heardback, ago, command, event, eventually, records
from tests.servers.kafka import Kafka
from tests.servers.process import free_ports
from tests.servers.receiver import Answer, Receiver

SECRET = "whsec_" + base64.b64encode(b"the secret of the tests").decode()
SOON = CONFIGURATION.replace("first_response: 1h", "first_response: 2s")


def contacts_with_outcomes(heardback: Heardback) -> set[str]:
    """Contacts of which an outcome was published."""
    return {record.json["contact_id"] for record in heardback.records("outcomes")}


def test_http_answers_from_the_first_moment_also_while_tables_recover(tmp_path: Path) -> None:
    heardback = Heardback(tmp_path)
    with heardback:
        pass
    asyncio.run(_many_contacts(heardback.broker, 60_000))
    heardback.begin()
    try:
        eventually(lambda: heardback.get("/livez")[0] == 200, what="an answer")
        status, reasons = heardback.get("/readyz")
        assert status == 503, "not ready before its tables are"
        assert b"recovering" in reasons
        assert "responsiveness_build_info" in heardback.metrics()
        assert heardback.get("/livez")[0] == 200
        assert heardback.get("/readyz")[0] == 503, "still not ready"
        assert heardback.get("/contacts/T-5")[0] == 503
        assert heardback.post(event("contact.opened", "T-new"))[0] == 202
        eventually(heardback.answers, what="ready")
        assert heardback.get("/contacts/T-5")[0] == 200
        eventually(lambda: heardback.get("/contacts/T-new")[0] == 200, what="the contact opened meanwhile")
    finally:
        heardback.kill()


async def _many_contacts(broker: str, count: int) -> None:
    """The changelog of a table of so many contacts, as a worker would have left it."""
    log = open_log(broker)
    await log.start()
    opened = EVENT.validate_python(event("contact.opened", "T-5"))
    assert isinstance(opened, ContactOpened)
    rows: dict[int, list[Record]] = {0: [], 1: []}
    for number in range(count):
        customer = f"c-{number}"
        state = ContactState(Contact(f"T-{number}", customer, [fact_of(opened)]), customer)
        record = Record(key=state.contact.contact_id.encode(), value=encode_contact(state, None, ()))
        rows[partition_for(customer.encode(), 2)].append(record)
    await log.append("heardback-streams-contacts-changelog", rows)
    await log.close()


def test_http_answers_while_the_broker_is_away_and_refuses_events_until_it_is_there(tmp_path: Path) -> None:
    [nobody] = free_ports(1)
    quick = CONFIGURATION.replace("partitions: 2", "partitions: 2, session_timeout_seconds: 2")
    heardback = Heardback(tmp_path, broker=f"kafka://127.0.0.1:{nobody}", configuration=quick)
    heardback.begin()
    try:
        eventually(lambda: heardback.get("/livez")[0] == 200, what="an answer")
        assert heardback.get("/readyz")[0] == 503
        assert heardback.get("/metrics")[0] == 200
        assert heardback.post(event())[0] == 503
        assert heardback.told_to_end() == 0, "a start can be ended too"
    finally:
        heardback.kill()


def test_a_signal_finishes_the_batch_and_commits_and_ends_with_status_0(tmp_path: Path) -> None:
    heardback = Heardback(tmp_path)
    with heardback:
        some = [event("contact.opened", f"T-{n}", customer_id=f"c-{n}") for n in range(1_000)]
        assert heardback.post(some)[0] == 202
        eventually(lambda: len(heardback.records("outcomes")) >= 500, what="outcomes")
        assert heardback.told_to_end() == 0
    done = asyncio.run(_opened_below_what_is_committed(heardback.broker))
    assert len(done) >= 500
    assert contacts_with_outcomes(heardback) == done, "of what is committed all is done, of what is not nothing"
    for _life in range(5):
        if asyncio.run(_all_is_committed(heardback.broker)):
            break
        with heardback:
            time.sleep(1)
            assert heardback.told_to_end() == 0
    assert asyncio.run(_all_is_committed(heardback.broker)), "the end of the log is reached"
    assert len(heardback.records("outcomes")) == 1_000, "each once"


async def _opened_below_what_is_committed(broker: str) -> set[str]:
    """The contacts whose opening lies before the committed position of its partition."""
    log = open_log(broker)
    await log.start()
    try:
        committed = await log.committed("heardback-streams", "contact-events")
        return {
            content["subject"]
            async for batch in log.scan("contact-events")
            for offset, value in zip(batch.offsets, batch.values, strict=True)
            if offset < committed.get(batch.partition, 0)
            and isinstance(content := json.loads(value or b"{}"), dict)
            and content["type"] == "contact.opened"
        }
    finally:
        await log.close()


async def _all_is_committed(broker: str) -> bool:
    log = open_log(broker)
    await log.start()
    try:
        committed = await log.committed("heardback-streams", "contact-events")
        ends = await log.end_offsets("contact-events")
        return {p: end for p, end in ends.items() if end} == dict(committed)
    finally:
        await log.close()


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    with Heardback(tmp_path) as heardback, socket.create_connection(("127.0.0.1", heardback.port)) as slow:
        slow.sendall(
            b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n[" % heardback.port
        )
        time.sleep(0.3)
        os.kill(heardback.pid, signal.SIGINT)
        time.sleep(0.7)
        assert heardback.alive, "it waits for the request in hand"
        began = time.monotonic()
        assert heardback.told_to_end() == 1
        assert time.monotonic() - began < 5, "at once: an orderly end may take 9.5 s"


def test_a_request_that_never_ends_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with Heardback(tmp_path) as heardback, socket.create_connection(("127.0.0.1", heardback.port)) as slow:
        slow.sendall(
            b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n[" % heardback.port
        )
        time.sleep(0.3)
        assert heardback.told_to_end(seconds=10) == 0


def test_after_kill_9_it_goes_on_and_nothing_that_was_taken_is_lost(tmp_path: Path) -> None:
    with Heardback(tmp_path) as heardback:
        taken: set[str] = set()
        for life in range(2):
            for part in range(4):
                names = [f"T-{life}-{part}-{n}" for n in range(200)]
                status, _ = heardback.post([event("contact.opened", name, customer_id=f"c-{name}") for name in names])
                assert status == 202
                taken |= set(names)
            heardback.kill()
            heardback.start()
        eventually(lambda: contacts_with_outcomes(heardback) >= taken, what="an outcome of every contact")
        assert contacts_with_outcomes(heardback) == taken
        assert heardback.get("/contacts/T-0-0-7")[0] == 200


def test_its_log_is_one_json_object_a_line_without_words_or_addresses_of_customers(tmp_path: Path) -> None:
    customers = tmp_path / "customers.yaml"
    customers.write_text(
        "- {customer_id: c-1, name: Marked Name, identities: ['mailto:marked.one@example.com', 'domain:gmail.com']}\n"
    )
    with Receiver() as receiver:
        receiver.always(Answer(status=500, body=b"marked answer"))
        hook = f"{{type: webhook, urls: ['{receiver.url}/marked-token'], secret: {SECRET}}}"
        configuration = SOON.replace("alerts:\n", f"alerts:\n  receivers: [{hook}]\n")
        with Heardback(tmp_path, configuration=configuration, options=["--customers", str(customers)]) as heardback:
            _speak_of_marked(heardback)
            receiver.wait(lambda requests: requests, seconds=60)
            assert heardback.told_to_end() == 0
    lines = heardback.said().splitlines()
    for line in lines:
        entry = json.loads(line)
        assert {"event", "level", "timestamp"} <= entry.keys(), line
        assert "marked" not in line.lower(), line
    assert any(json.loads(line)["event"] == "http_request" for line in lines)


def _speak_of_marked(heardback: Heardback) -> None:
    address = "mailto:marked.two@example.com"
    contact = "mail:<marked.id@example.com>"
    good = [
        event(
            "contact.opened", contact, summary="marked words", sender=address, customer_id=None, url="https://marked"
        ),
        event("message.sent", contact, recipient=address, message_id="<marked@x>", customer_id=None, at=ago(1)),
        event("message.bounced", contact, direction="outbound", recipient=address, reason="marked", customer_id=None),
    ]
    assert heardback.post(good)[0] == 202
    assert heardback.post([event("marked.type", contact), event(channel="marked")])[0] == 422
    assert heardback.post(b"marked")[0] == 400
    reused = event("contact.opened", contact, summary="other marked words", customer_id=None, sender=address)
    assert heardback.post(reused)[0] == 202
    assert (
        heardback.post(event("contact.opened", contact, source="/marked", customer_id=None, sender=address))[0] == 202
    )
    eventually(lambda: len(heardback.records("dead-letters")) >= 2, what="two dead letters")
    for path in ("/contacts/mail%3A%3Cmarked.id%40example.com%3E", "/marked?marked=1", "/contacts/marked?at=marked"):
        assert heardback.get(path)[0] in (200, 400, 404)
    with socket.create_connection(("127.0.0.1", heardback.port)) as broken:
        broken.sendall(b"MARKED marked\r\nmarked: \xff\r\n\r\n")
        broken.recv(1_000)


def test_roles_run_apart_on_kafka_do_together_what_one_process_does(kafka: Kafka, tmp_path: Path) -> None:
    customers = tmp_path / "customers.yaml"
    customers.write_text("- {customer_id: c-9, owner: owner@example.com, identities: ['mailto:nine@example.com']}\n")
    with Receiver() as receiver:
        hook = f"{{type: webhook, name: hook, urls: ['{receiver.url}/'], secret: {SECRET}}}"
        other = f"{{type: webhook, name: other, urls: ['{receiver.url}/other'], secret: {SECRET}}}"
        routes = "[{match: {owner: owner@example.com}, receivers: [hook]}, {receivers: [other]}]"
        alerts = f"alerts:\n  receivers: [{hook}, {other}]\n  routes: {routes}\n"
        configuration = SOON.replace("alerts:\n", alerts).replace(
            "partitions: 2", f"partitions: 2, topic_prefix: {tmp_path.name}-"
        )
        streams, alerting, gateway = (
            Heardback(tmp_path / role, broker=kafka.url, role=role, configuration=configuration, options=options)
            for role, options in (("streams", ()), ("alerting", ()), ("gateway", ("--customers", str(customers))))
        )
        with streams, alerting, gateway:
            opened = event("contact.opened", "T-apart", customer_id=None, sender="mailto:nine@example.com")
            assert gateway.post(opened)[0] == 202
            paged = receiver.wait(lambda requests: [r for r in requests if b'"breach"' in r.body], seconds=40)
            assert {request.path for request in paged} == {"/"}, "the owner's route, known to alerting too"
            answer = event("message.sent", "T-apart", customer_id="c-9", agent_id="a-1")
            assert gateway.post(answer)[0] == 202
            receiver.wait(lambda requests: [r for r in requests if b'"resolved"' in r.body], seconds=40)
            assert "responsiveness_alerts_total" in alerting.metrics()
            assert "responsiveness_outcomes_total" in streams.metrics()
            for process in (gateway, alerting, streams):
                assert process.told_to_end() == 0, process.said()
    assert {r.json["customer_id"] for r in records(kafka.url, f"{tmp_path.name}-outcomes")} == {"c-9"}


def test_a_copy_that_sqlite_makes_of_one_that_runs_goes_on_elsewhere(tmp_path: Path) -> None:
    with Heardback(tmp_path / "here") as here:
        assert here.post(event("contact.opened", "T-1"))[0] == 202
        eventually(lambda: here.get("/contacts/T-1")[0] == 200, what="the contact is known")
        data = tmp_path / "there" / "data"
        data.mkdir(parents=True)
        for name in ("log.sqlite3", "facts.sqlite3"):
            with closing(sqlite3.connect(here.data / name)) as running, closing(sqlite3.connect(data / name)) as copy:
                running.backup(copy)
    with Heardback(tmp_path / "there") as there:
        assert there.get("/contacts/T-1")[0] == 200
        audited = command("audit", "--data", there.data, "--config", there.configuration)
        assert audited.returncode == 0, audited.stdout
