"""The real ServiceNow log: what it says and what its clocks come to, against an independent computation.

The bundled slice is always there; the whole log is read where ../shared/data is.
"""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import EVENT, Event, to_json
from schemas.refusals import Refusal
from streams.ingest.servicenow import Tally, read
from tests.streams.ingest import servicenow_oracle as oracle

ROOT = Path(__file__).parents[3]
SLICE = ROOT / "streams/demo/data/servicenow-slice.csv"
CONFIG = ROOT / "deploy/examples/servicenow.yaml"
WHOLE = ROOT.parent / "shared/data/servicenow/incident_event_log.csv.gz"
ZONE = "Europe/Lisbon"
LISBON = ZoneInfo(ZONE)
COMPARED = ["verdict", "policy", "started_at", "due_at", "ended_at", "open_seconds", "paused_seconds"]


def split(found: Iterator[Event | Refusal]) -> tuple[list[Event], list[Refusal]]:
    each = list(found)
    refusals = [one for one in each if isinstance(one, Refusal)]
    return [one for one in each if not isinstance(one, Refusal)], refusals


# -- the bundled slice of the real log


def slice_events(seed: int | None = None) -> list[Event]:
    header, *lines = SLICE.read_text(encoding="utf-8").splitlines(keepends=True)
    if seed is not None:
        random.Random(seed).shuffle(lines)
    events, refusals = split(read([header, *lines], time_zone=LISBON))
    assert refusals == []
    return events


def test_the_slice_has_forty_incidents_and_every_row_is_accounted_for() -> None:
    tally = Tally()
    with SLICE.open("rb") as lines:
        events, refusals = split(read(lines, time_zone=LISBON, tally=tally))
    assert (tally.contacts, tally.rows, tally.refused, tally.repeated) == (40, 243, 0, 0)
    assert tally.telling + tally.unchanged == 243
    assert Counter(event.type for event in events)["contact.opened"] == 40
    assert len({event.id for event in events}) == len(events)
    assert refusals == []


def test_what_is_written_is_read_back_the_same() -> None:
    for event in slice_events():
        assert EVENT.validate_json(to_json(event)) == event


@settings(max_examples=20)
@given(st.integers())
def test_the_order_of_the_rows_does_not_matter(seed: int) -> None:
    def by_id(event: Event) -> str:
        return event.id

    assert sorted(slice_events(seed), key=by_id) == sorted(slice_events(), key=by_id)


def test_the_slice_says_what_an_independent_reading_says() -> None:
    with SLICE.open(encoding="utf-8", newline="") as lines:
        assert read_as_facts(slice_events()) == oracle_facts(oracle.facts_by_incident(lines, ZONE))


def read_as_facts(events: list[Event]) -> dict[str, list[tuple[int, str]]]:
    """What the clocks can see of the events, in the words of the oracle."""
    words = {
        "contact.opened": "opened",
        "message.sent": "answered_by_us",
        "contact.paused": "paused",
        "contact.resumed": "resumed",
        "contact.acknowledged": "acknowledged",
        "contact.reopened": "reopened",
        "contact.resolved": "ended",
        "contact.closed": "ended",
    }
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for event in events:
        word = words.get(event.type)
        if event.type == "contact.assigned" and event.data.agent_id:
            word = "named"
        elif event.type == "contact.updated" and event.data.priority:
            word = "priority_changed"
        if word:
            found[event.subject.removeprefix("servicenow:")].append((int(event.time.timestamp()), word))
    return {number: sorted(facts) for number, facts in found.items()}


def oracle_facts(facts: dict[str, list[oracle.Fact]]) -> dict[str, list[tuple[int, str]]]:
    return {number: sorted((fact.at, fact.what) for fact in each) for number, each in facts.items()}


# -- replayed


