"""What all receivers keep to, and what each is particular about."""

from __future__ import annotations

import asyncio
import base64
import io
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from alerting.app import faults
from alerting.notify import Notice
from alerting.outbound import PublicOnly, private_host
from alerting.owed import Pace
from alerting.posting import RETRY_AFTER_SECONDS_MAX, Rim, Sessions, seconds_to_wait, understood, wall
from alerting.receivers import KINDS, Receiver, make
from alerting.receivers.console import line
from schemas.configuration import AlertsSpec, Configuration, ReceiverSpec
from tests.alerting.people import customer_notice
from tests.alerting.records import DUE, alerts_of, at_risk, ended, escalated, overdue
from tests.alerting.worker import SECRET, verified, webhook
from tests.servers.process import free_ports
from tests.servers.receiver import Answer, Reset, Stall
from tests.servers.receiver import Receiver as Server

OVER_HTTP = ["alertmanager", "pagerduty", "slack", "webhook"]
FOR_PEOPLE = ["apprise", "email", "pagerduty", "slack"]
SECRETS = {"webhook": SECRET, "pagerduty": "R0uT1ngKeyOf32Characters00000000"}


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as receiver:
        yield receiver


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    made = Sessions()
    yield made
    await made.close()


def spec(kind: str, url: str, **more: Any) -> ReceiverSpec:
    content = {"type": kind, "urls": [url], "timeout_seconds": 0.3, **more}
    if kind in SECRETS:
        content["secret"] = SECRETS[kind]
    return ReceiverSpec.model_validate(content)


def receiver(kind: str, url: str, sessions: Sessions, **more: Any) -> Receiver:
    return make(spec(kind, url, **more), Rim(session=sessions, wall=wall))


def notice(kind: str = "webhook", number: int = 1) -> Notice:
    """What a receiver of this type is told: an alert, or a customer with one."""
    alerts = alerts_of(overdue(contact_id=f"T-{number}"))
    return (
        customer_notice(alerts)
        if kind in FOR_PEOPLE
        else Notice(alerts[0]["alert_id"], number, alerts[0], f"msg_{number}")
    )


BEHAVIOURS = [
    (Answer(status=200), "delivered", False),
    (Answer(status=204), "delivered", False),
    (Answer(status=301), "rejected", False),
    (Answer(status=307), "rejected", False),
    (Answer(status=400), "rejected", False),
    (Answer(status=403), "rejected", False),
    (Answer(status=408), "unknown", False),
    (Answer(status=429), "not_taken", True),
    (Answer(status=500), "not_taken", False),
    (Answer(status=502), "unknown", True),
    (Answer(status=503), "not_taken", True),
    (Answer(status=504), "unknown", True),
    (Stall(), "unknown", True),
    (Reset(), "unknown", True),
]


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize(("behaviour", "result", "away"), BEHAVIOURS, ids=str)
async def test_each_answer_says_whether_trying_again_helps(
    kind: str, behaviour: Any, result: str, away: bool, server: Server, sessions: Sessions
) -> None:
    server.always(behaviour)
    [answer] = await receiver(kind, server.url, sessions).deliver([notice(kind)])
    server.always(Answer())
    assert (answer.result, answer.away) == (result, away)


@pytest.mark.parametrize("kind", OVER_HTTP)
async def test_nobody_at_the_address_has_certainly_not_taken_it(kind: str, sessions: Sessions) -> None:
    [port] = free_ports(1)
    [answer] = await receiver(kind, f"http://127.0.0.1:{port}", sessions).deliver([notice(kind)])
    assert (answer.result, answer.away) == ("not_taken", True)


@pytest.mark.parametrize("kind", OVER_HTTP)
async def test_a_redirect_is_not_followed(kind: str, sessions: Sessions) -> None:
    asked: list[bytes] = []

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 307 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    moved = await asyncio.start_server(redirect, "127.0.0.1", 0)
    port = moved.sockets[0].getsockname()[1]
    [answer] = await receiver(kind, f"http://127.0.0.1:{port}", sessions).deliver([notice(kind)])
    moved.close()
    assert answer.result == "rejected"
    assert len(asked) == 1


