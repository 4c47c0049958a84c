"""A mail as RFC 5322 and MIME have it: bytes to headers, addresses, ids and texts.

Everything here is lenient and bounded, because the bytes come from anywhere: broken charsets, folded
and encoded headers, missing boundaries, NULs. What a mail means (bounce, automatic reply, a customer's
words) does not belong here.
"""

from __future__ import annotations

import base64
import email
import email.header
import email.utils
import hashlib
import html
import re
from collections.abc import Iterator
from email.message import Message
from itertools import islice

PARSED_BYTES_MAX = 1 << 19
"""Longer mails are read up to here: headers, notice and report of a bounce come first."""
PARTS_MAX = 50
"""Deeper or longer structures are read up to here, as the parser's work is depth times lines."""
STRAY_LINES_MAX = 3
HEADER_CHARACTERS_MAX = 20_000
TEXT_CHARACTERS_MAX = 64_000
LINE_CHARACTERS_MAX = 2_000

_HOLDER = re.compile(rb"^content-type:\s*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
_HEADERS_END = re.compile(rb"\n\r?\n")
_BLANK = re.compile(rb"[ \t]+:")
_PARSED = re.compile(rb"From |[!-9;-~]+:|[ \t\r\n]")
_KNOWN = re.compile(
    rb"(?:from|to|cc|date|subject|message-id|received|return-path|sender|reply-to|in-reply-to|references"
    rb"|auto-submitted|precedence|content-type|mime-version)[ \t]*:",
    re.IGNORECASE,
)
_MESSAGE_ID = re.compile(r"<([^<>\s]{1,900})>")
_ADDRESS = re.compile(r"[^\s<>()\[\]\",:;@\\]{1,128}@[^\s<>()\[\]\",:;@\\]{1,255}")
_TAG_NAME = re.compile(r"/?[a-zA-Z0-9]{1,10}")
_HIDDEN = frozenset({"style", "script", "head", "title"})
_BREAKS = frozenset({"br", "p", "div", "tr", "td", "li", "h1", "h2", "h3", "h4", "table", "pre"})


class Unreadable(Exception):  # noqa: N818 - a mail is unreadable; it is never raised out of streams.ingest
    """The bytes are no mail that can be read within the bounds; the text says why."""


def parse(raw: bytes) -> Message:
    """The mail in `raw`, up to `PARSED_BYTES_MAX` bytes and `PARTS_MAX` parts that hold others. Raises
    `Unreadable`."""
    data = _without_strays(_normal_lines(raw[:PARSED_BYTES_MAX]))
    beyond = next(islice(_HOLDER.finditer(data), PARTS_MAX, None), None)
    try:
        message = email.message_from_bytes(data[: beyond.start()] if beyond else data)
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


def _without_strays(data: bytes) -> bytes:
    """`data` without the few lines among its headers that are none, such as `>From `: the parser takes all
    behind the first for the body. A blank before a colon goes too (RFC 5322, 4.5)."""
    end = _HEADERS_END.search(data)
    head = data[: end.start() + 1] if end else data
    lines = head.splitlines(keepends=True)
    strays = [index for index, line in enumerate(lines) if not _PARSED.match(line)]
    if not 0 < len(strays) <= STRAY_LINES_MAX:
        return data
    last = max((index for index, line in enumerate(lines) if _KNOWN.match(line)), default=-1)
    for index in strays:
        if index <= last:
            lines[index] = _BLANK.sub(b":", lines[index], count=1) if _KNOWN.match(lines[index]) else b""
    return b"".join(lines) + data[len(head) :]


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
    return " ".join(sound(text).split())


def header(message: Message, name: str) -> str:
    """The first header of that name in one line, encoded words left as they are; empty if absent."""
    return next(iter(headers(message, name)), "")


def headers(message: Message, name: str) -> list[str]:
    """All headers of that name, topmost first."""
    wanted = name.lower()
    raw = (value for one, value in message.raw_items() if one.lower() == wanted)
    return [plain(value) for value in islice(raw, PARTS_MAX)]


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
        if part.get_content_maintype() == "multipart":
            waiting = children(part) + waiting


def children(part: Message) -> list[Message]:
    """What the part holds: parts of a multipart, the mail of a message/rfc822, the blocks of a report."""
    payload = part.get_payload() if part.is_multipart() else []
    return [one for one in payload if isinstance(one, Message)] if isinstance(payload, list) else []


def unpacked(part: Message) -> bytes | None:
    """What a report or an attached mail holds, where it is in base64, which MIME forbids for these and some
    write all the same (RFC 2046, 5.2.1); None where it is not."""
    if header(part, "Content-Transfer-Encoding").strip().lower() != "base64":
        return None
    lines = "".join(str(one.get_payload()) for one in children(part) if not one.keys())
    try:
        return base64.b64decode(lines[:PARSED_BYTES_MAX])
    except ValueError:
        return None


def sound(text: str) -> str:
    """`text` without the halves of characters that a wrong charset leaves."""
    return text.encode("utf-8", "replace").decode()


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
        text = _without_markup(text)
    lines = sound(text[:TEXT_CHARACTERS_MAX]).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line[:LINE_CHARACTERS_MAX] for line in lines)


def _without_markup(text: str) -> str:
    """The words of HTML: tags become spaces, those of blocks new lines; styles and scripts go."""
    first, *pieces = text.split("<")
    kept = [first]
    hidden = ""
    for piece in pieces:
        inside, closed, words = piece.partition(">")
        found = _TAG_NAME.match(inside)
        if not (found and closed):
            kept.append("" if hidden else "<" + piece)
            continue
        name = found[0].lower()
        if not hidden:
            hidden = "/" + name if name in _HIDDEN else ""
        elif name == hidden:
            hidden = ""
        kept.append("" if hidden else ("\n" if name.strip("/") in _BREAKS else " ") + words)
    return html.unescape("".join(kept))
