"""A report as bytes: `render(report, format)`, the same bytes for the same report.

HTML is made to be mailed, printed and opened from a file: its styles are on its elements, it loads nothing and runs no
script. `page` is the same for a browser that asks us, with links to other weeks. JSON and CSV have every row, HTML and
Markdown the first of long lists and how many more there are. Whatever customers may have written is escaped, in each
format by its own rules.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import css_inline
import orjson
from jinja2 import Environment, PackageLoader, StrictUndefined

from streams.reports import wording
from streams.reports.customers import Wait
from streams.reports.shares import Quantile, Share
from streams.reports.week import Week
from streams.reports.weekly import WeekReport

CONTENT_TYPES: Final[Mapping[str, str]] = {
    "html": "text/html",
    "md": "text/markdown",
    "json": "application/json",
    "csv": "text/csv",
}
FORMATS: Final = tuple(CONTENT_TYPES)
LATER_FORMATS: Final = ("xlsx", "pdf")
"""Formats that heardback has a name for and cannot write yet."""

ROWS_MAX: Final = 20
"""Rows of a list that HTML and Markdown show."""

_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>#|~&@]|:(?=//)|(?<=www)\.)", re.IGNORECASE)
_BLANK: Final = re.compile(r"\s+")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_DEAD_ENDS: Final = {"bounced": "bounced at our side", "no_ticket": "became no ticket"}
_STOOD: Final = {"late": "answered late", "unanswered": "not answered there", "closed": "closed unanswered"}


class Page(NamedTuple):
    """A page for a browser, and the style in it, whose hash a content security policy may name."""

    text: str
    style: str


def render(report: WeekReport, to: str) -> bytes:
    """The report in one of `FORMATS`. Raises KeyError for another."""
    writers: Mapping[str, Callable[[WeekReport], bytes]] = {
        "html": _html,
        "md": lambda told: _templates(markdown=True).get_template("week.md").render(_words(told, ())).encode(),
        "json": lambda told: (
            orjson.dumps(told, _plain, orjson.OPT_INDENT_2 | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_UTC_Z)
            + b"\n"
        ),
        "csv": _csv,
    }
    return writers[to](report)


def page(report: WeekReport, weeks: Sequence[str]) -> Page:
    """The report for a browser, with links to `weeks`, each by its name."""
    templates = _templates()
    text = templates.get_template("week.html").render(_words(report, weeks))
    return Page(text, str(templates.globals["style"]))


def _html(report: WeekReport) -> bytes:
    text = _templates().get_template("week.html").render(_words(report, ()))
    inliner = css_inline.CSSInliner(keep_at_rules=True, load_remote_stylesheets=False)
    return inliner.inline(text).encode() + b"\n"


# -- words for templates


def _templates(*, markdown: bool = False) -> Environment:
    """HTML escapes by itself; in Markdown everything that is not the template's own is escaped by `finalize`."""
    loader = PackageLoader("streams.reports")
    templates = Environment(
        loader=loader,
        autoescape=not markdown,  # noqa: S701
        finalize=markdown_text if markdown else None,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(
        wall=wording.wall, open=wording.opened, percent=wording.percent, words=wording.words, counted=wording.counted,
        within=_within, days=_days, is_link=_is_link,
    )  # fmt: skip
    templates.globals.update(
        style=loader.get_source(templates, "week.css")[0], dead_end=_DEAD_ENDS, stood=_STOOD, rows_max=ROWS_MAX
    )
    return templates


def _words(report: WeekReport, weeks: Sequence[str]) -> dict[str, Any]:
    week = Week.parse(report.week)
    return {
        "report": report,
        "weeks": weeks,
        "title": f"Did every customer hear back? Week {week.number} of {week.year}",
        "days": _between(report),
        "local": lambda instant: wording.local(instant, report.time_zone, week.year),
        "targets": [one.target for one in report.targets],
    }


def _between(report: WeekReport) -> str:
    """`Mon 9 Nov 2026 to Sun 15 Nov 2026, Europe/London`: its first and last day."""
    zone = ZoneInfo(report.time_zone)
    first, last = report.starts_at.astimezone(zone), report.ends_at.astimezone(zone) - timedelta(hours=12)
    return f"{first:%a} {first.day} {first:%b %Y} to {last:%a} {last.day} {last:%b %Y}, {report.time_zone}"


def _within(quantile: Quantile, kind: str) -> str:
    """`1 h 30 min`, or `over 1 h 30 min` where fewer had been answered by then."""
    said = wording.opened if kind == "open time" else wording.wall
    if quantile.seconds is not None:
        return said(quantile.seconds)
    return f"over {said(quantile.at_least)}"


def _days(wait: Wait) -> str:
    """`4 working days and 2 others`; nothing where the calendar is not known."""
    if wait.days is None or wait.working_days is None:
        return ""
    working = wording.counted(wait.working_days, "working day")
    others = wait.days - wait.working_days
    return f"{working} and {wording.counted(others, 'other')}" if others else working


def _is_link(text: str | None) -> bool:
    """Whether a browser may follow it: nothing but HTTP."""
    return text is not None and text.startswith(("http://", "https://"))


def markdown_text(value: object) -> object:
    """A value that Markdown shows as it is: on one line, and no markup, table or link in it."""
    if not isinstance(value, str):
        return value
    return _MARKDOWN.sub(r"\\\1", _BLANK.sub(" ", value))


# -- JSON and CSV


def _plain(value: object) -> Any:
    """Records by their fields, and shares with what follows from them."""
    if not is_dataclass(value):
        raise TypeError(type(value).__name__)
    content = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Share):
        content |= {"n": value.n, "kept_share": value.kept_share}
    return content