@pytest.mark.parametrize("kind", OVER_HTTP)
async def test_an_answer_without_end_is_not_waited_for(kind: str, sessions: Sessions) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 200 OK\r\n")
        with socket.socket():  # until the sender has had enough
            while not writer.is_closing():
                writer.write(b"X-More: yes\r\n")
                await asyncio.sleep(0.05)

    slow = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = slow.sockets[0].getsockname()[1]
    async with asyncio.timeout(3):
        [answer] = await receiver(kind, f"http://127.0.0.1:{port}", sessions).deliver([notice(kind)])
    slow.close()
    assert answer.result == "unknown"


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize("status", [200, 400, 503])
async def test_no_secret_and_no_address_is_shown(kind: str, status: int, server: Server, sessions: Sessions) -> None:
    server.always(Answer(status=status, body=b"token-abc is wrong"))
    url = server.url.replace("http://", "http://user:hunter2@") + "/token-abc"
    described = spec(kind, url)
    made = make(described, Rim(session=sessions, wall=wall))
    with structlog.testing.capture_logs() as logs:
        answers = await made.deliver([notice(kind)])
    shown = f"{described!r} {made!r} {answers!r} {logs!r} {faults(AlertsSpec(receivers=[described]))!r}"
    for secret in ("hunter2", "token-abc", *SECRETS.values()):
        assert secret not in shown


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_faults_do_not_say_the_secret(kind: str) -> None:
    wrong = spec(kind, "http://10.1.2.3/token-abc", allow_private=False, to=["x"], host="h")
    found = faults(AlertsSpec(receivers=[wrong], outbound_hosts=["example.com"]))
    assert len(found) == 4, found
    for secret in ("token-abc", *SECRETS.values()):
        assert secret not in "".join(found)


@pytest.mark.parametrize("kind", OVER_HTTP)
async def test_a_name_that_leads_to_a_private_address_is_refused_when_connecting(
    kind: str, server: Server, sessions: Sessions
) -> None:
    named = server.url.replace("127.0.0.1", socket.gethostname())
    [answer] = await receiver(kind, named, sessions).deliver([notice(kind)])
    assert (answer.result, answer.away, server.requests) == ("not_taken", True, [])


@pytest.mark.parametrize("kind", OVER_HTTP)
def test_receivers_are_at_the_hosts_of_the_configuration_only(kind: str) -> None:
    def found(*hosts: str) -> list[str]:
        return faults(AlertsSpec(receivers=[spec(kind, "https://Pager.example.com/x")], outbound_hosts=list(hosts)))

    assert found("pager.example.com") == found("*.example.com") == found("other.net", "*.example.com") == []
    for hosts in ([], ["example.com"], ["other.net"], ["*.pager.example.com"], ["pager.example.com.net"]):
        assert ["outbound_hosts" in fault for fault in found(*hosts)] == [True]


HOSTILE = "<!channel> <https://evil.example|click> & \"'\x1b[31m\u202egnp.exe\n<script>alert(1)</script>"


def hostile_notice() -> Notice:
    [alert] = alerts_of(overdue())
    annotations = {**alert["annotations"], "url": "javascript:alert(1)", "explanation": HOSTILE}
    named = {"contact_id": HOSTILE, "customer_id": HOSTILE, "summary": HOSTILE, "annotations": annotations}
    return customer_notice([{**alert, **named}])


@pytest.mark.parametrize("kind", ["pagerduty", "slack"])
async def test_what_a_customer_wrote_stays_text(kind: str, server: Server, sessions: Sessions) -> None:
    await receiver(kind, server.url, sessions).deliver([hostile_notice()])
    body = server.requests[0].body.decode()
    assert "\\u001b" not in body
    assert "\u202e" not in body
    assert "javascript:" not in body
    if kind == "slack":
        assert "<!channel>" not in body
        assert "<https://evil" not in body
        assert "&lt;!channel&gt;" in body


