"""Processes under SIGKILL, at random instants and after each step of a batch: nothing lost, each page told once."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.acceptance.day import Day, day
from tests.acceptance.worker import PARTITIONS
from tests.acceptance.workers import check, worker
from tests.alerting.worker import verified, webhook
from tests.servers.receiver import Answer, Receiver, Reset, Stall

KILLS = 20
MOODS = (Answer(status=503), Answer(status=500), Answer(status=429, retry_after="0"), Reset(), Stall(seconds=0.1))
STEPS = ("outcomes", "journeys", "dead-letters", "contact-events", "contacts", "journeys-table")
FEEDING = ("--feed", "--alerting")
LIFE_SECONDS = {"sqlite": 0.8, "kafka": 4.5}

pytestmark = pytest.mark.slow


@pytest.fixture(params=["sqlite", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """A broker of each kind: its name and URL."""
    if request.param == "kafka":
        return "kafka", str(request.getfixturevalue("kafka").url)
    return "sqlite", f"sqlite:///{tmp_path}/log.sqlite3"


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def in_the_end(url: str, prefix: str, folder: Path, told: Day, *, alerting: bool = True) -> None:
    """A last process has time to finish, and ends in order."""
    options = ["--feed", "--until-quiet", *(["--alerting"] if alerting else [])]
    with worker(url, prefix, folder, *options) as last:
        assert last.hears("quiet"), "the last process ended before it was done"
        assert last.stop() == 0
    asyncio.run(check(url, prefix, told, alerting=alerting))


def check_told(hook: Receiver, told: Day) -> None:
    """What a receiver that removes repeats by `webhook-id` has heard: of each contact without a bounce every page
    once and its end once, and of those who still wait a page that has not ended."""
    seen: set[str] = set()
    heard: dict[tuple[str, str | None, str], list[str]] = defaultdict(list)
    for request in hook.accepted:
        if request.headers["webhook-id"] in seen:
            continue
        seen.add(request.headers["webhook-id"])
        alert = verified(request)
        if alert["kind"] == "dead_end" and alert["customer_id"] in told.taken_back():
            continue
        if alert["kind"] != "at_risk" and alert["contact_id"] not in told.bounced():
            heard[alert["contact_id"], alert["target"], alert["kind"]].append(alert["state"])
    for name, states in heard.items():
        assert states.count("firing") <= 1, f"{name} fired twice: {_story(hook, name)}"
        assert states.count("resolved") <= 1, f"{name} ended twice: {_story(hook, name)}"
    waiting = {event["subject"] for event in told.events} - told.answered() - told.bounced()
    for contact in waiting:
        assert heard[contact, "first_response", "escalation"] == ["firing"], f"{contact}: its page is missing"
    for (contact, _, kind), states in heard.items():
        over = contact in told.answered() and kind != "breach"
        assert not over or states[-1] == "resolved" or "resolution" in str(_), f"{contact} {kind}: {states}"


def _story(hook: Receiver, name: tuple[str, str | None, str]) -> str:
    """Everything that reached a receiver about one clock, also what it refused."""
    found = [(request, json.loads(request.body)) for request in hook.requests]
    return "\n".join(
        f"{request.headers['webhook-id']} accepted={request.accepted} {request.body!r}"
        for request, alert in found
        if (alert["contact_id"], alert["target"], alert["kind"]) == name
    )


@pytest.mark.parametrize(
    ("broker", "seed"),
    [("sqlite", 8), ("sqlite", 18), ("sqlite", 28), pytest.param("kafka", 8, marks=pytest.mark.kafka)],
    indirect=["broker"],
)
def test_killed_at_random_instants_it_loses_nothing_and_tells_each_page_once(
    broker: tuple[str, str], seed: int, tmp_path: Path, hook: Receiver
) -> None:
    (kind, url), random = broker, Random(seed)
    told = day(seed, 400, [webhook(hook.url)])
    told.write(tmp_path)
    prefix = f"killed-{tmp_path.name}-"
    for _ in range(KILLS):
        away = random.random() < 0.2
        if away:
            hook.stop()
        hook.next(*random.choices(MOODS, k=random.randrange(4)))
        with worker(url, prefix, tmp_path, *FEEDING, "--pause", "0.1") as running:
            if random.random() < 0.8:
                assert running.hears("ready")
            time.sleep(random.uniform(0, LIFE_SECONDS[kind]))
        if away:
            hook.start()
    in_the_end(url, prefix, tmp_path, told)
    check_told(hook, told)


def test_killed_after_each_step_of_a_batch_it_loses_nothing(broker: tuple[str, str], tmp_path: Path) -> None:
    _, url = broker
    told = day(9, 300)
    told.write(tmp_path)
    prefix = f"steps-{tmp_path.name}-"
    for number, step in enumerate(STEPS, start=1):
        with worker(url, prefix, tmp_path, "--feed", "--die", f"{step}:{number % 3 + 1}") as running:
            running.process.wait(30)
            assert running.process.returncode == -9, f"{step} was never taken"
    in_the_end(url, prefix, tmp_path, told, alerting=False)


@pytest.mark.parametrize("kills", [4])
def test_without_fausts_cython_extensions_nothing_is_lost_either(
    broker: tuple[str, str], tmp_path: Path, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kind, url), random = broker, Random(10)
    monkeypatch.setenv("NO_CYTHON", "1")
    told = day(10, 200)
    told.write(tmp_path)
    prefix = f"plain-{tmp_path.name}-"
    for _ in range(kills):
        with worker(url, prefix, tmp_path, "--feed", "--pause", "0.05") as running:
            assert running.hears("ready")
            time.sleep(random.uniform(0, LIFE_SECONDS[kind] / 2))
    in_the_end(url, prefix, tmp_path, told, alerting=False)


def test_the_day_has_every_step_of_a_batch() -> None:
    """Were there no dead letters or records sent on, a test above would wait for a step that never comes."""
    told = day(9, 300)
    assert {event["type"] for event in told.events} >= {"contact.teleported", "message.bounced", "contact.voided"}
    assert PARTITIONS > 1
