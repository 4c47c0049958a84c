"""Whether a mail was written by a machine: automatic replies, lists, newsletters (C4, C18).

An automatic mail of ours is no answer, one of a customer is no question. Whether a mail is a bounce does
not belong here.
"""

from __future__ import annotations

import re
from email.message import Message

from streams.ingest.letter import decoded, header

_PRECEDENCE = frozenset({"bulk", "junk", "list", "auto_reply", "auto-reply"})
_PRESENT = (
    "X-Autoreply", "X-Autorespond", "X-Autoresponder", "X-Auto-Reply", "X-Auto-Reply-From", "X-Mail-Autoreply",
    "X-FC-MachineGenerated", "List-Id", "List-Unsubscribe", "List-Unsubscribe-Post", "Feedback-ID",
    "X-Vacation", "X-Away-Message", "X-POST-MessageClass", "List-Post", "X-BeenThere", "X-Mailing-List", "Mailing-List",
    "X-Mailman-Version", "X-Bluebottle-Request", "X-ChoiceMail-Registration-Request",
)  # fmt: skip
_VALUES = (
    ("From", re.compile(r"(?:^|<)\s*mail(?:er)?[._-]?daemon(?:@|>|$)", re.IGNORECASE)),
    ("X-Auto-Response-Suppress", re.compile(r"\b(?:all|oof|autoreply)\b", re.IGNORECASE)),
    ("Delivered-To", re.compile(r"^autoresponder$", re.IGNORECASE)),
    ("X-Apple-Action", re.compile(r"vacation", re.IGNORECASE)),
    ("X-MS-Exchange-Generated-Message-Source", re.compile(r"agent", re.IGNORECASE)),
)
_SUBJECT = re.compile(
    r"^\s*(?:"
    r"auto(?:matic|mated)?[ -]?(?:reply|response|responder|answer)|out of (?:the )?office|ooo\b|vacation\b"
    r"|away (?:from|until)|i am away|on (?:vacation|holiday|leave)"
    r"|abwesenheits?(?:notiz|nachricht)?|automatische (?:antwort|abwesenheit)"
    r"|réponse automatique|absence du bureau|respuesta automática|fuera de la oficina"
    r"|risposta automatica|resposta automática|automatisch antwoord"
    r"|автоматический ответ|автоответ|自動応答|自動返信|不在|自动回复|自動回覆)",
    re.IGNORECASE,
)
_SURELY = re.compile(
    r"^\s*(?:"
    r"auto(?:matic|mated)?[ -]?(?:reply|response|answer) ?:|out of (?:the )?office auto-?reply ?:"
    r"|auto: .{1,80}\bout of (?:the )?office\b"
    r"|(?:automatische antwort|abwesenheitsnotiz|réponse automatique|respuesta automática|resposta autom[áà]tica"
    r"|risposta automatica|automatisch antwoord|automatiskt? svar|automaattinen vastaus|automaatvastus"
    r"|automatyczna odpowiedź|odpowiedź automatyczna|automatická odpov[ěe][ďd]|automatikus válasz|răspuns automat"
    r"|otomatik yanıt|αυτόματη απάντηση|автоматический ответ|автоматична відповідь|автоматичен отговор"  # noqa: RUF001 - Turkish
    r"|automatski odgovor|samodejni odgovor|automātiskā atbilde|[^:]{0,40}autom[aā]tisk[aā] atbilde"
    r"|automatinis atsakymas|תשובה אוטומטית|رد تلقائي|自動応答|自動返信|自动答复|自动回复|自動回覆|자동 회신"
    r"|trả lời tự động)\s?[:\uff1a]"
    r"|report domain: ?\S+ submitter: ?\S+)",
    re.IGNORECASE,
)
"""What mail programs put in front of the subject that they answer, and the subject of RFC 7489, 7.2.1.1."""


def is_automated(message: Message) -> bool:
    """Whether a machine wrote the mail: Auto-Submitted other than `no` (RFC 3834, 5), which decides
    alone where it is given; else the usual headers, list and newsletter headers (RFC 2919, 2369), a
    report (RFC 6522; read receipts among them), a mail system as sender or the null return path (RFC 5321, 4.5.5).

    A subject may be a person's words: it counts only on a mail that answers another, or where it is a mail
    program's form down to the colon, and not behind a `Re:`, which a person's answer to an automatic
    reply has."""
    submitted = header(message, "Auto-Submitted").split(";")[0].split("(")[0].strip().lower()
    if submitted:
        return submitted != "no"
    if header(message, "Precedence").lower() in _PRECEDENCE or any(name in message for name in _PRESENT):
        return True
    if any(pattern.search(header(message, name)) for name, pattern in _VALUES):
        return True
    if message.get_content_type() == "multipart/report":
        return True
    return has_null_path(message) or _answers_by_subject(message)


def has_null_path(message: Message) -> bool:
    """Whether the mail came with the null return path `<>`, as notifications must."""
    return "Return-Path" in message and header(message, "Return-Path").replace(" ", "") == "<>"


def says_automatic_reply(message: Message) -> bool:
    """Whether the subject is that of an automatic reply."""
    subject = decoded(header(message, "Subject"))
    return bool(_SUBJECT.search(subject) or _SURELY.search(subject))


def _answers_by_subject(message: Message) -> bool:
    answers = bool(header(message, "In-Reply-To") or header(message, "References"))
    if answers:
        return says_automatic_reply(message)
    return bool(_SURELY.search(decoded(header(message, "Subject"))))
