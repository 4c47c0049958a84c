"""What all receivers keep to, and what each is particular about."""

from __future__ import annotations

import asyncio
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

from alerting.app import faults
from alerting.notify import Notice
from alerting.owed import Pace
from alerting.posting import (
    RETRY_AFTER_SECONDS_MAX,
    PublicOnly,
    Rim,
    Sessions,
    private_address,
    seconds_to_wait,
    understood,
    wall,
)
from alerting.receivers import KINDS, Receiver, make
from alerting.receivers.console import line
from schemas.configuration import AlertsSpec, Configuration, ReceiverSpec
from tests.alerting.records import alerts_of, ended, overdue
from tests.alerting.worker import SECRET, verified, webhook
from tests.servers.process import free_ports
from tests.servers.receiver import Answer, Reset, Stall
from tests.servers.receiver import Receiver as Server

OVER_HTTP = ["alertmanager", "webhook"]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as receiver:
        yield receiver


@pytest.fixture
async def sessions() -> AsyncIterator[Sessions]:
    made = Sessions()
    yield made
    await made.close()


def receiver(kind: str, url: str, sessions: Sessions, **more: Any) -> Receiver:
    content = {"type": kind, "urls": [url], "timeout_seconds": 0.3, **more}
    if kind == "webhook":
        content["secret"] = SECRET
    return make(ReceiverSpec.model_validate(content), Rim(session=sessions, wall=wall))


def notice(number: int = 1) -> Notice:
    [record] = alerts_of(overdue(contact_id=f"T-{number}"))
    return Notice(record["alert_id"], number, record, f"msg_{number}")


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
    [answer] = await receiver(kind, server.url, sessions).deliver([notice()])
    server.always(Answer())
    assert (answer.result, answer.away) == (result, away)


@pytest.mark.parametrize("kind", OVER_HTTP)
async def test_nobody_at_the_address_has_certainly_not_taken_it(kind: str, sessions: Sessions) -> None:
    [port] = free_ports(1)
    [answer] = await receiver(kind, f"http://127.0.0.1:{port}", sessions).deliver([notice()])
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
    [answer] = await receiver(kind, f"http://127.0.0.1:{port}", sessions).deliver([notice()])
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
        [answer] = await receiver(kind, f"http://127.0.0.1:{port}", sessions).deliver([notice()])
    slow.close()
    assert answer.result == "unknown"


@pytest.mark.parametrize("kind", OVER_HTTP)
async def test_no_secret_and_no_address_is_shown(kind: str, server: Server, sessions: Sessions) -> None:
    server.always(Answer(status=400))
    url = server.url.replace("http://", "http://user:hunter2@") + "/token-abc"
    spec = ReceiverSpec.model_validate({"type": kind, "urls": [url], "secret": SECRET})
    made = make(spec, Rim(session=sessions, wall=wall))
    with structlog.testing.capture_logs() as logs:
        answers = await made.deliver([notice()])
    shown = f"{spec!r} {made!r} {answers!r} {logs!r} {faults(AlertsSpec(receivers=[spec]))!r}"
    assert "hunter2" not in shown
    assert "token-abc" not in shown
    assert SECRET not in shown


async def test_a_webhook_is_signed_over_its_id_time_and_body(server: Server, sessions: Sessions) -> None:
    await receiver("webhook", f"{server.url}/path?x=1", sessions).deliver([notice(1), notice(2)])
    first, second = sorted(server.requests, key=lambda request: str(request.headers["webhook-id"]))
    assert verified(first) == notice(1).record
    assert first.path == "/path?x=1"
    assert (first.headers["webhook-id"], second.headers["webhook-id"]) == ("msg_1", "msg_2")
    assert abs(int(first.headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 5
    assert first.headers["content-type"] == "application/json"


async def test_a_secret_may_lie_in_a_file(server: Server, sessions: Sessions, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n", encoding="utf-8")
    spec = {"type": "webhook", "urls": [server.url], "secret_file": str(tmp_path / "secret")}
    await make(ReceiverSpec.model_validate(spec), Rim(session=sessions, wall=wall)).deliver([notice()])
    assert verified(server.requests[0])["kind"] == "breach"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"type": "pager"}, "wanted one of alertmanager, console, webhook"),
        ({"type": "alertmanager"}, "found no urls"),
        ({"type": "webhook", "secret": SECRET}, "found 0 urls, wanted one"),
        ({"type": "webhook", "urls": ["http://a", "http://b"], "secret": SECRET}, "found 2 urls, wanted one"),
        ({"type": "webhook", "urls": ["http://a"]}, "found no secret"),
        ({"type": "webhook", "urls": ["http://a"], "secret": "not base64!"}, "not base64"),
        ({"type": "webhook", "urls": ["http://a"], "secret": "whsec_"}, "not base64"),
        ({"type": "webhook", "urls": ["http://a"], "secret_file": "/nowhere/at/all"}, "No such file"),
        ({"type": "webhook", "urls": ["http://10.1.2.3"], "secret": SECRET, "allow_private": False}, "private address"),
        ({"type": "alertmanager", "urls": ["http://[::1]:9093"], "allow_private": False}, "private address"),
        ({"type": "console", "urls": ["http://a"]}, "a console has none"),
    ],
)
def test_every_fault_of_a_receiver_is_found_before_anything_starts(spec: dict[str, Any], words: str) -> None:
    found = faults(AlertsSpec.model_validate({"receivers": [spec]}))
    assert len(found) == 1
    assert words in found[0]


def test_a_right_configuration_has_no_faults() -> None:
    receivers = [webhook("http://127.0.0.1:1"), {"type": "console"}, {"type": "alertmanager", "urls": ["http://am"]}]
    assert faults(Configuration.model_validate({"alerts": {"receivers": receivers}}).alerts) == []
    assert set(KINDS) == {"alertmanager", "console", "webhook"}


async def test_a_name_that_leads_into_a_private_network_is_not_found() -> None:
    with pytest.raises(OSError, match="no public address"):
        await PublicOnly().resolve("localhost", 80)


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://127.0.0.1:9093", True), ("http://localhost/x", True), ("http://192.168.0.7", True),
        ("http://169.254.169.254/latest", True), ("http://[fe80::1]/", True), ("http://93.184.216.34", False),
        ("https://hooks.example.com/x", False),
    ],
)  # fmt: skip
def test_private_addresses_are_known(url: str, private: bool) -> None:
    assert private_address(url) is private


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
