"""Ordinary mails: threads, answers, automatic mails, dates, and whose mail bounced (C4, C6, C13, C14, C18)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from schemas.events import EVENT, ContactOpened, MessageBounced, MessageReceived, MessageSent, to_json
from schemas.refusals import Reason
from streams.ingest.mail import Ours, Reading, read_mail

OURS = Ours(domains=frozenset({"desk.example"}), addresses=frozenset({"shop@mall.example"}))
RECEIVED = "from mx by desk.example; Tue, 10 Nov 2026 10:02:05 +0000"


def mail(body: str = "Hello", **headers: str) -> bytes:
    """A mail of a customer to us; `in_reply_to="<a@b>"` sets In-Reply-To."""
    fields = {
        "received": RECEIVED,
        "date": "Tue, 10 Nov 2026 10:02:00 +0000",
        "message_id": "<second@customer.example>",
        "from": "Ann <Ann@Customer.example>",
        "to": "support@desk.example",
        "subject": "Help",
    } | headers
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in fields.items() if value]
    return ("\n".join(lines) + f"\n\n{body}\n").encode()


def read(raw: bytes, ours: Ours = OURS) -> Reading:
    return read_mail(raw, origin="inbox#1", ours=ours)


def only(raw: bytes, ours: Ours = OURS):
    reading = read(raw, ours)
    assert not reading.refusals
    (event,) = reading.events
    assert EVENT.validate_json(to_json(event)) == event
    return event


def refusal(raw: bytes) -> Reason:
    reading = read(raw)
    assert not reading.events
    assert reading.refusals[0].detail.startswith("inbox#1: ")
    return reading.refusals[0].reason


def test_a_customers_first_mail_opens_a_contact():
    event = only(mail(subject="=?utf-8?B?UMOkY2tjaGVu?= is missing"))
    assert isinstance(event, ContactOpened)
    assert (event.subject, event.id, event.source) == (
        "mail:second@customer.example",
        "second@customer.example",
        "/mail",
    )
    assert event.time == datetime(2026, 11, 10, 10, 2, tzinfo=UTC)
    assert (event.data.opened_by, event.data.channel) == ("customer", "email")
    assert (event.data.sender, event.data.summary) == ("ann@customer.example", "Päckchen is missing")


def test_a_later_mail_belongs_to_the_thread_of_the_first_reference():
    event = only(mail(references="<first@customer.example>\n <reply@desk.example>", in_reply_to="<reply@desk.example>"))
    assert isinstance(event, MessageReceived)
    assert event.subject == "mail:first@customer.example"
    assert (event.data.message_id, event.data.automated) == ("second@customer.example", False)


def test_without_references_the_thread_is_that_of_in_reply_to():
    assert only(mail(in_reply_to="<first@customer.example>")).subject == "mail:first@customer.example"


def test_our_answer_is_public_and_names_whom_it_is_for():
    answer = {"from": "Agent <agent@desk.example>", "to": "boss@desk.example, Ann <ANN@customer.example>"}
    event = only(mail(in_reply_to="<first@customer.example>", **answer))
    assert isinstance(event, MessageSent)
    assert (event.data.public, event.data.automated) == (True, False)
    assert (event.subject, event.data.recipient) == ("mail:first@customer.example", "ann@customer.example")


@pytest.mark.parametrize("sender", ["shop@mall.example", "agent@eu.desk.example"])
def test_single_addresses_and_subdomains_are_ours_too(sender: str):
    answer = {"from": sender, "to": "ann@customer.example", "in_reply_to": "<first@customer.example>"}
    assert isinstance(only(mail(**answer)), MessageSent)


@pytest.mark.parametrize("sender", ["other@mall.example", "agent@notdesk.example"])
def test_what_only_looks_like_ours_is_a_customers(sender: str):
    assert isinstance(only(mail(**{"from": sender})), ContactOpened)


def test_a_mail_in_a_thread_among_ourselves_is_an_internal_note():
    event = only(mail(in_reply_to="<first@customer.example>", **{"from": "a@desk.example", "to": "b@desk.example"}))
    assert isinstance(event, MessageSent)
    assert not event.data.public


def test_a_mail_among_ourselves_without_a_thread_is_nobodys():
    assert refusal(mail(**{"from": "a@desk.example", "to": "b@desk.example"})) is Reason.NO_CUSTOMER


def test_our_first_mail_opens_a_contact_with_the_customer_and_is_our_message():
    opened, sent = read(mail(**{"from": "agent@desk.example", "to": "ann@customer.example"})).events
    assert isinstance(opened, ContactOpened)
    assert isinstance(sent, MessageSent)
    assert (opened.data.opened_by, opened.data.recipient) == ("agent", "ann@customer.example")
    assert (sent.data.recipient, sent.data.public, sent.subject) == ("ann@customer.example", True, opened.subject)
    assert opened.id != sent.id


@pytest.mark.parametrize(
    "headers",
    [
        {"auto_submitted": "auto-replied (vacation)"},
        {"auto_submitted": "auto-generated; x=y"},
        {"precedence": "Bulk"},
        {"precedence": "auto_reply"},
        {"x_auto_response_suppress": "DR, OOF, AutoReply"},
        {"x_autoreply": "yes"},
        {"x_autorespond": "x"},
        {"return_path": "<>"},
        {"from": "Mailer <MAILER-DAEMON@relay.example>"},
        {"list_id": "<news.customer.example>"},
        {"list_unsubscribe": "<mailto:off@customer.example>"},
        {"subject": "Out of office: Re: Help", "in_reply_to": "<first@customer.example>"},
        {"content_type": "multipart/report; report-type=disposition-notification; boundary=x"},
        {"subject": "Automatic reply: Help"},
        {"subject": "Out of Office AutoReply: Help"},
        {"subject": "AUTO: Ann Example is out of the office. (returning 2 January)"},
        {"subject": "Abwesenheitsnotiz: Hilfe"},
        {"subject": "=?utf-8?Q?R=C3=A9ponse_automatique?= : Aide"},
        {"subject": "=?utf-8?Q?Automatick=C3=A1_odpov=C4=9B=C4=8F?=: Help"},
        {"subject": "Report domain: desk.example Submitter: big.example Report-ID: <1>"},
        {"x_beenthere": "list@customer.example"},
        {"x_bluebottle_request": "<1234>"},
    ],
)
def test_a_customers_automatic_mail_opens_nothing(headers: dict[str, str]):
    event = only(mail(**headers))
    assert isinstance(event, MessageReceived)
    assert event.data.automated


@pytest.mark.parametrize(
    "headers",
    [
        {"auto_submitted": "no"},
        {"auto_submitted": "No", "precedence": "bulk"},
        {"subject": "Out of office chairs"},
        {"subject": "Automatic reply stops working"},
        {"subject": "Auto: which one is out of stock?"},
        {"subject": "Report domain expiry"},
        {"subject": "Re: Automatic reply: Help", "in_reply_to": "<first@desk.example>"},
        {"return_path": "<ann@customer.example>"},
        {"x_auto_response_suppress": "RN, NRN"},
    ],
)
def test_a_persons_mail_is_not_automatic(headers: dict[str, str]):
    event = only(mail(**headers))
    assert isinstance(event, ContactOpened) or not event.data.automated


def test_our_automatic_reply_is_marked():
    reply = {"from": "support@desk.example", "to": "ann@customer.example", "auto_submitted": "auto-replied"}
    assert only(mail(in_reply_to="<first@customer.example>", **reply)).data.automated
    assert only(mail(**reply)).type == "message.sent"


@pytest.mark.parametrize(
    ("date", "time"),
    [
        ("Tue, 10 Nov 2026 05:02:00 -0500 (EST)", "2026-11-10T10:02:00+00:00"),
        ("10 Nov 2026 10:02:00 -0000", "2026-11-10T10:02:00+00:00"),
        ("Tue, 10 Nov 2026 10:02:00 GMT", "2026-11-10T10:02:00+00:00"),
        ("Wed, 1 Jul 2026 10:00:00 +0100", "2026-07-01T09:00:00+00:00"),
        ("", "2026-11-10T10:02:05+00:00"),
        ("Tue, 10 Nov 2026 10:02:00", "2026-11-10T10:02:05+00:00"),
        ("Tue, 10 Nov 2026 10:02:00 JST", "2026-11-10T10:02:05+00:00"),
        ("Thu, 1 Jan 1970 00:00:00 +0000", "2026-11-10T10:02:05+00:00"),
        ("Tue, 10 Nov 9999 10:02:00 +0000", "2026-11-10T10:02:05+00:00"),
        ("Tue, 10 Nov 2026 10:07:06 +0000", "2026-11-10T10:02:05+00:00"),
        ("Tue, 10 Nov 2026 10:07:05 +0000", "2026-11-10T10:07:05+00:00"),
        ("yesterday", "2026-11-10T10:02:05+00:00"),
    ],
)
def test_the_time_is_the_date_unless_the_receiving_server_knows_better(date: str, time: str):
    assert only(mail(date=date)).time.isoformat() == time


@pytest.mark.parametrize(
    ("date", "reason"),
    [
        ("", Reason.NAIVE_INSTANT),
        ("Tue, 10 Nov 2026 10:02:00", Reason.NAIVE_INSTANT),
        ("Thu, 1 Jan 1970 00:00:00 +0000", Reason.ABSURD_INSTANT),
    ],
)
def test_a_mail_without_any_instant_is_refused(date: str, reason: Reason):
    assert refusal(mail(date=date, received="")) is reason


def test_a_mail_without_message_id_is_known_by_its_bytes():
    event = only(mail(message_id=""))
    assert event.id.startswith("sha256:")
    assert event == only(mail(message_id=""))
    assert event.id != only(mail(message_id="", body="Other words")).id


def test_a_message_id_beyond_the_limit_becomes_its_digest():
    event = only(mail(message_id=f"<{'x' * 800}@customer.example>"))
    assert event.subject.startswith("mail:sha256:")


def test_a_mail_without_sender_is_refused():
    assert refusal(mail(**{"from": "undisclosed"})) is Reason.BROKEN_MAIL


def test_a_customer_who_writes_that_something_was_not_delivered_sends_no_bounce():
    words = "My parcel was not delivered to:\nann@customer.example\nDelivery failed twice."
    assert isinstance(only(mail(words, subject="Delivery problem: undelivered parcel")), ContactOpened)
    away = {"return_path": "<>", "subject": "Automatic reply: Help"}
    assert only(mail("Your mail will not be delivered to\nbob@customer.example", **away)).data.automated


BOUNCE = """This is the mail system.

