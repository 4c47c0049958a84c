"""Mistakes that two sections of a configuration make only together, and calendars that never open.

Each is a place in the raw document and what was found and wanted there, so that it can be said together with
everything else. What a section can say by itself is checked in `schemas.configuration`; lines are `settings`' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from schemas.configuration import Configuration
from schemas.events import EARLIEST, LATEST
from schemas.policies import Span, parse_span
from streams.engine.calendar import HORIZON_YEARS, Calendar, NeverOpens, to_us

Location = Sequence[str | int]
NEVER_OPENS: Final = "found closures over all of its hours, wanted some open time; it would never open"


def never_open(configuration: Configuration) -> Iterator[str]:
    """Calendars without any open time in the years that events may lie in (C1)."""
    for name, spec in configuration.calendars.items():
        calendar = Calendar(name, spec)
        if not any(_opens(calendar, year) for year in range(EARLIEST.year, LATEST.year, HORIZON_YEARS)):
            yield name


def _opens(calendar: Calendar, year: int) -> bool:
    try:
        calendar.due(to_us(datetime(year, 1, 1, tzinfo=UTC)), 1)
    except NeverOpens:
        return False
    return True


def across_sections(document: Mapping[str, Any]) -> list[tuple[Location, str]]:
    """What needs two sections at once; looked up in the raw document, so that it is said together with
    everything else."""
    found: list[tuple[Location, str]] = []
    calendars, policies = document.get("calendars"), document.get("policies")
    calendars = calendars if isinstance(calendars, dict) else {}
    seen: set[tuple[str, str]] = set()
    for index, policy in enumerate(policies if isinstance(policies, list) else []):
        if isinstance(policy, dict):
            found += [((("policies", index, *where)), what) for where, what in _of_policy(policy, calendars)]
            identity = (str(policy.get("name")), str(policy.get("effective_from")))
            if identity in seen:
                found.append(
                    (("policies", index, "name"), f"found {identity[0]!r} twice from the same day, wanted once")
                )
            seen.add(identity)
    alerts = document.get("alerts")
    return found + (list(_of_alerts(alerts)) if isinstance(alerts, dict) else [])


def _of_alerts(alerts: dict[str, Any]) -> Iterator[tuple[Location, str]]:
    """Receivers that routes and escalations name and nobody defines."""
    defined = [one for one in _listed(alerts.get("receivers")) if isinstance(one, dict)]
    known = {str(one.get("name", one.get("type"))) for one in defined}
    for section in ("escalations", "routes"):
        for index, step in enumerate(_listed(alerts.get(section))):
            names = step.get("receivers") if isinstance(step, dict) else None
            for number, name in enumerate(_listed(names)):
                if isinstance(name, str) and name not in known:
                    wanted = ", ".join(sorted(known)) or "none is defined"
                    where = ("alerts", section, index, "receivers", number)
                    yield where, f"found {name!r}, wanted one of the receivers ({wanted})"


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _of_policy(policy: dict[str, Any], calendars: dict[str, Any]) -> list[tuple[Location, str]]:
    name = policy.get("calendar")
    if not isinstance(name, str):
        return []
    if name not in calendars:
        known = ", ".join(map(str, calendars)) or "none is defined"
        return [(("calendar",), f"found {name!r}, wanted one of the calendars ({known})")]
    calendar = calendars[name]
    if not isinstance(calendar, dict) or calendar.get("always_open"):
        return []
    return [(where, _no_days(span, name)) for where, span in _spans(policy) if span.calendar_days]


def _spans(policy: Mapping[str, Any]) -> list[tuple[Location, Span]]:
    written: list[tuple[Location, object]] = [(("dead_end_after",), policy.get("dead_end_after"))]
    tables: list[tuple[Location, object]] = [(("targets",), policy.get("targets"))]
    by_priority = policy.get("priority_targets")
    if isinstance(by_priority, dict):
        tables += [(("priority_targets", priority), targets) for priority, targets in by_priority.items()]
    for where, targets in tables:
        written += [((*where, name), value) for name, value in targets.items()] if isinstance(targets, dict) else []
    spans: list[tuple[Location, Span]] = []
    for where, value in written:
        with suppress(ValueError):  # said by the record itself
            spans.append((where, parse_span(value)))
    return spans


def _no_days(span: Span, calendar: str) -> str:
    days, rest = divmod(span.seconds, 86_400)
    hours = f"{days * 8}h" if not rest else f"{days * 8 + rest // 3_600}h"
    return (
        f"found days on calendar {calendar!r}, which is not always open; write working days ({max(days, 1)}wd: due at "
        f"the end of that open day) or open time (such as {hours})"
    )
