"""Notices and returned mails in the shapes that many mail systems write, each mail made up here."""

from __future__ import annotations

import base64

import pytest

from schemas.events import Bounced
from schemas.refusals import Reason
from streams.ingest.mail import Ours, Reading, read_mail

OURS = Ours(domains=frozenset({"desk.example"}))
DAEMON = {"From": "MAILER-DAEMON@relay.example"}
RETURNED = "Received: from a by b; Tue, 10 Nov 2026 10:00:00 +0000\nMessage-ID: <answer@desk.example>\n\nHello\n"
PACKED = base64.b64encode(RETURNED.encode()).decode()
DELIVERY = "report-type=delivery-status"


def read(text: str, **headers: str) -> Reading:
    """The reading of a mail to us; `Return_Path="<>"` sets Return-Path."""
    fields = {
        "To": "agent@desk.example",
        "Date": "Tue, 10 Nov 2026 10:02:00 +0000",
        "Message-ID": "<b1@relay.example>",
    } | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items())
    return read_mail(f"{head}\n{text}".encode(), origin="inbox", ours=OURS)


def mixed(*parts: str, kind: str = "mixed", **headers: str) -> Reading:
    """The reading of a mail of several parts, each with its own headers."""
    body = "".join(f"--b\n{part}\n" for part in parts) + "--b--\n"
    parameter = f"; {DELIVERY}" if kind == "report" else ""
    return read(body, Content_Type=f"multipart/{kind}{parameter}; boundary=b", **headers)


def only(reading: Reading) -> Bounced:
    (event,) = reading.events
    assert event.type == "message.bounced", reading
    return event.data


STATUS = "Content-Type: message/delivery-status\n"
FAILED = "Reporting-MTA: dns; relay.example\n\nFinal-Recipient: rfc822; ann@c.example\nAction: failed\nStatus: 5.1.1\n"


@pytest.mark.parametrize(
    "returned",
    [
        f"Content-Type: message/rfc822\n{RETURNED}",
        f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{PACKED}",
        f"Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\n{RETURNED}",
    ],
    ids=["no blank line before it", "in base64", "as it should be"],
)
def test_the_returned_mail_is_found_in_its_part(returned: str):
    bounced = only(mixed("\nIt failed.", f"{STATUS}\n{FAILED}", returned, kind="report", **DAEMON))
    assert (bounced.message_id, bounced.recipient) == ("answer@desk.example", "ann@c.example")


def test_what_was_left_out_may_stand_before_the_returned_headers():
    text = (
        "This mail could not be delivered:\n\n  ann@c.example\n    550 no\n\n"
        "------ This is a copy of the message, with all its headers ------\n"
        "------ It is 5384741 characters long; only the first\n------ 106496 are here.\n\n"
        "From: agent@desk.example\nTo: Ann <ann@c.example>\nMessage-ID: <answer@desk.example>\n\nHello\n"
    )
    assert only(read(text, **DAEMON)).message_id == "answer@desk.example"


def test_a_report_in_base64_is_read():
    packed = base64.b64encode(FAILED.encode()).decode()
    bounced = only(mixed("\nNo.", f"{STATUS}Content-Transfer-Encoding: base64\n\n{packed}", kind="report", **DAEMON))
    assert (bounced.recipient, bounced.status) == ("ann@c.example", "5.1.1")


def test_broken_base64_is_a_report_without_recipients():
    reading = mixed("\nNo.", f"{STATUS}Content-Transfer-Encoding: base64\n\nA", kind="report", **DAEMON)
    assert [refusal.reason for refusal in reading.refusals] == [Reason.BROKEN_MAIL]


def test_an_address_type_written_twice_is_no_part_of_the_address():
    twice = FAILED.replace("rfc822; ann", "rfc822; rfc822;ann")
    assert only(mixed("\nNo.", f"{STATUS}\n{twice}", kind="report", **DAEMON)).recipient == "ann@c.example"
