"""Bounces: the standard's forms, real samples, and agreement with the labels of 295 real mails."""

from __future__ import annotations

import csv
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from schemas.events import Bounced
from schemas.refusals import Reason
from streams.ingest.mail import Ours, Reading, read_mail
from streams.ingest.mailbox import messages_in

ROOT = Path(__file__).parents[3]
SAMPLES = ROOT / "streams" / "demo" / "data"
SHARED = ROOT.parent / "shared" / "data" / "bounces"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data/bounces is not beside the repository")

NOT_BOUNCES = {"feedback", "vacation", "delivered"}
STILL_TRIED = {
    ("lhost-gmail-06.eml", 1): "a warning, tried for two more days",
    ("lhost-gmail-17.eml", 1): "a warning, tried for two more days",
    ("lhost-messagingserver-07.eml", 1): "Action: delayed",
    ("lhost-opensmtpd-04.eml", 1): "a warning, kept for four days",
    ("lhost-opensmtpd-13.eml", 1): "Action: delayed",
    ("lhost-sendmail-29.eml", 1): "Action: delayed",
    ("lhost-sendmail-55.eml", 1): "Action: delayed",
    ("lhost-x1-04.eml", 1): "a warning; not labelled",
    ("rfc3464-09.eml", 1): "Action: delayed",
    ("rfc3464-35.eml", 2): "Action: delayed",
}
"""Every recipient called transient, as the mail itself says that it is still being tried."""

OTHER_STATUS = {("lhost-opensmtpd-04.eml", 1): ("4.0.0", "5.0.944", "a warning of a delay is class 4")}
"""(ours, label, why) of every status that differs; invented labels are compared by class only."""

OTHER_COUNT = {"lhost-sendmail-14.eml": (0, 1, "a person forwards a bounce: his mail is a customer's message")}
"""(ours, labelled, why) of every mail with another number of recipients."""

UNLABELLED = {
    "arf-22.eml": 0,
    "lhost-mimecast-01.eml": 1,
    "lhost-mimecast-02.eml": 1,
    "lhost-office365-03.eml": 1,
    "lhost-office365-05.eml": 1,
    "lhost-office365-06.eml": 1,
    "lhost-office365-11.eml": 1,
    "lhost-office365-12.eml": 1,
    "lhost-office365-13.eml": 1,
    "lhost-postfix-80.eml": 1,
    "lhost-trendmicro-02.eml": 1,
    "lhost-x1-04.eml": 1,
    "rfc3464-37.eml": 1,
    "rhost-apple-05.eml": 1,
    "rhost-cloudflare-01.eml": 1,
    "rhost-zoho-01.eml": 1,
}
"""Recipients found in the mails that have no label."""


@cache
def readings() -> dict[str, list[Reading]]:
    found = defaultdict(list)
    for origin, raw in messages_in(SHARED / "mail"):
        assert isinstance(raw, bytes)
        found[Path(origin.rpartition("#")[0]).name].append(read_mail(raw, origin=origin, ours=Ours()))
    return found


def bounces(name: str) -> list[Bounced]:
    events = [event for reading in readings()[name] for event in reading.events]
    return [event.data for event in events if event.type == "message.bounced"]


@cache
def labels() -> dict[str, list[dict[str, str]]]:
    """The labelled recipients of each mail that bounced; a row that stands twice counts once."""
    rows = defaultdict(dict)
    with (SHARED / "labels.tsv").open() as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            rows[row["file"]][row["recipient_index"]] = row
    return {name: [row for row in of.values() if row["reason"] not in NOT_BOUNCES] for name, of in rows.items()}


def pairs() -> list[tuple[tuple[str, int], Bounced, dict[str, str]]]:
    return [
        ((name, index), ours, label)
        for name, rows in labels().items()
        for index, (ours, label) in enumerate(zip(bounces(name), rows, strict=False), start=1)
    ]


def invented(status: str) -> bool:
    """Whether the label stands for a reason and not in the mail: `5.0.9xx` is Sisimai's own."""
    return status.startswith(("4.0.9", "5.0.9"))


