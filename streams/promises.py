"""The promises that judged, as records: by content hash, and which of them are in force, in what order.

Topic `policies` and a replay's `policies.json` keep them, so that what judged a clock can always be shown
(DESIGN section 2, point 11). Reading the configuration belongs to `streams.settings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from schemas.configuration import Configuration
from schemas.policies import CalendarSpec, PolicyRecord, PolicySpec, content_hash
from streams import settings
from streams.engine.policy import Escalation, Policies, compile_policies

IN_FORCE: Final = "in-force"


def records_of(configuration: Configuration) -> list[PolicyRecord]:
    """Each policy and calendar once, by its hash."""
    specs: list[tuple[Any, str, PolicySpec | CalendarSpec]] = []
    specs += [("policy", spec.name, spec) for spec in configuration.policies]
    specs += [("calendar", name, spec) for name, spec in configuration.calendars.items()]
    records = {
        content_hash(spec): PolicyRecord(
            kind=kind, hash=content_hash(spec), name=name, content=spec.model_dump(mode="json")
        )
        for kind, name, spec in specs
    }
    return list(records.values())


def in_force(configuration: Configuration) -> dict[str, Any]:
    """The hashes of the policies in the order in which they are tried, of the calendars by name, and the
    escalations' steps."""
    steps = settings.policies_of(configuration).escalations
    return {
        "policies": [content_hash(spec) for spec in configuration.policies],
        "calendars": {name: content_hash(spec) for name, spec in configuration.calendars.items()},
        "escalations": [{"after_us": step.after_us, "wall": step.wall} for step in steps],
    }


def in_force_record(configuration: Configuration) -> PolicyRecord:
    """`in_force` as a record of topic `policies`; the last one holds."""
    return PolicyRecord(kind="in_force", hash=IN_FORCE, name="in force", content=in_force(configuration))


def policies_from(content: Mapping[str, Any], records: Iterable[PolicyRecord]) -> Policies:
    """The policies that `content` (of `in_force`) names, ready to be asked. Raises KeyError, ValueError."""
    known = {record.hash: record for record in records}
    calendars = {
        name: CalendarSpec.model_validate(known[version].content) for name, version in content["calendars"].items()
    }
    policies = [PolicySpec.model_validate(known[version].content) for version in content["policies"]]
    steps = [Escalation(after_us=step["after_us"], wall=step["wall"]) for step in content["escalations"]]
    return compile_policies(calendars, policies, steps)
