"""Lines of ServiceNow's incident audit log as rows: one save of an incident each, or a named refusal.

Only the columns in COLUMNS are read, whatever their order; why no others, and what a row means, is in `servicenow`.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from typing import Final

from schemas.events import EARLIEST, LATEST, Channel, Priority
from schemas.refusals import Reason, Refusal

MISSING: Final = "?"
COLUMNS: Final = (
    "number",
    "incident_state",
    "sys_mod_count",
    "caller_id",
    "opened_at",
    "sys_updated_by",
    "sys_updated_at",
    "contact_type",
    "priority",
    "assignment_group",
    "assigned_to",
)
LINE_CHARACTERS_MAX: Final = 65_536
VALUE_CHARACTERS_MAX: Final = 256
MOD_COUNT_MAX: Final = 99_999

PAUSES: Final[Mapping[str, str]] = {
    "Awaiting User Info": "pending_customer",
    "Awaiting Vendor": "third_party",
    "Awaiting Problem": "on_hold",
    "Awaiting Evidence": "on_hold",
}
ENDS: Final = frozenset({"Resolved", "Closed"})
STATES: Final = frozenset({"New", "Active", *PAUSES, *ENDS})
STATE_UNSAID: Final = frozenset({MISSING, "-100"})
# Self service is a ticket that the customer wrote into the desk himself; a `form` would be looked for a ticket (C14).
CHANNELS: Final[Mapping[str, Channel]] = {
    "Phone": Channel.PHONE,
    "IVR": Channel.PHONE,
    "Email": Channel.EMAIL,
    "Self service": Channel.TICKET,
    "Direct opening": Channel.TICKET,
}
PRIORITIES: Final[Mapping[str, Priority]] = {
    "1 - Critical": Priority.URGENT,
    "2 - High": Priority.HIGH,
    "3 - Moderate": Priority.NORMAL,
    "4 - Low": Priority.LOW,
}

_WHEN = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2})", re.ASCII)
_UNDECODED = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One save of an incident; None where the log says nothing. `minute` is the log's own wall time."""

    number: str
    at: datetime
    minute: str
    mod_count: int
    opened_at: datetime | None
    caller: str | None
    updated_by: str | None
    state: str | None
    channel: Channel | None
    priority: Priority | None
    group: str | None
    agent: str | None
    line: int = field(compare=False)

    @property
    def place(self) -> tuple[datetime, str, int]:
        """Where the row stands among those of its incident; two rows in one place would be one event."""
        return self.at, self.minute, self.mod_count


def read_rows(lines: Iterable[str | bytes], *, zone: tzinfo) -> Iterator[tuple[int, Row | Refusal]]:
    """The rows of a file by line number, the header being line 1; line 0 stands for a fault of the whole file.

    Bytes are UTF-8; a line that is not costs only itself. A gzip stream cut short and a text stream that cannot be
    decoded end the rows with a refusal. Blank lines are left out. Raises nothing for what the file holds.
    """
    for line, cells in _numbered(lines):
        yield line, cells if isinstance(cells, Refusal) else parse_row(line, cells, zone=zone)


def parse_row(line: int, cells: Mapping[str, str], *, zone: tzinfo) -> Row | Refusal:
    """One row from its values by column name; wall times are of `zone` with `fold=0` (C1)."""
    try:
        return _row(line, {name: _value(cells, name) for name in COLUMNS}, zone)
    except _FaultError as fault:
        return Refusal(reason=fault.reason, detail=f"line {line}: {fault.detail}", field=fault.column)


def _numbered(lines: Iterable[str | bytes]) -> Iterator[tuple[int, Mapping[str, str] | Refusal]]:
    """The rows by line number; line 0 stands for a fault of the whole file."""
    header: list[str] | None = None
    for number, line in _text(lines):
        if isinstance(line, Refusal):
            yield 0, line
            return
        if header is None:
            header = [name.strip() for name in _cells(line.removeprefix("\ufeff")) or ()]
            if (fault := _header_fault(number, header)) is not None:
                yield 0, fault
                return
        elif line.strip():
            yield number, _cut(number, line, header)
    if header is None:
        yield 0, Refusal(reason=Reason.BROKEN_ROW, detail="line 1: nothing there, wanted the header")


def _text(lines: Iterable[str | bytes]) -> Iterator[tuple[int, str | Refusal]]:
    number = 0
    try:
        for number, line in enumerate(lines, start=1):
            text: str = line.decode("utf-8", "surrogateescape") if isinstance(line, bytes) else line
            yield number, text
    except (EOFError, gzip.BadGzipFile, zlib.error) as broken:
        detail = f"after line {number}: {broken}; what was read before is kept"
        yield number, Refusal(reason=Reason.BROKEN_GZIP, detail=detail)
    except UnicodeDecodeError as broken:
        detail = f"after line {number}: {broken.reason}, wanted UTF-8; what was read before is kept"
        yield number, Refusal(reason=Reason.BROKEN_ENCODING, detail=detail)


def _cells(line: str) -> list[str] | None:
    try:
        return next(csv.reader([line.rstrip("\r\n")], strict=True), None)
    except csv.Error:
        return None


