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
UNREADABLE = RETURNED.replace("Hello", base64.b64encode(b"Hello, all of you").decode())
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
        f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n{UNREADABLE}",
        f"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n{PACKED}",
        f"Content-Type: message/rfc822\nContent-Transfer-Encoding: 7bit\n\n{RETURNED}",
    ],
    ids=["no blank line before it", "nor in front of base64", "in base64", "as it should be"],
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


def test_a_report_without_recipients_is_completed_by_its_words():
    words = "\nThese did not receive your message:\n\n   <ann@c.example>\n   <bob@c.example>\n"
    reading = mixed(words, f"{STATUS}\nReporting-MTA: dns; relay.example\n", kind="report", **DAEMON)
    assert [event.data.recipient for event in reading.events] == ["ann@c.example", "bob@c.example"]
    assert not reading.refusals


def test_a_bounce_that_names_nobody_but_returns_the_mail_is_a_bounce_of_that_mail():
    reading = mixed(
        "\nYour mail cannot be delivered: box full",
        "Content-Type: message/rfc822\n\nTo: a@c.example, b@c.example\nMessage-ID: <answer@desk.example>\n\nHi",
        **DAEMON,
    )
    bounced = only(reading)
    assert (bounced.recipient, bounced.message_id) == (None, "answer@desk.example")


@pytest.mark.parametrize(
    "text",
    [
        "Not yet delivered after 24 hours to:\n\n  ann@c.example\n\nIf it remains undelivered we will give up.",
        "Delivery to <ann@c.example> has been postponed, as the mailbox is full.",
        "Die Nachricht konnte noch nicht zugestellt werden:\n<ann@c.example>: 451 4.4.1 keine Antwort",
        "Votre message n'a pas encore été remis à :\n<ann@c.example>: 451 4.4.1",
        "El mensaje aún no se ha entregado a:\n<ann@c.example>: 451 4.4.1",
        "Il messaggio non è ancora stato consegnato:\n<ann@c.example>: 451 4.4.1",
        "Het bericht is nog niet afgeleverd:\n<ann@c.example>: 451 4.4.1",
        "Сообщение ещё не доставлено:\n<ann@c.example>: 451 4.4.1",
    ],
)
def test_what_is_still_being_tried_is_transient_in_any_language_and_before_it_is_given_up(text: str):
    bounced = only(read(text, **DAEMON))
    assert (bounced.recipient, bounced.permanent, bounced.status[0]) == ("ann@c.example", False, "4")


@pytest.mark.parametrize("said", ["I give up.", "We are giving up on it.", "I've given up."])
def test_what_was_given_up_is_permanent_though_it_was_late(said: str):
    text = f"Your mail has been delayed. {said}\n\n<ann@c.example>:\nno answer"
    assert only(read(text, **DAEMON)).permanent


@pytest.mark.parametrize(
    "text",
    [
        "Niedostarczona wiadomość:\n<ann@c.example>: brak skrzynki",
        "Zprávu nebylo možné doručit, nedoručitelná adresa:\n<ann@c.example>",
        "Meddelandet kunde inte levereras till:\n<ann@c.example>",
        "İleti teslim edilemedi:\n<ann@c.example>",
        "메시지를 배달할 수 없습니다:\n<ann@c.example>",
        "Votre message n'a pas pu etre delivre a\nann@c.example",
    ],
)
def test_a_failure_is_told_in_other_languages(text: str):
    bounced = only(read(text, **DAEMON))
    assert (bounced.recipient, bounced.permanent) == ("ann@c.example", True)


def test_a_mailer_daemon_that_returns_a_mail_needs_no_words_that_we_know():
    returned = f"Content-Type: message/rfc822\n\n{RETURNED}"
    bounced = only(mixed("Content-Type: text/plain; charset=utf-8\n\nNo go\n\n<ann@c.example>:\n", returned, **DAEMON))
    assert (bounced.recipient, bounced.message_id) == ("ann@c.example", "answer@desk.example")


def test_a_postmaster_who_attaches_a_mail_is_a_customer():
    reading = mixed("\nPlease see below.", f"Content-Type: message/rfc822\n\n{RETURNED}", From="postmaster@c.example")
    assert [event.type for event in reading.events] == ["contact.opened"]


@pytest.mark.parametrize("subject", ["Re: Help", "My parcel"])
def test_a_postmaster_who_writes_of_a_delivery_is_a_customer(subject: str):
    thread = {"In-Reply-To": "<answer@desk.example>"} if subject.startswith("Re") else {}
    text = "The parcel could not be delivered to our address.\n\nAnn\n> Please write to bob@c.example"
    (event,) = read(text, From="Ann <postmaster@c.example>", Subject=subject, **thread).events
    assert event.type == ("message.received" if thread else "contact.opened")
    assert not getattr(event.data, "automated", False)


def test_a_receipt_in_words_is_no_bounce():
    words = "\n ----- The following addresses had successful delivery notifications -----\n<ann@c.example> (relayed)"
    reading = mixed(words, f"Content-Type: message/rfc822\n\n{RETURNED}", Return_Path="<>", **DAEMON)
    assert [(event.type, event.data.automated) for event in reading.events] == [("message.received", True)]


