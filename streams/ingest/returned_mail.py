"""The mail that a bounce returns: whole, its headers, or quoted in the notice (RFC 3462, 6522).

Why it came back does not belong here.
"""

from __future__ import annotations

import email
import re
from dataclasses import dataclass
from email.message import Message

from streams.ingest import notice
from streams.ingest.delivery_report import STATUS_TYPES
from streams.ingest.letter import (
    address,
    addresses,
    children,
    header,
    headers,
    message_ids,
    own_id,
    parts,
    sound,
    text_of,
    thread_root,
    unpacked,
)
from streams.ingest.mail_date import stamps

_MESSAGE_TYPES = frozenset({"message/rfc822", "message/global", "message/partial"})
_HEADER_TYPES = frozenset(
    {"text/rfc822-headers", "text/rfc822-header", "message/rfc822-headers", "message/global-headers"}
)
_HEADER_LINE = re.compile(r"^[A-Za-z][A-Za-z0-9-]{0,60}\s*:")
_QUOTED_ID = re.compile(r"message-id\s*:?\s*(<[^<>\s]{1,900}>)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Returned:
    """The mail that came back, as far as the bounce shows it; ids without angle brackets."""

    message_id: str | None = None
    thread_root: str | None = None
    senders: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    dates: tuple[str, ...] = ()


def notice_of(message: Message) -> tuple[str, str]:
    """The words of the mail system, and what it quotes of the returned mail behind them."""
    first, *others = map(notice.split, texts(message))
    return first[0], first[1] or next((tail for _, tail in others if tail), "")


def texts(message: Message) -> list[str]:
    """The texts of the mail in their order, HTML last, at least one; a part whose boundaries are missing
    is its text, and what stands around the parts counts where they have none."""
    leaves = [part for part in parts(message) if not part.is_multipart()]
    own = [part for part in leaves if part.get_content_maintype() in ("text", "multipart")]
    readable = [part for part in own if part is message or not is_returned(part)]
    found = [text_of(part) for part in sorted(readable, key=lambda part: part.get_content_subtype() == "html")]
    return [text for text in found if text.strip()] or [sound(message.preamble or message.epilogue or "")]


def is_returned(part: Message) -> bool:
    """Whether the part is the returned mail or its headers: by its type, or because headers of a mail
    stand where a part's should."""
    return part.get_content_type() in _HEADER_TYPES | _MESSAGE_TYPES or "Received" in part or "Message-ID" in part


def returned_in(message: Message, words: str, tail: str, envelope_id: str | None) -> Returned:
    """The mail that the bounce returns, or what is known of it: its id may stand in the notice (`words`),
    be the envelope's id (RFC 3461, 4.4), which most senders derive from it, or what the bounce answers."""
    original = _attached(message) or _quoted(tail)
    known = (
        own_id(original),
        *message_ids(" ".join(_QUOTED_ID.findall(words))),
        *message_ids(envelope_id or ""),
        *_refused_ids(message),
        thread_root(message),
    )
    path = address(header(original, "Return-Path"))
    senders = (*addresses(original, "From", "Sender"), *([path] if path else []))
    return Returned(
        message_id=next(filter(None, known), None),
        thread_root=thread_root(original),
        senders=tuple(dict.fromkeys(senders)),
        recipients=tuple(addresses(original, "To", "Cc")),
        dates=(*stamps(original), *headers(original, "Date")),
    )


def _refused_ids(message: Message) -> list[str]:
    """The ids that a refusal in the form of a receipt gives (RFC 8098, 3.2.5)."""
    receipts = [part for part in parts(message) if part.get_content_type() == "message/disposition-notification"]
    fields = [header(block, "Original-Message-ID") for part in receipts for block in children(part)]
    return message_ids(" ".join(fields))


def _attached(message: Message) -> Message | None:
    for part in parts(message):
        if part is message:
            continue
        if part.get_content_type() in STATUS_TYPES:
            found = _strayed(part)
        else:
            found = _opened(part) if is_returned(part) else None
        if found is not None:
            return found
    return None


def _opened(part: Message) -> Message | None:
    """The returned mail in its part. Where no blank line ends the headers of the part, those of the
    returned mail stand among them."""
    inside = next(iter(children(part)), None)
    among = "Received" in part or "Message-ID" in part
    packed = None if among else unpacked(part)
    if packed:
        return _quoted(packed.decode("utf-8", "replace"))
    found = _better(inside) if inside is not None else None
    if found is not None and "Message-ID" in found:
        return found
    if among:
        return part
    return found if found is not None else _quoted(text_of(part))


def _better(inside: Message) -> Message:
    """The returned mail, or the headers in its body where a line without indent ended them too early."""
    if "Message-ID" in inside:
        return inside
    quoted = _quoted(text_of(inside))
    return quoted if "Message-ID" in quoted and len(quoted.keys()) >= notice.HEADER_RUN_MIN else inside


def _strayed(part: Message) -> Message | None:
    """The returned headers that a wrong boundary left among the fields of the report."""
    return next((one for one in children(part) if "Message-ID" in one), None)


def _quoted(text: str) -> Message:
    """The first headers that stand in a text, up to the blank line behind them; lines that are none are
    passed over, as systems wrap long ones without an indent and say in front of them what they left out."""
    kept: list[str] = []
    for line in text.split("\n"):
        if kept and not line.strip():
            break
        if _HEADER_LINE.match(line) or (kept and line[:1] in " \t"):
            kept.append(line)
    return email.message_from_string("\n".join(kept) + "\n\n")