@pytest.mark.parametrize("kind", ["pagerduty", "slack"])
@pytest.mark.parametrize("customers", [1, 60])
async def test_however_much_there_is_to_say_the_size_has_its_bound(
    kind: str, customers: int, server: Server, sessions: Sessions
) -> None:
    long = "&" * 5_000
    notices = [
        customer_notice(
            [
                {**alert, "summary": long, "annotations": {**alert["annotations"], "explanation": long * 20}}
                for contact in range(100 if customers == 1 else 25)
                for alert in alerts_of(overdue(contact_id=f"T-{contact}", customer_id=f"c-{number}"))
            ]
        )
        for number in range(1 if kind == "pagerduty" else customers)
    ]
    answers = await receiver(kind, server.url, sessions, timeout_seconds=20).deliver(notices)
    assert [answer.result for answer in answers] == ["delivered"] * len(notices)
    assert len(server.requests) == 1
    body = server.requests[0].json()
    if kind == "pagerduty":
        assert len(server.requests[0].body) <= 512 * 1024
        assert len(body["payload"]["summary"]) <= 1024
        return
    assert len(body["blocks"]) <= 50
    texts = [block["text"]["text"] for block in body["blocks"] if block["type"] == "section"]
    assert max(map(len, texts)) <= 3000
    assert len(body["blocks"][0]["text"]["text"]) <= 150
    shown = len([row for row in texts[0].split("\n") if row.startswith("•")])
    assert f"and {(100 if customers == 1 else 25) - shown} more" in texts[0], "what is not shown is counted"


async def test_pagerduty_is_told_of_one_incident_from_beginning_to_end(server: Server, sessions: Sessions) -> None:
    pager = receiver("pagerduty", server.url, sessions)
    first, second = alerts_of(overdue()), alerts_of(escalated(contact_id="T-2", outcome_id="o-2"))
    over = [alerts_of(overdue(), ended(2))[-1], alerts_of(escalated(contact_id="T-2"), ended(2, contact_id="T-2"))[-1]]
    await pager.deliver([customer_notice(first)])
    await pager.deliver([customer_notice([*first, *second])])
    await pager.deliver([customer_notice([*first, *second, *over])])
    one, two, three = [request.json() for request in server.requests]
    assert [event["event_action"] for event in (one, two, three)] == ["trigger", "trigger", "resolve"]
    assert len({event["dedup_key"] for event in (one, two, three)}) == 1
    assert {event["routing_key"] for event in (one, two, three)} == {SECRETS["pagerduty"]}
    assert (one["payload"]["severity"], two["payload"]["severity"]) == ("error", "critical")
    assert one["payload"]["source"] == "heardback"
    assert one["payload"]["timestamp"] == DUE
    assert "T-4711" in one["payload"]["summary"]
    assert [contact["contact"] for contact in two["payload"]["custom_details"]["contacts"]] == ["T-2", "T-4711"]
    assert {"href": "https://desk.example/4711", "text": "T-4711: contact"} in one["links"]
    assert any(link["text"] == "T-4711: runbook" for link in one["links"])
    assert set(three) == {"routing_key", "event_action", "dedup_key"}


async def test_slack_gets_one_message_for_all_that_is_due(server: Server, sessions: Sessions) -> None:
    waiting = customer_notice([*alerts_of(at_risk()), *alerts_of(escalated(contact_id="T-2", outcome_id="o-2"))])
    over = customer_notice(alerts_of(overdue(customer_id="c-9"), ended(2, customer_id="c-9")))
    await receiver("slack", server.url, sessions).deliver([over, waiting])
    [request] = server.requests
    body = request.json()
    assert body["blocks"][0]["text"]["text"] == "1 customer waits, 1 no longer"
    first, second = [block["text"]["text"] for block in body["blocks"][1:]]
    rows = first.split("\n")
    assert rows[0] == "*CRITICAL: customer c-17, 2 alerts*"
    assert rows[-2].startswith("• *CRITICAL* Nobody has helped yet: customer c-17 has waited")
    assert "<https://desk.example/4711|contact>" in rows[-2]
    assert rows[-1].startswith("• *warning* Customer c-17 has been waiting")
    assert second.startswith("*answered: customer c-9*")


async def test_the_address_of_a_slack_webhook_may_lie_in_a_file(
    server: Server, sessions: Sessions, tmp_path: Path
) -> None:
    (tmp_path / "hook").write_text(f"{server.url}/services/T0/B0/x\n", encoding="utf-8")
    content = {"type": "slack", "secret_file": str(tmp_path / "hook")}
    made = make(ReceiverSpec.model_validate(content), Rim(session=sessions, wall=wall))
    await made.deliver([notice("slack")])
    assert server.requests[0].path == "/services/T0/B0/x"


