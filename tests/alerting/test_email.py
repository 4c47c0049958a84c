"""E-mails about customers who wait: over TLS and signed in, threaded, readable, and tried again where it helps."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from alerting.notify import Notice
from alerting.posting import Rim, Sessions, wall
from alerting.receivers import Receiver, make
from schemas.configuration import ReceiverSpec
from tests.alerting.people import customer_notice
from tests.alerting.records import alerts_of, ended, escalated, overdue
from tests.alerting.worker import alerts_spec, quiet, worker
from tests.servers.mail import MailServer
from tests.servers.process import free_ports

PASSWORD = "hunter2-of-the-mail-server"
HOSTILE = 'Re: <img src=x onerror=alert(1)> & "q" {{ 7*7 }} \x1b[31m\r\nBcc: everybody@example.com'


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mail")


@pytest.fixture
def server(folder: Path) -> Iterator[MailServer]:
    with MailServer(folder, user="heardback", password=PASSWORD) as made:
        yield made


def content(server: MailServer, **more: Any) -> dict[str, Any]:
    return {
        "type": "email", "host": server.host, "port": server.port, "sender": "heardback@service.example",
        "to": ["ann@service.example", "ben@service.example"], "user": "heardback", "secret": PASSWORD,
        "ca_file": str(server.certificate), "timeout_seconds": 2, "digest_every": "1s", **more,
    }  # fmt: skip


def email(server: MailServer, **more: Any) -> Receiver:
    settings = {name: value for name, value in content(server, **more).items() if value is not None}
    return make(ReceiverSpec.model_validate(settings), Rim(session=Sessions(), wall=wall))


def notice(customer: str = "c-17", *alerts: dict[str, Any]) -> Notice:
    return customer_notice(alerts or alerts_of(overdue(customer_id=customer)))


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content())


async def test_a_mail_goes_over_starttls_signed_in_to_everybody(server: MailServer) -> None:
    [answer] = await email(server).deliver([notice()])
    assert answer.result == "delivered"
    [mail] = server.mails
    assert (mail.sender, mail.encrypted, mail.user) == ("heardback@service.example", True, "heardback")
    assert mail.recipients == ("ann@service.example", "ben@service.example")
    assert mail.content["Subject"] == "heardback: customer c-17"
    assert mail.content["Auto-Submitted"] == "auto-generated"
    assert mail.content["Importance"] == "high"
    for kind in ("plain", "html"):
        text = text_of(mail.content, kind)
        for said in ("PAGE: customer c-17", "has waited 1 h", "https://desk.example/4711", "runbooks.example/breach"):
            assert said in text


async def test_the_mails_of_a_customer_are_one_thread_and_each_is_itself_at_every_try(server: MailServer) -> None:
    first, second = alerts_of(overdue())[0], alerts_of(escalated(contact_id="T-2", outcome_id="o-2"))[0]
    over = alerts_of(overdue(), ended(2))[-1]
    told = [notice("", first), notice("", first, second), notice("", first, second, over)]
    for one in (*told, told[0]):
        await email(server).deliver([one])
    mails = [mail.content for mail in server.mails]
    assert len({mail["References"] for mail in mails}) == len({mail["In-Reply-To"] for mail in mails}) == 1
    assert len({mail["Subject"] for mail in mails}) == 1
    assert len({mail["Message-ID"] for mail in mails}) == 3
    assert mails[0]["Message-ID"] == mails[3]["Message-ID"]
    assert mails[0]["Message-ID"].endswith("@service.example>")
    assert "answered" in text_of(mails[2])
    other = notice("c-2")
    await email(server).deliver([other])
    assert server.mails[-1].content["References"] != mails[0]["References"]


async def test_what_a_customer_wrote_is_text_and_no_header(server: MailServer) -> None:
    [alert] = alerts_of(overdue())
    annotations = {**alert["annotations"], "url": "javascript:alert(1)", "explanation": HOSTILE}
    named = {"contact_id": HOSTILE, "customer_id": HOSTILE, "summary": HOSTILE, "annotations": annotations}
    [answer] = await email(server).deliver([notice("", {**alert, **named})])
    assert answer.result == "delivered"
    [mail] = server.mails
    assert mail.content["Bcc"] is None
    assert mail.recipients == ("ann@service.example", "ben@service.example")
    html = text_of(mail.content, "html")
    assert "<img" not in html
    assert "&lt;img src=x" in html
    assert "javascript:" not in html + text_of(mail.content)
    assert "\x1b" not in html + text_of(mail.content)
    assert "{{ 7*7 }}" in text_of(mail.content)


async def test_many_customers_at_once_are_one_mail(server: MailServer) -> None:
    notices = [notice(f"c-{number}") for number in range(200)]
    answers = await email(server, timeout_seconds=20).deliver(notices)
    assert [answer.result for answer in answers] == ["delivered"] * 200
    [mail] = server.mails
    assert mail.content["Subject"] == "heardback: 200 customers wait"
    assert "and 150 more customers" in text_of(mail.content)
    server.mails.clear()
    await email(server).deliver(notices[:3])
    assert len(server.mails) == 3


@pytest.mark.parametrize("customers", [1, 60])
async def test_however_much_there_is_to_say_a_mail_has_its_bound(server: MailServer, customers: int) -> None:
    long = "& <b> " * 1_000
    notices = [
        notice(
            "",
            *[
                {**alert, "summary": long, "annotations": {**alert["annotations"], "explanation": long}}
                for contact in range(30)
                for alert in alerts_of(overdue(contact_id=f"T-{contact}", customer_id=f"c-{number}"))
            ],
        )
        for number in range(customers)
    ]
    answers = await email(server, timeout_seconds=30).deliver(notices)
    assert {answer.result for answer in answers} == {"delivered"}
    [mail] = server.mails
    assert len(mail.content.as_bytes()) < 2_000_000
    assert "and 10 more" in text_of(mail.content) if customers == 1 else "and 25 more" in text_of(mail.content)


ANSWERS = [
    ("250 taken", "delivered", False),
    ("421 closing", "not_taken", True),
    ("451 try later", "not_taken", False),
    ("452 full", "not_taken", False),
    ("550 no", "rejected", False),
    ("554 spam", "rejected", False),
]


@pytest.mark.parametrize(("said", "result", "away"), ANSWERS)
async def test_each_answer_says_whether_trying_again_helps(
    server: MailServer, said: str, result: str, away: bool
) -> None:
    server.answers.append(said)
    [answer] = await email(server).deliver([notice()])
    assert (answer.result, answer.away) == (result, away)


async def test_one_mail_that_is_refused_does_not_hold_up_the_next(server: MailServer) -> None:
    server.answers.append("554 spam")
    answers = await email(server).deliver([notice("c-1"), notice("c-2")])
    assert [answer.result for answer in answers] == ["rejected", "delivered"]


async def test_a_recipient_that_is_refused_does_not_keep_it_from_the_others(server: MailServer) -> None:
    server.refused = {"ben@service.example"}
    [answer] = await email(server).deliver([notice()])
    assert (answer.result, answer.detail) == ("delivered", "refused for 1 of 2")
    server.refused |= {"ann@service.example"}
    [answer] = await email(server).deliver([notice()])
    assert answer.result == "rejected"


@pytest.mark.parametrize(
    ("wrong", "result"),
    [({"secret": "wrong"}, "rejected"), ({"ca_file": None}, "not_taken"), ({"tls": "tls"}, "not_taken")],
    ids=["a wrong password", "a certificate of nobody known", "another kind of encryption"],
)
async def test_nothing_is_sent_where_the_server_is_not_who_it_should_be_or_we_are_not(
    server: MailServer, wrong: dict[str, Any], result: str
) -> None:
    [answer] = await email(server, **wrong).deliver([notice()])
    assert answer.result == result
    assert server.mails == []


async def test_a_password_never_goes_in_clear_even_where_the_server_offers_no_encryption(folder: Path) -> None:
    with MailServer() as plain:
        [answer] = await email(plain, ca_file=None).deliver([notice()])
        assert (answer.result, answer.away, plain.mails) == ("not_taken", True, [])


async def test_a_server_in_the_same_house_may_do_without_encryption() -> None:
    with MailServer() as plain:
        [answer] = await email(plain, tls="none", user=None, secret=None, ca_file=None).deliver([notice()])
        assert answer.result == "delivered"
        assert not plain.mails[0].encrypted


async def test_nobody_there_and_nobody_who_answers_are_away(folder: Path, server: MailServer) -> None:
    server.stop()
    [answer] = await email(server).deliver([notice()])
    assert (answer.result, answer.away) == ("not_taken", True)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    [port] = free_ports(1)
    quiet_one = await asyncio.start_server(silent, "127.0.0.1", port)
    async with asyncio.timeout(10):
        answers = await email(server, port=port, timeout_seconds=0.3).deliver([notice("c-1"), notice("c-2")])
    quiet_one.close()
    assert [(answer.result, answer.away) for answer in answers] == [("not_taken", True)] * 2


async def test_a_connection_that_breaks_at_the_end_of_a_mail_may_have_brought_it() -> None:
    async def breaking(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        while line := (await reader.readline()).upper():
            if line.startswith(b"DATA"):
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                break
            writer.write(b"250 fine\r\n")
        writer.close()

    broken = await asyncio.start_server(breaking, "127.0.0.1", 0)
    port = broken.sockets[0].getsockname()[1]
    settings = {"type": "email", "host": "127.0.0.1", "port": port, "tls": "none", "sender": "h@service.example",
                "to": ["ann@service.example"], "timeout_seconds": 2}  # fmt: skip
    made = make(ReceiverSpec.model_validate(settings), Rim(session=Sessions(), wall=wall))
    answers = await made.deliver([notice("c-1"), notice("c-2")])
    broken.close()
    assert [(answer.result, answer.away) for answer in answers] == [("unknown", True), ("not_taken", True)]


async def test_a_host_by_name_that_leads_into_a_private_network_is_refused(server: MailServer) -> None:
    [answer] = await email(server, host=socket.gethostname()).deliver([notice()])
    assert (answer.result, answer.detail) == ("not_taken", "not reachable: OSError")
    assert server.mails == []


async def test_the_password_is_shown_nowhere(server: MailServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    made = email(server, secret="wrong-" + PASSWORD)
    answers = await made.deliver([notice()])
    spec = ReceiverSpec.model_validate(content(server))
    assert PASSWORD not in f"{made!r} {vars(made)!r} {answers!r} {spec!r} {caplog.text}"


async def test_a_customer_who_waits_is_mailed_and_the_end_too_whatever_happens_meanwhile(
    server: MailServer, tmp_path: Path
) -> None:
    server.answers.extend(["451 try later", "421 closing"])
    async with worker(f"sqlite:///{tmp_path}/log.sqlite3", alerts_spec(content(server))) as found:
        await found.publish(overdue(), overdue(contact_id="T-2", outcome_id="o-2"))
        await quiet(found)
        server.stop()
        await found.publish(ended(2))
        await asyncio.sleep(0.5)
        server.start()
        await quiet(found)
        await found.publish(ended(2, contact_id="T-2", outcome_id="o-2"))
        await quiet(found)
    titles = [text_of(mail.content).splitlines()[0] for mail in server.mails]
    assert titles == ["PAGE: customer c-17, 2 alerts", "PAGE: customer c-17", "answered: customer c-17"]
    assert len({mail.content["References"] for mail in server.mails}) == 1
