"""Every scenario on the pure engine, on the embedded pipeline and on real Kafka."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest

from tests.scenarios.expected import Came, differences, unlike
from tests.scenarios.pipeline import transport_settings
from tests.scenarios.runs import lived, replayed
from tests.scenarios.story import names, story
from tests.servers.kafka import Kafka

NAMES = names()
ON_KAFKA_AT_ONCE = 4


@pytest.mark.parametrize("name", NAMES)
def test_a_replay_is_what_the_story_says(name: str) -> None:
    told = story(name)
    assert differences(told, replayed(told)) == []


@pytest.mark.parametrize("name", NAMES)
async def test_the_embedded_pipeline_is_what_the_story_says_and_what_a_replay_says(name: str, tmp_path: Path) -> None:
    told = story(name)
    came = await lived(told, f"sqlite:///{tmp_path}/log.sqlite3", transport_settings())
    assert differences(told, came) == []
    assert unlike(came, replayed(told), alerts=told.in_order) == []


@pytest.mark.kafka
@pytest.mark.slow
async def test_kafka_is_what_every_story_says_and_what_a_replay_says(kafka: Kafka) -> None:
    room, ours = asyncio.Semaphore(ON_KAFKA_AT_ONCE), uuid4().hex[:8]

    async def live(name: str) -> Came:
        async with room:
            return await lived(story(name), kafka.url, transport_settings(f"{ours}-{name}-"))

    found = dict(zip(NAMES, await asyncio.gather(*map(live, NAMES)), strict=True))
    wrong = {name: differences(story(name), came) for name, came in found.items()}
    for name, came in found.items():
        wrong[name] += unlike(came, replayed(story(name)), alerts=story(name).in_order)
    assert {name: lines for name, lines in wrong.items() if lines} == {}


def test_there_are_forty_stories_and_each_rule_has_one() -> None:
    told = [story(name) for name in NAMES]
    assert len(told) >= 40
    assert {f"C{number}" for number in range(1, 25)} - {rule for one in told for rule in one.rules} == set()


def test_every_kind_of_alert_of_contacts_fires_and_ends_in_some_story() -> None:
    alerts = [alert for name in NAMES for alert in story(name).wanted.get("alerts", [])]
    kinds = {"at_risk", "breach", "escalation", "reply_bounced", "dead_end", "silent_close"}
    assert {alert.get("fires") for alert in alerts} >= kinds
    assert {alert.get("ends") for alert in alerts} >= kinds