@needs_shared
def test_of_284_labelled_recipients_283_are_found():
    differing = {
        name: (len(bounces(name)), len(rows)) for name, rows in labels().items() if len(bounces(name)) != len(rows)
    }
    assert differing == {name: (ours, labelled) for name, (ours, labelled, _) in OTHER_COUNT.items()}
    assert (sum(map(len, labels().values())), len(pairs())) == (284, 283)


@needs_shared
def test_of_283_statuses_282_agree_61_of_them_by_class():
    literal = [where for where, ours, label in pairs() if ours.status == label["status"]]
    by_class = [
        where
        for where, ours, label in pairs()
        if invented(label["status"]) and (ours.status or " ")[0] == label["status"][0]
    ]
    differing = {
        where: (ours.status, label["status"])
        for where, ours, label in pairs()
        if where not in literal and where not in by_class
    }
    assert differing == {where: (ours, label) for where, (ours, label, _) in OTHER_STATUS.items()}
    assert (len(literal), len(by_class)) == (221, 61)


@needs_shared
def test_only_what_is_still_being_tried_is_transient():
    transient = {
        (name, index) for name in readings() for index, ours in enumerate(bounces(name), start=1) if not ours.permanent
    }
    assert transient == set(STILL_TRIED)


@needs_shared
def test_permanence_is_the_messages_fate_where_hard_bounce_is_the_addresss():
    """No hard bounce is called transient; 90 of 283 agree, and the rest are soft in Sisimai's reading
    (a full mailbox, a blocked sender, an expired queue) though the message was given up."""
    hard = [(ours.permanent, label["hard_bounce"] == "true") for _, ours, label in pairs()]
    assert (False, True) not in hard
    assert (hard.count((True, True)), hard.count((False, False)), hard.count((True, False))) == (81, 9, 193)


@needs_shared
def test_mails_without_label_give_these_recipients():
    assert {name: len(bounces(name)) for name in readings() if name not in labels()} == UNLABELLED


@needs_shared
def test_what_is_no_bounce_is_refused_by_name_or_is_an_automatic_mail():
    for name, rows in labels().items():
        if rows:
            continue
        for reading in readings()[name]:
            named = [refusal.reason for refusal in reading.refusals] == [Reason.NOT_A_BOUNCE] and not reading.events
            automatic = [event.data.automated for event in reading.events if event.type == "message.received"] == [True]
            assert named or automatic, name


@needs_shared
def test_every_real_mail_is_an_event_or_a_refusal():
    assert len(readings()) == 295
    assert all(reading.events or reading.refusals for of in readings().values() for reading in of)


def sample(name: str) -> Reading:
    return read_mail((SAMPLES / name).read_bytes(), origin=name, ours=Ours(domains=frozenset({"example.jp"})))


def test_a_report_of_two_recipients_gives_two_bounces_of_one_message():
    events = sample("mail-report-two-recipients.eml").events
    assert [event.data.status for event in events] == ["5.1.8", "5.1.8"]
    assert len({event.id for event in events}) == 2
    assert len({event.subject for event in events}) == 1


def test_a_notice_of_two_recipients_gives_each_his_own_status():
    events = sample("mail-notice-two-recipients.eml").events
    assert [(event.data.recipient, event.data.status) for event in events] == [
        ("kijitora@example.jp", "5.1.1"),
        ("sabatora@example.jp", "5.2.1"),
    ]
    assert {event.data.message_id for event in events} == {"E1X58pB-0004bW-2s@marutamachi.example.org"}


def test_a_notice_tells_message_recipient_and_status():
    (event,) = sample("mail-notice.eml").events
    assert (event.data.recipient, event.data.status) == ("userunknown@libsisimai.net", "5.1.1")
    assert event.subject == "mail:20240624090001.44587.qmail@nq.example.jp"
    assert (event.data.direction, event.data.permanent) == ("outbound", True)


