"""What a bounce says: who did not get which mail, with what status, for good or for now.

Sources in the order of trust: the fields of a delivery report (RFC 3464), the words of a notice,
flufl.bounce's patterns, the X-Failed-Recipients header, and who the returned mail was for. Whose mail it
was, and what follows for a contact, do not belong here.

*Permanent* is the fate of the message, not of the address: a mail that is not tried again is lost to the
customer, also when his mailbox was only full (5.2.2) or the other server only busy for five days (4.4.7
with `Action: failed`). C13 takes an answer back because it did not arrive, so that is the question. Lists
of addresses to stop writing to ask another one; they call a full mailbox soft. Only what is still being
tried (`Action: delayed`, a warning) is transient.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from email.message import Message

from flufl.bounce import all_failures

from streams.ingest import delivery_report, notice
from streams.ingest.autoreply import has_null_path, says_automatic_reply
from streams.ingest.delivery_report import Fate
from streams.ingest.json_notice import JsonNotice, json_notice_in
from streams.ingest.letter import addresses, children, decoded, header, normal, parts
from streams.ingest.mail_system import is_daemon, is_mailer_daemon, is_notification
from streams.ingest.notice import any_of
from streams.ingest.returned_mail import Returned, is_returned, notice_of, returned_in, texts

REASON_CHARACTERS_MAX = 300

_ARRIVED = frozenset({"delivered", "delivery", "deliverable", "relayed", "expanded"})
_DELAYED = frozenset({"delayed", "delay", "transient"})
_ANSWER = re.compile(r"^\s*(?:re|aw|sv|antw)\s*:", re.IGNORECASE)
_COMPLAINT = re.compile(r"^complaint about message from \S+$", re.IGNORECASE)
_SUBJECT = any_of(
    r"undeliver",
    r"non.?deliver",
    r"deliver\w*\b.{0,30}\b(?:fail|status|notif|problem|error|delay|report)",
    r"fail\w*\b.{0,30}\bdeliver",
    r"deliver\w*\b.{0,30}\bwarning",
    r"returned (?:mail|to sender)",
    r"returning (?:message )?to sender",
    r"failure notice",
    r"mail (?:system error|failure|failed)",
    r"could not (?:be delivered|send)",
    r"message (?:status|not delivered)",
    r"error sending",
    r"delayed mail",
    r"loop alert",
    r"permanent fail",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One recipient who did not get the mail, or not yet (`permanent` false)."""

    recipient: str | None
    permanent: bool
    status: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounce:
    """A bounce: `failures` one per recipient, `not_failures` in words (`delivered` and the like), and
    the dates that the report gives beside those of its own headers."""

    failures: tuple[Failure, ...]
    not_failures: tuple[str, ...]
    returned: Returned
    dates: tuple[str, ...]


def bounce_in(message: Message) -> Bounce | None:
    """The bounce that the mail is; None for any other mail, feedback reports (RFC 5965) and receipts among
    them."""
    if is_feedback(message) or is_receipt(message):
        return None
    json = json_notice_in(texts(message)[0])
    if json:
        return _by_json(json)
    inner = _carried_report(message)
    return _by_report(inner or message) or _by_notice(message)


def is_feedback(message: Message) -> bool:
    """Whether the mail is a complaint about abuse (ARF, RFC 5965): no bounce."""
    if str(message.get_param("report-type", "")).lower() == "feedback-report":
        return True
    if _COMPLAINT.search(header(message, "Subject")):
        return True
    return any(part.get_content_type() == "message/feedback-report" for part in parts(message))


def is_receipt(message: Message) -> bool:
    """Whether the mail tells what came of one that did arrive (RFC 8098): displayed, or deleted unread. A
    mail system refuses mails in this form too (RFC 5429, 2.1.2): that is none."""
    if str(message.get_param("report-type", "")).lower() != "disposition-notification":
        return False
    return not (is_daemon(message) and notice.tells_rejection(notice_of(message)[0]))


def _by_json(json: JsonNotice) -> Bounce:
    returned = Returned(
        message_id=json.message_id,
        senders=(json.sender,) if json.sender else (),
        recipients=json.recipients,
    )
    return Bounce(
        failures=tuple(_once(_failure(fate, "", "") for fate in json.fates)),
        not_failures=() if json.fates else (f"a notification of kind {json.kind[:40]}: no failure",),
        returned=returned,
        dates=(),
    )


