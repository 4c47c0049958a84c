"""Facts from a replay's `--out` folder: `outcomes.jsonl`, `journeys.jsonl`, `alerts.jsonl`, and what judged them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
from pydantic import ValidationError

from schemas.alerts import Alert
from schemas.outcomes import Journey, Outcome
from schemas.policies import PolicyRecord
from streams.facts.judged import calendars_of
from streams.facts.schema import FactsError
from streams.reports import Facts

OUTCOMES_FILE: Final = "outcomes.jsonl"
JOURNEYS_FILE: Final = "journeys.jsonl"
ALERTS_FILE: Final = "alerts.jsonl"
POLICIES_FILE: Final = "policies.json"
SUMMARY_FILE: Final = "summary.json"
One = TypeVar("One", Outcome, Journey, Alert)


def load(folder: Path) -> Facts:
    """Everything in `folder`. `policies.json` and `summary.json` may be missing: then open time of waits that go on
    is not known, and the facts end with their latest instant. Raises FactsError naming file and line."""
    outcomes = _latest(_records(folder / OUTCOMES_FILE, Outcome), lambda one: one.outcome_id)
    journeys = _latest(_records(folder / JOURNEYS_FILE, Journey), lambda one: one.journey_id)
    alerts = list(_records(folder / ALERTS_FILE, Alert))
    judged = _document(folder / POLICIES_FILE)
    try:
        records = [PolicyRecord.model_validate(record) for record in judged.get("records", ())]
        calendars, calendar_of = calendars_of(records, judged)
    except (ValidationError, KeyError, TypeError) as broken:
        raise FactsError(f"{folder / POLICIES_FILE}: cannot be read: {type(broken).__name__}") from None
    until = _until(judged) or _until(_document(folder / SUMMARY_FILE))
    if until is None:
        instants = [one.ended_at or one.stage_at for one in outcomes]
        instants += [one.ended_at or one.attempts[-1].at for one in journeys if one.attempts]
        instants += [one.at for one in alerts]
        if not instants:
            raise FactsError(f"{folder}: there is no record in it")
        until = max(instants)
    return Facts(
        outcomes=[one for one in outcomes if one.reason != "superseded"],
        journeys=[one for one in journeys if one.attempts],
        alerts=alerts,
        known_until=until + timedelta(microseconds=1),  # what happened at that instant is known
        calendars=calendars,
        calendar_of=calendar_of,
    )


def _latest(records: Iterator[One], name: Callable[[One], str]) -> list[One]:
    """The later record of an id holds (CONTRACT.md section 5)."""
    found: dict[str, One] = {}
    for record in records:
        found[name(record)] = record
    return list(found.values())


def _records(path: Path, model: type[One]) -> Iterator[One]:
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _record(line, model, f"{path}:{number}")
    except OSError as unreadable:
        raise FactsError(f"{path}: {unreadable.strerror}") from None


def _record(line: bytes, model: type[One], where: str) -> One:
    try:
        return model.model_validate_json(line)
    except ValidationError as invalid:
        fault = invalid.errors(include_url=False)[0]
        field = ".".join(map(str, fault["loc"]))
        raise FactsError(f"{where}: {field + ': ' if field else ''}{fault['msg']}") from None


def _document(path: Path) -> Mapping[str, Any]:
    try:
        content = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except OSError as unreadable:
        raise FactsError(f"{path}: {unreadable.strerror}") from None
    except orjson.JSONDecodeError as broken:
        raise FactsError(f"{path}: {broken}") from None
    if not isinstance(content, dict):
        raise FactsError(f"{path}: found no object, wanted what a replay writes")
    return content


def _until(document: Mapping[str, Any]) -> datetime | None:
    try:
        until = datetime.fromisoformat(document["until"])
    except (KeyError, TypeError, ValueError):
        return None
    return until if until.tzinfo else None