def test_a_delay_is_transient():
    (event,) = sample("mail-delayed.eml").events
    assert (event.data.permanent, event.data.status) == (False, "4.2.2")


def test_a_vacation_reply_is_an_automatic_mail_of_its_thread():
    (event,) = sample("mail-vacation.eml").events
    assert (event.type, event.data.automated) == ("message.received", True)
    assert event.subject == "mail:25203A4E-F90F-4A14-BF51-3E7B9D39BE8E@libsisimai.org"


def test_a_complaint_is_no_bounce():
    reading = sample("mail-complaint.eml")
    assert not reading.events
    assert [refusal.reason for refusal in reading.refusals] == [Reason.NOT_A_BOUNCE]


REPORT = """\
From: MAILER-DAEMON@relay.example
To: agent@desk.example
Date: Tue, 10 Nov 2026 10:02:00 +0000
Message-ID: <b1@relay.example>
Content-Type: multipart/report; report-type=delivery-status; boundary="x"

--x

It did not work.
--x
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example
{envelope}
{recipients}
--x
{returned}
--x--
"""
RETURNED = "Content-Type: text/rfc822-headers\n\nMessage-ID: <answer@desk.example>\nFrom: agent@desk.example\n"


def report(*recipients: str, envelope: str = "", returned: str = RETURNED) -> Reading:
    raw = REPORT.format(
        envelope=f"{envelope}\n" if envelope else "", recipients="\n".join(recipients), returned=returned
    )
    return read_mail(raw.encode(), origin="inbox", ours=Ours(domains=frozenset({"desk.example"})))


def one(*recipients: str, envelope: str = "", returned: str = RETURNED) -> Bounced:
    (event,) = report(*recipients, envelope=envelope, returned=returned).events
    assert event.type == "message.bounced"
    return event.data


FAILED = "Final-Recipient: rfc822; ann@c.example\nAction: failed\nStatus: {status}\nDiagnostic-Code: {said}\n"


@pytest.mark.parametrize(
    ("status", "said", "want"),
    [
        ("5.1.1", "smtp; 550 no", "5.1.1"),
        ("5.0.0", "smtp; 550 5.7.1 denied", "5.7.1"),
        ("5.0.0", "smtp; 554 denied (#5.7.1)", "5.7.1"),
        ("5.0.0", "smtp; 421 4.7.0 busy", "4.7.0"),
        ("4.4.7", "smtp; 450 4.7.1 greylisted", "4.7.1"),
        ("5.1.1 (bad address)", "x-unix; 67", "5.1.1"),
        ("", "smtp; 552 full", "5.0.0"),
        ("", "smtp; 452 full", "4.0.0"),
        ("", "", "5.0.0"),
        ("5.0.0", "smtp; 550 host 5.1.1.1 said no", "5.0.0"),
        ("5.0.0", "smtp; 550 Exim 4.5.6.7", "5.0.0"),
    ],
)
def test_the_status_is_what_the_other_server_said_else_the_field_else_the_class(status: str, said: str, want: str):
    assert one(FAILED.format(status=status, said=said)).status == want


def reasons(text: str, *recipients: str) -> list[tuple[str | None, str | None]]:
    """Status and reason of each bounce that a report with such a notice around it gives."""
    raw = REPORT.replace("It did not work.", text).format(envelope="", recipients="\n".join(recipients), returned="")
    return [(event.data.status, event.data.reason) for event in read_mail(raw.encode(), origin="x", ours=Ours()).events]


OF_ANN = "Final-Recipient: rfc822; ann@c.example\nAction: failed\nStatus: 5.0.0\n"
OF_BOB = OF_ANN.replace("ann@", "bob@")
OF_EACH = """\
Could not be delivered to:
<ann@c.example>:
550 5.2.2 mailbox full

<bob@c.example>:
550 5.1.1 no such user
"""


