"""A customer's notification (`alerting.waits`) in words for people: a headline, and a line per contact. Pure.

Plain text without control characters; how a receiver marks it up and escapes it is the receiver's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from yarl import URL

from alerting.notify import UNDELIVERED, Notice

MARKS: Final = {"warning": "warning", "page": "PAGE", "critical": "CRITICAL"}
GRAVITY: Final = tuple(MARKS)
TEXT_CHARACTERS: Final = 1_000
FACT_CHARACTERS: Final = 500
_LINKS: Final = (("url", "contact"), ("board_url", "explanation"), ("runbook_url", "runbook"))
_FACTS: Final = (
    ("promised", "promised"), ("waited_open", "waited, open time"), ("waited_wall", "waited"),
    ("channels_tried", "channels tried"), ("explanation", "explanation"), (UNDELIVERED, "undelivered"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One contact of a customer: how grave it is or how it ended (`mark`), what there is to say, and addresses
    with what they lead to."""

    mark: str
    kind: str
    contact_id: str
    text: str
    over: bool
    links: Sequence[tuple[str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()


def headline(record: Mapping[str, Any]) -> str:
    """`PAGE: customer c-17, 3 contacts`; `answered: customer c-17`."""
    who = whom(record)
    if record["state"] != "firing":
        return printable(f"{record['resolution']}: {who}")
    many = f", {record['count']} alerts" if record["count"] > 1 else ""
    return printable(f"{MARKS[record['severity']]}: {who}{many}")


def whom(record: Mapping[str, Any]) -> str:
    """`customer c-17`; of an alert that is of no customer what it is: `silent source`."""
    customer_id = record["customer_id"]
    return printable(f"customer {customer_id}" if customer_id is not None else record["kind"].replace("_", " "))


def lines(record: Mapping[str, Any]) -> list[Line]:
    """What fires, the gravest first, then what has ended."""
    return [*map(_line, record["lines"]), *map(_line, record["ended"])]


def more(record: Mapping[str, Any]) -> int:
    """How many lines are not among `lines`."""
    return max(0, int(record["count"]) - len(record["lines"]))


def why_here(record: Mapping[str, Any]) -> str:
    """Which receiver could not be told, where this one is told instead; else empty."""
    reasons = [line["annotations"].get(UNDELIVERED) for line in record["lines"]]
    found = next((reason for reason in [record["annotations"].get(UNDELIVERED), *reasons] if reason), None)
    return "" if found is None else printable(f"Told here because it could not be delivered to {found}")


def gravest_first(notices: Sequence[Notice]) -> list[Notice]:
    """In the order in which a digest shows them: what fires before what has ended, the gravest and the longest
    waiting first."""

    def order(notice: Notice) -> tuple[bool, int, str]:
        record = notice.record
        return record["state"] != "firing", -GRAVITY.index(record["severity"]), str(record["starts_at"])

    return sorted(notices, key=order)


def counted(notices: Sequence[Notice]) -> str:
    """`12 customers wait, 3 no longer`."""
    waiting = sum(notice.record["state"] == "firing" for notice in notices)
    over = len(notices) - waiting
    said = f"{waiting} {'customer waits' if waiting == 1 else 'customers wait'}"
    return f"{said}, {over} no longer" if over else said


def web_address(text: object) -> str | None:
    """An address that may be shown as a link: of the web, and without anything that could end a link early."""
    if not isinstance(text, str) or not text.startswith(("http://", "https://")):
        return None
    try:
        found = str(URL(text))
    except ValueError:
        return None
    return None if any(char in found for char in "<>|\"' \\") or not found.isprintable() else found


def printable(text: str) -> str:
    """Without control characters, line breaks and marks that turn the direction of writing."""
    return "".join(char if char.isprintable() else " " for char in text)


def shortened(text: str, most: int) -> str:
    """At most so many characters; `…` where something is missing."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _line(alert: Mapping[str, Any]) -> Line:
    annotations = alert["annotations"]
    firing = alert.get("resolution") is None
    addresses = [(name, web_address(annotations.get(key))) for key, name in _LINKS]
    return Line(
        mark=MARKS[alert["severity"]] if firing else printable(str(alert["resolution"])),
        kind=alert["kind"].replace("_", " "),
        contact_id=printable(alert["contact_id"] or ""),
        text=shortened(printable(alert["summary"]), TEXT_CHARACTERS),
        over=not firing,
        links=tuple((name, address) for name, address in addresses if address is not None),
        facts=tuple(
            (name, shortened(printable(str(annotations[key])), FACT_CHARACTERS))
            for key, name in _FACTS
            if annotations.get(key)
        ),
    )
