"""Open time by the calendars that judged: those of topic `policies`, by their content hash.

How much open time there is between two instants is the engine's to say; here stands whose calendar is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from schemas.policies import CalendarSpec, PolicyRecord
from streams.engine.calendar import Calendar, to_us

UTC_ZONE: Final = ZoneInfo("UTC")


class Calendars:
    """The calendars known so far, which of them a policy in force names, and when heardback first ran."""

    def __init__(self) -> None:
        self.version = 0
        self.first_start_us: int | None = None
        self._specs: dict[str, tuple[str, CalendarSpec]] = {}
        self._built: dict[str, Calendar] = {}
        self._calendar_of_policy: dict[str, str] = {}
        self._policies: dict[str, Mapping[str, Any]] = {}
        self._in_force: Mapping[str, Any] | None = None

    def take(self, record: PolicyRecord) -> None:
        """Take in a record of topic `policies`. Raises KeyError, ValueError for one that makes no sense."""
        self.version += 1
        match record.kind:
            case "calendar":
                self._specs[record.hash] = (record.name, CalendarSpec.model_validate(record.content))
            case "policy":
                self._policies[record.hash] = record.content
            case "in_force":
                self._in_force = record.content
            case "first_start":
                self.first_start_us = to_us(datetime.fromisoformat(record.content["at"]))
        self._name_calendars()

    def _name_calendars(self) -> None:
        """By a policy's name the version of its calendar, as far as all of it is known."""
        if self._in_force is None:
            return
        versions = self._in_force["calendars"]
        known = [self._policies[version] for version in self._in_force["policies"] if version in self._policies]
        self._calendar_of_policy = {
            policy["name"]: versions[policy["calendar"]] for policy in known if policy["calendar"] in versions
        }

    def version_of(self, policy: str | None) -> str:
        """The version of the calendar of a policy in force; empty where that is not known."""
        return self._calendar_of_policy.get(policy, "") if policy else ""

    def past_us(self, version: str, deadline_us: int, now_us: int) -> int:
        """Open microseconds since the deadline; before it, less than 0: the open time that is left. Where the
        calendar is not known, wall time."""
        calendar = self._calendar(version)
        if calendar is None:
            return now_us - deadline_us
        if deadline_us <= now_us:
            return calendar.elapsed(deadline_us, now_us)
        return -calendar.elapsed(now_us, deadline_us)

    def knows(self, version: str) -> bool:
        """Whether open time of this calendar can be told."""
        return version in self._specs

    def zone(self, version: str) -> ZoneInfo:
        """The zone in which its times are shown; UTC where it is not known."""
        found = self._specs.get(version)
        return ZoneInfo(found[1].time_zone) if found else UTC_ZONE

    def _calendar(self, version: str) -> Calendar | None:
        built = self._built.get(version)
        if built is None and version in self._specs:
            built = self._built[version] = Calendar(*self._specs[version])
        return built