<{recipient}>: host mx said: 550 5.1.1 no such user

------ This is a copy of the message, including all the headers. ------
Return-Path: <{sender}>
Message-ID: <lost@mail.example>
{thread}From: {sender}
To: {recipient}
Subject: Hello

Words
"""


def bounce(sender: str, recipient: str, to: str, thread: str = "") -> bytes:
    daemon = {"from": "MAILER-DAEMON@relay.example", "return_path": "<>", "to": to, "message_id": "<b1@relay.example>"}
    return mail(BOUNCE.format(sender=sender, recipient=recipient, thread=thread), **daemon)


def test_a_bounce_of_our_answer_is_outbound_in_the_thread_of_that_answer():
    event = only(
        bounce("agent@desk.example", "ann@customer.example", "agent@desk.example", "References: <first@c.example>\n")
    )
    assert isinstance(event, MessageBounced)
    assert (event.id, event.subject) == ("b1@relay.example#1", "mail:first@c.example")
    assert (event.data.direction, event.data.permanent, event.data.status) == ("outbound", True, "5.1.1")
    assert (event.data.message_id, event.data.recipient) == ("lost@mail.example", "ann@customer.example")
    assert event.data.sender is None


def test_a_bounce_of_our_first_mail_is_in_the_contact_that_it_opened():
    event = only(bounce("agent@desk.example", "ann@customer.example", "agent@desk.example"))
    assert event.subject == "mail:lost@mail.example"


def test_a_bounce_of_a_customers_mail_to_us_is_inbound_and_names_the_customer():
    event = only(bounce("ann@customer.example", "sales@desk.example", "postmaster@desk.example"))
    assert (event.data.direction, event.data.sender) == ("inbound", "ann@customer.example")
    assert (event.data.recipient, event.subject) == ("sales@desk.example", "mail:lost@mail.example")


def test_with_nothing_known_to_be_ours_a_bounce_is_of_ours():
    event = only(bounce("ann@customer.example", "sales@desk.example", "ann@customer.example"), Ours())
    assert event.data.direction == "outbound"
