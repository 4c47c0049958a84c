"""When a mail was written: its Date, or what the servers on its way stamped on it.

Only instants with a zone count (a naive one would be a guess). What is done with the instant does not
belong here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime

from schemas.events import EARLIEST, LATEST
from schemas.refusals import Reason, Refusal
from streams.ingest.letter import header, headers

AHEAD_MAX = timedelta(minutes=5)
"""A Date further ahead of the receiving server's clock than this is the sender's clock gone wrong."""

_UNIVERSAL = re.compile(r"(?:[-+]0000|\b(?:GMT|UTC?|Z))\s*(?:\([^()]*\))?\s*$", re.IGNORECASE)


def instant(text: str) -> datetime | None:
    """The instant of an RFC 5322 date, in UTC; None where it is no date, has no zone or is absurd.
    `-0000` is an instant of unknown local zone (RFC 5322, 3.3), hence UTC; a zone known only by
    letters that RFC 5322 does not list is none."""
    try:
        found = parsedate_to_datetime(text[:200])
        if found.tzinfo is None:
            if not _UNIVERSAL.search(text[:200]):
                return None
            found = found.replace(tzinfo=UTC)
        found = found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found if EARLIEST <= found < LATEST else None


def written_at(message: Message, otherwise: Iterable[str] = ()) -> datetime | Refusal:
    """When the mail was written: its Date; where that is missing, naive, absurd or more than
    `AHEAD_MAX` ahead of the topmost Received, the topmost Received that has an instant; else the first
    instant among the dates `otherwise` (a bounce without any says at least when the returned mail
    was under way, which is before it)."""
    date = header(message, "Date")
    written = instant(date)
    received = first_instant(stamps(message))
    if written and (received is None or written <= received + AHEAD_MAX):
        return written
    found = received or first_instant(otherwise)
    return found or _undated(date)


def stamps(message: Message) -> list[str]:
    """The dates of the Received headers, topmost (latest) first."""
    return [text.rpartition(";")[2].strip() for text in headers(message, "Received") if ";" in text]


def first_instant(texts: Iterable[str]) -> datetime | None:
    """The first of the dates that is an instant."""
    return next((found for found in map(instant, texts) if found), None)


def _undated(date: str) -> Refusal:
    try:
        naive = parsedate_to_datetime(date[:200]).tzinfo is None
    except (ValueError, TypeError, OverflowError, IndexError):
        naive = True
    wanted = "wanted a Date or Received with a zone between 1990 and 2200"
    if naive:
        return Refusal(reason=Reason.NAIVE_INSTANT, detail=f"no instant in Date or Received, {wanted}", field="time")
    return Refusal(reason=Reason.ABSURD_INSTANT, detail=f"an absurd Date and no Received, {wanted}", field="time")