@pytest.mark.parametrize(
    ("text", "recipients", "wanted"),
    [
        pytest.param("It did not work.", [f"{OF_ANN}Diagnostic-Code: smtp; 550 5.7.1 denied\n"],
                     [("5.7.1", "smtp; 550 5.7.1 denied")], id="the other server's words"),
        pytest.param("It did not work.", [OF_ANN], [("5.0.0", "It did not work.")], id="else the notice's"),
        pytest.param("Sorry.\n550 5.2.2 full\nBye.", [OF_ANN], [("5.2.2", "550 5.2.2 full")], id="its coded line"),
        pytest.param("Sorry.\n550 full\nBye.", [OF_ANN], [("5.0.0", "550 full")], id="a reply code is one"),
        pytest.param(OF_EACH, [OF_ANN, OF_BOB],
                     [("5.2.2", "550 5.2.2 mailbox full"), ("5.1.1", "550 5.1.1 no such user")], id="of each his own"),
        pytest.param("Mailboxes are full.", [OF_ANN, OF_BOB], [("5.0.0", "5.0.0")] * 2, id="what is said of nobody"),
    ],
)  # fmt: skip
def test_the_reason_is_what_was_said_of_that_recipient(
    text: str, recipients: list[str], wanted: list[tuple[str, str]]
) -> None:
    assert reasons(text, *recipients) == wanted


@pytest.mark.parametrize("status", ["5.1.1", "5.2.2", "4.4.7"])
def test_what_failed_is_permanent_whatever_its_class(status: str):
    assert one(FAILED.format(status=status, said="smtp; 450 x")).permanent


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded"])
def test_what_arrived_or_went_on_is_no_bounce_but_is_named(action: str):
    arrived = f"Final-Recipient: rfc822; bob@c.example\nAction: {action}\nStatus: 2.0.0\n"
    reading = report(FAILED.format(status="5.1.1", said="x"), arrived)
    assert [event.data.recipient for event in reading.events] == ["ann@c.example"]
    assert [refusal.reason for refusal in reading.refusals] == [Reason.NOT_A_BOUNCE]


def test_the_recipient_is_whom_the_sender_named():
    moved = "Original-Recipient: rfc822;Ann+2Bshop@C.example\nFinal-Recipient: rfc822;x17@store.c.example\n"
    assert one(moved + "Action: failed\nStatus: 5.1.1\n").recipient == "ann+shop@c.example"


def test_a_tag_that_looks_like_xtext_stays():
    assert one("Final-Recipient: rfc822; ann+42@c.example\nAction: failed\n").recipient == "ann+42@c.example"


def test_the_way_to_an_address_is_no_part_of_it():
    assert one("Final-Recipient: rfc822; <@relay.example:ann@c.example>\nAction: failed\n").recipient == "ann@c.example"


def test_folded_fields_and_comments_are_read():
    folded = "Final-Recipient:\n rfc822;\n ann@c.example\nAction:\n failed (gave up)\nStatus: 5.1.1\n"
    assert (one(folded).recipient, one(folded).permanent) == ("ann@c.example", True)


def test_the_envelope_id_names_the_message_where_nothing_is_returned():
    failed = FAILED.format(status="5.1.1", said="x")
    bounced = one(failed, envelope="Original-Envelope-Id: answer+2B1@desk.example", returned="\nnothing")
    assert bounced.message_id == "answer+1@desk.example"


@pytest.mark.parametrize(
    "returned",
    [
        RETURNED,
        "Content-Type: message/rfc822\n\nMessage-ID: <answer@desk.example>\nFrom: agent@desk.example\n\nHello",
        "Content-Type: message/global-headers\n\nMessage-ID: <answer@desk.example>\nFrom: agent@desk.example\n",
        "Content-Type: message/rfc822\n\nReceived: from a (via\nHTTP); Tue\nFrom: agent@desk.example\n"
        "To: ann@c.example\nMessage-ID: <answer@desk.example>\n\nHello",
    ],
)
def test_the_original_message_is_named_by_what_came_back(returned: str):
    assert one(FAILED.format(status="5.1.1", said="x"), returned=returned).message_id == "answer@desk.example"


