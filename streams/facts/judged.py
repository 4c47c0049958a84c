"""What judged clocks, as reports need it: calendars by version, and which of them each policy in force names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from schemas.policies import CalendarSpec, PolicyRecord
from streams.engine.calendar import Calendar


def calendars_of(
    records: Iterable[PolicyRecord], in_force: Mapping[str, Any]
) -> tuple[dict[str, Calendar], dict[str, str]]:
    """The calendars by content hash, and by the name of each policy the hash of its calendar. `in_force` is what
    `streams.promises` says is: of several records of one name its one holds. Raises ValidationError, KeyError."""
    found = sorted(records, key=lambda one: (one.name, one.hash))
    calendars = {
        record.hash: Calendar(record.name, CalendarSpec.model_validate(record.content))
        for record in found
        if record.kind == "calendar"
    }
    by_name = {calendar.name: version for version, calendar in calendars.items()} | dict(in_force.get("calendars", {}))
    chosen = set(in_force.get("policies", ()))
    policies = sorted((record for record in found if record.kind == "policy"), key=lambda one: one.hash in chosen)
    calendar_of = {record.name: by_name.get(record.content["calendar"], "") for record in policies}
    return calendars, calendar_of
