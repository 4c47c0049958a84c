"""The law: whatever comes late, twice, in another order or to the wrong partition, and wherever a process ends, what a
live run has published last is what a replay says."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.acceptance.lives import Agent, Life, life, lived, replayed_as
from tests.acceptance.memory import CrashError
from tests.scenarios.expected import unlike

LIVES = 80
LIVES_WITH_BROKER = 25
CRASHES_SHARE = 0.15
OFTEN = 0.3
# Contacts whose events name several customers: their parts live in several homes until somebody joins them.
ONE_CUSTOMER = frozenset({"identities"})
# Two customers' contacts are merged into one that nobody knows, and each merge names another customer for it; or an
# answer to the one bounced in the other's contact; or a merge names a customer whose the contact is not.
CONTRADICTORY = (139, 700, 1257, 2589, 2769)
BOUNCED_ELSEWHERE = (57, 1050, 1399)
NAMED_WRONGLY = (1614, 1754, 1878, 2190)
# Two homes gave way to each other, and sent the contact round and round.
SENT_ROUND = 383
# A contact that gave way came to where its first home had been: the contact there is of another customer by now; both
# homes had published as many revisions.
CAME_BACK = (418, 459)
CAME_BACK_WITHOUT_MERGES = (58, 94, 233)
# Two parts of a contact, each on its way to where the other had been, followed each other for ever.
CROSSED = 256
CROSSED_WITHOUT_MERGES = 233
# What was said in a home before several crashes was said of a contact that came to another home at last.
SAID_ELSEWHERE_WITHOUT_MERGES = 327
# Who was told to give way had gone on to a third home by then.
GONE_ON = 341
GONE_ON_WHERE_PROCESSES_END_OFTEN = 247
# A pause that ended earlier than was known, after the due instant: nothing but the open time so far is another.
PAUSED_SHORTER = 191


def seeds(first: int, count: int) -> range:
    return range(first, first + count)


async def differences(
    told: Life, random: Random, crashes: Random | None = None, share: float = CRASHES_SHARE
) -> list[str]:
    def after_step(_: str) -> None:
        if crashes is not None and crashes.random() < share:
            raise CrashError

    agent = Agent(told, random, after_step)
    return unlike(await agent.live(), replayed_as(told), alerts=False) + agent.standing_twice()


async def every(found: dict[int, list[str]]) -> dict[int, list[str]]:
    return {seed: lines[:3] for seed, lines in found.items() if lines}


async def test_events_as_they_happen() -> None:
    told = {seed: life(seed, late=False, without=ONE_CUSTOMER) for seed in seeds(1, LIVES)}
    assert await every({seed: await differences(one, Random(seed)) for seed, one in told.items()}) == {}


async def test_events_that_come_late_twice_and_in_any_order() -> None:
    told = {seed: life(seed, without=ONE_CUSTOMER) for seed in seeds(1_001, LIVES)}
    assert await every({seed: await differences(one, Random(seed)) for seed, one in told.items()}) == {}


async def test_contacts_whose_events_name_several_customers() -> None:
    chosen = [*seeds(301, LIVES), SENT_ROUND, *CAME_BACK, *CONTRADICTORY, *BOUNCED_ELSEWHERE, *NAMED_WRONGLY]
    told = {seed: life(seed) for seed in chosen}
    assert await every({seed: await differences(one, Random(seed)) for seed, one in told.items()}) == {}


async def test_contacts_whose_events_name_several_customers_and_that_nobody_merges() -> None:
    chosen = [*seeds(1, LIVES // 2), *CAME_BACK_WITHOUT_MERGES, PAUSED_SHORTER]
    told = {seed: life(seed, without=frozenset({"merges"})) for seed in chosen}
    assert await every({seed: await differences(one, Random(seed)) for seed, one in told.items()}) == {}


async def test_customers_that_become_known_only_later() -> None:
    told = {seed: life(seed, late_customers=True, without=ONE_CUSTOMER) for seed in seeds(2_001, LIVES)}
    assert await every({seed: await differences(one, Random(seed)) for seed, one in told.items()}) == {}


async def test_a_process_that_ends_after_any_step_of_a_batch() -> None:
    told = {seed: life(seed, without=ONE_CUSTOMER) for seed in seeds(3_001, LIVES)}
    found = {seed: await differences(one, Random(seed), Random(-seed)) for seed, one in told.items()}
    assert await every(found) == {}


async def test_a_process_that_ends_while_contacts_look_for_their_customers() -> None:
    told = {seed: life(seed) for seed in seeds(1, LIVES // 2)}
    assert await every({seed: await differences(one, Random(seed), Random(-seed)) for seed, one in told.items()}) == {}


async def test_a_process_that_ends_while_contacts_look_for_customers_that_become_known_only_later() -> None:
    told = life(GONE_ON, late_customers=True)
    assert await differences(told, Random(GONE_ON), Random(-GONE_ON)) == []


async def test_a_process_that_ends_often_while_contacts_look_for_customers_that_become_known_only_later() -> None:
    chosen = [*seeds(1, LIVES // 4), CROSSED, GONE_ON_WHERE_PROCESSES_END_OFTEN]
    told = {seed: life(seed, late_customers=True) for seed in chosen}
    for seed in (CROSSED_WITHOUT_MERGES, SAID_ELSEWHERE_WITHOUT_MERGES):
        told[seed] = life(seed, late_customers=True, without=frozenset({"merges"}))
    found = {seed: await differences(one, Random(seed), Random(-seed), OFTEN) for seed, one in told.items()}
    assert await every(found) == {}


@pytest.mark.parametrize("seed", seeds(1, LIVES_WITH_BROKER))
async def test_the_whole_pipeline_on_the_embedded_broker(seed: int, tmp_path: Path) -> None:
    told = life(seed, without=ONE_CUSTOMER)
    came = await lived(told, f"sqlite:///{tmp_path}/log.sqlite3", Random(seed))
    assert unlike(came, replayed_as(told), alerts=False) == []
