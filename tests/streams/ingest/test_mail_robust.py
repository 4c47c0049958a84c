"""No bytes make the reading of mails raise or end without a word (DESIGN.md, 5)."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.refusals import Reason
from streams.ingest.letter import PARTS_MAX, Unreadable
from streams.ingest.mail import Ours, read_mail, read_message

SAMPLES = sorted((Path(__file__).parents[3] / "streams" / "demo" / "data").glob("mail-*.eml"))
REAL = [sample.read_bytes() for sample in SAMPLES]
OURS = Ours(domains=frozenset({"example.jp"}))
HEAD = b"From: ann@customer.example\nDate: Tue, 10 Nov 2026 10:02:00 +0000\nMessage-ID: <a@b>\n"


def read(raw: bytes):
    """Reads twice: `read_mail` would hide a fault of ours behind a refusal, `read_message` does not."""
    reading = read_mail(raw, origin="file", ours=OURS)
    assert reading.events or reading.refusals
    with contextlib.suppress(Unreadable):
        assert read_message(raw, OURS).events == reading.events
    return reading


@given(st.binary(max_size=400))
@settings(max_examples=200)
def test_any_bytes_become_events_or_refusals(raw: bytes):
    read(raw)


LINES = st.sampled_from(
    [
        b"Content-Type: multipart/report; report-type=delivery-status; boundary=x",
        b"Content-Type: message/delivery-status",
        b"Content-Type: message/rfc822",
        b"Content-Type: text/plain; charset*0*=utf-8''%E2; charset=\xff",
        b"Content-Type: text/html; charset=no-such",
        b"Content-Transfer-Encoding: base64",
        b"Content-Transfer-Encoding: x-uuencode",
        b"Subject: =?utf-8?B?\xff\xfe?= =?no-such?Q?=E4?= =?utf-8?B?A?=",
        b"From: =?utf-8?q?=00?= <a@b.c>",
        b"Date: Tue, 99 Nov 99999 99:99:99 +9999",
        b"Return-Path: <>",
        b"X-Failed-Recipients: a@b.c, , <d@e.f",
        b"Final-Recipient: rfc822;" + b"x" * 300 + b"@y",
        b"Action: failed",
        b"Status: 5.9999.1",
        b"--x",
        b"--x--",
        b"",
        b"",
        b"\tfolded",
        b"begin 644 x",
        b"User unknown",
        b'{"notificationType": "Bounce", "bounce": []}',
        b"\x00\x80\xff",
        b"From MAILER-DAEMON",
    ]
)


@given(st.lists(LINES | st.binary(max_size=30), max_size=40), st.sampled_from([b"\n", b"\r\n", b"\r"]))
@settings(max_examples=400)
def test_pieces_of_mails_in_any_order_become_events_or_refusals(lines: list[bytes], end: bytes):
    read(end.join(lines))


@given(st.data())
@settings(max_examples=200)
def test_a_damaged_real_mail_becomes_events_or_refusals(data: st.DataObject):
    raw = data.draw(st.sampled_from(REAL))
    begin = data.draw(st.integers(0, len(raw)))
    end = data.draw(st.integers(begin, min(len(raw), begin + 200)))
    read(raw[:begin] + data.draw(st.binary(max_size=20)) + raw[end:])


@pytest.mark.parametrize("raw", [b"", b"\n\n", b"\x00" * 100, b"no header at all\n", b"\xef\xbb\xbf"])
def test_what_is_no_mail_is_refused_by_name(raw: bytes):
    reading = read(raw)
    assert [refusal.reason for refusal in reading.refusals] == [Reason.BROKEN_MAIL]


def test_a_byte_order_mark_nul_and_lone_carriage_returns_do_not_hide_a_mail():
    want = read(HEAD + b"Subject: Hi\n\nWords\n").events
    assert read(b"\xef\xbb\xbf" + HEAD + b"Subject: H\x00i\n\nWords\n").events == want
    assert read((HEAD + b"Subject: Hi\n\nWords\n").replace(b"\n", b"\r")).events == want
    assert read((HEAD + b"Subject: Hi\n\nWords\n").replace(b"\n", b"\r\n")).events == want


@pytest.mark.parametrize("stray", [b">From ann Tue Nov 10 10:02:00 2026", b"no header", b"X-T\xffst: x"])
def test_a_line_among_the_headers_that_is_none_does_not_hide_those_behind_it(stray: bytes):
    want = read(HEAD + b"Subject: Hi\n\nWords\n").events
    assert read(stray + b"\n" + HEAD + b"Subject: Hi\n\nWords\n").events == want
    assert read(HEAD.replace(b"\nDate", b"\n" + stray + b"\nDate") + b"Subject: Hi\n\nWords\n").events == want


def test_a_blank_may_stand_before_a_colon():
    assert (
        read(HEAD.replace(b"Date:", b"Date :") + b"Subject\t : Hi\n\nWords\n").events
        == read(HEAD + b"Subject: Hi\n\n").events
    )


def test_words_without_an_empty_line_before_them_stay_words():
    (event,) = read(HEAD + b"Subject: Hi\nOne\nTwo\nThree\nFour\nSubject: no\n").events
    assert event.data.summary == "Hi"


@pytest.mark.parametrize(
    ("subject", "summary"),
    [
        (b"=?utf-8?Q?caf=C3=A9?=", "café"),
        (b"=?iso-2022-jp?B?GyRCJUYlOSVIGyhC?=", "テスト"),
        (b"=?no-such-charset?Q?caf=E9?=", "café"),
        (b"=?utf-8?B?broken", "=?utf-8?B?broken"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"two\n lines", "two lines"),
    ],
)
def test_a_subject_is_decoded_as_far_as_it_can_be(subject: bytes, summary: str):
    (event,) = read(HEAD + b"Subject: " + subject + b"\n\nWords\n").events
    assert event.data.summary == summary


def test_parts_nested_too_deep_are_read_as_far_as_the_bound():
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(PARTS_MAX * 20))
    (event,) = read(HEAD + nested).events
    assert event.type == "contact.opened"


@pytest.mark.parametrize(
    "raw",
    [
        HEAD + b"\n" + b"x" * 10_000_000,
        HEAD + b"\n" + b"word @ " * 1_400_000,
        HEAD + b"\n" + b"\n" * 10_000_000,
        HEAD + b"X: " + b"y" * 10_000_000 + b"\n\n",
        b"From: MAILER-DAEMON@x.y\n" + HEAD + b"\nundeliverable\n" + b"a" * 120 + b"@" * 9_000_000,
        b"From: MAILER-DAEMON@x.y\n" + HEAD + b"Content-Type: text/html\n\nundeliverable" + b"<p <style " * 900_000,
        HEAD + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(PARTS_MAX))
        + b"\n" * 1_000_000,
    ],
    ids=["one line", "marks", "empty lines", "header", "address", "markup", "nested"],
)  # fmt: skip
def test_ten_megabytes_take_seconds_at_most(raw: bytes):
    began = time.process_time()
    read(raw)
    assert time.process_time() - began < 60  # against an algorithm that squares, not a measure of speed


def test_a_truncated_bounce_still_tells_its_recipients():
    whole = (SAMPLES[0].parent / "mail-notice-two-recipients.eml").read_bytes()
    cut = whole[: whole.index(b"------ This is a copy")]
    assert [event.data.recipient for event in read(cut).events] == ["kijitora@example.jp", "sabatora@example.jp"]