async def test_a_webhook_is_signed_over_its_id_time_and_body(server: Server, sessions: Sessions) -> None:
    await receiver("webhook", f"{server.url}/path?x=1", sessions).deliver([notice(), notice(number=2)])
    first, second = sorted(server.requests, key=lambda request: str(request.headers["webhook-id"]))
    assert verified(first) == notice().record
    assert first.path == "/path?x=1"
    assert (first.headers["webhook-id"], second.headers["webhook-id"]) == ("msg_1", "msg_2")
    assert abs(int(first.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 5
    assert first.headers["content-type"] == "application/json"


async def test_while_its_secret_is_replaced_a_webhook_is_signed_by_both(
    server: Server, sessions: Sessions, tmp_path: Path
) -> None:
    new = "whsec_" + base64.b64encode(b"another one, of another day").decode()
    (tmp_path / "secret").write_text(f"{SECRET}\n{new}\n", encoding="utf-8")
    content = {"type": "webhook", "urls": [server.url], "secret_file": str(tmp_path / "secret")}
    await make(ReceiverSpec.model_validate(content), Rim(session=sessions, wall=wall)).deliver([notice()])
    [request] = server.requests
    for known in (SECRET, new):
        assert Webhook(known).verify(request.body, dict(request.headers)) == notice().record
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"a third one").decode()).verify(request.body, dict(request.headers))


async def test_a_secret_may_lie_in_a_file(server: Server, sessions: Sessions, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n", encoding="utf-8")
    content = {"type": "webhook", "urls": [server.url], "secret_file": str(tmp_path / "secret")}
    await make(ReceiverSpec.model_validate(content), Rim(session=sessions, wall=wall)).deliver([notice()])
    assert verified(server.requests[0])["kind"] == "breach"


MAIL = {"type": "email", "host": "mail.example.com", "sender": "h@b.example", "to": "a@b.example"}


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({"type": "pager"}, "wanted one of alertmanager, apprise, console, email, pagerduty, slack, webhook"),
        ({"type": "alertmanager"}, "found no urls"),
        ({"type": "webhook", "secret": SECRET}, "found 0 urls, wanted one"),
        ({"type": "webhook", "urls": ["http://a", "http://b"], "secret": SECRET}, "found 2 urls, wanted one"),
        ({"type": "webhook", "urls": ["http://a"]}, "found no secret"),
        ({"type": "webhook", "urls": ["http://a"], "secret": "not base64!"}, "not base64"),
        ({"type": "webhook", "urls": ["http://a"], "secret": "whsec_"}, "not base64"),
        ({"type": "webhook", "urls": ["http://a"], "secret": "b25l\ndHdv"}, "found a secret of several lines"),
        ({"type": "webhook", "urls": ["http://a"], "secret": f"{SECRET}\nwhsec_?"}, "not base64"),
        ({"type": "webhook", "urls": ["http://a"], "secret_file": "/nowhere/at/all"}, "No such file"),
        ({"type": "webhook", "urls": ["http://10.1.2.3"], "secret": SECRET, "allow_private": False}, "private address"),
        ({"type": "alertmanager", "urls": ["http://[::1]:9093"], "allow_private": False}, "private address"),
        ({"type": "pagerduty"}, "found no secret, wanted secret or secret_file: the routing key"),
        ({"type": "pagerduty", "secret": "k", "urls": ["http://a", "http://b"]}, "found 2 urls, wanted one at most"),
        ({"type": "pagerduty", "secret": "k", "secret_file": "/x"}, "found secret and secret_file"),
        ({"type": "slack"}, "found 0 addresses, wanted the webhook's"),
        ({"type": "slack", "urls": ["http://a"], "secret": "http://b"}, "found 2 addresses"),
        ({"type": "slack", "secret": "xoxb-not-an-address"}, "found a webhook of another kind"),
        ({"type": "slack", "urls": ["http://"]}, "found an address without a host"),
        ({"type": "console", "digest_every": "5s"}, "found digest_every, of which console has no use"),
        ({"type": "email", "to": "a@b.example", "sender": "h@b.example"}, "found no host"),
        ({**MAIL, "to": []}, "found nobody in to"),
        ({**MAIL, "to": ["a@b.example\nBcc: x@y.example"]}, "wanted an address such as"),
        ({**MAIL, "to": ["nobody"]}, "wanted an address such as"),
        ({**MAIL, "sender": None}, "found no sender"),
        ({**MAIL, "user": "u"}, "found a user or a secret without the other"),
        ({**MAIL, "user": "u", "secret": "p", "tls": "none"}, "found a secret and tls: none"),
        ({**MAIL, "ca_file": "/nowhere.pem"}, "ca_file /nowhere.pem: No such file"),
        ({**MAIL, "host": "10.0.0.1", "allow_private": False}, "private address"),
        ({**MAIL, "urls": ["http://a"]}, "found urls, of which email has no use"),
        ({"type": "apprise"}, "found 0 addresses, wanted one"),
        ({"type": "apprise", "urls": ["nonsense://x"]}, "found an address that apprise does not know"),
        ({"type": "apprise", "urls": ["json://a"], "allow_private": False}, "to which apprise cannot be held"),
        ({"type": "console", "urls": ["http://a"]}, "found urls, of which console has no use"),
    ],
)
def test_every_fault_of_a_receiver_is_found_before_anything_starts(described: dict[str, Any], words: str) -> None:
    found = faults(AlertsSpec.model_validate({"receivers": [described]}))
    assert len(found) == 1, found
    assert words in found[0]