def _csv(report: WeekReport) -> bytes:
    """One number a line, in RFC 4180: part, whom or what it is about, target, measure, value, n."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["week", "part", "subject", "target", "measure", "value", "n"])
    for row in _rows(report):
        writer.writerow([report.week, *(_cell(value) for value in row)])
    return text.getvalue().encode()


def _rows(report: WeekReport) -> Iterator[tuple[object, ...]]:
    yield ("headline", "", "", "text", report.headline, "")
    yield ("headline", "", "", "until", _utc(report.until), "")
    yield from _shares("answers", "", "", report.answers)
    for one in report.targets:
        yield from _shares("target", "", one.target, one.share)
    for found in report.breakdowns:
        for row in found.rows:
            for one in row.targets:
                yield from _shares(found.by, row.value or "", one.target, one.share)
    for waits in report.waits:
        for kind, quantiles in (("open", waits.open), ("wall", waits.wall)):
            for quantile in quantiles:
                measure = f"{kind}_seconds_{quantile.share:g}" + ("" if quantile.seconds is not None else "_at_least")
                yield ("waits", "", waits.target, measure, quantile.at_least, waits.n)
    yield from _customers(report)
    for kind, count in report.alerts.items():
        yield ("alerts", kind, "", "fired", count, "")


def _shares(part: str, subject: str, target: str, share: Share) -> Iterator[tuple[object, ...]]:
    yield (part, subject, target, "kept_share", "" if share.kept_share is None else share.kept_share, share.n)
    for measure in ("kept", "late", "unanswered", "closed"):
        yield (part, subject, target, measure, getattr(share, measure), share.n)


def _customers(report: WeekReport) -> Iterator[tuple[object, ...]]:
    for one in report.let_down:
        yield ("let_down", one.customer_id, "", "wall_seconds", one.wall_seconds, "")
        for wait in one.waits:
            yield ("let_down", one.customer_id, "", "attempts", len(wait.tries), "")
            yield ("let_down", one.customer_id, "", "open_seconds", _known(wait.open_seconds), "")
            yield ("let_down", one.customer_id, "", "answered_at", _utc(wait.ended_at), "")
        for promise in one.promises:
            yield ("let_down", one.customer_id, promise.target, promise.stood, promise.contact_id, "")
    for waiting in report.waiting:
        yield ("waiting", waiting.customer_id, "", "wall_seconds", waiting.wait.wall_seconds, "")
        yield ("waiting", waiting.customer_id, "", "open_seconds", _known(waiting.wait.open_seconds), "")
        yield ("waiting", waiting.customer_id, "", "overdue_since", _utc(waiting.overdue_since), "")
    yield ("waiting", "", "", "closed_on", report.closed_on, "")
    for dead_end in report.dead_ends:
        yield ("dead_ends", dead_end.customer_id, "", dead_end.kind, dead_end.contact_id, "")
    for taken in report.taken_back:
        yield ("taken_back", taken.customer_id, taken.target, "bounced_at", _utc(taken.bounced_at), "")
    for close in report.silent_closes:
        yield ("silent_closes", close.customer_id, "", "closed_at", _utc(close.closed_at), "")


def _known(value: float | None) -> object:
    return "" if value is None else value


def _utc(instant: Any) -> str:
    return "" if instant is None else instant.isoformat().replace("+00:00", "Z")


def _cell(value: object) -> object:
    """Text that a spreadsheet would run as a formula begins with an apostrophe (OWASP, CSV injection)."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
