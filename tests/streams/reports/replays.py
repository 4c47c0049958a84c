"""Replays to report on: what a replay writes into its folder, and the same as records of the topics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import yaml

from schemas.configuration import Configuration
from schemas.customers import Customer
from schemas.topics import ALERTS, JOURNEYS, OUTCOMES, POLICIES
from streams import settings
from streams.commands import replaying
from streams.commands.replaying import alerts_by
from streams.demo import sample
from streams.engine.identity import directory
from streams.promises import in_force_record, records_of
from streams.replay import Line, Replayed, replay
from streams.transport import Record

Event = dict[str, Any]


def configuration(text: str) -> Configuration:
    """A configuration written out."""
    return settings.parse(text.encode(), file="test.yaml")


def replayed(
    events: Iterable[bytes | Event], promised: Configuration, customers: Sequence[Customer] = (), **more: Any
) -> Replayed:
    """What a replay of events comes to, alerts too."""
    from alerting.rules import Rules

    lines = [event if isinstance(event, bytes) else orjson.dumps(event) for event in events]
    result = replay(
        [Line("test", line) for line in lines],
        settings.policies_of(promised),
        directory(customers)[0],
        alerts_of=alerts_by(Rules(promised.alerts)),
        **more,
    )
    assert not result.refused, result.refused[0]
    return result


@cache
def demo() -> tuple[Replayed, Configuration]:
    """The demo's sample: both stories, a slice of a real ticket log, real bounce mails."""
    promised = configuration(sample.text("heardback.yaml"))
    customers = [Customer.model_validate(record) for record in yaml.safe_load(sample.text("customers.yaml"))]
    return replayed((value for _, value in sample.events()), promised, customers), promised


def folder(result: Replayed, promised: Configuration, out: Path) -> Path:
    """The folder that `heardback replay --out` writes."""
    replaying.write(result, promised, out)
    return out


def told(result: Replayed, promised: Configuration) -> Mapping[str, list[Record]]:
    """The same as records of the topics, by topic."""
    judged = [*records_of(promised), in_force_record(promised)]
    return {
        OUTCOMES.name: [_record(one["customer_id"], one) for one in result.outcomes],
        JOURNEYS.name: [_record(one["customer_id"], one) for one in result.journeys],
        ALERTS.name: [_record(one["customer_id"], one) for one in result.alerts],
        POLICIES.name: [_record(one.hash, one.model_dump(mode="json")) for one in judged],
    }


def _record(key: str, content: Mapping[str, Any]) -> Record:
    return Record(key=key.encode(), value=orjson.dumps(content))