def _carried_report(message: Message) -> Message | None:
    """A report inside an attached mail, where the mail around it is a mail system's own."""
    if not is_notification(message) or delivery_report.report_in(message):
        return None
    for part in parts(message):
        for inner in children(part) if part.get_content_type() == "message/rfc822" else []:
            if str(inner.get_param("report-type", "")).lower() == "delivery-status":
                return inner
    return None


def _by_report(message: Message) -> Bounce | None:
    text, tail = notice_of(message)
    report = delivery_report.report_in(message)
    if (report is None or not report.fates) and is_notification(message):
        report = delivery_report.report_in_text("\n".join(texts(message))) or report
    if report is None:
        return None
    returned = returned_in(message, text, tail, report.envelope_id)
    if not report.fates:
        report = replace(report, fates=_fates_in_words(text, returned))
    arrived = [fate for fate in report.fates if _arrived(fate)]
    lost = [fate if fate.recipient else _named(fate, text, returned) for fate in report.fates if not _arrived(fate)]
    words_of = {} if len(report.fates) == 1 else _words_of_each(lost, text)
    whole = text if len(report.fates) == 1 else ""
    return Bounce(
        failures=tuple(_once(_failure(fate, text, words_of.get(fate.recipient, whole)) for fate in lost)),
        not_failures=tuple(f"{fate.action or fate.status}: no failure" for fate in arrived),
        returned=returned,
        dates=report.dates,
    )


def _words_of_each(fates: Iterable[Fate], text: str) -> dict[str | None, str]:
    """What the notice says of each recipient, where it says something of its own of every one."""
    named = list(dict.fromkeys(fate.recipient for fate in fates if fate.recipient))
    said = notice.complaints(text, named) if named else []
    return {one.recipient: one.words for one in said if one.words != text}


def _fates_in_words(text: str, returned: Returned) -> tuple[Fate, ...]:
    """The fates of those whom the notice around an empty report names, else one of nobody."""
    named: list[str | None] = [one.recipient for one in notice.complaints(text, (), returned.senders)]
    return tuple(Fate(recipient=one, action="failed", status="", diagnostic="") for one in named or [None])


def _arrived(fate: Fate) -> bool:
    return fate.action in _ARRIVED or (not fate.action and fate.status.strip().startswith("2."))


def _named(fate: Fate, text: str, returned: Returned) -> Fate:
    """The fate with the recipient that the notice, or else the returned mail, names alone: some report a
    host or a local name, which is no address."""
    named = [one.recipient for one in notice.complaints(text, (), returned.senders)]
    return replace(fate, recipient=_only_recipient(tuple(named)) or _only_recipient(returned.recipients))


def _only_recipient(recipients: tuple[str, ...]) -> str | None:
    return recipients[0] if len(recipients) == 1 else None


def _failure(fate: Fate, text: str, told: str) -> Failure:
    """`told`: what the notice, of which `text` is the whole, says of this recipient."""
    words = fate.diagnostic
    status = _reported_status(fate.status, words, told)
    late = fate.action in _DELAYED or (not fate.action and status.startswith("4") and notice.tells_delay(text))
    reason = _reason(words or told or fate.status)
    return Failure(recipient=fate.recipient, permanent=not late, status=status, reason=reason)


def _reported_status(field: str, diagnostic: str, told: str) -> str:
    """The code behind the reply code that the other server gave, else the Status field; where that only
    names the class (X.0.0), a code in the words that is of the same class; where it is missing, any; at
    last the class alone (RFC 3463, 2: X.0.0)."""
    direct = notice.status_behind_reply(diagnostic)
    stated = notice.status_of(field)
    if direct or (stated and not stated.endswith(".0.0")):
        return direct or stated or ""
    said = [code for code in (notice.status_of(diagnostic), notice.status_of(told)) if code]
    alike = next((code for code in said if stated is None or code[0] == stated[0]), None)
    return alike or stated or _class_of(diagnostic, told)


def _class_of(*said: str) -> str:
    reply = next((found for found in map(notice.reply_of, said) if found), None)
    if reply:
        return f"{reply[0]}.0.0"
    transient = any(notice.tells_transient_reason(text) or notice.tells_delay(text) for text in said)
    return "4.0.0" if transient else "5.0.0"


