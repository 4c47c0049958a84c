"""A mail as RFC 5322 and MIME have it: bytes to headers, addresses, ids and texts.

Everything here is lenient and bounded, because the bytes come from anywhere: broken charsets, folded
and encoded headers, missing boundaries, NULs. What a mail means (bounce, automatic reply, a customer's
words) does not belong here.
"""

from __future__ import annotations

import email
import email.header
import email.utils
import hashlib
import html
import re
from collections.abc import Iterator
from email.message import Message

PARSED_BYTES_MAX = 1 << 20
"""Longer mails are read up to here: headers, notice and report of a bounce come first."""
PARTS_MAX = 100
HEADER_CHARACTERS_MAX = 20_000
TEXT_CHARACTERS_MAX = 64_000
LINE_CHARACTERS_MAX = 2_000

_MULTIPART = re.compile(rb"^content-type:\s*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
_MESSAGE_ID = re.compile(r"<([^<>\s]{1,900})>")
_ADDRESS = re.compile(r"[^\s<>()\[\]\",:;@\\]{1,128}@[^\s<>()\[\]\",:;@\\]{1,255}")
_TAG = re.compile(r"<[^<>]{0,2000}>")
_INVISIBLE = re.compile(r"<(style|script|head)\b.{0,60000}?</\1\s*>", re.IGNORECASE | re.DOTALL)
_BREAK = re.compile(r"<(?:br|/?p|/?div|/?tr|/?td|/?li|/?h\d)\b[^<>]{0,2000}>", re.IGNORECASE)


class Unreadable(Exception):  # noqa: N818 - a mail is unreadable; it is never raised out of streams.ingest
    """The bytes are no mail that can be read within the bounds; the text says why."""


def parse(raw: bytes) -> Message:
    """The mail in `raw`, its first `PARSED_BYTES_MAX` bytes. Raises `Unreadable`."""
    data = _normal_lines(raw[:PARSED_BYTES_MAX])
    if len(_MULTIPART.findall(data)) > PARTS_MAX:
        raise Unreadable(f"more than {PARTS_MAX} nested parts")
    try:
        message = email.message_from_bytes(data)
    except (RecursionError, ValueError, LookupError, TypeError) as error:
        raise Unreadable(f"the mail cannot be taken apart: {type(error).__name__}") from error
    if not message.keys():
        raise Unreadable("no header at all" if data.strip() else "an empty mail")
    return message


def _normal_lines(data: bytes) -> bytes:
    data = data.removeprefix(b"\xef\xbb\xbf").replace(b"\x00", b"").lstrip(b"\r\n")
    if b"\n" not in data:
        return data.replace(b"\r", b"\n")
    return data


def digest(raw: bytes) -> str:
    """What identifies a mail without a Message-ID: the SHA-256 of all its bytes."""
    return "sha256:" + hashlib.sha256(raw).hexdigest()


def plain(value: object) -> str:
    """A header's value unfolded, in one line, with raw 8-bit octets read as UTF-8, else Latin-1."""
    text = str(value)[:HEADER_CHARACTERS_MAX]
    if any("\udc80" <= character <= "\udcff" for character in text):
        octets = text.encode("utf-8", "surrogateescape")
        try:
            text = octets.decode()
        except UnicodeDecodeError:
            text = octets.decode("latin-1")
    return " ".join(text.encode("utf-8", "replace").decode().split())


def header(message: Message, name: str) -> str:
    """The first header of that name in one line, encoded words left as they are; empty if absent."""
    return plain(message.get(name, ""))


def headers(message: Message, name: str) -> list[str]:
    """All headers of that name, topmost first."""
    return [plain(value) for value in message.get_all(name, [])[:PARTS_MAX]]


def decoded(text: str) -> str:
    """`text` with its encoded words (RFC 2047) decoded; what cannot be decoded stays."""
    if "=?" not in text:
        return text
    try:
        pieces = email.header.decode_header(text)
    except (ValueError, LookupError, email.errors.MessageError):
        return text
    return plain("".join(piece if isinstance(piece, str) else _characters(piece, charset) for piece, charset in pieces))


def _characters(octets: bytes, charset: str | None) -> str:
    for name in (charset or "ascii", "utf-8"):
        try:
            return octets.decode(name)
        except (LookupError, ValueError):
            continue
    return octets.decode("latin-1")


def address(text: str) -> str | None:
    """The first address in `text`, lower case; None where there is none."""
    found = _ADDRESS.search(text[:HEADER_CHARACTERS_MAX])
    return normal(found[0]) if found else None


def normal(candidate: str) -> str | None:
    """An address lower case without the marks around it; None where it cannot be one."""
    bare = candidate.strip().strip("<>'`*").rstrip(".,;:!?").lower()
    if bare.startswith("@") and ":" in bare:
        bare = bare.partition(":")[2]  # a source route (RFC 5321, appendix C)
    local, at, domain = bare.rpartition("@")
    return bare if at and local and domain.strip(".-") and len(bare) <= 320 else None


def addresses(message: Message, *names: str) -> list[str]:
    """The addresses in the headers of those names, lower case, in their order, each once."""
    values = [value for name in names for value in headers(message, name)]
    pairs = email.utils.getaddresses(values)
    found = [normal(spec) or address(spec) for _, spec in pairs if spec]
    return list(dict.fromkeys(one for one in found if one))


def message_ids(text: str) -> list[str]:
    """The message ids in a header, without their angle brackets; a bare word counts where none has any."""
    bracketed = _MESSAGE_ID.findall(text)
    if bracketed:
        return bracketed
    return [word for word in text.split()[:1] if "@" in word and "<" not in word]


def own_id(message: Message) -> str | None:
    """The message's own id, without angle brackets (RFC 5322, 3.6.4)."""
    text = header(message, "Message-ID")
    return next(iter(message_ids(text)), None) or (text.strip("<> ") or None)


def thread_root(message: Message) -> str | None:
    """The id of the first mail of the thread: the first of References, else of In-Reply-To; None for a
    mail that answers nothing."""
    for name in ("References", "In-Reply-To"):
        ids = message_ids(header(message, name))
        if ids:
            return ids[0]
    return None


def parts(message: Message) -> Iterator[Message]:
    """The message and its parts, outermost first, without what is inside attached messages."""
    waiting = [message]
    for _ in range(PARTS_MAX):
        if not waiting:
            return
        part = waiting.pop(0)
        yield part
        payload = part.get_payload()
        if part.get_content_maintype() == "multipart" and isinstance(payload, list):
            waiting = [one for one in payload if isinstance(one, Message)] + waiting


def text_of(part: Message) -> str:
    """The characters of a leaf, up to `TEXT_CHARACTERS_MAX`; markup is taken off HTML."""
    try:
        octets = part.get_payload(decode=True)
    except (ValueError, LookupError, AssertionError):
        octets = None
    if not isinstance(octets, bytes):
        return ""
    charset = part.get_content_charset() if part.get("content-type") else None
    text = _characters(octets[: TEXT_CHARACTERS_MAX * 4], charset)[: TEXT_CHARACTERS_MAX * 2]
    if part.get_content_subtype() == "html":
        text = html.unescape(_TAG.sub(" ", _BREAK.sub("\n", _INVISIBLE.sub(" ", text))))
    lines = text[:TEXT_CHARACTERS_MAX].replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line[:LINE_CHARACTERS_MAX] for line in lines)