def receipt(words: str, fields: str, **headers: str) -> Reading:
    body = f"--b\n\n{words}\n--b\nContent-Type: message/disposition-notification\n\n{fields}\n--b--"
    kind = "multipart/report; report-type=disposition-notification; boundary=b"
    return read(body, Return_Path="<>", Content_Type=kind, **headers)


def test_a_mail_system_refuses_in_the_form_of_a_receipt():
    fields = (
        "Final-Recipient: rfc822; ann@c.example\nOriginal-Message-ID: <answer@desk.example>\nDisposition: x; deleted"
    )
    words = "Your message to <ann@c.example> was automatically rejected:\nQuota exceeded"
    bounced = only(receipt(words, fields, From="Mail Delivery Subsystem <admin@c.example>"))
    assert (bounced.recipient, bounced.message_id) == ("ann@c.example", "answer@desk.example")


@pytest.mark.parametrize("disposition", ["displayed", "deleted", "deleted/error"])
def test_a_receipt_by_the_recipient_is_no_bounce_whatever_he_did(disposition: str):
    fields = f"Final-Recipient: rfc822;ann@c.example\nDisposition: automatic-action/MDN-sent; {disposition}"
    reading = receipt("It could not be delivered to eyes: an error occurred.", fields, From="postmaster@c.example")
    assert [(event.type, event.data.automated) for event in reading.events] == [("message.received", True)]


@pytest.mark.parametrize(
    "sender",
    [
        "MDaemon@relay.example",
        '"Jet System" <>',
        "<Postmaster\\@relay.example@c.example>",
        '<"System Administrator"@relay.example>',
        "E500_SMTP_Mail_Service@relay.example",
        "Antivirus_for_SMTP_Gateways@relay.example",
    ],
)
def test_a_mail_system_is_known_by_its_address(sender: str):
    assert only(read("Could not be delivered:\n\n<ann@c.example>: box full", From=sender)).recipient == "ann@c.example"


def test_an_automatic_reply_that_speaks_of_delivery_is_no_bounce():
    text = "Your mail could not be delivered to me; write to bob@c.example."
    reading = read(text, From="ann@c.example", Return_Path="<>", Subject="Re: Help")
    assert [(event.type, event.data.automated) for event in reading.events] == [("message.received", True)]


def test_a_bounce_over_which_a_librarys_patterns_fail_is_refused_by_name():
    (refusal,) = read("Undeliverable.", Subject="Undeliverable").refusals
    assert "neither recipient nor message" in refusal.detail


@pytest.mark.parametrize(
    ("text", "recipient", "status"),
    [
        pytest.param(
            "Your mail\nFrom: agent@desk.example\nTo: bob@c.example\nSubject: Hello\ncould not be delivered to:\n"
            "<ann@c.example>:\n550 5.1.1 no such user",
            "ann@c.example", "5.1.1", id="headers quoted in passing return no mail",
        ),
        pytest.param(
            "Your mail\nMessage-ID: <answer@desk.example>\ncould not be delivered to:\n<ann@c.example>:\n550 5.1.1 no",
            "ann@c.example", "5.1.1", id="nor does a message id alone",
        ),
        pytest.param(
            "Undeliverable, 550 5.1.1 no such user:\n\n<ann@c.example>\n", "ann@c.example", "5.1.1",
            id="of one recipient all is said, before the address too",
        ),
        pytest.param(
            "Could not be delivered to:\n<agent@desk.example>\n<ann@c.example>:\n550 5.1.1 no",
            "ann@c.example", "5.1.1", id="the sender is none of several recipients",
        ),
        pytest.param(
            "Could not be delivered to:\n<agent@desk.example>:\n550 5.1.1 no", "agent@desk.example", "5.1.1",
            id="but may be the only one",
        ),
        pytest.param(
            "Delivery failed: ann@c.example\nFor help, delivery failed: help@relay.example", "ann@c.example", "5.0.0",
            id="whom to ask for help is none either",
        ),
        pytest.param(
            "Could not be delivered to:\n<ann@c.example>:\n452 busy\n550 gone", "ann@c.example", "5.0.0",
            id="the final reply counts",
        ),
    ],
)  # fmt: skip
def test_a_notice_is_read_as_a_person_would(text: str, recipient: str, status: str):
    bounced = only(read(text, **DAEMON))
    assert (bounced.recipient, bounced.status) == (recipient, status)


def test_a_notice_in_markup_is_read_without_it_and_without_what_nobody_sees():
    text = (
        "<html><head><style>p {content: 'could not be delivered to: bob@c.example'}</style></head><body>"
        "<p>Could not be delivered to:</p><p>&lt;ann@c.example&gt;:<br>550 5.1.1 unknown</p></body></html>"
    )
    bounced = only(read(text, Content_Type="text/html", **DAEMON))
    assert (bounced.recipient, bounced.status) == ("ann@c.example", "5.1.1")
