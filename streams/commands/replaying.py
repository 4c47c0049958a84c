"""`heardback replay`: files in, a folder of records out. The engine's part is `streams.replay`."""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

import orjson

from alerting.fold import Known
from alerting.rules import Rules
from schemas.configuration import Configuration
from streams import settings
from streams.commands import archive
from streams.commands.bar import counted, watched
from streams.engine.identity import directory
from streams.engine.outcome import Content
from streams.engine.rehearsal import Said
from streams.files import customers_in, event_lines
from streams.replay import AlertsOf, Line, Refused, Replayed
from streams.replay import replay as replay_lines

if TYPE_CHECKING:
    from rich.progress import Progress

REFUSALS_SHOWN: Final = 20


def _collect_garbage_seldom() -> None:
    """What a replay reads it keeps to the end: looking through all of it for cycles again and again finds nothing.
    It stays so, for going back looks through everything once more."""
    gc.set_threshold(200_000, 50, 1_000)


def run(
    events: Sequence[str],
    configuration: Configuration,
    customers: str | None = None,
    until: datetime | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """Replay the named files, and move the bar. Raises OSError where one cannot be opened."""
    _collect_garbage_seldom()
    known, refused = customers_in(customers) if customers else ([], [])
    customers_by_identity, claims = directory(known)
    refused += [Refused(Line(customers or "", b""), claim) for claim in claims]
    result = replay_lines(
        _lines(events, refused, progress),
        settings.policies_of(configuration),
        customers_by_identity,
        until=until,
        alerts_of=alerts_by(Rules(configuration.alerts)),
        contact_bytes_max=configuration.limits.contact_bytes,
        watched=lambda groups: counted(progress, groups, len(groups), "judging"),
    )
    result.refused += refused
    for item in refused:
        reason = str(item.refusal.reason)
        result.summary["refused"][reason] = result.summary["refused"].get(reason, 0) + 1
    return result


def alerts_by(rules: Rules) -> AlertsOf:
    """The alerts that a customer's records make, each record folded into what was said before."""

    def alerts_of(said: Sequence[Said]) -> list[Content]:
        known: dict[str, Known | None] = {}
        alerts: list[Content] = []

        def tried(customer_id: str) -> Mapping[str, str]:
            journeys = known.get("customer:" + customer_id)
            return journeys.tried if journeys else {}

        for item in said:
            if item.kind == "outcome":
                key = item.content["outcome_id"]
                changes, known[key] = rules.on_outcome(item.content, known.get(key), tried)
            else:
                key = "customer:" + item.content["customer_id"]
                changes, known[key] = rules.on_journey(item.content, known.get(key))
            alerts += [change.record for change in changes]
        return alerts

    return alerts_of


def _lines(names: Iterable[str], refused: list[Refused], progress: Progress | None) -> Iterator[Line]:
    for name in names:
        for line in event_lines(name, partial(watched, progress)):
            if isinstance(line, Refused):
                refused.append(line)
            else:
                yield line


def report_refusals(result: Replayed, stream: IO[str]) -> None:
    """Where and why, for every refusal in the order of their lines; on a terminal for the first of each reason, and how
    many more there are."""
    shown: Counter[str] = Counter()
    for line, refusal in sorted(result.refused, key=_place):
        shown[refusal.reason] += 1
        if shown[refusal.reason] <= REFUSALS_SHOWN or not stream.isatty():
            print(f"{line.where}: {refusal.reason}: {refusal.detail}", file=stream)
    for reason, count in sorted(shown.items()):
        if count > REFUSALS_SHOWN and stream.isatty():
            print(f"… and {count - REFUSALS_SHOWN} more refused as {reason}; a pipe gets all", file=stream)


def _place(refused: Refused) -> tuple[str, int]:
    name, _, number = refused.line.where.rpartition(":")
    return (name, int(number)) if number.isdigit() else (refused.line.where, 0)


def write(result: Replayed, configuration: Configuration, out: Path) -> None:
    """Write the files of CONTRACT.md section 5 into `out`, and what `heardback explain` needs. Raises OSError."""
    out.mkdir(parents=True, exist_ok=True)
    _write_lines(out / "outcomes.jsonl", result.outcomes)
    _write_lines(out / "alerts.jsonl", result.alerts)
    _write_lines(out / "journeys.jsonl", result.journeys)
    _write_lines(out / "dead_letters.jsonl", _dead_letters(result.refused))
    (out / "summary.json").write_bytes(orjson.dumps(result.summary, option=orjson.OPT_INDENT_2) + b"\n")
    archive.write(result, configuration, out)


def _dead_letters(refused: Sequence[Refused]) -> Iterator[Content]:
    """Each refused content once for each reason, without its place: the same in any order of the input."""
    seen = set()
    for line, refusal in refused:
        value = line.value.decode(errors="backslashreplace")
        key = (refusal.reason, refusal.detail, value)
        if key not in seen:
            seen.add(key)
            yield {"reason": refusal.reason, "detail": refusal.detail, "field": refusal.field, "value": value}


def _write_lines(path: Path, records: Iterable[Content]) -> None:
    with path.open("wb") as stream:
        stream.writelines(orjson.dumps(record) + b"\n" for record in records)


def summary_text(result: Replayed) -> str:
    """The summary as JSON in a pipe, and as a short table for people."""
    if not sys.stdout.isatty():
        return json.dumps(result.summary, indent=2)
    summary = result.summary
    lines = [
        f"{summary['events']} events of {summary['contacts']} contacts of {summary['customers']} customers until "
        f"{summary['until']}; {summary['duplicates']} duplicates, {sum(summary['refused'].values())} refused"
    ]
    for policy, targets in summary["policies"].items():
        for target, verdicts in targets.items():
            counts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
            lines.append(f"  {policy:20} {target:16} {counts}")
    return "\n".join(lines)