def _header_fault(number: int, header: list[str]) -> Refusal | None:
    if any(_UNDECODED.search(name) for name in header):
        return Refusal(reason=Reason.BROKEN_ENCODING, detail=f"line {number}: the header is not UTF-8")
    missing = [name for name in COLUMNS if name not in header]
    if not missing:
        return None
    found = ", ".join(header)[:80] or "nothing"
    detail = f"line {number}: no column {', '.join(missing)}; found {found}"
    return Refusal(reason=Reason.MISSING_FIELD, detail=detail, field=missing[0])


def _cut(number: int, line: str, header: list[str]) -> Mapping[str, str] | Refusal:
    if len(line) > LINE_CHARACTERS_MAX:
        detail = f"line {number}: {len(line)} characters, wanted at most {LINE_CHARACTERS_MAX}"
        return Refusal(reason=Reason.RECORD_TOO_LARGE, detail=detail)
    cells = _cells(line)
    if cells is None:
        return Refusal(reason=Reason.BROKEN_ROW, detail=f"line {number}: a quotation mark that is never closed")
    if len(cells) != len(header):
        return Refusal(reason=Reason.BROKEN_ROW, detail=f"line {number}: {len(cells)} values, wanted {len(header)}")
    return dict(zip(header, cells, strict=True))


class _FaultError(Exception):
    """Carries a refusal out of the parsing of one row; never leaves this module."""

    def __init__(self, reason: Reason, detail: str, column: str) -> None:
        super().__init__(detail)
        self.reason, self.detail, self.column = reason, detail, column


def _value(cells: Mapping[str, str], name: str) -> str:
    value = cells.get(name)
    if not isinstance(value, str):
        raise _FaultError(Reason.MISSING_FIELD, f"no {name}", name)
    if _UNDECODED.search(value):
        raise _FaultError(Reason.BROKEN_ENCODING, f"{name} is not UTF-8", name)
    if len(value) > VALUE_CHARACTERS_MAX:
        raise _FaultError(Reason.BROKEN_ROW, f"{name} has {len(value)} characters, wanted {VALUE_CHARACTERS_MAX}", name)
    return value.strip() or MISSING


def _row(line: int, values: Mapping[str, str], zone: tzinfo) -> Row:
    number, moment, opened = values["number"], values["sys_updated_at"], values["opened_at"]
    if number == MISSING:
        raise _FaultError(Reason.BROKEN_ROW, "no number, wanted the incident's", "number")
    at, minute = _instant("sys_updated_at", moment, zone)
    state = values["incident_state"]
    if state not in STATES and state not in STATE_UNSAID:
        detail = f"incident_state {state!r}, wanted one of {', '.join(sorted(STATES))}"
        raise _FaultError(Reason.UNKNOWN_VALUE, detail, "incident_state")
    priority = values["priority"]
    if priority not in PRIORITIES and priority != MISSING:
        detail = f"priority {priority!r}, wanted one of {', '.join(PRIORITIES)}"
        raise _FaultError(Reason.UNKNOWN_VALUE, detail, "priority")
    contact_type = values["contact_type"]
    return Row(
        number=number,
        at=at,
        minute=minute,
        mod_count=_mod_count(values["sys_mod_count"]),
        opened_at=None if opened == MISSING else _instant("opened_at", opened, zone)[0],
        caller=_said(values["caller_id"]),
        updated_by=_said(values["sys_updated_by"]),
        state=None if state in STATE_UNSAID else state,
        channel=None if contact_type == MISSING else CHANNELS.get(contact_type, Channel.OTHER),
        priority=PRIORITIES.get(priority),
        group=_said(values["assignment_group"]),
        agent=_said(values["assigned_to"]),
        line=line,
    )


def _said(value: str) -> str | None:
    return None if value == MISSING else value


def _mod_count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) <= MOD_COUNT_MAX):
        raise _FaultError(Reason.BROKEN_ROW, f"sys_mod_count {text!r}, wanted 0 to {MOD_COUNT_MAX}", "sys_mod_count")
    return int(text)


def _instant(column: str, text: str, zone: tzinfo) -> tuple[datetime, str]:
    moment = _utc(text, zone)
    if moment is None:
        raise _FaultError(Reason.BROKEN_ROW, f"{column} {text!r}, wanted d/m/yyyy HH:MM", column)
    if not EARLIEST <= moment[0] < LATEST:
        raise _FaultError(Reason.ABSURD_INSTANT, f"{column} {text!r}, wanted 1990 to 2199", column)
    return moment


@lru_cache(maxsize=65_536)
def _utc(text: str, zone: tzinfo) -> tuple[datetime, str] | None:
    """The instant of a wall time (`fold=0`, C1) and its sortable spelling; None if it is no date."""
    found = _WHEN.fullmatch(text)
    if found is None:
        return None
    day, month, year, hour, minute = map(int, found.groups())
    try:
        wall = datetime(year, month, day, hour, minute, tzinfo=zone)
        return wall.astimezone(UTC), f"{wall:%Y-%m-%dT%H:%M}"
    except (ValueError, OverflowError):
        return None