def _by_notice(message: Message) -> Bounce | None:
    """A bounce by its words. A customer may well write that something was not delivered, a postmaster too:
    the mail must be a notification, and one that has only the null return path, as automatic replies have
    too, or only such an address, must name its recipients itself and be no answer."""
    text, tail = notice_of(message)
    subject = decoded(header(message, "Subject"))
    if not _tells_failure(message, text, subject) or says_automatic_reply(message):
        return None
    returned = returned_in(message, text, tail, None)
    delayed = notice.tells_delay(f"{subject}\n{text}")
    surely = _is_surely_daemons(message, text) or bool(_SUBJECT.search(subject))
    found = _complaints(message, text, returned, guess=surely or is_daemon(message))
    if not surely and (not found or _ANSWER.search(subject)):
        return None
    failures = _once(_told(one, delayed=delayed) for one in found)
    if not failures and returned.message_id:
        failures = [replace(_told(notice.Complaint(recipient="", words=text), delayed=delayed), recipient=None)]
    return Bounce(failures=tuple(failures), not_failures=(), returned=returned, dates=())


def _is_surely_daemons(message: Message, text: str) -> bool:
    """Whether no person can have written it: from a mailer daemon, or from a mail system with the null
    return path, a code or the mail that it returns. Else a postmaster may have."""
    if not is_daemon(message):
        return False
    coded = notice.status_of(text) or notice.reply_of(text)
    return bool(coded) or has_null_path(message) or is_mailer_daemon(message) or _returns_a_mail(message)


def _tells_failure(message: Message, text: str, subject: str) -> bool:
    """Whether a notification tells a failure: in words, or by a code in whatever language from a mail
    system itself."""
    if not is_notification(message):
        return False
    if notice.tells_failure(text) or notice.tells_failure(subject) or "X-Failed-Recipients" in message:
        return True
    coded = notice.status_of(text) or notice.reply_of(text)
    return (bool(coded) and is_daemon(message)) or _returns_silently(message, text)


def _returns_silently(message: Message, text: str) -> bool:
    """Whether a mailer daemon returns a mail in a language that the tables do not know, or without a word,
    and does not tell of success."""
    if not is_mailer_daemon(message) or notice.tells_arrival(text):
        return False
    return _returns_a_mail(message)


def _returns_a_mail(message: Message) -> bool:
    return any(is_returned(part) for part in parts(message) if part is not message)


def _complaints(message: Message, text: str, returned: Returned, *, guess: bool) -> list[notice.Complaint]:
    known = addresses(message, "X-Failed-Recipients")
    senders = [*addresses(message, "To", "From"), *returned.senders]
    found = notice.complaints(text, known, senders)
    if found or not guess:
        return found
    guessed = sorted(filter(None, (normal(one.decode("utf-8", "replace")) for one in _flufl(message))))
    alone = _only_recipient(returned.recipients)
    return [notice.Complaint(recipient=one, words=text) for one in guessed or filter(None, [alone])]


def _flufl(message: Message) -> Iterable[bytes]:
    try:
        temporary, permanent = all_failures(message)
    except Exception:  # noqa: BLE001 - patterns over hostile text fail in many ways, and are only a last resort
        return ()
    return temporary | permanent


def _told(complaint: notice.Complaint, *, delayed: bool) -> Failure:
    stated = notice.status_of(complaint.words)
    if stated is None or stated.startswith("2"):
        stated = "4.0.0" if delayed else _class_of(complaint.words)
    reason = _reason(complaint.words)
    return Failure(recipient=complaint.recipient, permanent=not delayed, status=stated, reason=reason)


def _reason(words: str) -> str:
    lines = [line.strip(" \t>*-=") for line in words.split("\n")]
    telling = [line for line in lines if notice.status_of(line) or notice.reply_of(line)]
    return " ".join(" ".join(telling or lines).split())[:REASON_CHARACTERS_MAX]


def _once(failures: Iterable[Failure]) -> list[Failure]:
    first: dict[str | None, Failure] = {}
    for failure in failures:
        first.setdefault(failure.recipient, failure)
    return list(first.values())
