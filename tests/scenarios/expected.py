"""What a scenario file wants, against what came: each difference as a line in words; none, and it holds.

Pages are exact: one that is missing and one too many are both differences. Of outcomes those that are named
are looked at, field by field.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import orjson

from schemas.policies import parse_span
from tests.scenarios.story import Story

Found = Mapping[str, Any]
INSTANTS: Final = {"started": "started_at", "due": "due_at", "ended": "ended_at", "settled": "settled_at"}
LENGTHS: Final = {"open": "open_seconds", "paused": "paused_seconds", "wall": "wall_seconds"}
PLAIN: Final = {"who": "customer_id", "agent": "agent_id", "by": "answered_by"}
ELAPSING: Final = ("open_seconds", "wall_seconds", "paused_seconds")
RESOLVED_AS: Final = "as"


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What a run came to. `how` is `replay` or `live`; `noticed` has what the clock showed when each alert came,
    `audited` what the self-audit found at the end."""

    how: str
    outcomes: Sequence[Found]
    journeys: Sequence[Found]
    alerts: Sequence[Found]
    refused: Sequence[str]
    noticed: Sequence[datetime] = ()
    audited: Sequence[str] = ()


def differences(story: Story, came: Came) -> list[str]:
    """Everything in which a run is not what its story wants."""
    wanted = story.wanted
    # What was said before something late or a new customer was known is the live run's alone.
    lines = _alerts(story, wanted.get("alerts", []), came) if story.in_order or came.how == "live" else []
    lines += [line for want in wanted.get("outcomes", []) for line in _outcome(story, want, came.outcomes)]
    if "journeys" in wanted:
        lines += _journeys(story, wanted["journeys"], came.journeys)
    refused = wanted.get("refused", {})
    if Counter(came.refused) != Counter(refused.get(came.how, {}) if came.how in refused else refused):
        lines.append(f"refused: wanted {refused}, found {dict(Counter(came.refused))}")
    return lines + [f"the self-audit found: {finding}" for finding in came.audited]


def unlike(live: Came, replayed: Came, *, alerts: bool) -> list[str]:
    """Everything in which a live run is not its replay. What the live run has taken back (`superseded`) a replay
    never had; time that still runs may have been looked at earlier."""
    replayed = as_written(replayed)
    lines = _unlike("outcome", _by(replayed.outcomes, "outcome_id"), _living(live.outcomes, "outcome_id"))
    lines += _unlike("journey", _by(replayed.journeys, "journey_id"), _living(live.journeys, "journey_id"))
    if alerts:
        want, got = ([str(sorted(alert.items())) for alert in came.alerts] for came in (replayed, live))
        lines += [f"alert of the replay only: {one}" for one in (Counter(want) - Counter(got)).elements()]
        lines += [f"live alert only: {one}" for one in (Counter(got) - Counter(want)).elements()]
    return lines


def as_written(came: Came) -> Came:
    """The records as they are once they have been JSON."""
    return replace(
        came,
        outcomes=orjson.loads(orjson.dumps(came.outcomes)),
        journeys=orjson.loads(orjson.dumps(came.journeys)),
        alerts=orjson.loads(orjson.dumps(came.alerts)),
    )


# -- alerts


def _alerts(story: Story, wanted: Iterable[Mapping[str, Any]], came: Came) -> list[str]:
    unnoticed: list[datetime | None] = [None] * len(came.alerts)
    left = list(zip(came.alerts, came.noticed or unnoticed, strict=True))
    lines = []
    for want in wanted:
        match = next((one for one in left if _is_alert(story, want, one[0])), None)
        if match is None:
            lines.append(f"missing: {_said(want)}")
            continue
        left.remove(match)
        if match[1] is not None:
            lines += _noticed(story, want, match[1])
    return lines + [f"one too many: {_shown(story, alert)}" for alert, _ in left]


def _is_alert(story: Story, want: Mapping[str, Any], alert: Found) -> bool:
    state = "firing" if "fires" in want else "resolved"
    return (
        alert["state"] == state
        and alert["kind"] == want.get("fires", want.get("ends"))
        and alert["contact_id"] == want["contact"]
        and alert["target"] == want.get("target")
        and datetime.fromisoformat(alert["at"]) == story.instant(want["at"])
        and want.get("severity", alert["severity"]) == alert["severity"]
        and want.get("who", alert["customer_id"]) == alert["customer_id"]
        and (state == "firing" or want.get(RESOLVED_AS, "answered") == alert["resolution"])
    )


