"""Reports of the real ServiceNow log, held against a computation with nothing but csv, json, datetime and lists.

What the clocks came to is the independent reading of `tests.streams.ingest.servicenow_oracle`; who waits and for how
long is counted here from its facts. Journeys of a caller over several incidents are counted from the replay's lines.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml

from tests.streams.ingest import servicenow_oracle as oracle

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "deploy/examples/servicenow.yaml"
WHOLE = ROOT.parent / "shared/data/servicenow/incident_event_log.csv.gz"
ZONE = "Europe/Lisbon"
WEEKS = {"2016-W11": datetime(2016, 3, 14), "2016-W12": datetime(2016, 3, 21)}  # noqa: DTZ001 - local
UNTIL = datetime(2016, 3, 30, 12, 0, tzinfo=UTC)  # two days after clocks changed
EVENTS_UNTIL = "2016-03-30T12:00:00Z"

SOON = re.compile(r",\d+/[123]/2016 ")  # a row with any instant before April

pytestmark = pytest.mark.skipif(not WHOLE.exists(), reason="the whole log is not here")


def instant(local: datetime) -> int:
    return int(local.replace(tzinfo=ZoneInfo(ZONE)).timestamp())


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first weeks of the log, imported and replayed by command as a user does."""
    folder = tmp_path_factory.mktemp("servicenow")
    begin = [sys.executable, "-m", "streams"]
    with (folder / "events.jsonl").open("wb") as events:
        imported = subprocess.Popen(
            [*begin, "import", "servicenow", str(WHOLE), "--time-zone", ZONE],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT,
        )  # fmt: skip
        assert imported.stdout is not None
        for line in imported.stdout:
            if json.loads(line)["time"] <= EVENTS_UNTIL:
                events.write(line)
        assert imported.wait(120) == 0
        imported.stdout.close()
    replay = [*begin, "replay", str(folder / "events.jsonl"), "--config", str(CONFIG), "--out", str(folder / "out")]
    subprocess.run([*replay, "--until", EVENTS_UNTIL], cwd=ROOT, check=True, stdout=subprocess.DEVNULL, timeout=300)
    return folder / "out"


