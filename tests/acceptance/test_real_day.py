"""A day of the real ServiceNow log through the whole pipeline at speed: the pages that a receiver got are those that
plain csv and datetime expect (`tests.streams.ingest.servicenow_oracle`)."""

from __future__ import annotations

import base64
import csv
import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
import yaml

from schemas.configuration import Configuration
from schemas.events import Event, to_json
from schemas.refusals import Refusal
from streams.ingest.servicenow import read
from tests.scenarios.pipeline import Pipeline
from tests.servers.receiver import Receiver
from tests.streams.ingest import servicenow_oracle as oracle

ROOT = Path(__file__).parents[2]
LOG = ROOT.parent / "shared/data/servicenow/incident_event_log.csv.gz"
CONFIGURATION = ROOT / "deploy/examples/servicenow.yaml"
ZONE = "Europe/Lisbon"
DAY = "20/4/2016"
MORNING = datetime(2016, 4, 20, tzinfo=ZoneInfo(ZONE))
NIGHT = MORNING + timedelta(days=1)
SECRET = "whsec_" + base64.b64encode(b"the secret of the tests").decode()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not LOG.exists(), reason="the real log is not beside the project"),
]


class Told(NamedTuple):
    """One message to the receiver: `at` is the instant of what it says, in whole seconds since 1970."""

    contact_id: str
    target: str
    kind: str
    state: str
    at: int


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The log's rows of the incidents that were opened on the day, header first."""
    with gzip.open(LOG, "rt", encoding="utf-8", newline="") as whole:
        header, *rows = whole.readlines()
    opened = {cells[0] for cells in csv.reader(rows) if _opened_at(header, cells).startswith(f"{DAY} ")}
    return [header, *(row for row in rows if row.split(",", 1)[0] in opened)]


def _opened_at(header: str, cells: list[str]) -> str:
    return cells[header.split(",").index("opened_at")]


def events_of(lines: list[str]) -> list[Event]:
    """What the adapter makes of the day, in the order of time."""
    found = list(read(lines, time_zone=ZoneInfo(ZONE)))
    events = [event for event in found if not isinstance(event, Refusal)]
    assert len(events) == len(found)
    return sorted((event for event in events if event.time < NIGHT), key=lambda event: event.time)


def expected(lines: list[str], configuration: str) -> Iterator[Told]:
    """Every breach of the day with its end, and every incident closed on a caller who had no answer.

    Until the first answer a resolution says nothing (C8): its breach is told with that answer, if it still runs."""
    promises, night = oracle.Promises(yaml.safe_load(configuration)), int(NIGHT.timestamp())
    for number, facts in oracle.facts_by_incident(lines, ZONE).items():
        contact_id = f"servicenow:{number}"
        answers = [fact.at for fact in facts if fact.what == "answered_by_us" and fact.at <= night]
        for clock in oracle.Incident(promises).run(facts, night):
            due, ended = clock.due, clock.ended
            assert due is not None or clock.target == "resolution"
            silent = ended is not None and clock.target == "first_response" and ended not in answers
            if silent:
                yield Told(contact_id, clock.target, "silent_close", "firing", ended or 0)
                yield from (
                    Told(contact_id, clock.target, "silent_close", "resolved", at)
                    for at in answers[:1]
                    if at > (ended or 0)
                )
            if due is None or due >= night or (ended is not None and ended <= due):
                continue
            fires = due
            if clock.target == "resolution":
                later = [at for at in answers if ended is None or at < ended]
                if not later:
                    continue
                fires = max(due, later[0])
            yield Told(contact_id, clock.target, "breach", "firing", fires)
            if ended is not None:
                yield Told(contact_id, clock.target, "breach", "resolved", ended)


async def test_a_real_day_pages_exactly_for_those_whom_an_independent_computation_finds_waiting(
    lines: list[str], tmp_path: Path
) -> None:
    text = CONFIGURATION.read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    with Receiver() as receiver:
        content["alerts"] |= {
            "escalations": [{"after": "0m", "severity": "page"}],
            "receivers": [{"type": "webhook", "urls": [receiver.url], "secret": SECRET}],
        }
        configuration = Configuration.model_validate(content)

        class Heard(Pipeline):
            """Time goes on only when the receiver has heard what there was to tell."""

            async def settle(self) -> None:
                await super().settle()
                await receiver.arrived(lambda requests: len(requests) >= len(self.noticed))

        url = f"sqlite:///{tmp_path}/log.sqlite3"
        start = MORNING.astimezone(UTC)
        async with Heard(url, configuration, start=start, first_start=start) as pipeline:
            for at, together in groupby(events_of(lines), key=lambda event: event.time):
                await pipeline.put_events(at, [json.loads(to_json(event)) for event in together])
            await pipeline.pass_time(NIGHT)
        bodies = [json.loads(request.body) for request in receiver.accepted]
    told = [_told(body) for body in bodies]
    pages = sorted(one for one in told if one.kind in ("breach", "silent_close"))
    assert len(set(told)) == len(told), "nothing twice"
    assert pages == sorted(expected(lines, text))
    assert len([one for one in pages if one.state == "firing"]) > 50, "it was a day worth looking at"


def _told(alert: dict[str, str]) -> Told:
    at = int(datetime.fromisoformat(alert["at"]).timestamp())
    return Told(alert["contact_id"], alert["target"], alert["kind"], alert["state"], at)