def _noticed(story: Story, want: Mapping[str, Any], noticed: datetime) -> list[str]:
    by = story.instant(want.get("noticed", want["at"]))
    if 0 <= (noticed - by).total_seconds() < 1:
        return []
    return [f"{_said(want)}: came at {_local(story, noticed)}"]


def _said(want: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in want.items())


def _shown(story: Story, alert: Found) -> str:
    at = _local(story, datetime.fromisoformat(alert["at"]))
    how = "fires" if alert["state"] == "firing" else f"ends ({alert['resolution']})"
    what = (alert["kind"], alert["contact_id"], alert["target"], alert["severity"], alert["customer_id"])
    return f"{at} {how} {' '.join(map(str, what))}"


def _local(story: Story, at: datetime) -> str:
    return at.astimezone(story.zone).strftime("%a %Y-%m-%d %H:%M:%S")


# -- outcomes and journeys


def _outcome(story: Story, want: Mapping[str, Any], outcomes: Iterable[Found]) -> list[str]:
    key = (want["contact"], want["target"], want.get("cycle", 1))
    name = f"{key[0]} {key[1]} {key[2]}"
    found = next((one for one in outcomes if (one["contact_id"], one["target"], one["cycle"]) == key), None)
    if "absent" in want:
        return [f"{name}: wanted none, found {found['verdict']}"] if found and found["reason"] != "superseded" else []
    if found is None:
        return [f"{name}: missing"]
    fields = {field: value for field, value in want.items() if field not in ("contact", "target", "cycle")}
    return [line for field, value in fields.items() for line in _field(story, name, field, value, found)]


def _field(story: Story, name: str, field: str, value: Any, found: Found) -> list[str]:
    if field in INSTANTS:
        got = found[INSTANTS[field]]
        instant = None if got is None else datetime.fromisoformat(got)
        if instant != (None if value is None else story.instant(value)):
            return [f"{name}: {field} wanted {value}, found {None if instant is None else _local(story, instant)}"]
        return []
    if field in LENGTHS:
        value, field = float(parse_span(value).seconds) if isinstance(value, str) else float(value), LENGTHS[field]
    got = found[PLAIN.get(field, field)]
    return [] if got == value else [f"{name}: {field} wanted {value}, found {got}"]


def _journeys(story: Story, wanted: Sequence[Mapping[str, Any]], journeys: Sequence[Found]) -> list[str]:
    found = sorted(_living(journeys, "journey_id").values(), key=lambda one: (one["started_at"], one["journey_id"]))
    if len(found) != len(wanted):
        return [f"journeys: wanted {len(wanted)}, found {[_attempts(one) for one in found]}"]
    lines = []
    for number, (want, journey) in enumerate(zip(wanted, found, strict=True), start=1):
        for field, value in want.items():
            if field == "attempts":
                if _attempts(journey) != value:
                    lines.append(f"journey {number}: attempts wanted {value}, found {_attempts(journey)}")
            else:
                lines += _field(story, f"journey {number}", field, value, journey)
    return lines


def _attempts(journey: Found) -> list[str]:
    """`mail:1 bounced`, `T-1`."""
    return [" ".join(filter(None, (one["contact_id"], one["dead_end"]))) for one in journey["attempts"]]


# -- live and replay


def _by(records: Iterable[Found], key: str) -> dict[str, Found]:
    return {record[key]: record for record in records}


def _living(records: Iterable[Found], key: str) -> dict[str, Found]:
    """Without what no longer exists."""
    return {one[key]: one for one in records if one.get("reason") != "superseded" and one.get("attempts", True)}


def _unlike(what: str, want: Mapping[str, Found], got: Mapping[str, Found]) -> list[str]:
    lines = [f"{what} of the replay only: {dict(want[key])}" for key in sorted(want.keys() - got.keys())]
    lines += [f"live {what} only: {dict(got[key])}" for key in sorted(got.keys() - want.keys())]
    for key in sorted(want.keys() & got.keys()):
        runs = want[key]["ended_at"] is None
        skip = {"revision", *(ELAPSING if runs else ())}
        for field in sorted(want[key].keys() | got[key].keys()):
            left, right = want[key].get(field), got[key].get(field)
            if field not in skip and left != right:
                name = want[key].get("contact_id", key)
                which = f"{want[key].get('target', '')} {want[key].get('cycle', '')}"
                lines.append(f"{what} {name} {which}: {field} of the replay {left}, live {right}")
    return lines