@pytest.fixture(scope="module")
def promises() -> oracle.Promises:
    return oracle.Promises(yaml.safe_load(CONFIG.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def clocks(promises: oracle.Promises) -> list[oracle.Clock]:
    """The clocks of the incidents that had been opened by the end of what was replayed, by the oracle."""
    with gzip.open(WHOLE, "rt", encoding="utf-8", newline="") as lines:
        header, *rows = lines
    numbers = {row.split(",")[0] for row in rows if SOON.search(row)}
    opened = [row for row in rows if row.split(",")[0] in numbers]
    found = oracle.outcomes([header, *opened], promises, ZONE, until=int(UNTIL.timestamp()))
    return list(found.values())


@cache
def report(out: Path, week: str) -> dict[str, Any]:
    """By command, as JSON."""
    command = [sys.executable, "-m", "streams", "report", "--from", str(out), "--week", week, "--format", "json"]
    done = subprocess.run([*command, "--config", str(CONFIG)], cwd=ROOT, check=True, capture_output=True, timeout=120)
    content: dict[str, Any] = json.loads(done.stdout)
    return content


def shares(clocks: list[oracle.Clock], start: int, end: int) -> dict[str, Counter[str]]:
    """Per target, the clocks whose verdict fell in the week: kept, late, unanswered, closed, as the week ended."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for clock in clocks:
        if clock.verdict == "kept":
            assert clock.ended is not None
            if start <= clock.ended < end:
                found[clock.target]["kept"] += 1
        elif clock.verdict == "void":
            assert clock.ended is not None
            if start <= clock.ended < end:
                found[clock.target]["closed"] += 1
        elif clock.verdict == "broken":
            assert clock.due is not None
            if start <= clock.due < end:
                over = clock.ended is not None and clock.ended < end
                found[clock.target]["late" if over else "unanswered"] += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("week", WEEKS)
def test_the_shares_of_a_real_week_are_those_of_an_independent_reading(
    out: Path, clocks: list[oracle.Clock], week: str
) -> None:
    start, end = instant(WEEKS[week]), instant(WEEKS[week] + timedelta(days=7))
    wanted = shares(clocks, start, end)
    silent = closed_unanswered(out)
    content = report(out, week)
    assert content["starts_at"] == datetime.fromtimestamp(start, UTC).isoformat().replace("+00:00", "Z")
    found = {one["target"]: one["share"] for one in content["targets"]}
    assert set(found) == {"acknowledgement", "first_response", "resolution"}
    for target, share in found.items():
        assert share["kept"] == wanted[target]["kept"]
        assert share["unanswered"] == wanted[target]["unanswered"]
        # The oracle does not tell a late answer from a close past due: those of the replay are told apart by reason.
        assert share["late"] + share["closed"] == wanted[target]["late"] + wanted[target]["closed"]
        assert share["closed"] == silent[week, target]
        assert share["n"] == sum(wanted[target].values())
        assert share["n"] > 500
    assert content["answers"]["n"] == found["first_response"]["n"]
    for breakdown in content["breakdowns"]:
        assert sum(row["n"] for row in breakdown["rows"]) == sum(share["n"] for share in found.values())


def closed_unanswered(out: Path) -> Mapping[tuple[str, str], int]:
    """Silent closes by the week in which the verdict fell, counted from the replay's lines."""
    found: Counter[tuple[str, str]] = Counter()
    for line in (out / "outcomes.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        fell = one["due_at"] if one["verdict"] == "broken" else one["ended_at"]
        if one["silently_closed"] and fell:
            for week, first in WEEKS.items():
                start, end = instant(first), instant(first + timedelta(days=7))
                at, ended = (int(datetime.fromisoformat(text).timestamp()) for text in (fell, one["ended_at"]))
                if start <= at < end and ended < end:
                    found[week, one["target"]] += 1
    return found


@pytest.mark.slow
@pytest.mark.parametrize("week", WEEKS)
def test_how_long_a_real_week_took_is_what_counting_every_minute_says(
    out: Path, clocks: list[oracle.Clock], promises: oracle.Promises, week: str
) -> None:
    """The median and the ninth decile of first responses, by Kaplan and Meier written out once more."""
    start, end = instant(WEEKS[week]), instant(WEEKS[week] + timedelta(days=7))
    waits: list[tuple[int, bool]] = []
    for clock in clocks:
        if clock.target == "first_response" and start <= clock.start < end:
            until = end if clock.ended is None else min(clock.ended, end)
            minutes = promises.calendars[clock.calendar]
            over = clock.ended is not None and clock.ended < end
            waits.append((minutes.until(until) - minutes.until(clock.start), over))
    [found] = report(out, week)["waits"]
    assert (found["n"], found["answered"]) == (len(waits), sum(over for _, over in waits))
    assert found["closed"] == 0, "nobody was closed on in these weeks who had written in them"
    for quantile in found["open"]:
        assert quantile["seconds"] == survived(waits, 1 - quantile["share"])
    assert found["open"][0]["seconds"] is not None


def survived(waits: list[tuple[int, bool]], left: float) -> float | None:
    """The first wait after which at most that part was still waiting; None: more were, to the end."""
    share = 1.0
    for seconds in sorted({wait for wait, over in waits if over}):
        still = sum(wait >= seconds for wait, _ in waits)
        share *= (still - sum(wait == seconds and over for wait, over in waits)) / still
        if share <= left + 1e-9:
            return seconds
    return None


@pytest.mark.slow
@pytest.mark.parametrize("week", WEEKS)
def test_whoever_waits_at_the_end_of_a_real_week_is_told_the_longest_first(out: Path, week: str) -> None:
    """Callers by the replay's journeys: one that had begun and had not ended, and not all of it closed."""
    end = instant(WEEKS[week] + timedelta(days=7))
    waiting = {}
    for line in (out / "journeys.jsonl").read_text(encoding="utf-8").splitlines():
        one = json.loads(line)
        began = int(datetime.fromisoformat(one["started_at"]).timestamp())
        ended = one["ended_at"] and int(datetime.fromisoformat(one["ended_at"]).timestamp())
        if began < end and (ended is None or ended >= end):
            waiting[one["customer_id"]] = began
    content = report(out, week)
    told = [(one["customer_id"], one["wait"]["wall_seconds"]) for one in content["waiting"]]
    assert len(told) + content["closed_on"] == len(waiting)
    assert len(told) > 50
    assert [seconds for _, seconds in told] == sorted((seconds for _, seconds in told), reverse=True)
    for customer_id, seconds in told:
        assert seconds == end - waiting[customer_id]
