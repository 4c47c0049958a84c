"""`heardback report`, and the same over HTTP: facts in, a document out. What it says is `streams.reports`' business."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, overload

from sqlalchemy import URL

from schemas.configuration import Configuration, FactsSpec, ReportSpec
from streams import facts as kept
from streams import settings
from streams.facts import FactsError, NoFacts, Store
from streams.facts.store import UNREACHABLE, Span
from streams.gateway import Document, ReportsAway
from streams.reports import CONTENT_TYPES, FORMATS, LATER_FORMATS, Facts, Week, WeekReport, page, render, weekly
from streams.transport.sqlite import path_of

FACTS_FILE: Final = "facts.sqlite3"
WEEKS_LINKED: Final = 12
READ_SECONDS: Final = 60.0


class NoReport(Exception):  # noqa: N818 - what the caller is told
    """There is nothing to report from; the message says what there is instead."""


@overload
def store_url(spec: FactsSpec, data: Path) -> str | URL: ...
@overload
def store_url(spec: FactsSpec, data: Path | None) -> str | URL | None: ...
def store_url(spec: FactsSpec, data: Path | None) -> str | URL | None:
    """Where the facts are: as configured, else under `data`; None without either. Raises FactsError where the file
    with the URL cannot be read."""
    if spec.url_file is not None:
        try:
            return Path(spec.url_file).read_text(encoding="utf-8").strip()
        except (OSError, ValueError) as unreadable:
            why = getattr(unreadable, "strerror", None) or "is not UTF-8"
            raise FactsError(f"facts.url_file {spec.url_file}: {why}") from None
    if spec.url is not None or data is None:
        return spec.url
    return URL.create("sqlite", database=str(data.absolute() / FACTS_FILE))


def data_of(broker: str | None, data: Path) -> Path:
    """The folder for what a process keeps: that of an embedded broker that was named, else `data`."""
    return path_of(broker).parent if broker is not None and broker.startswith("sqlite:") else data


def configuration(path: Path | None, environment: Mapping[str, str]) -> Configuration:
    """The configuration named, else `heardback.yaml` where it is, else what the environment says. Raises
    ConfigurationError."""
    if path is None and not Path("heardback.yaml").exists():
        return settings.parse(b"", file="environment", environment=environment)
    return settings.load(path or Path("heardback.yaml"), environment)


def format_of(wanted: str | None, out: Path | None) -> str:
    """The format asked for, else that of the file's name, else HTML. Raises ValueError for one that there is not."""
    suffix = out.suffix.removeprefix(".").lower() if out is not None else ""
    chosen = wanted or (suffix if suffix in (*FORMATS, *LATER_FORMATS) else FORMATS[0])
    if chosen in LATER_FORMATS:
        raise ValueError(f"format {chosen} cannot be written yet, wanted one of {', '.join(FORMATS)}")
    if chosen not in FORMATS:
        raise ValueError(f"found format {chosen!r}, wanted one of {', '.join(FORMATS)}")
    return chosen


def from_folder(folder: Path, week: str | None, spec: ReportSpec) -> WeekReport:
    """The report of a week (default: the last whole one) from a replay's `--out`. Raises FactsError, NotAWeek,
    NoReport."""
    facts = kept.load(folder)
    chosen = _chosen(week, facts.known_until, spec)
    began = [one.started_at for one in facts.outcomes] + [one.started_at for one in facts.journeys]
    return _reported(facts, chosen, str(folder), min(began, default=facts.known_until))


def from_store(url: str | URL, week: str | None, spec: ReportSpec) -> WeekReport:
    """The same from the facts store. Raises also one of `UNREACHABLE`."""
    return asyncio.run(_from_store(Store(url), week, spec))


async def _from_store(store: Store, week: str | None, spec: ReportSpec) -> WeekReport:
    try:
        span = await store.span() if store.exists else None
        if span is None:
            raise NoReport(f"{store}: there are no facts yet; `heardback run` keeps them under --data")
        chosen = _chosen(week, span.known_until, spec)
        return _reported(await store.facts(chosen.starts_at, chosen.ends_at), chosen, str(store), span.began_at)
    finally:
        await store.close()


def _chosen(name: str | None, known_until: datetime, spec: ReportSpec) -> Week:
    """The week named, else the last one that was over by then."""
    if name is not None:
        return Week.parse(name, time_zone=spec.time_zone, starts_on=spec.week_starts)
    return Week.holding(known_until, time_zone=spec.time_zone, starts_on=spec.week_starts).before()


def _reported(facts: Facts, week: Week, where: str, began_at: datetime) -> WeekReport:
    report = weekly(facts, week)
    if report.empty:
        known = f"what is known lies between {began_at:%Y-%m-%d} and {facts.known_until:%Y-%m-%d}"
        raise NoReport(f"{where}: there are no facts of week {week.name}; {known}")
    return report


class Reports:
    """What HTTP asks for. One report is made at a time, beside the event loop."""

    def __init__(self, store: Store, spec: ReportSpec) -> None:
        self._store = store
        self._spec = spec
        self._making = asyncio.Lock()

    async def document(self, name: str, to: str) -> Document | None:
        """The report of a week; None where nothing is known of it. Raises ValueError for what is no week or no format,
        ReportsAway where the facts cannot be read."""
        week, to = _chosen(name, datetime.max.replace(tzinfo=UTC), self._spec), format_of(to, None)
        try:
            async with asyncio.timeout(READ_SECONDS), self._making:
                span = await self._store.span() if self._store.exists else None
                facts = await self._store.facts(week.starts_at, week.ends_at) if span else None
                if span is None or facts is None:
                    return None
                return await asyncio.to_thread(_document, facts, week, to, self._weeks(span))
        except NoFacts:
            return None
        except (FactsError, *UNREACHABLE) as away:
            raise ReportsAway(type(away).__name__) from away

    def _weeks(self, span: Span) -> list[str]:
        """The last weeks of which something may be known, the newest first."""
        newest = Week.holding(span.known_until, time_zone=self._spec.time_zone, starts_on=self._spec.week_starts)
        weeks = [newest.before(back) for back in range(WEEKS_LINKED)]
        return [week.name for week in weeks if week.ends_at > span.began_at]


def _document(facts: Facts, week: Week, to: str, weeks: list[str]) -> Document | None:
    report = weekly(facts, week)
    if report.empty:
        return None
    if to == "html":
        shown = page(report, weeks)
        return Document(body=shown.text.encode(), content_type=CONTENT_TYPES[to], style=shown.style)
    return Document(body=render(report, to), content_type=CONTENT_TYPES[to])