def replay(events: list[Event], folder: Path, *options: str) -> Path:
    """The folder with what `heardback replay` made of `events`."""
    folder.mkdir()
    log, out = folder / "events.jsonl", folder / "out"
    log.write_bytes(b"".join(to_json(event) + b"\n" for event in events))
    command = [sys.executable, "-m", "streams", "replay", str(log), "--config", str(CONFIG), "--out", str(out)]
    done = subprocess.run([*command, *options], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return out


def compare(out: Path, expected: dict[Any, oracle.Clock]) -> None:
    """Every clock of a replay is the oracle's, and so are the sums."""
    found = {}
    for line in (out / "outcomes.jsonl").read_text(encoding="utf-8").splitlines():
        outcome = json.loads(line)
        key = (outcome["contact_id"].removeprefix("servicenow:"), outcome["target"], outcome["cycle"])
        found[key] = {name: outcome[name] for name in COMPARED}
    wanted = {key: as_outcome(clock) for key, clock in expected.items()}
    wrong = {key: (found.get(key), wanted.get(key)) for key in found | wanted if found.get(key) != wanted.get(key)}
    assert not wrong, f"{len(wrong)} of {len(wanted)} clocks differ (got, wanted), such as {list(wrong.items())[:3]}"
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    for policy, targets in oracle.totals(expected.values()).items():
        for target, verdicts in targets.items():
            for verdict, count in verdicts.items():
                assert summary["policies"][policy][target][verdict] == count


def as_outcome(clock: oracle.Clock) -> dict[str, Any]:
    def instant(seconds: int | None) -> str | None:
        return None if seconds is None else f"{oracle.EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"

    return {
        "verdict": clock.verdict,
        "policy": clock.policy,
        "started_at": instant(clock.start),
        "due_at": instant(clock.due),
        "ended_at": instant(clock.ended),
        "open_seconds": float(clock.open_seconds),
        "paused_seconds": float(clock.paused_seconds),
    }


@pytest.fixture(scope="module")
def promises() -> oracle.Promises:
    return oracle.Promises(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))


def slice_outcomes(promises: oracle.Promises, until: datetime | None = None) -> dict[Any, oracle.Clock]:
    with SLICE.open(encoding="utf-8", newline="") as lines:
        return oracle.outcomes(lines, promises, ZONE, until and int(until.timestamp()))


def shuffled_and_doubled(events: list[Event], seed: int) -> list[Event]:
    chance = random.Random(seed)
    many = events + chance.sample(events, len(events) // 3)
    chance.shuffle(many)
    return many


def test_the_clocks_of_the_slice_are_those_of_an_independent_computation(
    promises: oracle.Promises, tmp_path: Path
) -> None:
    compare(replay(slice_events(), tmp_path / "all"), slice_outcomes(promises))


@pytest.mark.parametrize("until", ["2016-03-29T12:00:00Z", "2016-03-29T17:00:00Z", "2016-03-31T09:30:00Z"])
def test_the_clocks_of_the_slice_are_right_while_they_run(
    promises: oracle.Promises, tmp_path: Path, until: str
) -> None:
    out = replay(slice_events(), tmp_path / "some", "--until", until)
    compare(out, slice_outcomes(promises, datetime.fromisoformat(until)))


def test_a_shuffled_and_doubled_slice_gives_the_same_bytes(tmp_path: Path) -> None:
    events = slice_events()
    once = replay(events, tmp_path / "once")
    again = replay(shuffled_and_doubled(events, 11), tmp_path / "again")
    assert (again / "outcomes.jsonl").read_bytes() == (once / "outcomes.jsonl").read_bytes()


# -- the whole log


@pytest.fixture(scope="module")
def whole() -> tuple[list[Event], Tally]:
    if not WHOLE.exists():
        pytest.skip(f"the whole log is not there: {WHOLE}")
    tally = Tally()
    with gzip.open(WHOLE) as lines:
        events, refusals = split(read(lines, time_zone=LISBON, tally=tally))
    assert refusals == []
    return events, tally


def test_the_whole_log_is_24918_contacts_and_every_row_is_accounted_for(whole: tuple[list[Event], Tally]) -> None:
    events, tally = whole
    assert (tally.rows, tally.contacts, tally.refused, tally.repeated) == (141_712, 24_918, 0, 0)
    assert tally.telling + tally.unchanged == 141_712
    assert Counter(event.type for event in events)["contact.opened"] == 24_918
    assert len({event.subject for event in events}) == 24_918
    assert len({event.id for event in events}) == len(events)


def test_the_whole_log_says_what_an_independent_reading_says(whole: tuple[list[Event], Tally]) -> None:
    with gzip.open(WHOLE, "rt", encoding="utf-8", newline="") as lines:
        assert read_as_facts(whole[0]) == oracle_facts(oracle.facts_by_incident(lines, ZONE))


def test_the_clocks_of_the_whole_log_are_those_of_an_independent_computation_in_any_order(
    whole: tuple[list[Event], Tally], promises: oracle.Promises, tmp_path: Path
) -> None:
    once = replay(whole[0], tmp_path / "once")
    with gzip.open(WHOLE, "rt", encoding="utf-8", newline="") as lines:
        compare(once, oracle.outcomes(lines, promises, ZONE))
    again = replay(shuffled_and_doubled(whole[0], 7), tmp_path / "again")
    assert (again / "outcomes.jsonl").read_bytes() == (once / "outcomes.jsonl").read_bytes()