def test_a_right_configuration_has_no_faults() -> None:
    receivers = [webhook("http://127.0.0.1:1"), {"type": "console"}, {"type": "alertmanager", "urls": ["http://am"]}]
    assert faults(Configuration.model_validate({"alerts": {"receivers": receivers}}).alerts) == []
    assert set(KINDS) == {"alertmanager", "apprise", "console", "email", "pagerduty", "slack", "webhook"}


async def test_a_name_that_leads_into_a_private_network_is_not_found() -> None:
    with pytest.raises(OSError, match="no public address"):
        await PublicOnly().resolve("localhost", 80)


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True), ("localhost", True), ("192.168.0.7", True), ("169.254.169.254", True), ("fe80::1", True),
        ("::ffff:10.0.0.1", True), ("2002:a00:1::", True), ("224.0.0.1", True), ("93.184.216.34", False),
        ("2606:2800:220:1:248:1893:25c8:1946", False), ("hooks.example.com", False),
    ],
)  # fmt: skip
def test_private_addresses_are_known(host: str, private: bool) -> None:
    assert private_host(host) is private


def test_retry_after_is_seconds_or_a_date_and_has_a_bound() -> None:
    assert seconds_to_wait("7") == 7
    assert seconds_to_wait("-7") == 0
    assert seconds_to_wait("999999") == RETRY_AFTER_SECONDS_MAX
    later = seconds_to_wait(format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True))
    assert later is not None
    assert 25 < later <= 30
    assert [seconds_to_wait(text) for text in (None, "soon", "", "nan")] == [None] * 4
    assert understood(503, "3").retry_after_seconds == 3


def test_waiting_doubles_up_to_a_bound_and_is_spread() -> None:
    pace = Pace(first_seconds=1, most_seconds=10)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (1000, 10)):
        waits = {pace.after(failures) for _ in range(50)}
        assert longest / 2 <= min(waits) <= max(waits) <= longest
        assert len(waits) > 1


async def test_the_console_prints_a_line_that_cannot_be_forged(sessions: Sessions) -> None:
    [fired, end] = alerts_of(overdue(), ended(2))
    fired["summary"] += "\n\x1b[31mPAGE all is well"
    printed = io.StringIO()
    with redirect_stdout(printed):
        console = make(ReceiverSpec.model_validate({"type": "console"}), Rim(session=sessions, wall=wall))
        await console.deliver([Notice("a", 1, fired, "k"), Notice("a", 2, end, "k")])
    lines = printed.getvalue().split("\n")
    assert len(lines) == 3
    assert "\x1b" not in lines[0]
    assert lines[0].startswith("2026-11-10T10:00:00Z PAGE breach: Customer c-17 has waited 1 h for a first response")
    assert lines[1].startswith("2026-11-10T12:00:00Z answered breach: The wait is over, at Tue 2026-11-10 12:00 UTC")
    assert line(Notice("a", 1, fired, "k")) == lines[0]
