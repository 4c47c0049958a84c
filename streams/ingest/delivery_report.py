"""Delivery reports in the form of RFC 3464: which recipient came to what, and why.

The fields are read from a message/delivery-status part (RFC 6522 says where it stands) or, where a mail
lost its MIME structure, from the same fields in its text. Bounces in words, and what a failure means
for a contact, do not belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message

from streams.ingest.letter import address, children, normal, parts, plain, text_of, unpacked

STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
RECIPIENTS_MAX = 500

_FIELD = re.compile(r"^([A-Za-z][A-Za-z-]{1,60}?)[ \t]*:[ \t]*(.*)$")
_RECIPIENT_FIELDS = frozenset({"final-recipient", "original-recipient", "action", "status", "diagnostic-code"})
_MESSAGE_FIELDS = frozenset(
    {"reporting-mta", "arrival-date", "original-envelope-id", "received-from-mta", "dsn-gateway"}
)
_KNOWN = _RECIPIENT_FIELDS | _MESSAGE_FIELDS | {"remote-mta", "last-attempt-date", "will-retry-until", "final-log-id"}
_HEXCHAR = re.compile(r"\+(2B|3D)")

Fields = dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What came of one recipient, as the report has it. `action` is lower case, empty if not given."""

    recipient: str | None
    action: str
    status: str
    diagnostic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A delivery report. `envelope_id` is what the sender called the message (RFC 3461, 4.4);
    `dates` are those that the report gives, latest first, as text."""

    fates: tuple[Fate, ...]
    envelope_id: str | None = None
    dates: tuple[str, ...] = field(default=())


def report_in(message: Message) -> Report | None:
    """The delivery report of the mail, from its status part; None where it has none."""
    for part in parts(message):
        if part.get_content_type() in STATUS_TYPES:
            return _report(_groups(_status_lines(part)))
    return None


def report_in_text(text: str) -> Report | None:
    """The delivery report that stands as fields in a text, at its left margin; None where no recipient
    is among them."""
    lines = _embedded(text)
    report = _report(_groups(lines)) if lines else None
    return report if report and report.fates else None


def _status_lines(part: Message) -> list[str]:
    packed = unpacked(part)
    if packed:
        return packed.decode("utf-8", "replace").splitlines()
    lines: list[str] = []
    for block in children(part) or [part]:
        if block is not part:
            lines += [f"{name}: {plain(value)}" for name, value in block.raw_items()]
        lines += ["", *text_of(block).split("\n"), ""]
    return lines


def _embedded(text: str) -> list[str]:
    lines = text.split("\n")
    names = [_name(line) for line in lines]
    if "final-recipient" not in names and "original-recipient" not in names:
        return []
    first = next(index for index, name in enumerate(names) if name in _KNOWN)
    kept: list[str] = []
    for line, name in zip(lines[first:], names[first:], strict=True):
        if name and name not in _KNOWN and not name.startswith("x-"):
            break
        kept.append(line)
    return kept


def _name(line: str) -> str:
    found = _FIELD.match(line)
    return found[1].lower() if found else ""


def _groups(lines: list[str]) -> Iterator[Fields]:
    """The blocks of fields between blank lines, folded lines joined; a recipient's block also ends
    where its recipient or action is named again."""
    fields: Fields = {}
    last = ""
    for line in lines:
        found = _FIELD.match(line)
        if not line.strip():
            if fields:
                yield fields
            fields, last = {}, ""
        elif line[:1] in " \t" and last:
            fields[last] += " " + line.strip()
        elif found:
            last = found[1].lower()
            if last in fields and last in {"final-recipient", "action"}:
                yield fields
                fields = {}
            fields.setdefault(last, found[2].strip())
    if fields:
        yield fields


def _report(groups: Iterator[Fields]) -> Report:
    fates: list[Fate] = []
    shared: Fields = {}
    for fields in groups:
        if fields.keys() & _MESSAGE_FIELDS:
            shared = fields | shared
        if fields.keys() & _RECIPIENT_FIELDS and len(fates) < RECIPIENTS_MAX:
            fates.append(_fate(fields))
        shared.setdefault("last-attempt-date", fields.get("last-attempt-date", ""))
    dates = (shared.get("last-attempt-date", ""), shared.get("arrival-date", ""))
    envelope_id = xtext(shared.get("original-envelope-id", "")) or None
    return Report(fates=tuple(_merged(fates)), envelope_id=envelope_id, dates=tuple(date for date in dates if date))


def _merged(fates: list[Fate]) -> Iterator[Fate]:
    """One fate per recipient: a block that a blank line tore in two, one half without recipient, is one."""
    named = [fate for fate in fates if fate.recipient]
    stray = [fate for fate in fates if not fate.recipient]
    if len(named) != 1 or not stray:
        yield from named or fates
        return
    whole, *_ = named
    yield Fate(
        recipient=whole.recipient,
        action=whole.action or next((fate.action for fate in stray if fate.action), ""),
        status=whole.status or next((fate.status for fate in stray if fate.status), ""),
        diagnostic=whole.diagnostic or next((fate.diagnostic for fate in stray if fate.diagnostic), ""),
    )


def _fate(fields: Fields) -> Fate:
    recipient = None
    for name in ("original-recipient", "final-recipient", "x-actual-recipient"):
        recipient = recipient or typed_address(fields.get(name, ""))
    return Fate(
        recipient=recipient,
        action=fields.get("action", "").split("(")[0].strip().lower(),
        status=fields.get("status", ""),
        diagnostic=fields.get("diagnostic-code", ""),
    )


def typed_address(text: str) -> str | None:
    """The address of `rfc822;address` (RFC 3464, 2.3.1); xtext is decoded, as RFC 3461's ORCPT has it.
    What the sender named counts before what it became, so Original-Recipient is asked first."""
    local, at, domain = text.partition("@")
    value = (local.rpartition(";")[2] + at + domain).strip()  # the last type, as some write it twice
    return normal(xtext(value)) if re.fullmatch(r"\S+", value) else address(value)


def xtext(text: str) -> str:
    """`text` with `+2B` and `+3D` taken back to `+` and `=` (RFC 3461, 4). No other hex pair is, because
    most reports carry the address decoded already, where `+42` is somebody's tag."""
    return _HEXCHAR.sub(lambda found: chr(int(found[1], 16)), text)