def notice(text: str, **headers: str) -> Reading:
    fields = {"From": "MAILER-DAEMON@relay.example", "To": "agent@desk.example"} | headers
    head = "".join(f"{name.replace('_', '-')}: {value}\n" for name, value in fields.items())
    raw = f"{head}Date: Tue, 10 Nov 2026 10:02:00 +0000\nMessage-ID: <b1@relay.example>\n\n{text}\n"
    return read_mail(raw.encode(), origin="inbox", ours=Ours(domains=frozenset({"desk.example"})))


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("Could not be delivered to:\n<ann@c.example>:\n550 5.1.1 user unknown", "5.1.1"),
        ("Undeliverable.\n  * ann@c.example\n  host mx [5.1.2.3] said: 550-5.7.1 denied", "5.7.1"),
        ("Delivery failed 20 attempts: ann@c.example", "5.0.0"),
        ("Unable to deliver message to: <ann@c.example>\n452 disk full", "4.0.0"),
        ("returning message to sender\n ann@c.example\n  retry timeout exceeded", "4.0.0"),
        ("Your message was not delivered to:\n  ann@c.example\nbecause:\n  Mailbox is full", "5.0.0"),
        ("did not reach the following recipient(s):\n\nann@c.example on Tue, 10 Nov 2026 10:00:00 +0000", "5.0.0"),
        (">>> RCPT TO:<ann@c.example>\n<<< 550 No such user here", "5.0.0"),
        ("550 5.1.1 unknown user <ann@c.example>", "5.1.1"),
        ("Die Nachricht an folgende Adresse ist unzustellbar:\n<ann@c.example>:\nkeine Postfach", "5.0.0"),
        ("Viesti:\n<ann@c.example>:\n550 5.1.1 tuntematon", "5.1.1"),
        (">>> ann@c.example  <ann@c.example>\n\n550 sorry, no such user (#5.1.1 - chkusr)", "5.1.1"),
    ],
)
def test_a_notice_in_words_tells_recipient_and_status(text: str, status: str):
    (event,) = notice(text).events
    assert (event.data.recipient, event.data.status, event.data.permanent) == ("ann@c.example", status, True)


@pytest.mark.parametrize(("code", "kind"), [("\n550 no such user", "message.bounced"), ("", "contact.opened")])
def test_a_postmaster_who_answers_and_cites_no_code_may_be_a_person(code: str, kind: str) -> None:
    text = f"Your mail could not be delivered to: <ann@c.example>{code}"
    (event,) = notice(text, From="postmaster@relay.example", Subject="Re: Offer").events
    assert event.type == kind


def test_addresses_to_ask_for_help_are_no_recipients():
    text = "could not be delivered to:\n <ann@c.example>\n550 no such user\nFor help contact <help@relay.example>"
    (event,) = notice(text).events
    assert event.data.recipient == "ann@c.example"


def test_recipients_that_the_header_names_are_taken_from_there():
    reading = notice("Something is undeliverable: pipe failed", X_Failed_Recipients="ann@c.example, bob@c.example")
    assert [event.data.recipient for event in reading.events] == ["ann@c.example", "bob@c.example"]


def test_a_bounce_that_names_nobody_and_nothing_is_refused():
    reading = notice("Your mail was undeliverable.", Subject="Undeliverable")
    assert not reading.events
    assert [refusal.reason for refusal in reading.refusals] == [Reason.BROKEN_MAIL]


def test_a_sending_services_json_is_read():
    recipient = '{"emailAddress": "Ann@c.example", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 no"}'
    mail = '{"messageId": "0101-x", "source": "agent@desk.example", "destination": ["ann@c.example"]}'
    bounce = f'{{"bouncedRecipients": [{recipient}]}}'
    text = f'{{"notificationType": "Bounce", "bounce": {bounce}, "mail": {mail}}}\n\n--\nstop'
    (event,) = notice(text, From="no-reply@sns.example").events
    assert (event.data.recipient, event.data.status) == ("ann@c.example", "5.1.1")
    assert (event.data.message_id, event.data.direction) == ("0101-x", "outbound")
